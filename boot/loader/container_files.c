/*
 * Files of a driven container, read and written from outside. Its first process, which never runs,
 * is the task that does it: names are walked in the container's tree, as the user whom the
 * specification names, and what guests have left there leads nowhere else. c->pausing makes it one
 * at a time.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "boot/loader/loader_internal.h"
#include "control/frame.h"
#include "sentry/kernel/core/current.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/name/namei.h"

#define LIST_MAX 4096
#define LIST_BYTES_MAX (1u << 20)
#define DELETE_DEPTH_MAX 256

/* The caller's thread is the first process from here on. */
static int become_init(struct container *c, struct control_error *err)
{
	bool over;

	mutex_lock(&c->loader->lock);
	over = c->state != CONTAINER_CREATED || c->discarded || c->resetting;
	mutex_unlock(&c->loader->lock);
	if (!c->lowers)
		return control_fail(err, EOPNOTSUPP, "container '%s' is not a driven one", c->id);
	if (over)
		return control_fail(err, EINVAL, "container '%s' has ended", c->id);
	current = c->init->group->leader;
	vfs_override_cred(c->files_cred);
	return 0;
}

static void leave_init(void *unused)
{
	vfs_override_cred(NULL);
	current = NULL;
}
#define AS_INIT int as_init_ __cleanup(leave_init) __maybe_unused = 0

/* In the words of those who asked. */
static int fail(struct control_error *err, const char *path, int ret)
{
	if (ret == -ELOOP)
		return control_fail(err, ELOOP, "%s: is a symbolic link", path);
	return control_fail(err, ret, "%s: %s", path, strerror(-ret));
}

static bool is_on_disk(const struct super_block *sb)
{
	const char *name = sb->type->name;

	return !strcmp(name, "tmpfs") || !strcmp(name, "host") || !strcmp(name, "overlay");
}

/* A file, on a disk or in memory: what can be read and written without waiting for a guest. */
static int check_regular(const struct inode *inode, const char *path, struct control_error *err)
{
	if (S_ISLNK(inode->mode))
		return fail(err, path, -ELOOP);
	if (S_ISDIR(inode->mode))
		return fail(err, path, -EISDIR);
	if (!S_ISREG(inode->mode) || !is_on_disk(inode->sb))
		return control_fail(err, EINVAL, "%s: is no regular file", path);
	return 0;
}

/* Looks before it opens: opening a fifo would tell who waits at its other end. */
static int open_regular(struct container *c, const char *path, int flags, uint32_t mode,
			struct file **out, struct control_error *err)
{
	struct path root __put_path = {0}, at __put_path = {0};
	int ret;

	mnt_ns_root(c->ns.mnt, &root);
	ret = path_lookup_from(&root, &root, path, LOOKUP_NO_MAGICLINKS, &at);
	if (ret && (ret != -ENOENT || !(flags & O_CREAT)))
		return fail(err, path, ret);
	if (!ret)
		ret = check_regular(at.dentry->inode, path, err);
	else
		ret = 0;
	if (ret)
		return ret;
	ret = vfs_open(AT_FDCWD, path, (uint32_t)flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, mode,
		       LOOKUP_NO_MAGICLINKS, out);
	if (ret)
		return fail(err, path, ret);
	/* A guest may have put something else there meanwhile. */
	ret = check_regular((*out)->inode, path, err);
	if (ret) {
		file_put(*out);
		*out = NULL;
	}
	return ret;
}

int container_file_read(struct container *c, const Moat__FileRead *what, unsigned char **data,
			size_t *size, uint64_t *total, struct control_error *err)
{
	struct file *__put_file f = NULL;
	ssize_t n = 0;
	int ret;
	MUTEX_GUARD(&c->pausing);
	AS_INIT;

	ret = become_init(c, err);
	if (!ret)
		ret = open_regular(c, what->path, O_RDONLY, 0, &f, err);
	if (ret)
		return ret;
	*data = malloc((size_t)what->size + 1);
	if (!*data)
		return control_fail(err, ENOMEM, "no memory");
	while (*size < what->size && (n = kernel_read(f, *data + *size, what->size - *size,
						      (int64_t)(what->offset + *size))) > 0)
		*size += (size_t)n;
	*total = (uint64_t)atomic_load(&f->inode->size);
	return n < 0 ? fail(err, what->path, (int)n) : 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

static int make_parents(struct container *c, const char *path)
{
	char *__free dir = strdup(path), *slash;

	if (!dir)
		return -ENOMEM;
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = 0;
	return mnt_ns_make_dir(c->ns.mnt, dir);
}

static int write_all(struct file *f, const ProtobufCBinaryData *data, uint64_t offset)
{
	size_t done = 0;

	while (done < data->len) {
		ssize_t n = kernel_write(f, data->data + done, data->len - done,
					 (int64_t)(offset + done));

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		done += (size_t)n;
	}
	return 0;
}

int container_file_write(struct container *c, const Moat__FileWrite *what,
			 struct control_error *err)
{
	int flags = O_WRONLY | O_CREAT | (what->truncate ? O_TRUNC : 0), ret;
	struct file *__put_file f = NULL;
	MUTEX_GUARD(&c->pausing);
	AS_INIT;

	ret = become_init(c, err);
	if (ret)
		return ret;
	if (what->parents && (ret = make_parents(c, what->path)))
		return fail(err, what->path, ret);
	if (what->directory) {
		ret = vfs_mkdir(AT_FDCWD, what->path, what->mode);
		return ret && (ret != -EEXIST || !what->parents) ? fail(err, what->path, ret) : 0;
	}
	ret = open_regular(c, what->path, flags, what->mode, &f, err);
	if (ret)
		return ret;
	ret = write_all(f, &what->data, what->offset);
	return ret ? fail(err, what->path, ret) : 0;
}

/* --- directories ------------------------------------------------------------------------------ */

/* The names in a directory, in one buffer, each with its zero. */
struct names {
	struct dir_context ctx;
	char *text; /* owned */
	size_t size, room, max;
	unsigned n;
	bool full, no_memory;
};

static bool take_name(struct dir_context *ctx, const char *name, size_t len, int64_t next_pos,
		      uint64_t ino, unsigned type)
{
	struct names *names = container_of(ctx, struct names, ctx);

	if ((len == 1 && *name == '.') || (len == 2 && !memcmp(name, "..", 2)))
		return true;
	if (names->n == names->max || names->size + len + 1 > LIST_BYTES_MAX) {
		names->full = true;
		return false;
	}
	if (names->size + len + 1 > names->room) {
		size_t room = MAX((names->size + len + 1) * 2, (size_t)1024);
		char *grown = realloc(names->text, room);

		if (!grown) {
			names->no_memory = names->full = true;
			return false;
		}
		names->text = grown;
		names->room = room;
	}
	memcpy(names->text + names->size, name, len);
	names->text[names->size + len] = 0;
	names->size += len + 1;
	names->n++;
	return true;
}

static int read_names(const char *path, struct names *names)
{
	struct file *__put_file f = NULL;
	int64_t pos = -1;
	int ret = vfs_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0,
			   LOOKUP_NO_MAGICLINKS, &f);

	if (ret)
		return ret;
	if (!f->ops->iterate || !is_on_disk(f->inode->sb))
		return -ENOTDIR;
	names->ctx.actor = take_name;
	/* As getdents: until nothing more comes. */
	while (!ret && !names->full && names->ctx.pos != pos) {
		pos = names->ctx.pos;
		ret = f->inode->flags & S_DEAD ? -ENOENT : f->ops->iterate(f, &names->ctx);
	}
	return names->no_memory ? -ENOMEM : ret;
}

