/* mmap, munmap, mprotect: placement, replacement, protections, files, sharing across fork. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define PAGE 4096UL
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static sigjmp_buf env;
static volatile int last_code;
static volatile void *last_addr;

static void on_fault(int sig, siginfo_t *info, void *uc)
{
	last_code = info->si_code;
	last_addr = info->si_addr;
	siglongjmp(env, sig);
}

/* The signal that touching p raises, or 0. */
static int touch(volatile char *p, int write)
{
	int sig = sigsetjmp(env, 1);

	if (sig)
		return sig;
	if (write)
		*p = 1;
	else
		(void)*p;
	return 0;
}

static void protections(void)
{
	char *p = mmap(NULL, 3 * PAGE, RW, ANON, -1, 0);

	REQUIRE(p != MAP_FAILED);
	p[PAGE] = 7;
	CHECK(mprotect(p + PAGE, PAGE, PROT_READ) == 0);
	CHECK_EQ(touch(p + PAGE, 0), 0);
	CHECK_EQ(touch(p + PAGE, 1), SIGSEGV);
	CHECK_EQ(last_code, SEGV_ACCERR);
	CHECK(last_addr == p + PAGE);
	CHECK(mprotect(p + PAGE, PAGE, PROT_NONE) == 0);
	CHECK_EQ(touch(p + PAGE, 0), SIGSEGV);
	CHECK(mprotect(p + PAGE, PAGE, RW) == 0);
	CHECK_EQ(p[PAGE], 7);
	CHECK(munmap(p + PAGE, PAGE) == 0);
	CHECK_EQ(touch(p + PAGE, 0), SIGSEGV);
	CHECK_EQ(last_code, SEGV_MAPERR);
	CHECK_EQ(touch(p, 1), 0);
	CHECK_EQ(touch(p + 2 * PAGE, 1), 0);
	CHECK_ERRNO(mprotect(p, 3 * PAGE, PROT_READ), ENOMEM);
	CHECK_ERRNO(mprotect(p + 1, PAGE, PROT_READ), EINVAL);
	CHECK(munmap(p, 3 * PAGE) == 0);
}

static void placement(void)
{
	char *p = mmap(NULL, 4 * PAGE, RW, ANON, -1, 0), *q;

	REQUIRE(p != MAP_FAILED);
	q = mmap(p + PAGE, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
	CHECK(q == MAP_FAILED && errno == EEXIST);
	p[PAGE] = 1;
	CHECK(mmap(p + PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0) == p + PAGE);
	CHECK_EQ(p[PAGE], 0);
	CHECK(munmap(p, 4 * PAGE) == 0);
	CHECK(mmap(p, PAGE, RW, ANON, -1, 0) == p); /* a hint that is free */
	munmap(p, PAGE);
	q = mmap(NULL, PAGE, RW, ANON | MAP_32BIT, -1, 0);
	CHECK(q != MAP_FAILED && (uintptr_t)q < 0x80000000UL);
	munmap(q, PAGE);
	CHECK_ERRNO(mmap(NULL, 0, RW, ANON, -1, 0) == MAP_FAILED ? -1 : 0, EINVAL);
	CHECK_ERRNO(mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0, EINVAL);
	CHECK_ERRNO(mmap(NULL, PAGE, RW, MAP_PRIVATE, -1, 0) == MAP_FAILED ? -1 : 0, EBADF);
	CHECK_ERRNO(mmap(NULL, 1UL << 60, RW, ANON, -1, 0) == MAP_FAILED ? -1 : 0, ENOMEM);
	CHECK_ERRNO(munmap((void *)1, PAGE), EINVAL);
	CHECK_ERRNO(munmap(p, 0), EINVAL);
	/* Unmapping nothing is fine. */
	CHECK(munmap(p, PAGE) == 0);
}

static void many_mappings(void)
{
	enum { N = 3000 };
	static char *at[N];

	for (int i = 0; i < N; i++) {
		at[i] = mmap(NULL, PAGE, i % 2 ? PROT_READ : RW, ANON, -1, 0);
		REQUIRE(at[i] != MAP_FAILED);
	}
	for (int i = 0; i < N; i += 2)
		at[i][0] = i;
	for (int i = 0; i < N; i += 2)
		CHECK_EQ(at[i][0], (char)i);
	for (int i = 0; i < N; i += 3)
		CHECK(munmap(at[i], PAGE) == 0);
	for (int i = 0; i < N; i += 3)
		CHECK(mmap(at[i], PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == at[i]);
	for (int i = 0; i < N; i++)
		munmap(at[i], PAGE);
}

/* What cannot be had is refused, and nobody dies of it. */
static void too_much(void)
{
	enum { N = 70000 };
	char *area = mmap(NULL, N * PAGE, PROT_NONE, ANON | MAP_NORESERVE, -1, 0), *p;
	long i;

	p = mmap(NULL, 1UL << 44, RW, ANON, -1, 0); /* 16 TiB */
	CHECK(p == MAP_FAILED ? errno == ENOMEM : munmap(p, 1UL << 44) == 0);
	REQUIRE(area != MAP_FAILED);
	for (i = 0; i < N; i += 2)
		if (mprotect(area + i * PAGE, PAGE, PROT_READ))
			break;
	CHECK(i >= N || errno == ENOMEM); /* vm.max_map_count may be higher */
	CHECK(munmap(area, N * PAGE) == 0);
	p = mmap(NULL, PAGE, RW, ANON, -1, 0);
	CHECK(p != MAP_FAILED);
	p[0] = 1;
	munmap(p, PAGE);
}

static void files(void)
{
	char path[] = "/tmp/mmap_test_XXXXXX", buf[8] = "";
	int fd = mkstemp(path), ro;
	char *s, *p;

	REQUIRE(fd >= 0);
	REQUIRE(ftruncate(fd, 2 * PAGE) == 0);
	REQUIRE(pwrite(fd, "hello", 5, PAGE) == 5);
	s = mmap(NULL, 3 * PAGE, RW, MAP_SHARED, fd, 0);
	p = mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, PAGE);
	REQUIRE(s != MAP_FAILED && p != MAP_FAILED);
	CHECK(memcmp(s + PAGE, "hello", 5) == 0);
	CHECK(memcmp(p, "hello", 5) == 0);
	memcpy(p, "mine!", 5);
	CHECK(memcmp(s + PAGE, "hello", 5) == 0);
	memcpy(s + PAGE, "yours", 5);
	CHECK(pread(fd, buf, 5, PAGE) == 5 && memcmp(buf, "yours", 5) == 0);
	CHECK(memcmp(p, "mine!", 5) == 0);
	CHECK(msync(s, 2 * PAGE, MS_SYNC) == 0);
	/* Past the end of the file. */
	CHECK_EQ(touch(s + 2 * PAGE, 0), SIGBUS);
	CHECK(ftruncate(fd, 3 * PAGE) == 0);
	CHECK_EQ(touch(s + 2 * PAGE, 1), 0);
	ro = open(path, O_RDONLY);
	CHECK_ERRNO(mmap(NULL, PAGE, RW, MAP_SHARED, ro, 0) == MAP_FAILED ? -1 : 0, EACCES);
	munmap(p, PAGE);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, 0);
	CHECK(p != MAP_FAILED);
	CHECK_ERRNO(mprotect(p, PAGE, RW), EACCES);
	munmap(p, PAGE);
	p = mmap(NULL, PAGE, RW, MAP_PRIVATE, ro, PAGE);
	CHECK(p != MAP_FAILED && memcmp(p, "yours", 5) == 0);
	CHECK_ERRNO(mmap(NULL, PAGE, RW, MAP_PRIVATE, ro, 100) == MAP_FAILED ? -1 : 0, EINVAL);
	close(ro);
	ro = open(path, O_WRONLY);
	CHECK_ERRNO(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, ro, 0) == MAP_FAILED ? -1 : 0, EACCES);
	close(ro);
	ro = open("/tmp", O_RDONLY);
	CHECK_ERRNO(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, ro, 0) == MAP_FAILED ? -1 : 0, ENODEV);
	close(ro);
	/* A mapping outlives its descriptor and its name. */
	unlink(path);
	close(fd);
	CHECK(memcmp(s + PAGE, "yours", 5) == 0);
	munmap(s, 3 * PAGE);
	munmap(p, PAGE);
}

