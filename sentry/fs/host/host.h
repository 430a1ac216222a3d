/*
 * The host file system: the files of one gofer mount, as file system type "host". Loader-only.
 *
 * With directfs the gofer donates an O_PATH fd of the mount's root when the sentry attaches; names
 * are then looked up, and files opened, by the sentry itself, beneath that fd and following no
 * symbolic link. What its bare uid may not do (EACCES, EPERM), and every change of names or
 * attributes, goes to the gofer.
 *
 * Host fds are a cache: an inode opens its fd when it is first needed and may lose it again to the
 * least recently used list (fd_cache.c), except while it is mapped, lent, or deleted.
 *
 * Locks, outermost first: inode->lock (VFS) -> host_inode->lock -> host_mount->icache_lock ->
 * fd cache lock -> host_mount->gofer_lock -> node lock.
 */
#ifndef MOAT_SENTRY_FS_HOST_HOST_H
#define MOAT_SENTRY_FS_HOST_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "sentry/vfs/file.h"
#include "sentry/vfs/vfs.h"

/* get_super's `arg` for type "host". */
struct host_mount_arg {
	int gofer_sock; /* consumed, also on failure */
	bool directfs;	/* as the gofer donates a root fd or not; must be true for now */
	bool readonly;	/* refuse changes here already; the gofer's word counts, too */
	/* The tree does not change behind the sentry's back: names, attributes and directory
	 * listings are read once. For the root file system. */
	bool cache;
};

/* Registers the type. */
void host_fs_init(void);
/* The most host fds that all host mounts together keep open without need. Default: a quarter of
 * RLIMIT_NOFILE, at most 4096. */
void host_fd_cache_set_limit(unsigned fds);

/* --- for fs/overlay, whose lower layers are host inodes ----------------------------------------
 */

/* True for inodes of this file system. */
bool inode_is_host(const struct inode *inode);
/* The child `name` of directory `dir`: a reference in *out, or NULL with 0 if there is none.
 * Equal host files are equal inodes. -errno. */
int host_lookup(struct inode *dir, const char *name, struct inode **out);
/* The target of a symbolic link; malloc'd. */
int host_readlink(struct inode *inode, char **target);
/* Reads at pos: bytes (short at end of file), or -errno. */
ssize_t host_read_at(struct inode *inode, struct iov_iter *to, int64_t pos);
/* An fd (O_RDONLY) of a regular file that stays open until host_unpin_fd(inode); nests. -errno. */
int host_pin_fd(struct inode *inode);
void host_unpin_fd(struct inode *inode);
ssize_t host_getxattr(struct inode *inode, const char *name, void *buf, size_t size);
ssize_t host_listxattr(struct inode *inode, char *buf, size_t size);

/* The listing of a directory, without "." and ".."; immutable, shared by counted references. */
struct dirlist {
	struct refcount refs;
	uint32_t nr, cap;
	size_t names_size, names_cap;
	struct dirlist_entry {
		uint64_t ino;
		uint32_t name;	   /* offset in names */
		uint8_t len, type; /* DT_* */
	} * entries;
	char *names; /* NUL-terminated, one after another */
};
struct dirlist *dirlist_alloc(void);
int dirlist_add(struct dirlist *l, const char *name, size_t len, uint64_t ino, unsigned type);
struct dirlist *dirlist_get(struct dirlist *l);
void dirlist_put(struct dirlist *l); /* NULL is fine */
/* Emits "." and "..", then the list from ctx->pos on. */
int dirlist_emit(struct dirlist *l, struct file *file, struct dir_context *ctx);
/* The listing as it is now; from the cache where the mount has one. Reference, or -errno. */
int host_dirlist(struct inode *dir, struct dirlist **out);

#endif