static char *join(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", strcmp(dir, "/") ? dir : "", name) < 0 ? NULL : path;
}

static int delete_tree(const char *path, int depth);

/* What is in a directory; -EAGAIN: there was more than fits. */
static int delete_contents(const char *path, int depth)
{
	struct names names = {.max = LIST_MAX};
	const char *name;
	int ret = read_names(path, &names);

	name = names.text;
	for (unsigned i = 0; i < names.n && !ret; i++, name += strlen(name) + 1) {
		char *__free child = join(path, name);

		ret = child ? delete_tree(child, depth + 1) : -ENOMEM;
	}
	free(names.text);
	return !ret && names.full ? -EAGAIN : ret;
}

/* Symbolic links are deleted, never followed. */
static int delete_tree(const char *path, int depth)
{
	int ret = vfs_unlink(AT_FDCWD, path);

	if (ret != -EISDIR)
		return ret;
	if (depth > DELETE_DEPTH_MAX)
		return -ENAMETOOLONG;
	do {
		ret = delete_contents(path, depth);
	} while (ret == -EAGAIN);
	return ret ? ret : vfs_rmdir(AT_FDCWD, path);
}

int container_file_delete(struct container *c, const Moat__FileDelete *what,
			  struct control_error *err)
{
	int ret;
	MUTEX_GUARD(&c->pausing);
	AS_INIT;

	ret = become_init(c, err);
	if (ret)
		return ret;
	if (what->recursive)
		ret = delete_tree(what->path, 0);
	else if ((ret = vfs_unlink(AT_FDCWD, what->path)) == -EISDIR)
		ret = vfs_rmdir(AT_FDCWD, what->path);
	return ret ? fail(err, what->path, ret) : 0;
}

static int add_entry(struct container *c, const char *dir, const char *name, Moat__FileList *list)
{
	struct path root __put_path = {0}, at __put_path = {0};
	Moat__FileEntry *e = calloc(1, sizeof(*e));
	char *__free path = join(dir, name);
	struct kstat st;
	int ret;

	if (!e || !path) {
		free(e);
		return -ENOMEM;
	}
	moat__file_entry__init(e);
	list->entries[list->n_entries++] = e;
	e->name.data = (uint8_t *)strdup(name);
	e->name.len = e->name.data ? strlen(name) : 0;
	if (!e->name.data)
		return -ENOMEM;
	mnt_ns_root(c->ns.mnt, &root);
	ret = path_lookup_from(&root, &root, path, LOOKUP_NO_MAGICLINKS, &at);
	if (!ret)
		ret = vfs_getattr(&at, &st, STATX_BASIC_STATS, 0);
	if (ret)
		return 0; /* gone meanwhile: its name is all that is known */
	e->mode = st.mode;
	e->size = st.size;
	e->modified_ns = st.mtime.tv_sec * NSEC_PER_SEC + st.mtime.tv_nsec;
	return 0;
}

int container_file_list(struct container *c, const Moat__FileName *what, Moat__FileList *list,
			struct control_error *err)
{
	struct names names = {.max = LIST_MAX};
	const char *name;
	int ret;
	MUTEX_GUARD(&c->pausing);
	AS_INIT;

	ret = become_init(c, err);
	if (ret)
		return ret;
	ret = read_names(what->path, &names);
	list->entries = calloc((size_t)names.n + 1, sizeof(Moat__FileEntry *));
	if (!list->entries)
		ret = -ENOMEM;
	name = names.text;
	for (unsigned i = 0; i < names.n && !ret; i++, name += strlen(name) + 1)
		ret = add_entry(c, what->path, name, list);
	list->truncated = names.full;
	free(names.text);
	return ret ? fail(err, what->path, ret) : 0;
}
