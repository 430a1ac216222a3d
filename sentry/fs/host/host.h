/*
 * The host file system: the files of one gofer mount, as file system type "host", and the objects
 * that the overlay's lower layer is made of. See README.md.
 */
#ifndef MOAT_SENTRY_FS_HOST_HOST_H
#define MOAT_SENTRY_FS_HOST_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "sentry/fs/host/dirlist.h"
#include "sentry/fs/host/protocol.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/vfs.h"

/* get_super's `arg` for type "host". */
struct host_mount_arg {
	int gofer_sock; /* consumed, also on failure */
	bool directfs;	/* use the root fd that the gofer donates; else every name goes to it */
	bool readonly;	/* refuse changes here already; the gofer's word counts, too */
	/* The tree does not change behind the sentry's back: names, attributes and directory
	 * listings are read once. For the root file system. */
	bool cache;
};

/* The most host fds that all host mounts together keep open without need. Default: a quarter of
 * RLIMIT_NOFILE, at most 4096. */
void host_fd_cache_set_limit(unsigned fds);

/* --- objects: for fs/host itself and for fs/overlay --------------------------------------------
 */

struct host_identity;
struct host_mount;
struct host_node;
struct host_object;

/* A cached host fd. `users` counts who relies on it now; without any it may be closed. */
struct host_fd {
	_Atomic int fd; /* -1: not open */
	_Atomic int users;
	_Atomic bool referenced; /* since the eviction clock last saw it */
	bool write;
	bool listed;   /* in the cache's list; its lock */
	unsigned lent; /* who keeps it for long; the cache's lock */
	struct host_object *object;
	TAILQ_ENTRY(host_fd) link;
};

/* One host file, as the first member of what inode->private points to. Lives as long as the inode.
 */
struct host_object {
	struct host_mount *mount; /* NULL: none, a file of the overlay's upper layer only */
	struct inode *inode;
	LIST_ENTRY(host_object) hash_link; /* by (dev, ino); icache_lock */
	bool hashed;
	bool no_xattrs;		/* cached mounts: it has none */
	_Atomic bool deleted;	/* its fds are all that is left of it */
	uint64_t dev, ino;	/* the host's */
	int64_t btime;		/* ns; tells a new file with an old number */
	struct host_node *node; /* its path; the node lock to change */
	struct mutex lock;	/* opening fds, loading the listing */
	struct host_fd rd, wr;	/* O_RDONLY (or O_PATH: unreadable directories), O_RDWR */
	struct dirlist *list;	/* of a directory, on cached mounts */
	_Atomic uint64_t blocks;
	_Atomic int opens, write_opens; /* files on it */
	struct host_identity *identity; /* since it was mapped shared; identity.c's lock; or NULL */
	struct host_fd *locks_by; /* whose fd has the sandbox's file locks; lent; NULL: none */
};

/* Makes the inode of a host file on the mount's super block: inode->private points to memory from
 * calloc that begins with a host_object, which the caller fills in. inode_fill() does the
 * attributes. NULL: no memory. */
typedef struct inode *(*host_make_inode_t)(struct super_block *sb, const struct gofer_stat *st);

struct host_mount *host_mount_of(struct super_block *sb); /* of type "host" */
/* From now on, lookups make inodes of `sb` (the overlay's). -EBUSY if another has done so. */
int host_mount_adopt(struct host_mount *m, struct super_block *sb, host_make_inode_t make);
/* Another inode for the mount's root, made with `make`. The root of a volume may be a file. */
int host_root_inode(struct host_mount *m, struct inode **out);
/* Attributes that every inode has, from the host's. */
void host_inode_fill(struct inode *inode, struct host_object *o, const struct gofer_stat *st);
/* In evict_inode: closes fds, forgets the object. Does not free it. */
void host_object_release(struct host_object *o);

/* The child `name` of a directory: a reference in *out, or NULL with 0 if there is none. Equal
 * host files are equal inodes. -errno. */
int host_lookup(struct host_object *dir, const char *name, struct inode **out);
/* The target of a symbolic link; malloc'd. */
int host_readlink(struct host_object *o, char **target);
/* Opens the fd if need be, and keeps it open until host_fd_put; nests. -errno. */
int host_fd_get(struct host_object *o, bool write);
void host_fd_put(struct host_object *o, bool write);
/* The same for long: while a file that has it mapped is open. Other host fds than three quarters of
 * RLIMIT_NOFILE cannot be lent: -ENFILE. */
int host_fd_lend(struct host_object *o, bool write);
void host_fd_return(struct host_object *o, bool write);
/* Whether reading will succeed without asking: then open need not try. */
bool host_open_can_wait(const struct host_object *o);
/* pread(2) into an iov_iter: bytes (short at end of file, or at a fault), or -errno. */
ssize_t host_read_at(struct host_object *o, struct iov_iter *to, int64_t pos);
/* The listing as it is now; from the cache where the mount has one. Reference, or -errno. */
int host_dirlist(struct host_object *dir, struct dirlist **out);
ssize_t host_getxattr(struct host_object *o, const char *name, void *buf, size_t size);
ssize_t host_listxattr(struct host_object *o, char *buf, size_t size);

#endif
