/*
 * Being traced (man 2 ptrace): what the run loop asks of it. All for the current task, by its
 * owner, with no locks held; only if the flag in question is set.
 */
#ifndef MOAT_SENTRY_KERNEL_PTRACE_PTRACE_H
#define MOAT_SENTRY_KERNEL_PTRACE_PTRACE_H

#include <stdbool.h>

struct guest_regs;
struct platform_event;
struct task;

/* TF_TRACE: an event that is no system call has come. True: a call that the tracee's own thread
 * made has ended. A step for a tracer that is gone becomes EVENT_INTERRUPTED. */
bool trace_event(struct task *t, struct platform_event *event);
/* ENTRY_TRACE: a call begins. False: it is not to be made. */
bool trace_call_begins(struct task *t);
/* TF_TRACE: it has ended; its result is in the registers. */
void trace_call_ends(struct task *t);
/* TF_TRACE: its thread is going to make a call of its own: platform_execute(). */
void trace_executes(struct task *t);
/* TF_TRACE: it goes back to the guest. */
void trace_resumes(struct task *t);
/* A traced task is about to end with this wait status. */
void trace_exits(struct task *t, int status);

#endif
