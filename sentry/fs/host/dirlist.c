#include "sentry/fs/host/dirlist.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sentry/vfs/file.h"

#define READ_SIZE 32768

/* What getdents64(2) fills in. */
struct dirent_record {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};
#define DIRENT_HEADER offsetof(struct dirent_record, name)

struct dirlist *dirlist_alloc(void)
{
	struct dirlist *l = calloc(1, sizeof(*l));

	if (l)
		refcount_init(&l->refs);
	return l;
}

struct dirlist *dirlist_get(struct dirlist *l)
{
	refcount_inc(&l->refs);
	return l;
}

void dirlist_put(struct dirlist *l)
{
	if (!l || !refcount_dec(&l->refs))
		return;
	free(l->entries);
	free(l->names);
	free(l);
}

static int reserve(struct dirlist *l, size_t name_bytes)
{
	if (l->nr == l->cap) {
		uint32_t cap = l->cap ? l->cap * 2 : 16;
		void *p;

		if (cap < l->cap)
			return -EOVERFLOW;
		p = reallocarray(l->entries, cap, sizeof(*l->entries));
		if (!p)
			return -ENOMEM;
		l->entries = p;
		l->cap = cap;
	}
	if (l->names_size + name_bytes > l->names_cap) {
		size_t cap = l->names_cap ? l->names_cap * 2 : 512;
		void *p;

		if (cap > UINT32_MAX)
			return -EOVERFLOW;
		p = realloc(l->names, cap);
		if (!p)
			return -ENOMEM;
		l->names = p;
		l->names_cap = cap;
	}
	return 0;
}

int dirlist_add(struct dirlist *l, const char *name, size_t len, uint64_t ino, unsigned type)
{
	int ret;

	if (len == 0 || len > NAME_MAX_LEN || memchr(name, '/', len) || memchr(name, 0, len))
		return -EINVAL;
	ret = reserve(l, len + 1);
	if (ret)
		return ret;
	l->entries[l->nr++] = (struct dirlist_entry){.ino = ino,
						     .name = (uint32_t)l->names_size,
						     .len = (uint8_t)len,
						     .type = (uint8_t)type};
	memcpy(l->names + l->names_size, name, len);
	l->names[l->names_size + len] = 0;
	l->names_size += len + 1;
	return 0;
}

static bool is_dot(const char *name)
{
	return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

int dirlist_read(struct dirlist *l, int fd)
{
	char *__free buf = malloc(READ_SIZE);

	if (!buf)
		return -ENOMEM;
	for (;;) {
		long n = syscall(SYS_getdents64, fd, buf, READ_SIZE);

		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (long at = 0; at + (long)DIRENT_HEADER < n;) {
			const struct dirent_record *d = (void *)(buf + at);
			int ret = 0;

			if (d->reclen <= DIRENT_HEADER || d->reclen > n - at)
				return -EIO;
			if (!is_dot(d->name))
				ret = dirlist_add(l, d->name,
						  strnlen(d->name, d->reclen - DIRENT_HEADER),
						  d->ino, d->type);
			if (ret && ret != -EINVAL)
				return ret;
			at += d->reclen;
		}
	}
}

int dirlist_emit(struct dirlist *l, struct file *file, struct dir_context *ctx)
{
	if (ctx->pos < 2 && !dir_emit_dots(file, ctx))
		return 0;
	for (; ctx->pos >= 2 && ctx->pos - 2 < l->nr; ctx->pos++) {
		const struct dirlist_entry *e = &l->entries[ctx->pos - 2];

		if (!ctx->actor(ctx, l->names + e->name, e->len, ctx->pos + 1, e->ino, e->type))
			break;
	}
	return 0;
}
