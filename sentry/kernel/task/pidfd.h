/* Process file descriptors (man 2 pidfd_open). */
#ifndef MOAT_SENTRY_KERNEL_TASK_PIDFD_H
#define MOAT_SENTRY_KERNEL_TASK_PIDFD_H

struct file;
struct pid;

/* A file on the process; flags: O_NONBLOCK. 0 or -errno. */
int pidfd_create(struct pid *pid, unsigned flags, struct file **out);
/* The id behind a pidfd: reference, or NULL (not a pidfd). */
struct pid *pidfd_pid(struct file *file);
/* The same, of an open directory /proc/PID, too. */
struct pid *pidfd_or_proc_pid(struct file *file);

#endif
