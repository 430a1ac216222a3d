/* The overlay over a real host tree. Between steps the dentry cache is emptied: what differs from
 * the lower tree must not depend on it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "host_tree.h"
#include "sentry/fs/host/host.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/vfs/inode/attr.h"
#include "sentry/vfs/name/namei.h"

static int start(void **state)
{
	struct host_tree *t = calloc(1, sizeof(*t));
	const struct fs_type *type;
	struct overlay_arg arg = {.max_bytes = 64 << 20};
	struct super_block *sb;
	char path[256], path2[256];
	int sock = host_tree_start(t, true);

	host_tree_put(t, "file", "lower", 0644);
	host_tree_put(t, "twin", "shared", 0644);
	host_tree_path(t, "twin", path, sizeof(path));
	host_tree_path(t, "twin2", path2, sizeof(path2));
	assert_int_equal(link(path, path2), 0);
	host_tree_path(t, "dir", path, sizeof(path));
	assert_int_equal(mkdir(path, 0755), 0);
	host_tree_put(t, "dir/a", "a", 0644);
	host_tree_put(t, "dir/b", "b", 0644);
	host_tree_path(t, "dir/sub", path, sizeof(path));
	assert_int_equal(mkdir(path, 0755), 0);
	host_tree_put(t, "dir/sub/deep", "deep", 0644);
	host_tree_path(t, "link", path, sizeof(path));
	assert_int_equal(symlink("dir/a", path), 0);
	assert_int_equal(host_tree_super(t, sock, true, true, true), 0);
	arg.lower = t->sb;
	type = fs_find("overlay");
	assert_int_equal(type->get_super(type, 0, "overlay", NULL, &arg, &sb), 0);
	sb_put(t->sb);
	host_tree_mount(t, sb);
	*state = t;
	return 0;
}

static int stop(void **state)
{
	host_tree_stop(*state);
	free(*state);
	return 0;
}

static void check_read(struct host_tree *t, const char *name, const char *expected)
{
	char buf[256];
	ssize_t n;

	tree_forget(t);
	n = tree_read(t, name, buf, sizeof(buf));
	if (!expected) {
		assert_int_equal(n, -ENOENT);
		return;
	}
	assert_int_equal(n, strlen(expected));
	assert_string_equal(buf, expected);
}

static void check_host(struct host_tree *t, const char *name, const char *expected)
{
	char path[256], buf[256] = "";
	FILE *f;

	host_tree_path(t, name, path, sizeof(path));
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fread(buf, 1, sizeof(buf), f), strlen(expected));
	assert_string_equal(buf, expected);
	fclose(f);
}

static void a_write_copies_up_and_leaves_the_host_alone(void **state)
{
	struct host_tree *t = *state;
	struct kstat before, after;
	struct file *f;
	char buf[16];

	assert_int_equal(tree_stat(t, "file", &before), 0);
	/* Opened before, it reads what is written after. */
	assert_int_equal(tree_open(t, "file", O_RDONLY, &f), 0);
	assert_int_equal(tree_write(t, "file", "UP"), 2);
	check_read(t, "file", "UPwer");
	assert_int_equal(kernel_read(f, buf, sizeof(buf), 0), 5);
	assert_memory_equal(buf, "UPwer", 5);
	file_put(f);
	check_read(t, "file", "UPwer");
	check_host(t, "file", "lower");
	assert_int_equal(tree_stat(t, "file", &after), 0);
	assert_int_equal(before.ino, after.ino);
	assert_int_equal(before.dev, after.dev);
}

static void opening_for_writing_alone_copies_nothing(void **state)
{
	struct host_tree *t = *state;
	struct file *f;
	struct kstat st;

	assert_int_equal(tree_open(t, "file", O_RDWR, &f), 0);
	assert_int_equal(tree_stat(t, "file", &st), 0);
	assert_int_equal(st.size, 5);
	assert_true(f->ops->host_fd(f) == -1);
	file_put(f);
	check_read(t, "file", "lower");
}

