#include "host_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/host.h"
#include "boot/gofer/gofer.h"
#include "sentry/fs/fs.h"
#include "sentry/fs/host/host.h"
#include "sentry/vfs/name/namei.h"
#include "sentry/vfs/vfs_init.h"
#include "sentry/vfs/walk/dcache.h"

void host_tree_without(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "without-openat2"))
		host_lacks(HOST_OPENAT2);
}

int host_tree_start(struct host_tree *t, bool readonly)
{
	static bool initialised;
	struct gofer_mount mount;
	int pair[2];

	if (!initialised) {
		vfs_init();
		hostfs_init();
		overlay_init();
		initialised = true;
	}
	memset(t, 0, sizeof(*t));
	strcpy(t->dir, "/tmp/moat-tree-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	assert_int_equal(chmod(t->dir, 0755), 0);
	assert_int_equal(gofer_mount_open(t->dir, readonly, &mount, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	t->gofer = fork();
	if (t->gofer == 0) {
		close(pair[0]);
		_exit(gofer_main(&mount, 1, &pair[1], false, NULL));
	}
	close(pair[1]);
	close(mount.root_fd);
	return pair[0];
}

int host_tree_super(struct host_tree *t, int sock, bool readonly, bool cache, bool directfs)
{
	struct host_mount_arg arg = {
		.gofer_sock = sock, .directfs = directfs, .readonly = readonly, .cache = cache};
	const struct fs_type *type = fs_find("host");

	return type->get_super(type, 0, t->dir, NULL, &arg, &t->sb);
}

void host_tree_mount(struct host_tree *t, struct super_block *sb)
{
	assert_int_equal(mnt_ns_create(sb, 0, &t->ns), 0);
	mnt_ns_root(t->ns, &t->root);
}

void host_tree_stop(struct host_tree *t)
{
	char command[128];
	int status;

	path_put(&t->root);
	mnt_ns_put(t->ns);
	/* With the last reference on the super block the socket closes, and the gofer goes. */
	assert_int_equal(waitpid(t->gofer, &status, 0), t->gofer);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	snprintf(command, sizeof(command), "rm -rf %s", t->dir);
	assert_int_equal(system(command), 0);
}

void host_tree_path(const struct host_tree *t, const char *name, char *out, size_t n)
{
	snprintf(out, n, "%s/%s", t->dir, name);
}

void host_tree_put(const struct host_tree *t, const char *name, const char *text, mode_t mode)
{
	char path[256];
	int fd;

	host_tree_path(t, name, path, sizeof(path));
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static int lookup(struct host_tree *t, const char *name, unsigned flags, struct path *path)
{
	return path_lookup_from(&t->root, &t->root, name, flags, path);
}

int tree_open(struct host_tree *t, const char *name, uint32_t flags, struct file **out)
{
	struct path path;
	int ret = lookup(t, name, LOOKUP_FOLLOW, &path);

	if (ret)
		return ret;
	ret = path.dentry->inode ? file_open(&path, flags, out) : -ENOENT;
	path_put(&path);
	return ret;
}

int tree_stat(struct host_tree *t, const char *name, struct kstat *st)
{
	struct path path;
	int ret = lookup(t, name, 0, &path);

	if (ret)
		return ret;
	ret = vfs_getattr(&path, st, 0, 0);
	path_put(&path);
	return ret;
}

ssize_t tree_read(struct host_tree *t, const char *name, char *buf, size_t size)
{
	struct file *f;
	ssize_t n = tree_open(t, name, O_RDONLY, &f);

	if (n < 0)
		return n;
	n = kernel_read(f, buf, size - 1, 0);
	buf[n < 0 ? 0 : n] = 0;
	file_put(f);
	return n;
}

int tree_parent(struct host_tree *t, const char *name, struct tree_parent *p)
{
	char dir[256];
	const char *slash = strrchr(name, '/');
	int ret;

	snprintf(dir, sizeof(dir), "/%.*s", slash ? (int)(slash - name) : 0, name);
	ret = lookup(t, dir, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &p->path);
	if (ret)
		return ret;
	name = slash ? slash + 1 : name;
	write_lock(&p->path.dentry->inode->lock);
	p->dentry = lookup_locked(p->path.dentry, name, strlen(name));
	if (IS_ERR(p->dentry)) {
		ret = PTR_ERR(p->dentry);
		p->dentry = NULL;
		tree_parent_done(p);
	}
	return ret;
}

void tree_parent_done(struct tree_parent *p)
{
	write_unlock(&p->path.dentry->inode->lock);
	d_put(p->dentry);
	path_put(&p->path);
}

int tree_create(struct host_tree *t, const char *name, mode_t mode)
{
	struct tree_parent p;
	int ret = tree_parent(t, name, &p);
	struct inode *dir;

	if (ret)
		return ret;
	dir = p.path.dentry->inode;
	ret = p.dentry->inode ? -EEXIST : dir->ops->create(dir, p.dentry, mode, true);
	tree_parent_done(&p);
	return ret;
}

int tree_mkdir(struct host_tree *t, const char *name, mode_t mode)
{
	struct tree_parent p;
	int ret = tree_parent(t, name, &p);
	struct inode *dir;

	if (ret)
		return ret;
	dir = p.path.dentry->inode;
	ret = p.dentry->inode ? -EEXIST : dir->ops->mkdir(dir, p.dentry, mode);
	tree_parent_done(&p);
	return ret;
}

int tree_remove(struct host_tree *t, const char *name)
{
	struct tree_parent p;
	int ret = tree_parent(t, name, &p);
	struct inode *dir;

	if (ret)
		return ret;
	dir = p.path.dentry->inode;
	if (!p.dentry->inode)
		ret = -ENOENT;
	else if (S_ISDIR(p.dentry->inode->mode))
		ret = dir->ops->rmdir(dir, p.dentry);
	else
		ret = dir->ops->unlink(dir, p.dentry);
	if (!ret)
		d_drop(p.dentry);
	tree_parent_done(&p);
	return ret;
}

/* Locks as rename(2) needs them, but for the order: the tests have one thread. */
static int two_parents(struct host_tree *t, const char *from, const char *to, struct tree_parent *a,
		       struct tree_parent *b)
{
	int ret = tree_parent(t, from, a);

	if (ret)
		return ret;
	write_unlock(&a->path.dentry->inode->lock);
	ret = tree_parent(t, to, b);
	if (!ret && b->path.dentry->inode != a->path.dentry->inode)
		write_lock(&a->path.dentry->inode->lock);
	return ret;
}

static void two_parents_done(struct tree_parent *a, struct tree_parent *b)
{
	bool same = b->path.dentry->inode == a->path.dentry->inode;

	tree_parent_done(b);
	if (same)
		write_lock(&a->path.dentry->inode->lock);
	tree_parent_done(a);
}

int tree_rename(struct host_tree *t, const char *from, const char *to, unsigned flags)
{
	struct tree_parent a, b;
	struct inode *dir;
	int ret = two_parents(t, from, to, &a, &b);

	if (ret)
		return ret;
	dir = a.path.dentry->inode;
	ret = !a.dentry->inode
		      ? -ENOENT
		      : dir->ops->rename(dir, a.dentry, b.path.dentry->inode, b.dentry, flags);
	if (!ret)
		d_move(a.dentry, b.dentry, flags & RENAME_EXCHANGE);
	two_parents_done(&a, &b);
	return ret;
}

int tree_link(struct host_tree *t, const char *from, const char *to)
{
	struct tree_parent a, b;
	int ret = two_parents(t, from, to, &a, &b);

	if (ret)
		return ret;
	ret = b.path.dentry->inode->ops->link(a.dentry, b.path.dentry->inode, b.dentry);
	two_parents_done(&a, &b);
	return ret;
}

int tree_write(struct host_tree *t, const char *name, const char *text)
{
	struct file *f;
	int ret = tree_open(t, name, O_WRONLY, &f);

	if (ret)
		return ret;
	ret = kernel_write(f, text, strlen(text), 0);
	file_put(f);
	return ret;
}

void tree_forget(struct host_tree *t)
{
	d_prune_children(t->root.dentry);
}

struct listing {
	struct dir_context ctx;
	const char *const *names;
	bool *seen;
	int count;
};

static bool add(struct dir_context *ctx, const char *name, size_t len, int64_t next_pos,
		uint64_t ino, unsigned type)
{
	struct listing *l = (struct listing *)ctx;

	l->count++;
	for (int i = 0; l->names && l->names[i]; i++)
		if (!strcmp(l->names[i], name))
			l->seen[i] = true;
	return true;
}

int tree_list(struct host_tree *t, const char *name, const char *const *names, bool *seen)
{
	struct listing l = {.ctx.actor = add, .names = names, .seen = seen};
	struct file *f;
	int ret = tree_open(t, name, O_RDONLY | O_DIRECTORY, &f);

	if (ret)
		return ret;
	for (int i = 0; names && names[i]; i++)
		seen[i] = false;
	ret = f->ops->iterate(f, &l.ctx);
	file_put(f);
	return ret ? ret : l.count;
}
