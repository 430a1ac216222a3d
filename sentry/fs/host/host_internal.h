/* What the files of fs/host/ share. */
#ifndef MOAT_SENTRY_FS_HOST_INTERNAL_H
#define MOAT_SENTRY_FS_HOST_INTERNAL_H

#include "sentry/fs/host/beneath.h"
#include "sentry/fs/host/host.h"

LIST_HEAD(host_object_list, host_object);

/* A super block of type "host". */
struct host_mount {
	struct super_block *sb;
	int sock;    /* -1 once the gofer is gone or has broken the protocol; gofer_lock */
	int root_fd; /* O_PATH, or -1: ask the gofer for everything */
	bool readonly, cache;
	bool squash;		     /* the gofer may not give files away */
	struct gofer_stat root_stat; /* when it was attached */
	struct mutex gofer_lock;
	struct mutex node_lock;
	struct mutex icache_lock;
	struct host_object_list *buckets;
	uint32_t num_buckets, num_objects;
	/* Whose inodes lookups make. */
	struct super_block *inode_sb;
	host_make_inode_t make;
	/* The file systems that the tree spans: each gets a range of inode numbers. */
	uint64_t devs[16];
	unsigned num_devs;
};

/* --- node.c: where an object is in the host's tree -------------------------------------------- */

struct host_node {
	struct refcount refs;
	struct host_node *parent; /* counted; NULL: the root */
	char *name;		  /* owned; NULL: the root */
};
struct host_node *host_node_alloc(struct host_node *parent, const char *name);
struct host_node *host_node_get(struct host_node *n);
void host_node_put(struct host_node *n);
/* Changes where n is. 0 or -ENOMEM. */
int host_node_move(struct host_mount *m, struct host_node *n, struct host_node *parent,
		   const char *name);
bool host_node_is(struct host_mount *m, const struct host_node *n, const struct host_node *parent,
		  const char *name);
void host_node_swap(struct host_mount *m, struct host_node *a, struct host_node *b);
/* The path from the mount's root, of n or of its child `name` (if not NULL), into buf of
 * GOFER_PATH_MAX + 1 bytes. 0 or -ENAMETOOLONG. */
int host_node_path(struct host_mount *m, const struct host_node *n, const char *name, char *buf);

/* --- identity.c ------------------------------------------------------------------------------- */

/* Before a file is mapped shared: futexes in it are those of the same file on other mounts. 0 or
 * -ENOMEM. */
int host_identity_take(struct host_object *o);
/* When the object goes. */
void host_identity_drop(struct host_object *o);

/* --- fd_cache.c ---------------------------------------------------------------------------------
 */

/* A slot has got an fd: makes it evictable, and evicts others over the limit. */
void host_fd_cache_add(struct host_fd *slot);
/* Counts who keeps slot's fd for long. False: too many are lent. */
bool host_fd_cache_lend(struct host_fd *slot);
void host_fd_cache_return(struct host_fd *slot);
/* Takes it out and closes it, whoever uses it. */
void host_fd_cache_remove(struct host_fd *slot);

/* --- gofer_client.c -----------------------------------------------------------------------------
 */

/* A call to the gofer. The request's version, size and lengths are filled in. */
struct gofer_transaction {
	struct gofer_request req;
	const char *path, *path2; /* NULL: "" */
	const void *data;
	size_t data_len;
	/* Results. */
	struct gofer_reply reply;
	void *reply_data; /* room for reply_size bytes, or NULL */
	size_t reply_size;
	int fd; /* the caller's, or -1 */
};
/* The gofer's answer: 0 or -errno. -EIO when it is gone or does not keep to the protocol. */
int gofer_call(struct host_mount *m, struct gofer_transaction *t);

/* --- object.c ------------------------------------------------------------------------------------
 */

/* Attributes of the child `name` of dir. 0, -ENOENT ... */
int host_stat_child(struct host_object *dir, const char *name, struct gofer_stat *st);
/* The inode of a host file that is known to be there. Reference in *out. */
int host_iget(struct host_object *dir, const char *name, const struct gofer_stat *st,
	      struct inode **out);
/* Whether `st` describes o's file. */
bool host_object_is(const struct host_object *o, const struct gofer_stat *st);
uint64_t host_ino(struct host_mount *m, uint64_t dev, uint64_t ino);
static inline struct host_object *host_object_of(const struct inode *inode)
{
	return inode->private;
}
/* Reads the attributes anew through an fd that is open anyway. */
void host_refresh(struct host_object *o);
/* Before the last name of a file that is open goes: what it takes to go on using it. */
void host_object_keep(struct host_object *o);

/* --- lock.c -------------------------------------------------------------------------------------
 */

void host_locks_init(void);

/* --- the operation tables ------------------------------------------------------------------------
 */

extern const struct inode_operations host_dir_iops, host_file_iops, host_link_iops;
extern const struct file_operations host_dir_fops, host_file_fops;
int host_setattr(struct inode *inode, struct iattr *attr);
int host_getattr(struct inode *inode, struct kstat *stat, uint32_t mask, unsigned flags);
int host_setxattr(struct inode *inode, const char *name, const void *value, size_t size, int flags);
ssize_t host_inode_getxattr(struct inode *inode, const char *name, void *buf, size_t size);
ssize_t host_inode_listxattr(struct inode *inode, char *buf, size_t size);

#endif
