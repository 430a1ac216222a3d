/*
 * What a call returns that is to be entered again, and what it leaves for it.
 *
 * The kernel-internal error codes (Linux: include/linux/errno.h). Never seen by a guest: signal
 * delivery turns them into a restart or -EINTR. */
#ifndef MOAT_SENTRY_KERNEL_CORE_RESTART_H
#define MOAT_SENTRY_KERNEL_CORE_RESTART_H

#include <errno.h>
#include <stdint.h>

#define ERESTARTSYS 512		  /* restart unless a handler without SA_RESTART ran */
#define ERESTARTNOINTR 513	  /* always restart */
#define ERESTARTNOHAND 514	  /* restart only if no handler ran */
#define ENOIOCTLCMD 515		  /* no such ioctl: becomes ENOTTY */
#define ESUSPENDED 520		  /* no result yet: see wait_suspend(); never seen by the guest */
#define EEXECUTED 521		  /* the guest's own thread makes the call: platform_execute() */
#define ERESTART_RESTARTBLOCK 516 /* restart through restart_syscall(2) with task->restart */

struct task;

/* A blocked syscall with a relative timeout, to be entered again by restart_syscall(2). */
struct restart_block {
	long (*fn)(struct task *t, struct restart_block *rb);
	int64_t deadline; /* monotonic ns */
	uint64_t arg[5];
};

#endif
