/*
 * POSIX, open-file-description and flock locks (man 2 fcntl, flock).
 *
 * Each inode that was ever locked has a context: the locks, and a queue for those who wait. The
 * context's lock is a leaf but for the queue's and the deadlock graph's.
 */
#ifndef MOAT_SENTRY_VFS_LOCKS_H
#define MOAT_SENTRY_VFS_LOCKS_H

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

#endif
