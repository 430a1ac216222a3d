/*
 * POSIX, open-file-description and flock locks (man 2 fcntl, flock).
 *
 * Each inode that was ever locked has a context: the locks, and a queue for those who wait. The
 * context's lock is a leaf but for the queue's and the deadlock graph's.
 */
#ifndef MOAT_SENTRY_VFS_LOCK_LOCKS_H
#define MOAT_SENTRY_VFS_LOCK_LOCKS_H

#include "sentry/vfs/file.h"

struct file_lock_context;

struct lock_request {
	int type;	    /* F_RDLCK, F_WRLCK, F_UNLCK */
	int64_t start, end; /* inclusive; INT64_MAX: to the end */
	const void *owner;  /* the fd table (POSIX) or the file (OFD) */
	bool ofd, flock;
	/* The process that asked; NULL for OFD locks, whose owner is none. Not counted by the
	 * request. */
	struct pid *pid;
};

/*
 * Files whose locks processes outside of the sandbox are to see, and whose locks count here: those
 * of the host's on mounts that others change, too. To the outside the sandbox is one owner, which
 * has of each byte the strongest lock that anybody here has. prepare() comes before the others and
 * may wait, they must not: they run under the context's lock. All return 0 or -errno, -EAGAIN when
 * somebody outside has a lock that is in the way.
 */
struct lock_mirror {
	bool (*concerns)(const struct inode *inode);
	int (*prepare)(struct inode *inode);
	int (*set)(struct inode *inode, int type, int64_t start, int64_t end);
	/* *found as posix_lock_test() has it. */
	int (*test)(struct inode *inode, const struct lock_request *req,
		    struct lock_request *found);
	int (*flock)(struct inode *inode, int type);
};
/* Once, at start. */
void file_locks_set_mirror(const struct lock_mirror *m);

/* Sets or removes. wait: blocks (-ERESTARTSYS when interrupted, -EDEADLK). Otherwise -EAGAIN on a
 * conflict. -ENOLCK: too many. */
int posix_lock_set(struct file *f, const struct lock_request *req, bool wait);
/* The first lock that would conflict, into *found (type F_UNLCK: none; pid counted or NULL). */
void posix_lock_test(struct file *f, const struct lock_request *req, struct lock_request *found);
/* type as above; the owner is the description. -EAGAIN, -ERESTARTSYS, -ENOLCK. */
int flock_set(struct file *f, int type, bool wait);

/* Calls fn for every lock on the inode, or in the sandbox if it is NULL. Locks of this file are
 * held: fn must take none that come before them. */
void file_locks_each(struct inode *inode,
		     void (*fn)(void *arg, struct inode *inode, const struct lock_request *r),
		     void *arg);

void file_locks_free(struct file_lock_context *ctx); /* NULL is fine */
/* The last reference to the description goes: its flock and OFD locks with it. */
void file_locks_release_file(struct file *f);
/* close(2) by a process: its POSIX locks on the file's inode go. owner is the fd table. */
void file_locks_release_owner(struct file *f, struct files *owner);
/* The lock commands of fcntl(2). */
long fcntl_lock(struct file *f, int fd, unsigned cmd, uint64_t arg);

#endif
