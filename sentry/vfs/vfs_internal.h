/* What the files of vfs/ and the fs_*.c system calls share, and others do not need. */
#ifndef MOAT_SENTRY_VFS_INTERNAL_H
#define MOAT_SENTRY_VFS_INTERNAL_H

#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/vfs.h"

/* super.c: the registered types in order; NULL past the end. */
const struct fs_type *fs_type_at(int i);

/* An inode that kept sb is gone. */
void sb_put_passive(struct super_block *sb);

/* mount.c */
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
/* A mount that belongs to no namespace, for anonymous files. */
struct mount *mount_internal(struct super_block *sb);
TAILQ_HEAD(mount_list, mount);
extern struct mount_list all_mounts; /* every attached mount of every namespace; mount_lock */
void mnt_ns_changed(struct mnt_ns *ns);

/* anon.c */
void anon_init(void);
/* device.c: file->ops for a character or block device. */
int device_open(struct inode *inode, struct file *file);

/* file_io.c: after a read of what is at path, if the mount's atime rules want it. */
void touch_atime(const struct path *path);

/* path_ops.c: the mode, type and all, that a new object in dir gets: without what the umask takes,
 * and without setgid for a group that the creator is not in, if the group may execute it. */
uint32_t vfs_create_mode(const struct inode *dir, uint32_t mode);

/* file.c */
struct file *file_alloc(uint32_t flags);

#endif