static void truncation_keeps_what_it_says(void **state)
{
	struct host_tree *t = *state;
	struct path path;

	assert_int_equal(path_lookup_from(&t->root, &t->root, "file", 0, &path), 0);
	assert_int_equal(vfs_truncate(&path, 3), 0);
	path_put(&path);
	check_read(t, "file", "low");
	check_host(t, "file", "lower");
	assert_int_equal(path_lookup_from(&t->root, &t->root, "dir/a", 0, &path), 0);
	assert_int_equal(vfs_truncate(&path, 0), 0);
	path_put(&path);
	check_read(t, "dir/a", "");
}

static void changed_attributes_leave_the_content_below(void **state)
{
	struct host_tree *t = *state;
	struct path path;
	struct kstat st;

	assert_int_equal(path_lookup_from(&t->root, &t->root, "file", 0, &path), 0);
	assert_int_equal(vfs_chmod(&path, 0400), 0);
	assert_int_equal(vfs_chown(&path, 7, 8), 0);
	path_put(&path);
	tree_forget(t);
	assert_int_equal(tree_stat(t, "file", &st), 0);
	assert_int_equal(st.mode & 07777, 0400);
	assert_int_equal(st.uid, 7);
	assert_int_equal(st.gid, 8);
	check_read(t, "file", "lower");
}

static void removed_names_stay_removed_and_can_be_made_again(void **state)
{
	static const char *const names[] = {"file", "dir", "twin", NULL};
	struct host_tree *t = *state;
	bool seen[3];
	int n = tree_list(t, "/", NULL, NULL);

	assert_int_equal(tree_remove(t, "file"), 0);
	check_read(t, "file", NULL);
	assert_int_equal(tree_list(t, "/", names, seen), n - 1);
	assert_false(seen[0]);
	assert_true(seen[1] && seen[2]);
	assert_int_equal(tree_create(t, "file", 0600), 0);
	check_read(t, "file", "");
	assert_int_equal(tree_write(t, "file", "new"), 3);
	check_read(t, "file", "new");
	assert_int_equal(tree_list(t, "/", names, seen), n);
	assert_true(seen[0]);
	assert_int_equal(tree_remove(t, "file"), 0);
	check_read(t, "file", NULL);
	check_host(t, "file", "lower");
}

static void a_removed_directory_comes_back_empty(void **state)
{
	struct host_tree *t = *state;

	assert_int_equal(tree_remove(t, "dir"), -ENOTEMPTY);
	assert_int_equal(tree_remove(t, "dir/a"), 0);
	assert_int_equal(tree_remove(t, "dir/b"), 0);
	assert_int_equal(tree_remove(t, "dir/sub/deep"), 0);
	tree_forget(t);
	assert_int_equal(tree_remove(t, "dir/sub"), 0);
	assert_int_equal(tree_list(t, "dir", NULL, NULL), 2);
	assert_int_equal(tree_remove(t, "dir"), 0);
	check_read(t, "dir/a", NULL);
	assert_int_equal(tree_mkdir(t, "dir", 0700), 0);
	tree_forget(t);
	assert_int_equal(tree_list(t, "dir", NULL, NULL), 2);
	check_read(t, "dir/a", NULL);
}

static void a_lower_directory_is_renamed_with_all_that_is_in_it(void **state)
{
	struct host_tree *t = *state;
	struct kstat before, after;

	assert_int_equal(tree_stat(t, "dir/sub/deep", &before), 0);
	assert_int_equal(tree_write(t, "dir/a", "A"), 1);
	assert_int_equal(tree_rename(t, "dir", "moved", 0), 0);
	check_read(t, "dir/a", NULL);
	check_read(t, "moved/a", "A");
	check_read(t, "moved/b", "b");
	check_read(t, "moved/sub/deep", "deep");
	assert_int_equal(tree_stat(t, "moved/sub/deep", &after), 0);
	assert_int_equal(before.ino, after.ino);
	/* Into another directory, and another name in its place. */
	assert_int_equal(tree_mkdir(t, "dir", 0755), 0);
	assert_int_equal(tree_rename(t, "moved/sub", "dir/sub", 0), 0);
	check_read(t, "moved/sub/deep", NULL);
	check_read(t, "dir/sub/deep", "deep");
	check_read(t, "dir/a", NULL);
	assert_int_equal(tree_list(t, "dir", NULL, NULL), 3);
	assert_int_equal(tree_list(t, "moved", NULL, NULL), 4);
	assert_int_equal(tree_rename(t, "dir", "moved/sub", 0), 0);
	check_read(t, "moved/sub/sub/deep", "deep");
}

