/*
 * Process ids of stubs.
 *
 * A stub is known by its process id only from stub_register() to stub_unregister(). In between the
 * id cannot name anything else: stub_register() has seen that it is a process, not a thread, and a
 * child of ours, and nobody but stub_unregister() reaps it. Ids of other kinds are good for nothing
 * but asking the host's kernel about them.
 *
 * Lock: one of its own, the innermost but for what fn takes.
 */
#ifndef MOAT_SENTRY_PLATFORM_SHARED_STUB_PID_H
#define MOAT_SENTRY_PLATFORM_SHARED_STUB_PID_H

#include "sentry/platform/shared/object.h"

/* From now on pid is as's: a process, not a thread, our own child, alive, and nobody else's. 0,
 * -ECHILD or -EEXIST: it is not; -ESRCH: it has died, and is reaped. */
int stub_register(struct as_head *as, pid_t pid);
/* Reaps the process, which has died. */
void stub_unregister(struct as_head *as);
/* Reaps the process if it has died; false: it has not. */
bool stub_unregister_if_dead(struct as_head *as);
bool stub_has_died(struct as_head *as);
/* Reaps pid if it is a dead child that is not registered; false: it is registered. */
bool stub_reap_unknown(pid_t pid);
/* NULL: not registered. No reference is taken. */
struct as_head *stub_by_pid(pid_t pid);
/* Kills the process of a thread that is a stub's, or a child's of ours that is not registered: its
 * address space as by platform_as_kill(). `still` is asked when the process is known and its number
 * cannot become another's: false, and it lives on. */
void stub_kill_thread(pid_t tid, bool (*still)(void *arg), void *arg);
/* For every registered stub, in no order. */
void stub_for_each(void (*fn)(struct as_head *as));

#endif
