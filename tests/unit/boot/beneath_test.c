/* openat2 and the walk that stands in for it must agree on every path: results, errors and files.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/compiler.h"
#include "base/host.h"
#include "sentry/fs/host/beneath.h"

static char dir[64];
static int root;

static int make_tree(void **state)
{
	int fd;

	strcpy(dir, "/tmp/moat-beneath-XXXXXX");
	assert_non_null(mkdtemp(dir));
	root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(root >= 0);
	assert_int_equal(mkdirat(root, "d", 0755), 0);
	assert_int_equal(mkdirat(root, "d/e", 0755), 0);
	fd = openat(root, "d/e/f", O_WRONLY | O_CREAT, 0644);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(mkfifoat(root, "d/p", 0644), 0);
	assert_int_equal(symlinkat("d", root, "to-d"), 0);
	assert_int_equal(symlinkat("../d", root, "d/up"), 0);
	assert_int_equal(symlinkat("f", root, "d/e/to-f"), 0);
	assert_int_equal(symlinkat("/etc/passwd", root, "out"), 0);
	assert_int_equal(symlinkat("missing", root, "dangling"), 0);
	assert_int_equal(symlinkat("/proc/self/root", root, "magic"), 0);
	return 0;
}

static int remove_tree(void **state)
{
	static const char *const files[] = {"d/e/f", "d/p",	 "to-d",  "d/up", "d/e/to-f",
					    "out",   "dangling", "magic", "moved"};

	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		unlinkat(root, files[i], 0);
	unlinkat(root, "d/e", AT_REMOVEDIR);
	unlinkat(root, "d", AT_REMOVEDIR);
	close(root);
	return rmdir(dir);
}

/* An fd is told by what it leads to and how it was opened. */
struct result {
	int error;
	dev_t dev;
	ino_t ino;
	mode_t mode;
	int flags;
};

static void open_one_way(const char *path, int flags, bool with, struct result *r)
{
	struct stat st;
	int fd;

	atomic_store(&host_missing, with ? 0 : HOST_OPENAT2);
	fd = host_openat2(root, path, flags);
	memset(r, 0, sizeof(*r));
	if (fd < 0) {
		r->error = fd;
		return;
	}
	assert_int_equal(fstat(fd, &st), 0);
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	r->mode = st.st_mode;
	/* Remembered by the file, and of no consequence once it is open. */
	r->flags = fcntl(fd, F_GETFL) & ~(O_NOFOLLOW | O_DIRECTORY);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
}

static void compare(const char *path, int flags)
{
	struct result with, without;

	open_one_way(path, flags, true, &with);
	open_one_way(path, flags, false, &without);
	if (memcmp(&with, &without, sizeof(with)))
		fail_msg("'%s' with flags %#o: openat2 %d, inode %lu, flags %#o; walk %d, inode "
			 "%lu, flags %#o",
			 path, flags, with.error, with.ino, with.flags, without.error, without.ino,
			 without.flags);
}

static const int all_flags[] = {
	O_PATH,
	O_PATH | O_NOFOLLOW,
	O_PATH | O_DIRECTORY,
	O_PATH | O_DIRECTORY | O_NOFOLLOW,
	O_RDONLY | O_NONBLOCK,
	O_RDONLY | O_NOFOLLOW | O_NONBLOCK,
	O_RDONLY | O_DIRECTORY,
	O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
	O_WRONLY | O_NOFOLLOW | O_NONBLOCK,
	O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
};

static void walk_agrees_with_openat2_on_every_short_path(void **state)
{
	static const char *const names[] = {"",	    ".",	"d",	"e",	    "f",     "p",
					    "to-d", "up",	"to-f", "dangling", "magic", "out",
					    "none", "longer/d", "fd",	"root"};
	char path[256];
	unsigned n = 0;

	for (unsigned a = 0; a < ARRAY_SIZE(names); a++)
		for (unsigned b = 0; b <= ARRAY_SIZE(names); b++)
			for (unsigned c = 0; c <= ARRAY_SIZE(names); c++) {
				if (b == ARRAY_SIZE(names) && c < ARRAY_SIZE(names))
					continue;
				snprintf(path, sizeof(path), "%s%s%s%s%s", names[a],
					 b < ARRAY_SIZE(names) ? "/" : "",
					 b < ARRAY_SIZE(names) ? names[b] : "",
					 c < ARRAY_SIZE(names) ? "/" : "",
					 c < ARRAY_SIZE(names) ? names[c] : "");
				/* An absolute path is refused either way, before it is looked at;
				 * openat2 may say so only after the names in it. */
				if (path[0] == '/')
					continue;
				for (unsigned f = 0; f < ARRAY_SIZE(all_flags); f++, n++)
					compare(path, all_flags[f]);
			}
	assert_true(n > 20000);
}

static void walk_leads_nowhere_else(void **state)
{
	static const char *const paths[] = {"..",	 "d/..",	"d/../d",   "../tmp",
					    "/",	 "/etc/passwd", "out",	    "magic",
					    "magic/etc", "to-d/e/f",	"d/up/e/f", "d/e/to-f"};

	atomic_store(&host_missing, HOST_OPENAT2);
	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
		int fd = host_openat2(root, paths[i], O_RDONLY);

		assert_true(fd == -EXDEV || fd == -ELOOP);
	}
}

static void walk_refuses_names_that_are_too_long(void **state)
{
	char name[300];

	memset(name, 'x', 256);
	name[256] = 0;
	compare(name, O_RDONLY);
	strcat(name, "/y");
	compare(name, O_PATH);
}

/* What is replaced by a link after it was opened leads nowhere, since each step starts at an fd. */
static void walk_is_not_led_out_by_a_directory_that_moves(void **state)
{
	int d = host_openat2(root, "d", O_PATH | O_DIRECTORY), fd;

	assert_true(d >= 0);
	assert_int_equal(renameat(root, "d", root, "moved"), 0);
	assert_int_equal(symlinkat("/etc", root, "d"), 0);
	atomic_store(&host_missing, HOST_OPENAT2);
	assert_int_equal(host_openat2(root, "d/passwd", O_RDONLY), -ELOOP);
	fd = host_openat2(d, "e/f", O_RDONLY);
	assert_true(fd >= 0);
	close(fd);
	close(d);
	assert_int_equal(unlinkat(root, "d", 0), 0);
	assert_int_equal(renameat(root, "moved", root, "d"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walk_agrees_with_openat2_on_every_short_path),
		cmocka_unit_test(walk_leads_nowhere_else),
		cmocka_unit_test(walk_refuses_names_that_are_too_long),
		cmocka_unit_test(walk_is_not_led_out_by_a_directory_that_moves),
	};

	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
