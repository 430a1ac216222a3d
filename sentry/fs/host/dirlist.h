/* Directory listings: what getdents reads from, so that positions stay true while entries come and
 * go. Immutable once published, shared by counted references. */
#ifndef MOAT_SENTRY_FS_HOST_DIRLIST_H
#define MOAT_SENTRY_FS_HOST_DIRLIST_H

#include <stddef.h>
#include <stdint.h>

#include "base/refcount.h"

struct dir_context;
struct file;

struct dirlist {
	struct refcount refs;
	uint32_t nr, cap;
	size_t names_size, names_cap;
	struct dirlist_entry {
		uint64_t ino;
		uint32_t name;	   /* offset in names */
		uint8_t len, type; /* DT_* */
	} * entries;
	char *names; /* NUL-terminated, one after another */
};

/* Empty, one reference. NULL: no memory. */
struct dirlist *dirlist_alloc(void);
/* 0, -ENOMEM, -EINVAL (not a name), -EOVERFLOW. */
int dirlist_add(struct dirlist *l, const char *name, size_t len, uint64_t ino, unsigned type);
struct dirlist *dirlist_get(struct dirlist *l);
void dirlist_put(struct dirlist *l); /* NULL is fine */
/* Adds what getdents64(2) reads from fd, without "." and "..". 0 or -errno. */
int dirlist_read(struct dirlist *l, int fd);
/* Emits "." and "..", then the list from ctx->pos on. Positions are 2 + index. */
int dirlist_emit(struct dirlist *l, struct file *file, struct dir_context *ctx);

#endif