static void dev_zero(void)
{
	int fd = open("/dev/zero", O_RDWR);
	char *p, *s;

	REQUIRE(fd >= 0);
	p = mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0);
	s = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED && p[5] == 0);
	CHECK(s != MAP_FAILED && s[5] == 0);
	if (s != MAP_FAILED && !fork()) {
		s[0] = 42;
		_exit(0);
	}
	wait(NULL);
	CHECK(s != MAP_FAILED && s[0] == 42);
	close(fd);
}

static void fork_copies_private_and_shares_shared(void)
{
	char *priv = mmap(NULL, PAGE, RW, ANON, -1, 0);
	char *shared = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *gone = mmap(NULL, PAGE, RW, ANON, -1, 0);
	char *wiped = mmap(NULL, PAGE, RW, ANON, -1, 0);
	int status;

	priv[0] = shared[0] = gone[0] = wiped[0] = 1;
	CHECK(madvise(gone, PAGE, MADV_DONTFORK) == 0);
	CHECK(madvise(wiped, PAGE, MADV_WIPEONFORK) == 0);
	if (!fork()) {
		int ok = priv[0] == 1 && shared[0] == 1 && wiped[0] == 0;

		ok = ok && touch(gone, 0) == SIGSEGV;
		priv[0] = shared[0] = 2;
		_exit(ok ? 0 : 1);
	}
	CHECK(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK_EQ(priv[0], 1);
	CHECK_EQ(shared[0], 2);
	CHECK_EQ(wiped[0], 1);
	CHECK_EQ(gone[0], 1);
}

static void limits(void)
{
	int status;

	if (!fork()) {
		struct rlimit lim = {64 << 20, 64 << 20};
		void *p;

		setrlimit(RLIMIT_AS, &lim);
		p = mmap(NULL, 128 << 20, RW, ANON, -1, 0);
		_exit(p == MAP_FAILED && errno == ENOMEM ? 0 : 1);
	}
	CHECK(wait(&status) > 0 && status == 0);
	if (!fork()) {
		struct rlimit lim = {8 << 20, 8 << 20};
		void *p, *q;

		setrlimit(RLIMIT_DATA, &lim);
		p = mmap(NULL, 16 << 20, RW, ANON, -1, 0);
		q = mmap(NULL, 16 << 20, PROT_READ, ANON, -1, 0);
		_exit(p == MAP_FAILED && errno == ENOMEM && q != MAP_FAILED ? 0 : 1);
	}
	CHECK(wait(&status) > 0 && status == 0);
}

int main(void)
{
	struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	protections();
	placement();
	many_mappings();
	too_much();
	files();
	dev_zero();
	fork_copies_private_and_shares_shared();
	limits();
	CHECK_DONE();
}
