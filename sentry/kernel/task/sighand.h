/*
 * What a task has of signals: handlers, queues, job control. What is done with them is
 * signal/signal.h.
 * Locks: sighand->lock guards the handlers, every pending queue of the group, the blocked masks
 * and job-control state of its threads.
 */
#ifndef MOAT_SENTRY_KERNEL_TASK_SIGHAND_H
#define MOAT_SENTRY_KERNEL_TASK_SIGHAND_H

#include <sys/queue.h>

#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/core/wait.h"

/* struct sigaction of the kernel's ABI (x86-64). */
struct ksigaction {
	uint64_t handler; /* 0 SIG_DFL, 1 SIG_IGN */
	uint64_t flags;	  /* SA_* , SA_RESTORER 0x04000000 */
	uint64_t restorer;
	sigset64_t mask;
};

struct sigqueue {
	TAILQ_ENTRY(sigqueue) link;
	guest_siginfo_t info;
	void *posix_timer; /* the k_itimer whose signal this is, or NULL: then owned by the queue */
	bool queued;	   /* of a posix_timer: already in a queue */
	void *ucount;	   /* whose RLIMIT_SIGPENDING it counts for */
};

struct sigpending {
	sigset64_t set;
	TAILQ_HEAD(, sigqueue) queue;
};

struct sighand {
	struct refcount refs;
	struct mutex lock;
	struct ksigaction action[GUEST_NSIG];
	struct wait_queue signalfd_wait; /* EPOLLIN whenever a signal is queued */
	struct sighand *next_free;	 /* memory is never returned: see thread_group->sighand */
};

/* task->jobctl; sighand->lock */
#define JOBCTL_STOP_PENDING 0x1	 /* is to take part in the group stop */
#define JOBCTL_STOP_COUNTED 0x2	 /* group_stop_count counts on it */
#define JOBCTL_STOPPED 0x4	 /* takes part; cleared by SIGCONT */
#define JOBCTL_STOP_DEQUEUED 0x8 /* about to stop; cleared by SIGCONT */
#define JOBCTL_TRAP_STOP 0x10	 /* its tracer wants it to stop: PTRACE_INTERRUPT, a new tracee */
#define JOBCTL_TRAP_NOTIFY 0x20	 /* its tracer is to see that the group stop has changed */
#define JOBCTL_TRAPS (JOBCTL_TRAP_STOP | JOBCTL_TRAP_NOTIFY)

#endif
