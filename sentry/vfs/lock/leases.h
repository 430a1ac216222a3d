/* File leases (man 2 fcntl: F_SETLEASE). */
#ifndef MOAT_SENTRY_VFS_LOCK_LEASES_H
#define MOAT_SENTRY_VFS_LOCK_LEASES_H

#include "sentry/vfs/file.h"

void leases_init(void); /* once, at start */
/* Sets, changes or (F_UNLCK) gives up the description's lease. -EACCES, -EINVAL, -EAGAIN as the man
 * page says (fd: for the signals); -EINVAL also for files that others outside of the sandbox may
 * open, whom nothing here would hold up; -ENOMEM. */
int lease_set(struct file *f, int fd, int type);
/* F_RDLCK, F_WRLCK, F_UNLCK; while it is being broken, what it is to become. */
int lease_get(struct file *f);
/* The inode is going to be opened, or truncated (write): breaks the leases that are in the way, and
 * waits until their holders have let go, or had time enough. -EWOULDBLOCK: it would wait;
 * -ERESTARTSYS. No locks held. */
int lease_break_slow(struct inode *inode, bool write, bool nonblock);
static inline int lease_break(struct inode *inode, bool write, bool nonblock)
{
	return atomic_load(&inode->leases) ? lease_break_slow(inode, write, nonblock) : 0;
}
/* The last reference to the description goes. */
void lease_release_file(struct file *f);

/* /proc/sys/fs: leases-enable, and lease-break-time in seconds (0 and less: for ever). */
extern _Atomic int leases_enabled, lease_break_time;

#endif
