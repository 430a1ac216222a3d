/* The slow half of the inotify hooks. */
#include "sentry/vfs/fsnotify.h"

_Atomic int fsnotify_marks;

void fsnotify_dentry_slow(uint32_t mask, struct dentry *d)
{
	struct dentry *parent = d_get_parent(d);
	char name[NAME_MAX_LEN + 1];

	if (!d_is_root(d) && (atomic_load(&d->flags) & DCACHE_UNHASHED))
		mask |= FSNOTIFY_UNLINKED;
	if (parent != d && parent->inode && parent->inode->watches) {
		d_get_name(d, name);
		fsnotify_name(mask, parent->inode, name, d->inode, 0);
	}
	d_put(parent);
	if (d->inode)
		fsnotify_inode(mask, d->inode);
}
