/*
 * What a task has of being traced (man 2 ptrace). What is done with it is kernel/ptrace.
 *
 * It is made when a task is traced for the first time, and freed with the task. While it is traced
 * it is in the list of its tracer's group and holds a reference to the task.
 */
#ifndef MOAT_SENTRY_KERNEL_TASK_TRACE_H
#define MOAT_SENTRY_KERNEL_TASK_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/compiler.h"
#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/task/task.h"

/* Until what the tracee runs. */
enum trace_mode {
	TRACE_RUN,	   /* PTRACE_CONT */
	TRACE_CALLS,	   /* PTRACE_SYSCALL */
	TRACE_EMULATE,	   /* PTRACE_SYSEMU */
	TRACE_STEP,	   /* PTRACE_SINGLESTEP */
	TRACE_EMULATE_STEP /* PTRACE_SYSEMU_SINGLESTEP */
};

#define TRACE_WATCHES 4 /* DR0 to DR3 */

struct trace {
	struct task *task;
	/* A thread, which takes it back before it ends; NULL: none. Written with tasklist_lock
	 * (write) and the tracee's sighand->lock held; either is enough to read it. */
	struct task *_Atomic tracer;
	TAILQ_ENTRY(trace) link; /* tracer->group->tracees; tasklist_lock */
	bool dead; /* a thread, not a leader, that has ended: to be waited for; tasklist_lock */

	/* The tracee's sighand->lock from here on. */
	bool seized;
	bool capable;	  /* the tracer had CAP_SYS_PTRACE: set-id programs keep their powers */
	uint32_t options; /* PTRACE_O_* */
	enum trace_mode mode;
	bool stopped;	/* stands in a stop; its registers are the tracer's to change */
	bool listening; /* PTRACE_LISTEN: and the tracer has no other business with it */
	int code;	/* of the stop, as in waitid's si_status; 0: has been waited for */
	int why;	/* CLD_TRAPPED, CLD_STOPPED */
	int inject;	/* the signal with which it is to go on */
	uint8_t call;	/* PTRACE_SYSCALL_INFO_*: what kind of system call stop it is */
	uint32_t seccomp_data;
	uint64_t message; /* PTRACE_GETEVENTMSG */
	bool has_info;
	guest_siginfo_t info; /* PTRACE_GETSIGINFO */

	/* Debug registers; the owner's while it runs: kernel/ptrace/trace_watch.c */
	uint64_t debug[8];
	uint64_t value[TRACE_WATCHES]; /* what is watched, as it was */
	bool seen[TRACE_WATCHES];      /* that is known */

	/* What only the tracee's own thread can do, done for the tracer: see trace_ask(). */
	int (*request)(struct task *t, struct trace *tr);
	bool answered;
	int answer;
	void *fpstate; /* platform_fpstate_size() bytes; made with the first request */
	struct wait_queue answer_wait;

	/* [owner] */
	bool watched;	/* TF_TRACE and ENTRY_TRACE are set */
	bool forced_tf; /* the trap flag in its registers is ours */
	bool executing; /* its own thread makes this call, and reports */
	uint64_t executed_nr;
};

static inline bool task_traced(const struct task *t)
{
	struct trace *tr = atomic_load_explicit(&t->trace, memory_order_acquire);

	return unlikely(tr != NULL) && atomic_load_explicit(&tr->tracer, memory_order_relaxed);
}

#endif
