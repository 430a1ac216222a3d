/*
 * The virtual file system: inodes, dentries, super blocks, and the operation tables that file
 * systems fill. Names and meanings are Linux's (fs.h, dcache.h) unless a comment says otherwise.
 *
 * Locks, outermost first:
 *   rename_lock (cross-directory renames) -> inode->lock of directories (parent before child; of
 * two unrelated ones the lower address first) -> inode->lock of files -> dcache internals -> file
 *   system's own locks.
 * inode->lock of the directory is held (write) by the VFS around create, mkdir, unlink, rmdir,
 * link, symlink, mknod, rename and lookup; of the inode around setattr, xattr changes and, for file
 * systems that want it, writes (they take it themselves).
 */
#ifndef MOAT_SENTRY_VFS_VFS_H
#define MOAT_SENTRY_VFS_VFS_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/types.h>

#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/kernel/core/cred.h"
#include "sentry/kernel/core/wait.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/path.h"

struct inode;
struct dentry;
struct super_block;
struct mount;
struct file;
struct task;
struct cred;
struct kstat;

/* --- attributes ----------------------------------------------------------------------------- */

struct kstat {
	uint64_t ino, size, blocks; /* blocks of 512 bytes */
	uint32_t mode, nlink, uid, gid, blksize;
	uint64_t dev, rdev; /* makedev(3) encoding of the kernel ABI (new_encode_dev) */
	struct timespec atime, mtime, ctime, btime;
	uint32_t result_mask;		      /* STATX_* that are valid */
	uint64_t attributes, attributes_mask; /* STATX_ATTR_* */
	uint64_t mnt_id; /* with STATX_MNT_ID_UNIQUE in the mask that was asked for: that one */
};
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U
#endif

#define ATTR_MODE 0x001
#define ATTR_UID 0x002
#define ATTR_GID 0x004
#define ATTR_SIZE 0x008
#define ATTR_ATIME 0x010 /* to `atime`; the VFS has resolved UTIME_NOW */
#define ATTR_MTIME 0x020
#define ATTR_CTIME 0x040
#define ATTR_KILL_PRIV 0x080 /* clear setuid, setgid */
#define ATTR_OPEN 0x100	     /* the size is O_TRUNC's */
struct iattr {
	uint32_t valid; /* ATTR_* */
	uint32_t mode;
	uid_t uid;
	gid_t gid;
	int64_t size;
	struct timespec atime, mtime, ctime;
};

/* --- inodes --------------------------------------------------------------------------------- */

struct inode_operations {
	/* Directories. `dentry` is negative (inode NULL) on entry. lookup: instantiates it with
	 * d_instantiate() and returns 0, or leaves it negative and returns 0 for "no such name"
	 * (the VFS caches negative dentries unless sb->flags has SB_NO_NEGATIVE), or -errno. */
	int (*lookup)(struct inode *dir, struct dentry *dentry);
	int (*create)(struct inode *dir, struct dentry *dentry, mode_t mode, bool excl);
	int (*link)(struct dentry *old, struct inode *dir, struct dentry *dentry);
	int (*unlink)(struct inode *dir, struct dentry *dentry);
	int (*symlink)(struct inode *dir, struct dentry *dentry, const char *target);
	int (*mkdir)(struct inode *dir, struct dentry *dentry, mode_t mode);
	int (*rmdir)(struct inode *dir, struct dentry *dentry);
	int (*mknod)(struct inode *dir, struct dentry *dentry, mode_t mode, dev_t dev);
	/* flags: RENAME_NOREPLACE (checked by the VFS), RENAME_EXCHANGE, RENAME_WHITEOUT. The VFS
	 * moves the dentries after success. */
	int (*rename)(struct inode *olddir, struct dentry *old, struct inode *newdir,
		      struct dentry *new, unsigned flags);
	int (*tmpfile)(struct inode *dir, mode_t mode, struct inode **out);

