/* The path walk on tmpfs, without a guest. */
#include <linux/fs.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "sentry/kernel/task/task.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount/mount_ops.h"
#include "sentry/vfs/name/namei.h"
#include "sentry/vfs/walk/dcache.h"
#include "sentry/vfs/walk/walk.h"
#include "vfs_fixture.h"

#define mkdir_ok(name) assert_int_equal(vfs_mkdir(AT_FDCWD, name, 0755), 0)
#define link_ok(target, name) assert_int_equal(vfs_symlink(target, AT_FDCWD, name), 0)

static int start(void **state)
{
	*state = vfs_fixture_start();
	return 0;
}

static int stop(void **state)
{
	vfs_fixture_stop(*state);
	return 0;
}

static void touch(const char *name)
{
	int fd = t_open(name, O_CREAT | O_WRONLY, 0644);

	assert_true(fd >= 0);
	t_close(fd);
}

static void walk_finds_files_and_reports_errors(void **state)
{
	char longname[300];

	mkdir_ok("/a");
	mkdir_ok("/a/b");
	touch("/a/b/f");
	assert_int_equal(t_exists("/a/b/f"), 0);
	assert_int_equal(t_exists("//a///b/./f"), 0);
	assert_int_equal(t_exists("a/b/../b/f"), 0);
	assert_int_equal(t_exists("/../../a"), 0);
	assert_int_equal(t_exists("/a/b/f/"), -ENOTDIR);
	assert_int_equal(t_exists("/a/b/f/x"), -ENOTDIR);
	assert_int_equal(t_exists("/a/none"), -ENOENT);
	assert_int_equal(t_exists("/a/none"), -ENOENT); /* now from the cache */
	assert_int_equal(t_exists("/a/none/x"), -ENOENT);
	assert_int_equal(t_exists(""), -ENOENT);
	memset(longname, 'x', sizeof(longname));
	longname[0] = '/';
	longname[256] = 0; /* 255 characters */
	assert_int_equal(t_exists(longname), -ENOENT);
	longname[256] = 'x';
	longname[257] = 0;
	assert_int_equal(t_exists(longname), -ENAMETOOLONG);
}

static void walk_follows_symlinks(void **state)
{
	struct path p;

	mkdir_ok("/d");
	mkdir_ok("/d/e");
	touch("/d/e/f");
	link_ok("d", "/l1");
	link_ok("l1/e", "/l2");
	link_ok("/l2/f", "/l3");
	link_ok("loop", "/loop");
	link_ok("../d/e/", "/d/up");
	link_ok("nowhere", "/dangling");
	for (int i = 0; i < 2; i++) { /* the second time the targets are cached */
		assert_int_equal(t_exists("/l3"), 0);
		assert_int_equal(t_exists("/l2/f"), 0);
		assert_int_equal(t_exists("/l1/e/../e/f"), 0);
		assert_int_equal(t_exists("/l3/"), -ENOTDIR);
		assert_int_equal(t_exists("/d/up/f"), 0);
		assert_int_equal(t_exists("/d/up"), 0);
		assert_int_equal(t_exists("/loop"), -ELOOP);
		assert_int_equal(t_exists("/loop/x"), -ELOOP);
		assert_int_equal(t_exists("/dangling"), -ENOENT);
		assert_int_equal(path_lookupat(AT_FDCWD, "/l1", 0, &p), 0);
		assert_true(S_ISLNK(p.dentry->inode->mode));
		path_put(&p);
		assert_int_equal(path_lookupat(AT_FDCWD, "/l1/", 0, &p), 0);
		assert_true(S_ISDIR(p.dentry->inode->mode));
		path_put(&p);
	}
	assert_int_equal(t_open("/l3", O_RDONLY | O_NOFOLLOW, 0), -ELOOP);
	assert_true(t_open("/dangling", O_CREAT | O_WRONLY, 0644) >= 0);
	assert_int_equal(t_exists("/nowhere"), 0);
	assert_int_equal(t_open("/dangling", O_CREAT | O_EXCL | O_WRONLY, 0644), -EEXIST);
}

