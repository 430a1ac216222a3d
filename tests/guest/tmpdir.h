/* A scratch directory on a file system of choice; the test runs inside it. */
#ifndef MOAT_TESTS_GUEST_TMPDIR_H
#define MOAT_TESTS_GUEST_TMPDIR_H

#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static char tmpdir_path[PATH_MAX];

static int tmpdir_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void tmpdir_leave(void)
{
	if (chdir("/") == 0)
		nftw(tmpdir_path, tmpdir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* base: "/tmp" or "/dev/shm" */
static void tmpdir_enter(const char *base)
{
	snprintf(tmpdir_path, sizeof(tmpdir_path), "%s/moat-test-XXXXXX", base);
	REQUIRE(mkdtemp(tmpdir_path));
	REQUIRE(chdir(tmpdir_path) == 0);
	REQUIRE(chmod(tmpdir_path, 0755) == 0);
}

/* Runs test() once on disk (in moat: the overlay) and once on tmpfs. */
static inline void on_each_fs(void (*test)(void))
{
	static const char *const bases[] = {"/tmp", "/dev/shm"};

	for (int i = 0; i < 2; i++) {
		int before = check_failures;

		tmpdir_enter(bases[i]);
		test();
		tmpdir_leave();
		if (check_failures != before)
			printf("... in %s\n", bases[i]);
	}
}

static inline int make_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	if (!f)
		return -1;
	fputs(text, f);
	return fclose(f);
}

#endif
