/* The host file system over a real gofer, through the VFS; and against a gofer that lies. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "host_tree.h"
#include "sentry/fs/host/host.h"

static int start(struct host_tree *t, bool readonly, bool cache, bool directfs)
{
	int sock = host_tree_start(t, readonly), ret;
	char path[256];

	host_tree_put(t, "file", "hello", 0644);
	host_tree_put(t, "secret", "root's own", 0600);
	host_tree_path(t, "dir", path, sizeof(path));
	assert_int_equal(mkdir(path, 0755), 0);
	host_tree_put(t, "dir/inner", "inner", 0644);
	host_tree_path(t, "private", path, sizeof(path));
	assert_int_equal(mkdir(path, 0700), 0);
	host_tree_put(t, "private/deep", "deep", 0644);
	host_tree_path(t, "abs", path, sizeof(path));
	assert_int_equal(symlink("/dir/inner", path), 0);
	host_tree_path(t, "out", path, sizeof(path));
	assert_int_equal(symlink("../../../../etc/passwd", path), 0);
	ret = host_tree_super(t, sock, readonly, cache, directfs);
	if (!ret)
		host_tree_mount(t, t->sb);
	return ret;
}

static void check_reading(struct host_tree *t)
{
	char buf[64];
	struct kstat st;

	assert_int_equal(tree_read(t, "file", buf, sizeof(buf)), 5);
	assert_string_equal(buf, "hello");
	assert_int_equal(tree_read(t, "dir/inner", buf, sizeof(buf)), 5);
	/* An absolute link means the mount's root, and none leads above it. */
	assert_int_equal(tree_read(t, "abs", buf, sizeof(buf)), 5);
	assert_int_equal(tree_read(t, "out", buf, sizeof(buf)), -ENOENT);
	assert_int_equal(tree_read(t, "secret", buf, sizeof(buf)), 10);
	assert_int_equal(tree_read(t, "private/deep", buf, sizeof(buf)), 4);
	assert_int_equal(tree_list(t, "private", NULL, NULL), 3);
	assert_int_equal(tree_stat(t, "file", &st), 0);
	assert_int_equal(st.size, 5);
	assert_int_equal(tree_stat(t, "nothing", &st), -ENOENT);
	assert_int_equal(tree_stat(t, "file/x", &st), -ENOTDIR);
	assert_int_equal(tree_stat(t, "abs", &st), 0);
	assert_true(S_ISLNK(st.mode));
}

static void files_are_read_through_the_donated_root(void **state)
{
	struct host_tree t;

	assert_int_equal(start(&t, true, true, true), 0);
	check_reading(&t);
	host_tree_stop(&t);
}

static void files_are_read_through_the_gofer_alone(void **state)
{
	struct host_tree t;

	assert_int_equal(start(&t, true, true, false), 0);
	check_reading(&t);
	host_tree_stop(&t);
}

static void the_gofer_opens_what_a_bare_uid_may_not(void **state)
{
	struct host_tree t;
	struct inode *inode;

	if (geteuid() != 0)
		skip();
	assert_int_equal(start(&t, false, false, true), 0);
	assert_int_equal(seteuid(65534), 0);
	check_reading(&t);
	assert_int_equal(tree_create(&t, "private/made", 0640), 0);
	assert_int_equal(host_lookup(t.root.dentry->inode->private, "file", &inode), 0);
	assert_int_equal(inode->uid, 0);
	inode_put(inode);
	assert_int_equal(seteuid(0), 0);
	host_tree_stop(&t);
}

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void host_fds_stay_within_the_limit(void **state)
{
	struct host_tree t;
	struct file *files[100];
	char name[32], buf[64];
	int before;

	host_fd_cache_set_limit(8);
	assert_int_equal(start(&t, true, true, true), 0);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		host_tree_put(&t, name, name, 0644);
	}
	before = count_fds();
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(tree_open(&t, name, O_RDONLY, &files[i]), 0);
	}
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 100; i++) {
			ssize_t n = kernel_read(files[i], buf, sizeof(buf) - 1, 0);

			snprintf(name, sizeof(name), "f%d", i);
			assert_int_equal(n, strlen(name));
			assert_memory_equal(buf, name, n);
			assert_true(count_fds() <= before + 10);
		}
	for (int i = 0; i < 100; i++)
		file_put(files[i]);
	host_tree_stop(&t);
	host_fd_cache_set_limit(256);
}