	/* Symbolic links: malloc'd target. Magic links (proc) set *jump instead (referenced path).
	 */
	int (*get_link)(struct inode *inode, char **target, struct path *jump);

	/* Any. NULL means the generic one, which works on the inode's fields. */
	int (*permission)(struct inode *inode, int mask);
	int (*setattr)(struct inode *inode, struct iattr *attr);
	int (*getattr)(struct inode *inode, struct kstat *stat, uint32_t mask, unsigned flags);
	ssize_t (*getxattr)(struct inode *inode, const char *name, void *buf, size_t size);
	int (*setxattr)(struct inode *inode, const char *name, const void *value, size_t size,
			int flags); /* value NULL: remove */
	ssize_t (*listxattr)(struct inode *inode, char *buf, size_t size);
	/* Before the first open for writing, truncation, chmod etc. on a stacked file system; NULL
	 * elsewhere. */
	int (*copy_up)(struct dentry *dentry);
	/* The last reference is gone, before the super block's evict_inode; may be NULL. */
	void (*evict)(struct inode *inode);
};

/* inode->flags */
#define S_IMMUTABLE_FL 0x1
#define S_APPEND_FL 0x2
#define S_DEAD 0x4 /* removed directory */
#define S_PRIVATE 0x8
#define S_CACHE_LINK 0x10 /* the symlink's target never changes: the VFS may keep it in ->link */
#define S_NOATIME_FL 0x20 /* reads do not update atime */
#define S_BINDABLE 0x80	  /* mount(MS_BIND) takes it though it is mounted nowhere: namespaces */
#define S_LINKABLE 0x40	  /* has no name yet, but may be given one: O_TMPFILE without O_EXCL */

struct inode {
	struct refcount refs;
	struct super_block *sb; /* kept as memory (passive) until the inode is gone */
	uint64_t ino;
	_Atomic uint32_t mode, nlink;
	uid_t uid;
	gid_t gid;
	uint64_t rdev;
	_Atomic int64_t size;
	struct timespec atime, mtime, ctime, btime; /* lock to write; generic getattr copies them */
	uint32_t flags;
	struct rwlock lock;
	const struct inode_operations *ops;
	const struct file_operations
		*fops; /* for files opened on it; devices: by vfs/file/device.c */
	void *private; /* the file system's */
	/* shared by all files on the inode, made when first needed */
	struct pipe *fifo;		 /* S_IFIFO: fs/pipe */
	void *unix_socket;		 /* S_IFSOCK bound by AF_UNIX: net/unix */
	struct file_lock_context *locks; /* vfs/lock/locks.c */
	void *watches;			 /* inotify marks: fs/inotify */
	_Atomic int write_count;	 /* writers; negative: executing (deny write) */
	_Atomic int read_count;		 /* regular files: opened for reading only */
	_Atomic unsigned leases;	 /* vfs/lock/leases.c */
	_Atomic(char *) link;		 /* cached symlink target, owned: vfs/walk/namei.c */
	_Atomic uint8_t rw_hint;	 /* F_SET_RW_HINT */
	_Atomic bool no_capability;	 /* it is known to have no security.capability */
	_Atomic uint64_t sequence;	 /* inode_sequence(); 0: not asked for yet */
};

/* A new inode with one reference and zeroed fields; ops from the caller. times are now. */
struct inode *inode_alloc(struct super_block *sb, uint32_t mode);
struct inode *inode_get(struct inode *inode);
void inode_put(struct inode *inode); /* last: sb->ops->evict_inode, then freed */
/* A number that no other inode has or will have, from 1, unlike its address and `ino`. */
uint64_t inode_sequence(struct inode *inode);
void inode_update_time(struct inode *inode, bool m, bool c); /* now; takes lock */
struct timespec current_time(void);
/* Writers and running programs exclude each other: -ETXTBSY. Open for write / exec; each success
 * is undone by its counterpart. */
