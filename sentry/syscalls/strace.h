/* --strace: one line per syscall to the log. */
#ifndef MOAT_SENTRY_SYSCALLS_STRACE_H
#define MOAT_SENTRY_SYSCALLS_STRACE_H

#include <stdbool.h>
#include <stdint.h>

struct task;
struct syscall_args;

extern bool strace_enabled;
/* Around the handler, by the run loop. strace_enter returns a monotonic start time. */
int64_t strace_enter(struct task *t, unsigned nr, const struct syscall_args *args);
void strace_exit(struct task *t, unsigned nr, const struct syscall_args *args, long result,
		 int64_t start);

#endif
