/* Mount propagation (man 7 mount_namespaces). All with mount_lock (write) held. */
#ifndef MOAT_SENTRY_VFS_MOUNT_PROPAGATE_INTERNAL_H
#define MOAT_SENTRY_VFS_MOUNT_PROPAGATE_INTERNAL_H

#include "sentry/vfs/mount/mount_internal.h"
#include "sentry/vfs/mount/mount_ops.h"

/* How copies relate to their originals. */
enum copy_kind {
	COPY_BIND,	/* the copy joins the original's peer group, if any, and has its master */
	COPY_TO_OTHERS, /* like a bind, but where the original is shared the copy is a slave */
	COPY_SLAVE,	/* the copy is a slave of the original's peer group */
};
/* A detached copy of the tree `top` as seen from `root` (a dentry of top's). Without `recursive`
 * only the one mount; unbindable children are left out. NULL: no memory. src->copy is set for all
 * that were copied, valid until the lock is dropped. */
struct mount *mount_copy_tree(struct mount *top, struct dentry *root, bool recursive,
			      bool with_unbindable, enum copy_kind kind);
/* The place (parent, mountpoint) gets the tree m, which is new or moves there from another place:
 * attaches m and its copies for all peers and slaves of parent. -ENOSPC when a namespace would get
 * too many mounts, -ENOMEM; m is then where it was. */
int propagate_attach(struct mount *m, struct mount *parent, struct dentry *mountpoint);
/* Detaches the tree under and including m, which is mounted somewhere, and what propagation put in
 * the places that correspond to m's, unless more is mounted below it; the references of the tree go
 * to `out` (linked by all_link). */
void propagate_detach(struct mount *m, struct mount_list *out);
/* For a tree that goes to a less privileged namespace: flags stay, and mounts below the top one
 * stay where they are. */
void mount_lock_tree(struct mount *top);
/* Detaches the tree under and including m; references to `out`. */
void mount_detach_tree(struct mount *m, struct mount_list *out);
int peer_group_new(void);

#endif
