/* Changes of the mount tree: what mount(2), umount2(2) and pivot_root(2) are made of. They take
 * mount_lock. The caller has checked CAP_SYS_ADMIN; they check that what a task changes, or binds,
 * is mounted in its own mount namespace: -EINVAL. */
#ifndef MOAT_SENTRY_VFS_MOUNT_MOUNT_OPS_H
#define MOAT_SENTRY_VFS_MOUNT_MOUNT_OPS_H

#include "sentry/vfs/mount.h"

#define MNT_NS_MAX_MOUNTS 10000 /* Linux: fs.mount-max */
/* The flags of a mount itself; the others of MS_* belong to the super block or the call. */
#define MNT_FLAGS_MASK                                                                             \
	(MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME)

/* The current task has CAP_SYS_ADMIN over its mount namespace. */
bool may_mount(void);
struct mnt_ns *mnt_ns_alloc(struct user_ns *owner);
/* A new mount of sb on path; keeps its own reference on sb. */
int mount_new(const struct path *path, struct super_block *sb, unsigned long flags);
/* -EPERM: of such a file system the current namespace shows only part, and is not to see the rest.
 */
int mount_may_reveal(struct mount *m);
/* The same for a mount that the caller made: consumes m on success. */
int mount_graft(struct mount *m, const struct path *path);
int mount_bind(const struct path *from, const struct path *to, bool recursive);
/* Without a place yet: for mount_detached_file(). */
int mount_copy(const struct path *from, bool recursive, struct mount **out);
struct mount *mount_of_super(struct super_block *sb, unsigned long flags);
/* A path descriptor for the tree m, which is in no namespace, into *out. The tree lives as long as
 * the file, or, once it has been moved to a place, as other mounts. Consumes m, also on failure. */
int mount_detached_file(struct mount *m, struct file **out);
/* Also what mount_detached_file() made, which has no place yet. */
int mount_move(const struct path *from, const struct path *to);
/* Replaces the MNT_FLAGS_MASK flags of the mount whose root `path` is (remount,bind). */
int mount_set_flags(const struct path *path, unsigned long flags);
int mount_remount(const struct path *path, unsigned long flags, const char *options);
/* Of the super block alone. -EPERM without the capability over its owner. */
int mount_reconfigure(struct super_block *sb, unsigned long flags, const char *options);
/* mount_setattr(2): flags of MNT_FLAGS_MASK, and MS_SHARED or the like, 0 for none. */
struct mount_change {
	unsigned long clear, set, propagation;
};
int mount_set_attr(const struct path *path, bool recursive, const struct mount_change *c);
/* MS_SHARED, MS_PRIVATE, MS_SLAVE or MS_UNBINDABLE, with MS_REC. */
int mount_change_type(const struct path *path, unsigned long type);
int mount_umount(const struct path *path, int umount_flags);
int mount_pivot_root(const struct path *new_root, const struct path *put_old,
		     const struct path *old_root);
/* Takes a whole tree apart. `all`: also the top one's place as a namespace's root. Takes
 * mount_lock. Consumes the tree's references. */
void mount_tree_put(struct mount *top, bool all);
/* A copy of ns for CLONE_NEWNS. `fs` (may be NULL) has its root and cwd moved to the copy. If the
 * owner is another than that of ns, what came with the copy is locked (man 7 mount_namespaces). */
int mnt_ns_copy(struct mnt_ns *ns, struct user_ns *owner, struct fs *fs, struct mnt_ns **out);

#endif
