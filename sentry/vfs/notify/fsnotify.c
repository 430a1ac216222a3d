/* Who listens, and the slow half of the hooks. */
#include "sentry/vfs/notify/fsnotify.h"

_Atomic int fsnotify_marks;
const struct fsnotify_operations *fsnotify_ops;

void fsnotify_mark_added(const struct fsnotify_operations *ops)
{
	if (!fsnotify_ops)
		fsnotify_ops = ops;
	atomic_fetch_add_explicit(&fsnotify_marks, 1, memory_order_release);
}

void fsnotify_mark_removed(void)
{
	atomic_fetch_sub(&fsnotify_marks, 1);
}

void fsnotify_dentry_slow(uint32_t mask, struct dentry *d)
{
	struct dentry *parent = d_get_parent(d);
	char name[NAME_MAX_LEN + 1];

	if (parent != d && parent->inode && parent->inode->watches) {
		d_get_name(d, name);
		fsnotify_name(mask, parent->inode, name, d->inode, 0);
	}
	d_put(parent);
	if (d->inode)
		fsnotify_inode(mask, d->inode);
}

void fsnotify_file_slow(uint32_t mask, struct dentry *d)
{
	if (d->parent != d && (atomic_load(&d->flags) & DCACHE_UNHASHED))
		mask |= FSNOTIFY_UNLINKED;
	fsnotify_dentry_slow(mask, d);
}
