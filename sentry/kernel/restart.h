/* The kernel-internal error codes (Linux: include/linux/errno.h). Never seen by a guest: signal
 * delivery turns them into a restart or -EINTR. */
#ifndef MOAT_SENTRY_KERNEL_RESTART_H
#define MOAT_SENTRY_KERNEL_RESTART_H

#include <errno.h>

#define ERESTARTSYS 512		  /* restart unless a handler without SA_RESTART ran */
#define ERESTARTNOINTR 513	  /* always restart */
#define ERESTARTNOHAND 514	  /* restart only if no handler ran */
#define ENOIOCTLCMD 515		  /* no such ioctl: becomes ENOTTY */
#define ESUSPENDED 520		  /* no result yet: see wait_suspend(); never seen by the guest */
#define ERESTART_RESTARTBLOCK 516 /* restart through restart_syscall(2) with task->restart */

#endif