static void walk_counts_forty_links(void **state)
{
	char name[32], target[32];

	touch("/n0");
	for (int i = 1; i <= 41; i++) {
		snprintf(name, sizeof(name), "/n%d", i);
		snprintf(target, sizeof(target), "n%d", i - 1);
		link_ok(target, name);
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(t_exists("/n40"), 0);
		assert_int_equal(t_exists("/n41"), -ELOOP);
	}
}

static void walk_checks_permissions(void **state)
{
	struct cred *user = cred_alloc();
	const struct cred *old;

	user->uid = user->euid = user->suid = user->fsuid = 1000;
	user->gid = user->egid = user->sgid = user->fsgid = 1000;
	assert_int_equal(vfs_mkdir(AT_FDCWD, "/secret", 0700), 0);
	touch("/secret/f");
	mkdir_ok("/open");
	touch("/open/f");
	old = vfs_override_cred(user);
	assert_int_equal(t_exists("/secret/f"), -EACCES);
	assert_int_equal(t_exists("/secret"), 0);
	assert_int_equal(t_exists("/open/f"), 0);
	assert_int_equal(vfs_unlink(AT_FDCWD, "/open/f"), -EACCES);
	assert_int_equal(t_open("/open/f", O_WRONLY, 0), -EACCES);
	assert_int_equal(t_open("/open/new", O_WRONLY | O_CREAT, 0644), -EACCES);
	vfs_override_cred(old);
	cred_put(user);
}

static void removal_reports_posix_errors(void **state)
{
	mkdir_ok("/r");
	mkdir_ok("/r/s");
	touch("/r/f");
	assert_int_equal(vfs_rmdir(AT_FDCWD, "/r"), -ENOTEMPTY);
	assert_int_equal(vfs_rmdir(AT_FDCWD, "/r/f"), -ENOTDIR);
	assert_int_equal(vfs_unlink(AT_FDCWD, "/r/s"), -EISDIR);
	assert_int_equal(vfs_rmdir(AT_FDCWD, "/r/."), -EINVAL);
	assert_int_equal(vfs_rmdir(AT_FDCWD, "/r/.."), -ENOTEMPTY);
	assert_int_equal(vfs_rmdir(AT_FDCWD, "/"), -EBUSY);
	assert_int_equal(vfs_unlink(AT_FDCWD, "/r/f/"), -ENOTDIR);
	assert_int_equal(vfs_mkdir(AT_FDCWD, "/r", 0755), -EEXIST);
	assert_int_equal(vfs_mkdir(AT_FDCWD, "/", 0755), -EEXIST);
	assert_int_equal(vfs_mkdir(AT_FDCWD, "/r/t/", 0755), 0);
	assert_int_equal(vfs_rmdir(AT_FDCWD, "/r/t/"), 0);
	assert_int_equal(t_exists("/r/t"), -ENOENT);
	assert_int_equal(vfs_unlink(AT_FDCWD, "/r/f"), 0);
	assert_int_equal(vfs_unlink(AT_FDCWD, "/r/f"), -ENOENT);
	assert_int_equal(vfs_rmdir(AT_FDCWD, "/r/s"), 0);
	assert_int_equal(vfs_rmdir(AT_FDCWD, "/r"), 0);
}