int inode_get_write_access(struct inode *inode);
void inode_put_write_access(struct inode *inode);
int inode_deny_write_access(struct inode *inode);
void inode_allow_write_access(struct inode *inode);

/* Generic attribute functions, and permission checks with the current task's credentials. */
int generic_permission(struct inode *inode, int mask); /* MAY_* */
void generic_fillattr(struct inode *inode, struct kstat *stat);
int generic_setattr(struct inode *inode, const struct iattr *attr); /* copies what is valid */
#define MAY_EXEC 1
#define MAY_WRITE 2
#define MAY_READ 4
int inode_permission(struct inode *inode, int mask);
/* The credentials that file access is checked with: the current task's, unless a caller (access(2))
 * has overridden them; those of root for threads that run no task. Not counted. */
const struct cred *vfs_cred(void);
bool vfs_capable(int cap); /* in vfs_cred(), over the first user namespace */
bool vfs_ns_capable(const struct user_ns *ns, int cap);
/* In vfs_cred(), over its own user namespace, which must have names for the inode's owner and
 * group. */
bool inode_capable(const struct inode *inode, int cap);
/* Sets the override for this thread (NULL: none); returns the former one. */
const struct cred *vfs_override_cred(const struct cred *cred);
/* The caller owns the inode or has CAP_FOWNER. */
bool inode_owner_or_capable(const struct inode *inode);
int vfs_getattr(const struct path *path, struct kstat *stat, uint32_t mask, unsigned flags);

/* --- dentries --------------------------------------------------------------------------------- */

#define NAME_MAX_LEN 255
struct dentry {
	struct refcount refs;
	struct dentry *parent; /* counted; itself for a root. dcache write section */
	char *name; /* owned; stable while the parent's inode lock or a d_get_name copy */
	uint32_t hash, len;
	struct inode *inode; /* counted; NULL: negative */
	struct super_block *sb;
	LIST_ENTRY(dentry) hash_link;
	TAILQ_ENTRY(dentry) sibling, lru;
	TAILQ_HEAD(, dentry) children;
	_Atomic uint32_t flags; /* DCACHE_* */
	_Atomic int mounted;	/* mounts on it, in any namespace */
	void *private;		/* the file system's (fsdata) */
};
#define DCACHE_UNHASHED 0x1   /* deleted, or never to be found by name */
#define DCACHE_NOCACHE 0x2    /* drop at last put */
#define DCACHE_REFERENCED 0x4 /* used since the shrinker last saw it */
#define DCACHE_ON_LRU 0x8
#define DCACHE_PINNED 0x10 /* d_pin: an entry of a file system that lives in the dcache */

struct dentry_operations {
	/* A cached dentry is about to be used: false drops it and looks up again (proc's pids). */
	bool (*revalidate)(struct dentry *dentry);
	void (*release)(struct dentry *dentry);
	/* The text for d_path of objects without a place in a tree ("pipe:[123]"); malloc'd. */
	char *(*dname)(struct dentry *dentry);
};

struct dentry *d_get(struct dentry *d);
void d_put(struct dentry *d);
/* Gives a negative dentry its inode; consumes the caller's inode reference. */
void d_instantiate(struct dentry *d, struct inode *inode);
/* A root dentry for a super block; consumes the inode reference. */
struct dentry *d_make_root(struct super_block *sb, struct inode *inode);
/* Finds or makes the child dentry of a file system that builds its tree itself (proc, tmpfs). With
 * the parent's inode lock held. Reference for the caller. */
struct dentry *d_alloc_child(struct dentry *parent, const char *name);
struct dentry *d_lookup(struct dentry *parent, const char *name, size_t len);
/* With dir's inode lock held (write): the child dentry, positive or negative, looked up in the file
 * system if need be; referenced. ERR_PTR on failure. */
struct dentry *lookup_locked(struct dentry *dir, const char *name, size_t len);
void d_drop(struct dentry *d); /* unhash */
/* Keeps a dentry in the cache (a reference) while its file system has no other place for the name:
 * tmpfs. d_unpin when it is deleted. */
