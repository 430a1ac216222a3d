/* Entering a system call. */
#ifndef MOAT_SENTRY_SYSCALLS_DISPATCH_H
#define MOAT_SENTRY_SYSCALLS_DISPATCH_H

#include "sentry/kernel/core/syscall.h"

/* Runs call number nr, whatever it is, for the current task: its result, or -ENOSYS for what has no
 * handler (logged once). With --strace the call is logged. */
long syscall_dispatch(struct task *t, uint32_t nr, const struct syscall_args *args);
/* The name of call number nr; NULL: there is none. */
const char *syscall_name(unsigned nr);

#endif
