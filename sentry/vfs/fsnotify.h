/*
 * Where the VFS tells inotify what happens. fs/inotify defines fsnotify(); until it is linked in,
 * the reference is weak and nothing happens.
 */
#ifndef MOAT_SENTRY_VFS_FSNOTIFY_H
#define MOAT_SENTRY_VFS_FSNOTIFY_H

#include <sys/inotify.h>

#include "sentry/vfs/dcache.h"

/* How many marks exist: inotify keeps it; 0 makes every hook one load. */
extern _Atomic int fsnotify_marks;

/* In a mask: the name through which it happened has been removed (IN_EXCL_UNLINK). Not a bit that
 * guests see. */
#define FSNOTIFY_UNLINKED 0x00010000U

/* dir != NULL: an event on the entry `name` of dir, for the marks on dir. dir == NULL: an event on
 * `inode` itself, for the marks on inode. mask: IN_* (with IN_ISDIR where it applies); cookie for
 * IN_MOVED_*. inode is what it is about, or NULL. No locks are held but possibly inode locks: it
 * must not take them, nor block. */
void fsnotify(uint32_t mask, struct inode *dir, const char *name, struct inode *inode,
	      uint32_t cookie) __weak_symbol;

static inline bool fsnotify_active(void)
{
	return unlikely(atomic_load_explicit(&fsnotify_marks, memory_order_relaxed)) && fsnotify;
}
static inline void fsnotify_name(uint32_t mask, struct inode *dir, const char *name,
				 struct inode *inode, uint32_t cookie)
{
	if (fsnotify_active() && dir->watches)
		fsnotify(mask | (inode && S_ISDIR(inode->mode) ? IN_ISDIR : 0), dir, name, inode,
			 cookie);
}
static inline void fsnotify_inode(uint32_t mask, struct inode *inode)
{
	if (fsnotify_active() && inode->watches)
		fsnotify(mask | (S_ISDIR(inode->mode) ? IN_ISDIR : 0), NULL, NULL, inode, 0);
}
/* A name of inode went, it has no other, and nobody has it open any more: IN_DELETE_SELF, and its
 * marks go. May come more than once. No locks held. */
void fsnotify_inode_delete(struct inode *inode) __weak_symbol;
static inline void fsnotify_inode_gone(struct inode *inode)
{
	if (fsnotify_active() && inode->watches && fsnotify_inode_delete)
		fsnotify_inode_delete(inode);
}
/* Something happened to the object at d: tells the marks on it, and on its parent. */
void fsnotify_dentry_slow(uint32_t mask, struct dentry *d);
static inline void fsnotify_dentry(uint32_t mask, struct dentry *d)
{
	if (fsnotify_active())
		fsnotify_dentry_slow(mask, d);
}

#endif
