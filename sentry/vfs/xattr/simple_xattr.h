/* Extended attributes kept in memory, for file systems that have no other place for them. */
#ifndef MOAT_SENTRY_VFS_XATTR_SIMPLE_XATTR_H
#define MOAT_SENTRY_VFS_XATTR_SIMPLE_XATTR_H

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/lock.h"

#define SIMPLE_XATTR_MAX_BYTES (256 * 1024) /* names and values of one inode */

struct simple_xattrs {
	struct mutex lock;
	TAILQ_HEAD(, simple_xattr) list;
	size_t bytes;
};

void simple_xattrs_init(struct simple_xattrs *x);
void simple_xattrs_free(struct simple_xattrs *x);
/* As getxattr(2): size 0 asks for the length; -ENODATA, -ERANGE. */
ssize_t simple_xattr_get(struct simple_xattrs *x, const char *name, void *buf, size_t size);
/* value NULL removes. flags: XATTR_CREATE (-EEXIST), XATTR_REPLACE (-ENODATA). -ENOSPC, -ENOMEM. */
int simple_xattr_set(struct simple_xattrs *x, const char *name, const void *value, size_t size,
		     int flags);
/* NUL-terminated names one after the other; trusted.* only if `trusted`. -ERANGE. */
ssize_t simple_xattr_list(struct simple_xattrs *x, char *buf, size_t size, bool trusted);

#endif
