/* The text of a path (man 2 getcwd, man 5 proc). */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "sentry/kernel/core/current.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/walk/dcache.h"
#include "sentry/vfs/walk/dpath.h"

/* In the section: writes the path backwards into buf; returns its start, or NULL when it does not
 * fit. *reached: root was met on the way. */
static char *build(const struct path *path, const struct path *root, char *buf, size_t size,
		   bool *reached)
{
	struct mount *mnt = path->mnt;
	struct dentry *d = path->dentry;
	char *p = buf + size;
	bool any = false;

	*--p = 0;
	*reached = true;
	while (!(d == root->dentry && mnt == root->mnt)) {
		if (d == mnt->root || d_is_root(d)) {
			if (d != mnt->root || !mnt->parent) {
				*reached = false;
				break;
			}
			d = mnt->mountpoint;
			mnt = mnt->parent;
			continue;
		}
		if ((size_t)(p - buf) < d->len + 1)
			return NULL;
		p -= d->len;
		memcpy(p, d->name, d->len);
		*--p = '/';
		any = true;
		d = d->parent;
	}
	if (!any)
		*--p = '/';
	return p;
}

int d_path_text(const struct path *path, const struct path *root, char *buf, size_t size,
		char **start, bool *reached)
{
	int slot = dcache_read_lock();

	*start = build(path, root, buf, size, reached);
	dcache_read_unlock(slot);
	return *start ? 0 : -ENAMETOOLONG;
}

static bool is_deleted(const struct dentry *d)
{
	return !d_is_root(d) && (atomic_load(&d->flags) & DCACHE_UNHASHED);
}

char *d_path(const struct path *path, const struct path *root)
{
	static const char unreachable[] = "(unreachable)", deleted[] = " (deleted)";
	struct path own __put_path = {0};
	struct dentry *d = path->dentry;
	size_t size = 2 * PATH_MAX;
	char *buf, *start;
	bool reached;

	if (d->sb->d_ops && d->sb->d_ops->dname && d_is_root(d)) {
		start = d->sb->d_ops->dname(d);
		if (start)
			return start;
	}
	if (!root) {
		if (current_fs()) {
			fs_get_root(current_fs(), &own);
		} else {
			own = *path;
			path_get(&own);
		}
		root = &own;
	}
	for (;; size *= 4) {
		buf = malloc(size + sizeof(unreachable) + sizeof(deleted));
		if (!buf)
			return NULL;
		/* Room before for "(unreachable)", behind for " (deleted)". */
		if (!d_path_text(path, root, buf + sizeof(unreachable), size, &start, &reached))
			break;
		free(buf);
		if (size > (1 << 20))
			return NULL;
	}
	if (!reached && path->mnt->ns != NULL && d == path->mnt->root && !path->mnt->parent)
		reached = true; /* the namespace's own root, seen from a chroot: as Linux, "/" */
	if (is_deleted(d))
		strcat(start, deleted);
	if (!reached) {
		start -= sizeof(unreachable) - 1;
		memcpy(start, unreachable, sizeof(unreachable) - 1);
	}
	memmove(buf, start, strlen(start) + 1);
	return buf;
}
