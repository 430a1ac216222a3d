/* mremap, brk, madvise, mincore, mlock, growing stacks. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#define PAGE 4096UL
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static void *anon(size_t pages)
{
	void *p = mmap(NULL, pages * PAGE, RW, ANON, -1, 0);

	REQUIRE(p != MAP_FAILED);
	return p;
}

static void remap(void)
{
	char *area = anon(32), *p = area + 4 * PAGE, *q;

	munmap(area, 32 * PAGE);
	REQUIRE(mmap(p, 2 * PAGE, RW, ANON | MAP_FIXED, -1, 0) == p);
	p[0] = 'a';
	p[PAGE] = 'b';
	CHECK(mremap(p, 2 * PAGE, 4 * PAGE, 0) == p);
	p[3 * PAGE] = 'd';
	CHECK(mmap(p + 4 * PAGE, PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0) == p + 4 * PAGE);
	CHECK_ERRNO(mremap(p, 4 * PAGE, 8 * PAGE, 0) == MAP_FAILED ? -1 : 0, ENOMEM);
	q = mremap(p, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
	REQUIRE(q != MAP_FAILED);
	CHECK(q[0] == 'a' && q[PAGE] == 'b' && q[3 * PAGE] == 'd' && q[7 * PAGE] == 0);
	CHECK_ERRNO(msync(p, PAGE, MS_ASYNC), ENOMEM);
	CHECK(mremap(q, 8 * PAGE, PAGE, 0) == q);
	CHECK_EQ(q[0], 'a');
	CHECK_ERRNO(msync(q + PAGE, PAGE, MS_ASYNC), ENOMEM);
	CHECK(mremap(q, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, area) == area);
	CHECK_EQ(area[0], 'a');
	CHECK_ERRNO(mremap(area, PAGE, PAGE, MREMAP_FIXED, q) == MAP_FAILED ? -1 : 0, EINVAL);
	CHECK_ERRNO(mremap(area + 1, PAGE, PAGE, 0) == MAP_FAILED ? -1 : 0, EINVAL);
	CHECK_ERRNO(mremap(area, PAGE, 0, 0) == MAP_FAILED ? -1 : 0, EINVAL);
	CHECK_ERRNO(mremap(q, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0, EFAULT);
	munmap(area, 32 * PAGE);
}

static void remap_shared_twice(void)
{
	char *s = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *again;

	REQUIRE(s != MAP_FAILED);
	again = mremap(s, 0, PAGE, MREMAP_MAYMOVE);
	CHECK(again != MAP_FAILED);
	again[0] = 'x';
	CHECK_EQ(s[0], 'x');
}

static void remap_dontunmap(void)
{
	char *p = anon(2), *q;

	p[0] = 'p';
	q = mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	REQUIRE(q != MAP_FAILED && q != p);
	CHECK_EQ(q[0], 'p');
	CHECK_EQ(p[0], 0);
}

/* realloc of something large, in a child that shares the pages with its parent */
static void realloc_after_fork(void)
{
	char *p = malloc(1 << 20);
	int status;

	memset(p, 'z', 1 << 20);
	if (!fork()) {
		for (int mb = 2; mb < 40; mb++) {
			p = realloc(p, mb << 20);
			if (!p)
				_exit(1);
			memset(p + ((mb - 1) << 20), 'z', 1 << 20);
		}
		for (int i = 0; i < 39 << 20; i += 4096)
			if (p[i] != 'z')
				_exit(2);
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
	free(p);
}

static void program_break(void)
{
	char *start = sbrk(0);

	CHECK(sbrk(3 * PAGE) == start);
	start[2 * PAGE] = 5;
	CHECK(brk(start + PAGE) == 0);
	CHECK(sbrk(2 * PAGE) == start + PAGE);
	CHECK_EQ(start[2 * PAGE], 0); /* fresh again */
	CHECK(brk(start) == 0);
	CHECK((char *)syscall(SYS_brk, 0) == start);
	CHECK((char *)syscall(SYS_brk, 1UL << 62) == start);
}

static void advice(void)
{
	char *p = anon(4);

	p[0] = p[PAGE] = 9;
	CHECK(madvise(p, PAGE, MADV_DONTNEED) == 0);
	CHECK_EQ(p[0], 0);
	CHECK_EQ(p[PAGE], 9);
	CHECK(madvise(p, 4 * PAGE, MADV_FREE) == 0);
	CHECK(madvise(p, 4 * PAGE, MADV_WILLNEED) == 0);
	CHECK(madvise(p, 4 * PAGE, MADV_SEQUENTIAL) == 0);
	CHECK(madvise(p, 4 * PAGE, MADV_DONTDUMP) == 0);
	CHECK_ERRNO(madvise(p + 1, PAGE, MADV_DONTNEED), EINVAL);
	CHECK_ERRNO(madvise(p, PAGE, 12345), EINVAL);
	CHECK(madvise(p, 0, MADV_DONTNEED) == 0);
	munmap(p + PAGE, PAGE);
	p[0] = p[2 * PAGE] = 1;
	CHECK_ERRNO(madvise(p, 3 * PAGE, MADV_DONTNEED), ENOMEM);
	CHECK_EQ(p[0], 0);
	CHECK_EQ(p[2 * PAGE], 0); /* what is mapped was done */
	munmap(p, 4 * PAGE);
}

static void residence_and_locks(void)
{
	unsigned char vec[4];
	char *p = anon(4);
	int status;

	p[0] = p[PAGE] = 1;
	CHECK(mincore(p, 2 * PAGE, vec) == 0);
	CHECK((vec[0] & 1) && (vec[1] & 1));
	CHECK_ERRNO(mincore(p + 1, PAGE, vec), EINVAL);
	CHECK_ERRNO(mincore(p, PAGE, (void *)1), EFAULT);
	CHECK(mlock(p, 2 * PAGE) == 0);
	CHECK_ERRNO(madvise(p, PAGE, MADV_DONTNEED), EINVAL);
	CHECK(munlock(p, 2 * PAGE) == 0);
	CHECK(madvise(p, PAGE, MADV_DONTNEED) == 0);
	munmap(p + PAGE, PAGE);
	CHECK_ERRNO(mlock(p, 3 * PAGE), ENOMEM);
	CHECK_ERRNO(mincore(p, 3 * PAGE, vec), ENOMEM);
	CHECK_ERRNO(mlockall(0), EINVAL);
	CHECK_ERRNO(msync(p, PAGE, MS_SYNC | MS_ASYNC), EINVAL);
	munmap(p, 4 * PAGE);
	if (!fork()) {
		struct rlimit lim = {2 * PAGE, 2 * PAGE};

		setrlimit(RLIMIT_MEMLOCK, &lim);
		p = anon(4);
		if (setuid(65534))
			_exit(0); /* not root: limits of its own */
		if (mlock(p, 2 * PAGE))
			_exit(1);
		_exit(mlock(p + 2 * PAGE, PAGE) == -1 && errno == ENOMEM ? 0 : 2);
	}
	CHECK(wait(&status) > 0 && status == 0);
}

static int deep(int n)
{
	volatile char buf[8192];

	buf[0] = buf[8191] = (char)n;
	return n ? deep(n - 1) + buf[0] - buf[8191] : 0;
}

static void stacks_grow(void)
{
	CHECK_EQ(deep(500), 0); /* 4 MB */
	/* A system call into a part of the stack that was never touched. */
	{
		char big[1 << 20];
		int fds[2];

		CHECK(pipe(fds) == 0);
		CHECK(write(fds[1], "x", 1) == 1);
		CHECK(read(fds[0], big, 1) == 1);
		CHECK_EQ(big[0], 'x');
	}
}

static char alt[65536];
static sigjmp_buf env;
static void on_overflow(int sig)
{
	siglongjmp(env, 1);
}

static void overflow_is_a_signal(void)
{
	stack_t ss = {.ss_sp = alt, .ss_size = sizeof(alt)};
	struct sigaction sa = {.sa_handler = on_overflow, .sa_flags = SA_ONSTACK};
	int status;

	if (!fork()) {
		struct rlimit lim = {1 << 20, 1 << 20};

		setrlimit(RLIMIT_STACK, &lim);
		sigaltstack(&ss, NULL);
		sigaction(SIGSEGV, &sa, NULL);
		if (!sigsetjmp(env, 1)) {
			deep(1 << 20);
			_exit(1);
		}
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
}

static void grows_down_mapping(void)
{
	char *area = anon(1024), *p;

	munmap(area, 1024 * PAGE);
	p = mmap(area + 1000 * PAGE, PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
	REQUIRE(p != MAP_FAILED);
	p[-(long)PAGE] = 1;
	p[-20 * (long)PAGE] = 2;
	CHECK_EQ(p[-(long)PAGE], 1);
}

int main(void)
{
	remap();
	remap_shared_twice();
	remap_dontunmap();
	realloc_after_fork();
	program_break();
	advice();
	residence_and_locks();
	stacks_grow();
	overflow_is_a_signal();
	grows_down_mapping();
	CHECK_DONE();
}