static void rename_moves_replaces_and_exchanges(void **state)
{
	mkdir_ok("/x");
	mkdir_ok("/y");
	touch("/x/f");
	touch("/y/g");
	assert_int_equal(vfs_rename(AT_FDCWD, "/x/f", AT_FDCWD, "/y/f", 0), 0);
	assert_int_equal(t_exists("/x/f"), -ENOENT);
	assert_int_equal(t_exists("/y/f"), 0);
	assert_int_equal(vfs_rename(AT_FDCWD, "/y/f", AT_FDCWD, "/y/g", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(vfs_rename(AT_FDCWD, "/y/f", AT_FDCWD, "/y/g", 0), 0);
	assert_int_equal(t_exists("/y/f"), -ENOENT);
	assert_int_equal(vfs_rename(AT_FDCWD, "/x", AT_FDCWD, "/x/sub", 0), -EINVAL);
	assert_int_equal(vfs_rename(AT_FDCWD, "/x", AT_FDCWD, "/y/g", 0), -ENOTDIR);
	assert_int_equal(vfs_rename(AT_FDCWD, "/y/g", AT_FDCWD, "/x", 0), -EISDIR);
	assert_int_equal(vfs_rename(AT_FDCWD, "/x", AT_FDCWD, "/y", 0), -ENOTEMPTY);
	assert_int_equal(vfs_rename(AT_FDCWD, "/x", AT_FDCWD, "/y/g", RENAME_EXCHANGE), 0);
	assert_int_equal(t_exists("/y/g/"), 0);
	assert_int_equal(t_exists("/x/"), -ENOTDIR);
	assert_int_equal(vfs_rename(AT_FDCWD, "/y/.", AT_FDCWD, "/z", 0), -EBUSY);
	assert_int_equal(vfs_rename(AT_FDCWD, "/x", AT_FDCWD, "/w", RENAME_WHITEOUT), 0);
	struct path p;
	assert_int_equal(path_lookupat(AT_FDCWD, "/x", 0, &p), 0);
	assert_true(S_ISCHR(p.dentry->inode->mode));
	path_put(&p);
}

static void mounts_cover_and_uncover(void **state)
{
	struct mnt_ns *ns = *state;
	struct path p;
	char *text;

	mkdir_ok("/m");
	touch("/m/below");
	assert_int_equal(mnt_ns_mount(ns, "/m", "tmpfs", "src", 0, "size=1m", NULL, false), 0);
	assert_int_equal(t_exists("/m/below"), -ENOENT);
	touch("/m/above");
	assert_int_equal(t_exists("/m/../m/above"), 0);
	assert_int_equal(vfs_rmdir(AT_FDCWD, "/m"), -EBUSY);
	mkdir_ok("/b");
	assert_int_equal(mnt_ns_bind(ns, "/m", "/b", MS_RDONLY, true), 0);
	assert_int_equal(t_exists("/b/above"), 0);
	assert_int_equal(vfs_mkdir(AT_FDCWD, "/b/no", 0755), -EROFS);
	assert_int_equal(vfs_rename(AT_FDCWD, "/m/above", AT_FDCWD, "/b/x", 0), -EXDEV);
	text = mnt_ns_show(ns, &current->fs->root, 1);
	assert_non_null(strstr(text, " / /m rw"));
	assert_non_null(strstr(text, " /b ro"));
	free(text);
	assert_int_equal(path_lookupat(AT_FDCWD, "/b", 0, &p), 0);
	assert_int_equal(mount_umount(&p, 0), 0);
	path_put(&p);
	assert_int_equal(path_lookupat(AT_FDCWD, "/m", 0, &p), 0);
	text = d_path(&p, NULL);
	assert_string_equal(text, "/m");
	free(text);
	int fd = t_open("/m/above", O_RDONLY, 0);
	assert_int_equal(mount_umount(&p, 0), -EBUSY);
	assert_int_equal(mount_umount(&p, MNT_DETACH), 0);
	path_put(&p);
	assert_int_equal(t_exists("/m/below"), 0);
	t_close(fd);
}

static void shared_mounts_propagate(void **state)
{
	struct mnt_ns *ns = *state;
	struct path p;

	mkdir_ok("/s");
	assert_int_equal(mnt_ns_mount(ns, "/s", "tmpfs", "s", 0, NULL, NULL, false), 0);
	assert_int_equal(path_lookupat(AT_FDCWD, "/s", 0, &p), 0);
	assert_int_equal(mount_change_type(&p, MS_SHARED), 0);
	path_put(&p);
	mkdir_ok("/s/in");
	mkdir_ok("/peer");
	mkdir_ok("/slave");
	assert_int_equal(mnt_ns_bind(ns, "/s", "/peer", 0, false), 0);
	assert_int_equal(mnt_ns_bind(ns, "/s", "/slave", 0, false), 0);
	assert_int_equal(path_lookupat(AT_FDCWD, "/slave", 0, &p), 0);
	assert_int_equal(mount_change_type(&p, MS_SLAVE), 0);
	path_put(&p);
	assert_int_equal(mnt_ns_mount(ns, "/s/in", "tmpfs", "in", 0, NULL, NULL, false), 0);
	touch("/peer/in/f");
	assert_int_equal(t_exists("/s/in/f"), 0);
	assert_int_equal(t_exists("/slave/in/f"), 0);
	assert_int_equal(path_lookupat(AT_FDCWD, "/peer/in", 0, &p), 0);
	assert_int_equal(mount_umount(&p, 0), 0);
	path_put(&p);
	assert_int_equal(t_exists("/s/in/f"), -ENOENT);
	assert_int_equal(t_exists("/slave/in/f"), -ENOENT);
	/* What is mounted in the slave stays there. */
	assert_int_equal(mnt_ns_mount(ns, "/slave/in", "tmpfs", "in", 0, NULL, NULL, false), 0);
	touch("/slave/in/g");
	assert_int_equal(t_exists("/s/in/g"), -ENOENT);
}

static void open_tmpfile_and_deleted_files_work(void **state)
{
	char buf[16] = "";
	int fd = t_open("/", O_TMPFILE | O_RDWR, 0600);

	assert_true(fd >= 0);
	assert_int_equal(t_write(fd, "hello", 5), 5);
	assert_int_equal(t_pread(fd, buf, 16, 0), 5);
	assert_string_equal(buf, "hello");
	t_close(fd);
	fd = t_open("/gone", O_CREAT | O_RDWR, 0600);
	struct file *f = fd_get(fd);
	assert_int_equal(vfs_unlink(AT_FDCWD, "/gone"), 0);
	char *text = d_path(&f->path, NULL);
	assert_string_equal(text, "/gone (deleted)");
	free(text);
	file_put(f);
	assert_int_equal(t_write(fd, "x", 1), 1);
	t_close(fd);
}

static void cache_stays_bounded(void **state)
{
	char name[32];

	dcache_set_limit(1000);
	for (int i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "/missing%d", i);
		assert_int_equal(t_exists(name), -ENOENT);
	}
	assert_true(dcache_count() <= 1001);
	dcache_set_limit(65536);
}

/* Renames in one thread while others walk: they find the file under one of its names, or none. */
static _Atomic bool race_over;
static struct task race_task;

static void *race_walker(void *arg)
{
	long n = 0;

	current = &race_task;
	while (!race_over) {
		int a = t_exists("/p/q/r/s/f"), b = t_exists("/p/q2/r/s/f");

		if ((a && a != -ENOENT) || (b && b != -ENOENT))
			return "unexpected error";
		n++;
	}
	return NULL;
}

static void walks_race_with_renames(void **state)
{
	pthread_t th[3];
	void *what;

	mkdir_ok("/p");
	mkdir_ok("/p/q");
	mkdir_ok("/p/q/r");
	mkdir_ok("/p/q/r/s");
	touch("/p/q/r/s/f");
	race_task = *current;
	race_over = false;
	for (int i = 0; i < 3; i++)
		pthread_create(&th[i], NULL, race_walker, NULL);
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(vfs_rename(AT_FDCWD, "/p/q", AT_FDCWD, "/p/q2", 0), 0);
		assert_int_equal(vfs_rename(AT_FDCWD, "/p/q2", AT_FDCWD, "/p/q", 0), 0);
	}
	race_over = true;
	for (int i = 0; i < 3; i++) {
		pthread_join(th[i], &what);
		assert_null(what);
	}
}