static void a_lent_fd_survives_eviction(void **state)
{
	struct host_tree t;
	struct file *f;
	char buf[64];
	uint64_t offset;
	int fd;

	host_fd_cache_set_limit(1);
	assert_int_equal(start(&t, true, true, true), 0);
	assert_int_equal(tree_open(&t, "file", O_RDONLY, &f), 0);
	assert_int_equal(f->ops->mmap(f, 0, 5, 1, 2, &fd, &offset), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(tree_read(&t, "dir/inner", buf, sizeof(buf)), 5);
		assert_int_equal(tree_read(&t, "secret", buf, sizeof(buf)), 10);
	}
	assert_int_equal(pread(fd, buf, sizeof(buf), 0), 5);
	assert_memory_equal(buf, "hello", 5);
	file_put(f);
	host_tree_stop(&t);
	host_fd_cache_set_limit(256);
}

/* Several threads read, look up and list under a limit that makes nearly every access evict. */
struct reader {
	struct host_tree *t;
	unsigned seed;
	int bad;
};

static void *read_at_random(void *arg)
{
	struct reader *r = arg;

	for (int i = 0; i < 2000; i++) {
		char name[32], buf[64];
		struct kstat st;
		ssize_t n;

		r->seed = r->seed * 1103515245 + 12345;
		snprintf(name, sizeof(name), "d%u/f%u", (r->seed >> 8) % 4, (r->seed >> 16) % 10);
		n = tree_read(r->t, name, buf, sizeof(buf));
		if (n != (ssize_t)strlen(name) || strcmp(buf, name))
			r->bad++;
		if (i % 16 == 0)
			tree_forget(r->t);
		if (i % 16 == 8 && tree_stat(r->t, "d1/none", &st) != -ENOENT)
			r->bad++;
	}
	return NULL;
}

