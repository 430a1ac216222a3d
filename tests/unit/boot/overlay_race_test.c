/* Threads on one overlay through the VFS's own operations, as tasks would: for the sanitizers. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "host_tree.h"
#include "sentry/fs/host/host.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/kernel/task/task.h"
#include "sentry/vfs/inode/attr.h"
#include "sentry/vfs/name/namei.h"

#define THREADS 4
#define ROUNDS 3000

struct racer {
	struct host_tree *t;
	struct task task;
	struct thread_group group;
	unsigned seed;
	int bad;
};

static void random_path(struct racer *r, char *out, size_t n)
{
	static const char *const dirs[] = {"", "/dir", "/dir/sub", "/other"};

	snprintf(out, n, "%s/f%d", dirs[rand_r(&r->seed) % 4], rand_r(&r->seed) % 8);
}

static void check(struct racer *r, int ret, const char *what)
{
	switch (-ret) {
	case ENOENT:
	case EEXIST:
	case ENOTEMPTY:
	case EISDIR:
	case ENOTDIR:
	case ETXTBSY:
		return;
	}
	if (ret < 0) {
		printf("%s: %s\n", what, strerror(-ret));
		r->bad++;
	}
}

static bool take_all(struct dir_context *ctx, const char *name, size_t len, int64_t next_pos,
		     uint64_t ino, unsigned type)
{
	return true;
}

static void use_file(struct racer *r, const char *path)
{
	char buf[300] = "some text";
	struct file *f;
	uint64_t offset;
	int fd, ret;

	ret = file_open_at(AT_FDCWD, path, O_RDWR, 0, &f);
	check(r, ret, "open");
	if (ret)
		return;
	check(r, kernel_read(f, buf, sizeof(buf), 0), "read");
	if (rand_r(&r->seed) % 2)
		check(r, kernel_write(f, buf, sizeof(buf), rand_r(&r->seed) % 70000), "write");
	if (rand_r(&r->seed) % 4 == 0)
		check(r, f->ops->mmap(f, 0, 4096, 1, 2, &fd, &offset), "mmap");
	file_put(f);
}

static void list(struct racer *r, const char *path)
{
	struct dir_context ctx = {.actor = take_all};
	struct file *f;
	int ret = file_open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, &f);

	check(r, ret, "open of a directory");
	if (ret)
		return;
	check(r, f->ops->iterate(f, &ctx), "readdir");
	file_put(f);
}

static void change_attributes(struct racer *r, const char *name)
{
	struct path path;
	int ret = path_lookupat(AT_FDCWD, name, 0, &path);

	check(r, ret, "look-up");
	if (ret)
		return;
	check(r, vfs_chmod(&path, 0600), "chmod");
	if (S_ISREG(path.dentry->inode->mode))
		check(r, vfs_truncate(&path, rand_r(&r->seed) % 100), "truncate");
	path_put(&path);
}

static void create(struct racer *r, const char *path)
{
	struct file *f;
	int ret = file_open_at(AT_FDCWD, path, O_CREAT | O_EXCL | O_RDWR, 0644, &f);

	check(r, ret, "create");
	if (!ret)
		file_put(f);
}

static void *race(void *arg)
{
	struct racer *r = arg;

	current = &r->task;
	for (int i = 0; i < ROUNDS; i++) {
		char a[64], b[64];

		random_path(r, a, sizeof(a));
		random_path(r, b, sizeof(b));
		switch (rand_r(&r->seed) % 10) {
		case 0:
			check(r, vfs_rename(AT_FDCWD, a, AT_FDCWD, b, 0), "rename");
			break;
		case 1:
			check(r, vfs_unlink(AT_FDCWD, a), "unlink");
			break;
		case 2:
			check(r, vfs_link(AT_FDCWD, a, AT_FDCWD, b, 0), "link");
			break;
		case 3:
			create(r, a);
			break;
		case 4:
			change_attributes(r, a);
			break;
		case 5:
			list(r, rand_r(&r->seed) % 2 ? "/dir" : "/dir/sub");
			break;
		case 6:
			check(r, vfs_rename(AT_FDCWD, "/dir/sub", AT_FDCWD, "/other/sub", 0),
			      "move");
			check(r, vfs_rename(AT_FDCWD, "/other/sub", AT_FDCWD, "/dir/sub", 0),
			      "move");
			break;
		case 7:
			tree_forget(r->t);
			break;
		default:
			use_file(r, a);
		}
	}
	current = NULL;
	return NULL;
}

static void make_tree(struct host_tree *t)
{
	static const char *const dirs[] = {"dir", "dir/sub", "other"};
	char name[64], path[256];

	for (int i = 0; i < 3; i++) {
		host_tree_path(t, dirs[i], path, sizeof(path));
		assert_int_equal(mkdir(path, 0755), 0);
		for (int f = 0; f < 8; f++) {
			snprintf(name, sizeof(name), "%s/f%d", dirs[i], f);
			host_tree_put(t, name, name, 0644);
		}
	}
}

static void tasks_race_on_one_tree(void **state)
{
	struct overlay_arg arg = {.max_bytes = 64 << 20};
	const struct fs_type *type;
	struct super_block *sb;
	struct racer *racers;
	pthread_t threads[THREADS];
	struct host_tree t;
	int sock = host_tree_start(&t, true);

	host_fd_cache_set_limit(6);
	make_tree(&t);
	assert_int_equal(host_tree_super(&t, sock, true, true, true), 0);
	arg.lower = t.sb;
	type = fs_find("overlay");
	assert_int_equal(type->get_super(type, 0, "overlay", NULL, &arg, &sb), 0);
	sb_put(t.sb);
	host_tree_mount(&t, sb);
	racers = calloc(THREADS, sizeof(*racers));
	for (int i = 0; i < THREADS; i++) {
		struct racer *r = &racers[i];

		r->t = &t;
		r->seed = i * 7919 + 1;
		r->task.fs = fs_alloc(&t.root, &t.root, 022);
		r->task.cred = cred_alloc();
		r->task.cred->cap_effective = CAP_FULL_MASK;
		r->task.group = &r->group;
		for (int l = 0; l < RLIM_NLIMITS; l++)
			r->group.rlim[l].rlim_cur = RLIM_INFINITY;
	}
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(racers[i].bad, 0);
		fs_put(racers[i].task.fs);
		cred_put(racers[i].task.cred);
	}
	free(racers);
	host_tree_stop(&t);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(tasks_race_on_one_tree)};

	host_tree_without(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
