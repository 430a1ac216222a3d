/* What the host counts for a stub, beyond what platform.h asks for. */
#ifndef MOAT_SENTRY_PLATFORM_SHARED_USAGE_H
#define MOAT_SENTRY_PLATFORM_SHARED_USAGE_H

#include "sentry/platform/platform.h"

/* The thread's state, as in man 5 proc_pid_stat, and its time in user mode. 0 or -errno. */
int stub_thread_stat(struct platform_ctx *ctx, char *state, uint64_t *user_ms);

/* How long the thread, or that of ours with this id, has been kept waiting for a CPU so far. 0 or
 * -errno (a host without /proc/PID/schedstat). */
int stub_thread_waited(struct platform_ctx *ctx, uint64_t *ms);
int own_thread_waited(pid_t tid, uint64_t *ms);

#endif