static void readers_and_eviction_agree(void **state)
{
	struct reader readers[4];
	pthread_t threads[4];
	struct host_tree t;
	char name[32], path[256];

	host_fd_cache_set_limit(3);
	assert_int_equal(start(&t, true, true, true), 0);
	for (int d = 0; d < 4; d++) {
		snprintf(name, sizeof(name), "d%d", d);
		host_tree_path(&t, name, path, sizeof(path));
		assert_int_equal(mkdir(path, 0755), 0);
		for (int i = 0; i < 10; i++) {
			snprintf(name, sizeof(name), "d%d/f%d", d, i);
			host_tree_put(&t, name, name, 0644);
		}
	}
	for (int i = 0; i < 4; i++) {
		readers[i] = (struct reader){.t = &t, .seed = i * 7919 + 1};
		assert_int_equal(pthread_create(&threads[i], NULL, read_at_random, &readers[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(readers[i].bad, 0);
	}
	host_tree_stop(&t);
	host_fd_cache_set_limit(256);
}

static void hard_links_are_one_inode(void **state)
{
	struct host_tree t;
	struct kstat a, b;
	char old[256], new[256];

	assert_int_equal(start(&t, true, true, true), 0);
	host_tree_path(&t, "file", old, sizeof(old));
	host_tree_path(&t, "dir/link", new, sizeof(new));
	assert_int_equal(link(old, new), 0);
	assert_int_equal(tree_stat(&t, "file", &a), 0);
	assert_int_equal(tree_stat(&t, "dir/link", &b), 0);
	assert_int_equal(a.ino, b.ino);
	assert_int_equal(a.nlink, 2);
	host_tree_stop(&t);
}

static void a_volume_sees_what_the_host_changes(void **state)
{
	struct host_tree t;
	struct kstat st;
	char buf[64], path[256], path2[256];

	assert_int_equal(start(&t, true, false, true), 0);
	assert_int_equal(tree_read(&t, "file", buf, sizeof(buf)), 5);
	host_tree_put(&t, "file", "changed!", 0600);
	assert_int_equal(tree_stat(&t, "file", &st), 0);
	assert_int_equal(st.size, 8);
	assert_int_equal(st.mode & 0777, 0600);
	assert_int_equal(tree_stat(&t, "later", &st), -ENOENT);
	host_tree_put(&t, "later", "x", 0644);
	assert_int_equal(tree_stat(&t, "later", &st), 0);
	/* Replaced by another file of the same name. */
	host_tree_path(&t, "later", path, sizeof(path));
	host_tree_path(&t, "file", path2, sizeof(path2));
	assert_int_equal(rename(path, path2), 0);
	assert_int_equal(tree_read(&t, "file", buf, sizeof(buf)), 1);
	assert_int_equal(tree_list(&t, "/", NULL, NULL), 8);
	host_tree_stop(&t);
}

static void changes_reach_the_host(void **state)
{
	struct host_tree t;
	struct file *f;
	struct stat st;
	char path[256], buf[64];

	assert_int_equal(start(&t, false, false, true), 0);
	assert_int_equal(tree_create(&t, "new", 0640), 0);
	assert_int_equal(tree_open(&t, "new", O_RDWR, &f), 0);
	assert_int_equal(kernel_write(f, "abc", 3, 0), 3);
	assert_int_equal(kernel_write(f, "de", 2, 3), 2);
	host_tree_path(&t, "new", path, sizeof(path));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 5);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	/* Deleted, and its fd under pressure: it goes on. */
	host_fd_cache_set_limit(1);
	assert_int_equal(tree_remove(&t, "new"), 0);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(tree_read(&t, "file", buf, sizeof(buf)), 5);
	assert_int_equal(tree_read(&t, "secret", buf, sizeof(buf)), 10);
	assert_int_equal(kernel_read(f, buf, sizeof(buf), 0), 5);
	assert_memory_equal(buf, "abcde", 5);
	file_put(f);
	host_fd_cache_set_limit(256);
	assert_int_equal(tree_mkdir(&t, "made", 0750), 0);
	assert_int_equal(tree_create(&t, "made/x", 0600), 0);
	assert_int_equal(tree_remove(&t, "made"), -ENOTEMPTY);
	assert_int_equal(tree_remove(&t, "made/x"), 0);
	assert_int_equal(tree_remove(&t, "made"), 0);
	host_tree_stop(&t);
}

static void a_read_only_mount_is_read_only(void **state)
{
	struct host_tree t;

	assert_int_equal(start(&t, true, true, true), 0);
	assert_int_equal(tree_create(&t, "new", 0640), -EROFS);
	assert_int_equal(tree_remove(&t, "file"), -EROFS);
	host_tree_stop(&t);
}

/* --- a gofer that does not keep to the protocol --------------------------------------------------
 */

struct liar {
	int sock;
	int kind;
};

static void *lie(void *arg)
{
	struct liar *l = arg;
	char buf[GOFER_REQUEST_MAX];
	struct gofer_reply r = {.version = GOFER_VERSION, .size = sizeof(r)};
	size_t n = sizeof(r);

	if (recv(l->sock, buf, sizeof(buf), 0) <= 0)
		return NULL;
	r.op = ((struct gofer_request *)buf)->op;
	switch (l->kind) {
	case 0:
		n = 10;
		break;
	case 1:
		r.has_fd = 1;
		break;
	case 2:
		r.size = 1 << 30;
		r.data_len = (1 << 30) - sizeof(r);
		break;
	case 3:
		r.error = 5;
		break;
	case 4:
		r.op = GOFER_OPEN;
		break;
	case 5:
		r.version = 7;
		break;
	case 6:
		n = 0;
		break;
	case 7:
		r.data_len = 4;
		break;
	case 8:
		r.error = -100000;
		break;
	}
	memset(buf, 0xff, sizeof(buf));
	memcpy(buf, &r, sizeof(r));
	if (n)
		send(l->sock, buf, n, MSG_NOSIGNAL);
	close(l->sock);
	return NULL;
}

static void a_lying_gofer_is_an_io_error(void **state)
{
	for (int kind = 0; kind <= 8; kind++) {
		struct host_mount_arg arg = {.directfs = true};
		const struct fs_type *type;
		struct super_block *sb;
		struct liar l = {.kind = kind};
		pthread_t thread;
		int pair[2];

		type = fs_find("host");
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
		l.sock = pair[1];
		arg.gofer_sock = pair[0];
		pthread_create(&thread, NULL, lie, &l);
		assert_int_equal(type->get_super(type, 0, "liar", NULL, &arg, &sb), -EIO);
		pthread_join(thread, NULL);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_read_through_the_donated_root),
		cmocka_unit_test(files_are_read_through_the_gofer_alone),
		cmocka_unit_test(the_gofer_opens_what_a_bare_uid_may_not),
		cmocka_unit_test(host_fds_stay_within_the_limit),
		cmocka_unit_test(a_lent_fd_survives_eviction),
		cmocka_unit_test(readers_and_eviction_agree),
		cmocka_unit_test(hard_links_are_one_inode),
		cmocka_unit_test(a_volume_sees_what_the_host_changes),
		cmocka_unit_test(changes_reach_the_host),
		cmocka_unit_test(a_read_only_mount_is_read_only),
		cmocka_unit_test(a_lying_gofer_is_an_io_error),
	};

	host_tree_without(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
