/* madvise(MADV_POPULATE_*) and MAP_POPULATE: what they fill in, and that a large range does not
 * keep a process from dying. */
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

#define PAGE 4096UL
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
/* Of zero pages: the memory that it takes is that of page tables. */
#define LARGE (2UL << 30)

static long minor_faults(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_minflt;
}

static void what_it_says(void)
{
	char *p = mmap(NULL, 8 * PAGE, RW, ANON, -1, 0), *q;

	REQUIRE(p != MAP_FAILED);
	CHECK_EQ(madvise(p, 8 * PAGE, MADV_POPULATE_WRITE), 0);
	CHECK_EQ(madvise(p, 8 * PAGE, MADV_POPULATE_READ), 0);
	CHECK_EQ(madvise(p, 0, MADV_POPULATE_READ), 0);
	CHECK_ERRNO(madvise(p + 1, PAGE, MADV_POPULATE_READ), EINVAL);
	/* A hole ends it. */
	CHECK_EQ(munmap(p + 4 * PAGE, PAGE), 0);
	CHECK_ERRNO(madvise(p, 8 * PAGE, MADV_POPULATE_READ), ENOMEM);
	CHECK_ERRNO(madvise(p + 4 * PAGE, PAGE, MADV_POPULATE_WRITE), ENOMEM);
	/* What may not be written cannot be filled by writing. */
	CHECK_EQ(mprotect(p + 2 * PAGE, PAGE, PROT_READ), 0);
	CHECK_EQ(madvise(p, 4 * PAGE, MADV_POPULATE_READ), 0);
	CHECK_ERRNO(madvise(p, 4 * PAGE, MADV_POPULATE_WRITE), EINVAL);
	munmap(p, 8 * PAGE);
	q = mmap(NULL, 64 * PAGE, RW, ANON | MAP_POPULATE, -1, 0);
	REQUIRE(q != MAP_FAILED);
	long before = minor_faults();
	for (int i = 0; i < 64; i++)
		q[i * PAGE] = 1;
	CHECK(minor_faults() - before < 32);
	munmap(q, 64 * PAGE);
}

static void *large(void)
{
	void *p = mmap(NULL, LARGE, PROT_READ, ANON, -1, 0);

	REQUIRE(p != MAP_FAILED);
	madvise(p, LARGE, MADV_NOHUGEPAGE);
	return p;
}

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* SIGKILL ends it before the end: `lap` is how long the whole takes. */
static void death_ends_it(void)
{
	void *p = large();
	int64_t start = now_us(), lap;
	int status;
	pid_t pid;

	CHECK_EQ(madvise(p, LARGE, MADV_POPULATE_READ), 0);
	lap = now_us() - start;
	munmap(p, LARGE);
	pid = fork();
	REQUIRE(pid >= 0);
	if (!pid)
		for (;;) {
			p = large();
			for (int i = 0; i < 50; i++)
				if (madvise(p, LARGE, MADV_DONTNEED) ||
				    madvise(p, LARGE, MADV_POPULATE_READ))
					_exit(1);
		}
	usleep(50000);
	start = now_us();
	kill(pid, SIGKILL);
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status));
	CHECK(now_us() - start < 5 * lap + 1000000);
}

int main(void)
{
	alarm(58);
	what_it_says();
	death_ends_it();
	CHECK_DONE();
}