static void rename_replaces_and_exchanges(void **state)
{
	struct host_tree *t = *state;

	assert_int_equal(tree_rename(t, "file", "dir/a", 0), 0);
	check_read(t, "dir/a", "lower");
	check_read(t, "file", NULL);
	assert_int_equal(tree_rename(t, "dir/a", "dir/b", RENAME_EXCHANGE), 0);
	check_read(t, "dir/a", "b");
	check_read(t, "dir/b", "lower");
	assert_int_equal(tree_rename(t, "dir/sub", "twin", RENAME_EXCHANGE), 0);
	check_read(t, "twin/deep", "deep");
	check_read(t, "dir/sub", "shared");
	assert_int_equal(tree_mkdir(t, "full", 0755), 0);
	assert_int_equal(tree_create(t, "full/x", 0644), 0);
	assert_int_equal(tree_rename(t, "twin", "full", 0), -ENOTEMPTY);
}

static void hard_links_stay_one_file(void **state)
{
	struct host_tree *t = *state;
	struct kstat a, b;

	assert_int_equal(tree_write(t, "twin", "SHA"), 3);
	check_read(t, "twin2", "SHAred");
	assert_int_equal(tree_remove(t, "twin"), 0);
	check_read(t, "twin2", "SHAred");
	assert_int_equal(tree_stat(t, "twin2", &a), 0);
	assert_int_equal(a.nlink, 1);
	assert_int_equal(tree_link(t, "twin2", "dir/third"), 0);
	tree_forget(t);
	assert_int_equal(tree_stat(t, "twin2", &a), 0);
	assert_int_equal(tree_stat(t, "dir/third", &b), 0);
	assert_int_equal(a.ino, b.ino);
	assert_int_equal(b.nlink, 2);
	assert_int_equal(tree_remove(t, "twin2"), 0);
	check_read(t, "dir/third", "SHAred");
	assert_int_equal(tree_remove(t, "dir/third"), 0);
	check_read(t, "dir/third", NULL);
	check_host(t, "twin2", "shared");
}

static void names_that_come_and_go_leave_nothing_behind(void **state)
{
	struct host_tree *t = *state;
	char name[32];
	int n = tree_list(t, "dir", NULL, NULL);

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "dir/tmp%d", i);
		assert_int_equal(tree_create(t, name, 0600), 0);
	}
	assert_int_equal(tree_list(t, "dir", NULL, NULL), n + 1000);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "dir/tmp%d", i);
		assert_int_equal(tree_remove(t, name), 0);
	}
	assert_int_equal(tree_list(t, "dir", NULL, NULL), n);
}

struct slow_reader {
	struct dir_context ctx;
	int left, total;
};

static bool take_some(struct dir_context *ctx, const char *name, size_t len, int64_t next_pos,
		      uint64_t ino, unsigned type)
{
	struct slow_reader *r = (struct slow_reader *)ctx;

	if (!r->left)
		return false;
	r->left--;
	r->total++;
	return true;
}

/* rm -rf: each entry is removed while the directory is being read; none may be missed. */
static void a_listing_stands_still_while_names_go(void **state)
{
	struct host_tree *t = *state;
	struct slow_reader r = {.ctx.actor = take_some};
	struct file *f;
	char name[32];
	int last;

	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "dir/x%d", i);
		assert_int_equal(tree_create(t, name, 0600), 0);
	}
	assert_int_equal(tree_open(t, "dir", O_RDONLY, &f), 0);
	for (int i = 0; i < 100; i++) {
		r.left = 1;
		assert_int_equal(f->ops->iterate(f, &r.ctx), 0);
		snprintf(name, sizeof(name), "dir/x%d", i);
		assert_int_equal(tree_remove(t, name), 0);
	}
	do {
		last = r.total;
		r.left = 10;
		assert_int_equal(f->ops->iterate(f, &r.ctx), 0);
	} while (r.total != last);
	assert_int_equal(r.total, 2 + 3 + 100);
	file_put(f);
}

