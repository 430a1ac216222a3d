/*
 * Where the VFS tells what happens; fs/inotify listens.
 */
#ifndef MOAT_SENTRY_VFS_NOTIFY_FSNOTIFY_H
#define MOAT_SENTRY_VFS_NOTIFY_FSNOTIFY_H

#include <sys/inotify.h>

#include "sentry/vfs/file.h"
#include "sentry/vfs/vfs.h"

/* In a mask: it happened through a file whose name has been removed (IN_EXCL_UNLINK). Not a bit
 * that guests see. */
#define FSNOTIFY_UNLINKED 0x00010000U

/* Who listens. No locks are held but possibly inode locks: it must not take them, nor block. */
struct fsnotify_operations {
	/* dir != NULL: an event on the entry `name` of dir, for the marks on dir. dir == NULL: an
	 * event on `inode` itself, for the marks on inode. mask: IN_* (with IN_ISDIR where it
	 * applies); cookie for IN_MOVED_*. inode is what it is about, or NULL. */
	void (*event)(uint32_t mask, struct inode *dir, const char *name, struct inode *inode,
		      uint32_t cookie);
	/* A name of inode went, it has no other, and nobody has it open any more:
	 * IN_DELETE_SELF, and its marks go. May come more than once. No locks held. */
	void (*inode_delete)(struct inode *inode);
};

/* A mark was put on an inode, or taken away, by the one listener there is; it calls these under a
 * lock of its own. */
void fsnotify_mark_added(const struct fsnotify_operations *ops);
void fsnotify_mark_removed(void);

/* How many marks exist: 0 makes every hook one load. The operations are there before the first. */
extern _Atomic int fsnotify_marks;
extern const struct fsnotify_operations *fsnotify_ops;

static inline bool fsnotify_active(void)
{
	return unlikely(atomic_load_explicit(&fsnotify_marks, memory_order_acquire));
}
static inline void fsnotify_name(uint32_t mask, struct inode *dir, const char *name,
				 struct inode *inode, uint32_t cookie)
{
	if (fsnotify_active() && dir->watches)
		fsnotify_ops->event(mask | (inode && S_ISDIR(inode->mode) ? IN_ISDIR : 0), dir,
				    name, inode, cookie);
}
static inline void fsnotify_inode(uint32_t mask, struct inode *inode)
{
	if (fsnotify_active() && inode->watches)
		fsnotify_ops->event(mask | (S_ISDIR(inode->mode) ? IN_ISDIR : 0), NULL, NULL, inode,
				    0);
}
static inline void fsnotify_inode_gone(struct inode *inode)
{
	if (fsnotify_active() && inode->watches)
		fsnotify_ops->inode_delete(inode);
}
/* Something happened to the object at d: tells the marks on it, and on its parent. */
void fsnotify_dentry_slow(uint32_t mask, struct dentry *d);
static inline void fsnotify_dentry(uint32_t mask, struct dentry *d)
{
	if (fsnotify_active())
		fsnotify_dentry_slow(mask, d);
}
/* The same of what was done through an open file: IN_EXCL_UNLINK is about these only. (Linux has
 * no reads and writes of FIFOs: callers leave them out.) */
void fsnotify_file_slow(uint32_t mask, struct dentry *d);
static inline void fsnotify_file(uint32_t mask, const struct file *f)
{
	if (fsnotify_active())
		fsnotify_file_slow(mask, f->path.dentry);
}

#endif
