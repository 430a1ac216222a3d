/* Rules of mmap, mremap, mlock and remap_file_pages, and the last page of a mapped file. */
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

#define PAGE 4096L
static char *base;

/* 64 pages without access, and `n` readable and writable ones at their start. */
static void fresh(int n)
{
	base = mmap(base, 64 * PAGE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | (base ? MAP_FIXED : 0), -1, 0);
	REQUIRE(base != MAP_FAILED);
	if (n)
		REQUIRE(mprotect(base, (size_t)n * PAGE, PROT_READ | PROT_WRITE) == 0);
}

static void several_mappings_move_together(void)
{
	void *to;

	fresh(4);
	base[0] = 1;
	base[3 * PAGE] = 4;
	REQUIRE(mprotect(base + 2 * PAGE, 2 * PAGE, PROT_READ) == 0);
	/* But do not grow, and stay where they are if they cannot. */
	CHECK(mremap(base, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
	CHECK(mremap(base, 4 * PAGE, 6 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, base + 32 * PAGE) ==
		      MAP_FAILED &&
	      errno == EFAULT);
	CHECK_EQ(base[0], 1);
	CHECK_EQ(base[3 * PAGE], 4);
	to = mremap(base, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, base + 32 * PAGE);
	/* Before Linux 6.17: nothing moves. */
	if (to == MAP_FAILED) {
		CHECK_EQ(errno, EFAULT);
		CHECK_EQ(base[3 * PAGE], 4);
		return;
	}
	CHECK(to == base + 32 * PAGE);
	CHECK_EQ(base[32 * PAGE], 1);
	CHECK_EQ(base[35 * PAGE], 4);
}

static void arguments(void)
{
	fresh(4);
	CHECK(mremap(base, PAGE, SIZE_MAX, MREMAP_MAYMOVE) == MAP_FAILED && errno == EINVAL);
	CHECK(mremap(base, PAGE, 1UL << 48, MREMAP_MAYMOVE) == MAP_FAILED && errno == EINVAL);
	CHECK(mremap(base, 0, PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS | MAP_SHARED_VALIDATE, -1, 0) ==
		      MAP_FAILED &&
	      errno == EINVAL);
}

static void locking(void)
{
	fresh(4);
	CHECK_EQ(mlock(base, 4 * PAGE), 0);
	CHECK_ERRNO(mlock(base + 4 * PAGE, PAGE), ENOMEM);
	CHECK_ERRNO(mlock(base + 3 * PAGE, 2 * PAGE), ENOMEM);
	CHECK_EQ(mlock(base, SIZE_MAX), 0);
	CHECK_EQ(munlock(base, 5 * PAGE), 0);
}

static void behind_the_end_of_a_file(const char *dir)
{
	char name[64];
	int fd;
	char *m;

	snprintf(name, sizeof(name), "%s/moat-map-XXXXXX", dir);
	fd = mkstemp(name);
	REQUIRE(fd >= 0 && unlink(name) == 0);
	REQUIRE(ftruncate(fd, 100) == 0);
	m = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(m != MAP_FAILED);
	m[99] = 3;
	m[4000] = 7;
	REQUIRE(ftruncate(fd, 2 * PAGE) == 0);
	CHECK_EQ(m[99], 3);
	CHECK_EQ(m[4000], 0);
	m[PAGE] = 5;
	/* The second page at the place of the first. */
	CHECK_EQ(remap_file_pages(m, PAGE, 0, 1, 0), 0);
	CHECK_EQ(m[0], 5);
	CHECK_ERRNO(remap_file_pages(m, PAGE, PROT_READ, 1, 0), EINVAL);
	CHECK_ERRNO(remap_file_pages(base, PAGE, 0, 1, 0), EINVAL);
	munmap(m, 2 * PAGE);
	close(fd);
}

int main(void)
{
	several_mappings_move_together();
	arguments();
	locking();
	behind_the_end_of_a_file("/tmp");
	CHECK_DONE();
}
