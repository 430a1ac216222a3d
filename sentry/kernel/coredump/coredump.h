/* Core files: see README.md. */
#ifndef MOAT_SENTRY_KERNEL_COREDUMP_COREDUMP_H
#define MOAT_SENTRY_KERNEL_COREDUMP_COREDUMP_H

#include <stdbool.h>
#include <stddef.h>

struct task;

#define CORE_PATTERN_MAX 127 /* characters */

/* The current task is about to end. If it is for another thread's core file, leaves its registers
 * for that and waits until it is written. No locks held. */
void coredump_join(struct task *t);

/* /proc/sys/kernel: core_pattern, core_uses_pid; of the whole sandbox. Any thread. */
void core_pattern_get(char out[CORE_PATTERN_MAX + 1]);
/* -EINVAL: it names a program or a socket to write to. What is too long is cut. */
int core_pattern_set(const char *pattern);
bool core_uses_pid_get(void);
void core_uses_pid_set(bool on);

#endif