static void mappings_follow_the_content(void **state)
{
	struct host_tree *t = *state;
	struct file *f;
	uint64_t offset;
	char *p, *q;
	int fd;

	assert_int_equal(tree_open(t, "file", O_RDWR, &f), 0);
	assert_int_equal(f->ops->mmap(f, 0, 4096, PROT_READ, MAP_PRIVATE, &fd, &offset), 0);
	p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, offset);
	assert_memory_equal(p, "lower", 5);
	assert_int_equal(f->ops->mmap(f, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, &fd, &offset),
			 0);
	q = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
	assert_true(q != MAP_FAILED);
	assert_memory_equal(q, "lower", 5);
	q[0] = 'L';
	check_read(t, "file", "Lower");
	assert_int_equal(kernel_write(f, "O", 1, 1), 1);
	assert_memory_equal(q, "LOwer", 5);
	assert_memory_equal(p, "lower", 5);
	munmap(p, 4096);
	munmap(q, 4096);
	file_put(f);
	check_host(t, "file", "lower");
}

static void extended_attributes_are_kept_above(void **state)
{
	struct host_tree *t = *state;
	struct path path;
	struct inode *inode;
	char buf[64];

	assert_int_equal(path_lookup_from(&t->root, &t->root, "file", 0, &path), 0);
	inode = path.dentry->inode;
	assert_int_equal(inode->ops->getxattr(inode, "user.x", buf, sizeof(buf)), -ENODATA);
	assert_int_equal(inode->ops->setxattr(inode, "user.x", "abc", 3, 0), 0);
	path_put(&path);
	tree_forget(t);
	assert_int_equal(path_lookup_from(&t->root, &t->root, "file", 0, &path), 0);
	inode = path.dentry->inode;
	assert_int_equal(inode->ops->getxattr(inode, "user.x", buf, sizeof(buf)), 3);
	assert_memory_equal(buf, "abc", 3);
	assert_int_equal(inode->ops->getxattr(inode, "user.x", buf, 2), -ERANGE);
	assert_int_equal(inode->ops->listxattr(inode, buf, sizeof(buf)), 7);
	assert_int_equal(inode->ops->setxattr(inode, "user.x", NULL, 0, 0), 0);
	assert_int_equal(inode->ops->getxattr(inode, "user.x", buf, sizeof(buf)), -ENODATA);
	path_put(&path);
}

static void a_deep_tree_ends_without_recursion(void **state)
{
	struct host_tree *t = *state;
	struct path at = {0};

	at = t->root;
	path_get(&at);
	for (int i = 0; i < 20000; i++) {
		struct inode *dir = at.dentry->inode;
		struct dentry *d;

		write_lock(&dir->lock);
		d = lookup_locked(at.dentry, "d", 1);
		assert_false(IS_ERR(d));
		assert_int_equal(dir->ops->mkdir(dir, d, 0755), 0);
		write_unlock(&dir->lock);
		d_put(at.dentry);
		at.dentry = d;
	}
	path_put(&at);
	/* stop() takes it down. */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_write_copies_up_and_leaves_the_host_alone),
		TEST(opening_for_writing_alone_copies_nothing),
		TEST(truncation_keeps_what_it_says),
		TEST(changed_attributes_leave_the_content_below),
		TEST(removed_names_stay_removed_and_can_be_made_again),
		TEST(a_removed_directory_comes_back_empty),
		TEST(a_lower_directory_is_renamed_with_all_that_is_in_it),
		TEST(rename_replaces_and_exchanges),
		TEST(hard_links_stay_one_file),
		TEST(names_that_come_and_go_leave_nothing_behind),
		TEST(a_listing_stands_still_while_names_go),
		TEST(mappings_follow_the_content),
		TEST(extended_attributes_are_kept_above),
		TEST(a_deep_tree_ends_without_recursion),
	};

	host_tree_without(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
