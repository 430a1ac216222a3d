/* getdents, getdents64. */
#include <dirent.h>
#include <string.h>

#include "base/command_lock.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/file/file_internal.h"
#include "sentry/vfs/notify/fsnotify.h"

#define MAX_CHUNK 32768UL

/* Entries are built in the sentry's memory: file systems call the actor with locks held. */
struct getdents {
	struct dir_context ctx;
	char *buf;
	size_t size, used;
	bool old_format;
	bool too_small; /* the first entry did not fit */
	int err;
};

struct dirent64_k {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

/* The type is the last byte of the record. */
struct dirent_old_k {
	uint64_t ino;
	uint64_t off;
	uint16_t reclen;
	char name[];
};

static bool emit(struct dir_context *ctx, const char *name, size_t len, int64_t next_pos,
		 uint64_t ino, unsigned type)
{
	struct getdents *g = container_of(ctx, struct getdents, ctx);
	size_t head = g->old_format ? offsetof(struct dirent_old_k, name)
				    : offsetof(struct dirent64_k, name);
	size_t reclen = ROUND_UP(head + len + 1 + g->old_format, (size_t)8);
	char *p = g->buf + g->used;

	if (reclen > g->size - g->used) {
		g->too_small = !g->used;
		return false;
	}
	memset(p, 0, reclen);
	memcpy(p, &ino, 8);
	memcpy(p + 8, &next_pos, 8);
	*(uint16_t *)(void *)(p + 16) = reclen;
	if (g->old_format)
		p[reclen - 1] = type;
	else
		p[18] = type;
	memcpy(p + head, name, len);
	g->used += reclen;
	return true;
}

static long do_getdents(int fd, uaddr_t ubuf, unsigned size, bool old_format)
{
	struct file *__put_file f = fd_get(fd);
	struct getdents g = {.ctx.actor = emit, .old_format = old_format};
	char *buf __free = NULL;
	int err;

	if (!f)
		return -EBADF;
	if (!S_ISDIR(f->inode->mode) || !f->ops->iterate)
		return -ENOTDIR;
	/* The kernel keeps it in an int: nothing fits into less than none. */
	g.size = (int)size < 0 ? 0 : MIN((size_t)size, MAX_CHUNK);
	g.buf = buf = malloc(g.size + 1);
	if (!buf)
		return -ENOMEM;
	command_lock(&f->pos_lock);
	if (f->inode->flags & S_DEAD) {
		err = -ENOENT;
	} else {
		g.ctx.pos = atomic_load(&f->pos);
		err = f->ops->iterate(f, &g.ctx);
		if (!err && g.used && copy_to_user(ubuf, buf, g.used))
			err = -EFAULT;
		if (!err)
			atomic_store(&f->pos, g.ctx.pos);
	}
	mutex_unlock(&f->pos_lock);
	if (err)
		return err;
	if (!g.used && g.too_small)
		return -EINVAL;
	touch_atime(&f->path);
	fsnotify_file(IN_ACCESS, f);
	return g.used;
}

SYSCALL_DEFINE3(getdents, int, fd, uaddr_t, buf, unsigned, size)
{
	return do_getdents(fd, buf, size, true);
}

SYSCALL_DEFINE3(getdents64, int, fd, uaddr_t, buf, unsigned, size)
{
	return do_getdents(fd, buf, size, false);
}
