/* System calls in text that processes share: what one runs must stay what the others see. */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* mov $__NR_getppid,%eax; syscall; cmp $-4095,%rax; ret */
static const uint8_t code[] = {0xb8, SYS_getppid, 0,	0,    0,    0x0f, 0x05,
			       0x48, 0x3d,	  0x01, 0xf0, 0xff, 0xff, 0xc3};

static void call_often(void *text)
{
	long (*volatile f)(void);

	memcpy((void *)&f, &text, sizeof(f));
	for (int i = 0; i < 100; i++)
		CHECK(f() == getppid());
}

static void test_shared_file(void)
{
	char name[] = "/tmp/shared_text.XXXXXX";
	uint8_t now[4096] = {0};
	int fd = mkstemp(name);
	void *p;

	CHECK(fd >= 0);
	CHECK(ftruncate(fd, 4096) == 0);
	CHECK(pwrite(fd, code, sizeof(code), 64) == sizeof(code));
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	call_often((char *)p + 64);
	CHECK(pread(fd, now, sizeof(now), 0) == sizeof(now));
	CHECK(!memcmp(now + 64, code, sizeof(code)));
	munmap(p, 4096);
	/* Made so only later. */
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	CHECK(mprotect(p, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
	call_often((char *)p + 64);
	CHECK(pread(fd, now, sizeof(now), 0) == sizeof(now));
	CHECK(!memcmp(now + 64, code, sizeof(code)));
	munmap(p, 4096);
	close(fd);
	unlink(name);
}

static void test_fork(void)
{
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	int status;
	pid_t pid;

	CHECK(p != MAP_FAILED);
	memcpy(p, code, sizeof(code));
	pid = fork();
	if (!pid) {
		call_often(p);
		_exit(memcmp(p, code, sizeof(code)) ? 1 : 0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(status == 0);
	CHECK(!memcmp(p, code, sizeof(code)));
	call_often(p);
}

int main(void)
{
	test_fork();
	test_shared_file();
	CHECK_DONE();
}