/* Into c, which is then moved beside the root that the walk must not leave; then on from there. */
static int dotdot_after_move(unsigned flags, const char *rest, bool *at_end)
{
	struct path root;
	struct walk w;
	int err;

	assert_int_equal(path_lookupat(AT_FDCWD, "/s/a", 0, &root), 0);
	walk_begin_at(&w, &root, &root, "c/x", flags);
	path_put(&root);
	assert_int_equal(walk_parent(&w, "c/x"), 0);
	assert_int_equal(vfs_rename(AT_FDCWD, "/s/a/c", AT_FDCWD, "/s/c", 0), 0);
	*at_end = walk_check_scope(&w, &w.path) == -EXDEV;
	err = walk_all(&w, rest);
	walk_end(&w, NULL);
	assert_int_equal(vfs_rename(AT_FDCWD, "/s/c", AT_FDCWD, "/s/a/c", 0), 0);
	return err;
}

static void scoped_walk_is_not_led_outside_by_a_rename(void **state)
{
	bool at_end;

	mkdir_ok("/s");
	mkdir_ok("/s/a");
	mkdir_ok("/s/a/c");
	mkdir_ok("/s/secret");
	assert_int_equal(dotdot_after_move(0, "../secret", &at_end), 0);
	assert_false(at_end);
	assert_int_equal(dotdot_after_move(LOOKUP_BENEATH, "../secret", &at_end), -EAGAIN);
	assert_true(at_end);
	assert_int_equal(dotdot_after_move(LOOKUP_IN_ROOT, "../secret", &at_end), -EAGAIN);
	assert_true(at_end);
	assert_int_equal(dotdot_after_move(LOOKUP_IN_ROOT, "../../../secret", &at_end), -EAGAIN);
	assert_int_equal(dotdot_after_move(LOOKUP_BENEATH, ".", &at_end), -EXDEV);
}

