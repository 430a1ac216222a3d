/* Between the files of vfs/mount. */
#ifndef MOAT_SENTRY_VFS_MOUNT_MOUNT_INTERNAL_H
#define MOAT_SENTRY_VFS_MOUNT_MOUNT_INTERNAL_H

#include "sentry/vfs/mount.h"

struct mount *mount_alloc(struct super_block *sb, struct dentry *root, unsigned long flags);
struct mount *mount_clone(struct mount *m, struct dentry *root); /* not attached, same flags */
/* mount_lock (write) held. Puts m, not attached, on mountpoint; m belongs to ns from then on, and
 * its tree of children with it. Consumes the caller's reference to m. */
void mount_attach(struct mount *m, struct mount *parent, struct dentry *mountpoint,
		  struct mnt_ns *ns);
/* mount_lock (write) held. Takes m out of its place; the caller gets the reference that the
 * tree held. */
void mount_detach(struct mount *m);
/* The next mount of the tree under `top` in pre-order, or NULL. */
struct mount *mount_next(struct mount *m, struct mount *top);
TAILQ_HEAD(mount_list, mount);
extern struct mount_list all_mounts; /* every attached mount of every namespace; mount_lock */
void mnt_ns_changed(struct mnt_ns *ns);

#endif