void d_pin(struct dentry *d);
void d_unpin(struct dentry *d);
/* A copy of the name that stays valid; buf holds NAME_MAX_LEN + 1. The parent with a reference. */
size_t d_get_name(struct dentry *d, char *buf);
struct dentry *d_get_parent(struct dentry *d);
/* Drops every unused cached child below d (for file systems whose content changed). */
void d_prune_children(struct dentry *d);

/* --- super blocks and file system types
 * ----------------------------------------------------------- */

struct super_operations {
	void (*evict_inode)(struct inode *inode); /* frees inode->private */
	int (*statfs)(struct super_block *sb, struct statfs *buf);
	/* The last mount is gone: drops the references on inodes that the file system itself
	 * holds. Files that are still open may keep others. */
	void (*shutdown)(struct super_block *sb);
	void (*put_super)(struct super_block *sb); /* the last inode is gone */
	int (*remount)(struct super_block *sb, unsigned long flags, const char *options);
	/* Options as /proc/mounts shows them after "rw"/"ro", with a leading comma; into buf. */
	void (*show_options)(struct super_block *sb, char *buf, size_t size);
};

#define SB_NO_NEGATIVE 0x10000 /* negative dentries are not cached */
struct super_block {
	struct refcount refs;	 /* mounts; the last one takes the tree apart */
	struct refcount passive; /* every inode, and refs as one: the last one calls put_super */
	const struct fs_type *type;
	const struct super_operations *ops;
	const struct dentry_operations *d_ops;
	struct dentry *root;	 /* counted */
	struct user_ns *user_ns; /* counted: the owner */
	bool nodev;		 /* device inodes in it cannot be opened */
	uint64_t dev;		 /* st_dev, unique: vfs gives it */
	uint64_t magic;		 /* statfs f_type */
	unsigned long flags;	 /* MS_RDONLY and SB_* */
	uint32_t blksize;
	int64_t max_bytes; /* no file is longer; 0: INT64_MAX */
	char *source;	   /* /proc/mounts's first column; owned */
	void *private;
	_Atomic uint64_t next_ino;
};

struct fs_type {
	const char *name;
	bool nodev;	  /* /proc/filesystems */
	bool guest_mount; /* guests with CAP_SYS_ADMIN may mount it */
	/* The capability is looked for over the owner's user namespace, not over the first; which
	 * is the current task's own unless owner() says another. */
	bool userns_mount;
	struct user_ns *(*owner)(void);
	/* It shows so much that where parts of it are covered for good, it is not mounted anew:
	 * proc and sysfs. */
	bool revealing;
	/* Makes or finds the super block. `data` is the option string (may be NULL); `arg` is for
	 * types that only the loader mounts (host, overlay). Reference for the caller. */
	int (*get_super)(const struct fs_type *type, unsigned long flags, const char *source,
			 const char *data, void *arg, struct super_block **out);
};
void fs_register(const struct fs_type *type); /* at init; type is static */
const struct fs_type *fs_find(const char *name);
/* The user namespace that a mount of the type made now belongs to. Not counted. */
struct user_ns *fs_type_owner(const struct fs_type *type);
const struct fs_type *fs_type_at(int i); /* the registered ones in order; NULL past the end */
struct super_block *sb_alloc(const struct fs_type *type, const struct super_operations *ops);
/* Of a new one that all share: the first user namespace owns it, whoever needed it first. */
void sb_of_kernel(struct super_block *sb);
void sb_get(struct super_block *sb);
void sb_put(struct super_block *sb);
/* How long the file can become, at most: EFBIG (man 2 write). */
static inline int64_t inode_max_bytes(const struct inode *inode)
{
	return S_ISREG(inode->mode) && inode->sb->max_bytes ? inode->sb->max_bytes : INT64_MAX;
}

#endif
