/* Changes of the mount tree: what mount(2), umount2(2) and pivot_root(2) are made of. They take
 * mount_lock. The caller has checked CAP_SYS_ADMIN; they check that what a task changes, or binds,
 * is mounted in its own mount namespace: -EINVAL. */
#ifndef MOAT_SENTRY_VFS_MOUNT_OPS_H
#define MOAT_SENTRY_VFS_MOUNT_OPS_H

#include "sentry/vfs/mount.h"

#define MNT_NS_MAX_MOUNTS 10000 /* Linux: fs.mount-max */
/* The flags of a mount itself; the others of MS_* belong to the super block or the call. */
#define MNT_FLAGS_MASK                                                                             \
	(MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME)

struct mnt_ns *mnt_ns_alloc(void);
/* A new mount of sb on path; keeps its own reference on sb. */
int mount_new(const struct path *path, struct super_block *sb, unsigned long flags);
/* The same for a mount that the caller made: consumes m on success. */
int mount_graft(struct mount *m, const struct path *path);
int mount_bind(const struct path *from, const struct path *to, bool recursive);
int mount_move(const struct path *from, const struct path *to);
/* Replaces the MNT_FLAGS_MASK flags of the mount whose root `path` is (remount,bind). */
int mount_set_flags(const struct path *path, unsigned long flags);
int mount_remount(const struct path *path, unsigned long flags, const char *options);
/* MS_SHARED, MS_PRIVATE, MS_SLAVE or MS_UNBINDABLE, with MS_REC. */
int mount_change_type(const struct path *path, unsigned long type);
int mount_umount(const struct path *path, int umount_flags);
int mount_pivot_root(const struct path *new_root, const struct path *put_old,
		     const struct path *old_root);
/* Takes a whole tree apart. `all`: also the top one's place as a namespace's root. Takes
 * mount_lock. Consumes the tree's references. */
void mount_tree_put(struct mount *top, bool all);
/* A copy of ns for CLONE_NEWNS. `fs` (may be NULL) has its root and cwd moved to the copy. */
int mnt_ns_copy(struct mnt_ns *ns, struct fs *fs, struct mnt_ns **out);

#endif
