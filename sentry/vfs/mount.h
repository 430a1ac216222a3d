/*
 * Mounts, mount namespaces, propagation (man 7 mount_namespaces).
 * One lock, mount_lock (rwlock), guards the mount tree of all namespaces; it comes before dentry
 * locks and after inode locks.
 */
#ifndef MOAT_SENTRY_VFS_MOUNT_H
#define MOAT_SENTRY_VFS_MOUNT_H

#include <sys/mount.h>

#include "sentry/vfs/vfs.h"

struct mount {
	struct refcount refs;
	int id;			   /* of mountinfo */
	uint64_t sequence;	   /* which of all that were made: no other ever has it */
	struct mount *parent;	   /* NULL when detached; mount_lock */
	struct dentry *mountpoint; /* counted, in parent's file system */
	struct dentry *root;	   /* counted */
	struct super_block *sb;	   /* counted */
	/* What came from a more privileged namespace (man 7 mount_namespaces): mount_lock */
	bool locked;		    /* what it covers must not be seen: it stays where it is */
	unsigned long locked_flags; /* of MNT_FLAGS_MASK: these may not be changed, but set */
	_Atomic unsigned long
		flags;	   /* MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME, MS_RELATIME */
	struct mnt_ns *ns; /* not counted; NULL when detached */
	TAILQ_ENTRY(mount) ns_link, sibling, all_link;
	LIST_ENTRY(mount) hash_link; /* by (parent, mountpoint) */
	TAILQ_HEAD(, mount) children;
	/* propagation: mount_lock */
	int peer_group; /* id, 0: private */
	int master_group;
	bool unbindable;
	/* What holds the tree whose top this is while it is in no namespace: vfs/mount/detached.c
	 */
	struct mount **holder;
	struct mount *copy;  /* scratch while a tree is copied; mount_lock */
	uint64_t mark;	     /* the last event that reached it; mount_lock */
	bool expiry_mark;    /* umount2(MNT_EXPIRE) saw it unused */
	_Atomic int writers; /* mnt_want_write; a remount to read-only needs 0 */
};

struct mnt_ns {
	struct refcount refs;
	unsigned long inum;
	struct user_ns *user_ns; /* counted: the owner */
	struct mount *root;
	TAILQ_HEAD(, mount) mounts;
	unsigned count;
	struct wait_queue poll; /* /proc/mounts */
	uint64_t event;
};

extern struct rwlock mount_lock;

/* As guests see `sequence`: above any `id`. */
static inline uint64_t mount_unique_id(const struct mount *m)
{
	return (1ULL << 31) + m->sequence;
}
struct mount *mnt_get(struct mount *m);
void mnt_put(struct mount *m);
struct mnt_ns *mnt_ns_get(struct mnt_ns *ns);
void mnt_ns_put(struct mnt_ns *ns);

/* For the loader. A namespace whose root is a new mount of `sb` (its reference is consumed). */
int mnt_ns_create(struct super_block *sb, unsigned long flags, struct mnt_ns **out);
/* Mounts type `fstype` at `target` (a path inside ns, walked from its root with the symlinks of the
 * container; directories or files are created when `create`). `arg` goes to fs_type->get_super. */
int mnt_ns_mount(struct mnt_ns *ns, const char *target, const char *fstype, const char *source,
		 unsigned long flags, const char *options, void *arg, bool create);
/* The same for a super block that exists; its reference is consumed on success. */
int mnt_ns_mount_super(struct mnt_ns *ns, const char *target, struct super_block *sb,
		       unsigned long flags, bool create);
/* A directory at this place, with those above it, unless it is there. */
int mnt_ns_make_dir(struct mnt_ns *ns, const char *name);
/* Hides a path: an empty read-only tmpfs over a directory, /dev/null's like over a file. -ENOENT
 * when there is nothing to hide. */
int mnt_ns_mask(struct mnt_ns *ns, const char *path);
/* Changes the per-mount flags of the root mount. */
int mnt_ns_remount_root(struct mnt_ns *ns, unsigned long flags);
/* Bind of one place of the namespace on another (maskedPaths, readonlyPaths). */
int mnt_ns_bind(struct mnt_ns *ns, const char *source, const char *target, unsigned long flags,
		bool recursive);
/* A mount that belongs to no namespace, for files that have no place in one. NULL: no memory. */
struct mount *mount_internal(struct super_block *sb);
/* Set-id bits and capabilities of files on it count for a program of the current task with c. */
bool mnt_may_suid(const struct mount *m, const struct cred *c);
void mnt_ns_root(struct mnt_ns *ns, struct path *out); /* referenced; topmost mount on the root */

/* The mount on top of (mnt, dentry), if any: replaces *path and returns true. */
bool follow_mount(struct path *path);
/* -EROFS unless the path may be written; pairs with mnt_drop_write (counted for remounts). */
int mnt_want_write(const struct path *path);
void mnt_drop_write(const struct path *path);

/* Text for /proc/PID/{mounts,mountinfo,mountstats}; malloc'd. root is the reader's root. */
char *mnt_ns_show(struct mnt_ns *ns, const struct path *root, int kind /* 0 mounts 1 mountinfo */);

#endif