static void walk_speed(void **state)
{
	struct timespec a, b;
	const int n = 200000;

	mkdir_ok("/usr");
	mkdir_ok("/usr/lib");
	mkdir_ok("/usr/lib/x86_64");
	touch("/usr/lib/x86_64/libc.so.6");
	link_ok("usr/lib", "/lib");
	t_exists("/lib/x86_64/libc.so.6");
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < n; i++)
		t_exists("/usr/lib/x86_64/libc.so.6");
	clock_gettime(CLOCK_MONOTONIC, &b);
	print_message("walk of 4 names: %ld ns\n",
		      ((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec) / n);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < n; i++)
		t_exists("/lib/x86_64/libc.so.6");
	clock_gettime(CLOCK_MONOTONIC, &b);
	print_message("the same through a symlink: %ld ns\n",
		      ((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec) / n);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < n; i++)
		t_close(t_open("/usr/lib/x86_64/libc.so.6", O_RDONLY, 0));
	clock_gettime(CLOCK_MONOTONIC, &b);
	print_message("open and close: %ld ns\n",
		      ((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec) / n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(walk_finds_files_and_reports_errors, start, stop),
		cmocka_unit_test_setup_teardown(walk_follows_symlinks, start, stop),
		cmocka_unit_test_setup_teardown(walk_counts_forty_links, start, stop),
		cmocka_unit_test_setup_teardown(walk_checks_permissions, start, stop),
		cmocka_unit_test_setup_teardown(removal_reports_posix_errors, start, stop),
		cmocka_unit_test_setup_teardown(rename_moves_replaces_and_exchanges, start, stop),
		cmocka_unit_test_setup_teardown(mounts_cover_and_uncover, start, stop),
		cmocka_unit_test_setup_teardown(shared_mounts_propagate, start, stop),
		cmocka_unit_test_setup_teardown(open_tmpfile_and_deleted_files_work, start, stop),
		cmocka_unit_test_setup_teardown(cache_stays_bounded, start, stop),
		cmocka_unit_test_setup_teardown(walks_race_with_renames, start, stop),
		cmocka_unit_test_setup_teardown(scoped_walk_is_not_led_outside_by_a_rename, start,
						stop),
		cmocka_unit_test_setup_teardown(walk_speed, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
