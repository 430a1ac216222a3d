/*
 * The ptrace platform's own structures. Lock order: zygote_lock -> the lock of stub_pid.h ->
 * stub->lock; stub->scratch_lock and pool.lock alone. None but zygote_lock and scratch_lock is held
 * over a stop that is waited for.
 */
#ifndef MOAT_SENTRY_PLATFORM_PTRACE_H
#define MOAT_SENTRY_PLATFORM_PTRACE_H

#include <linux/filter.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/queue.h>

#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/platform/shared/ops.h"
#include "sentry/platform/shared/object.h"

/* Ignored by whoever is not traced, a stop for the tracer of whoever is. */
#define KICK_SIGNAL SIGURG

/* An address space: struct platform_as. */
struct stub {
	struct as_head head;
	struct refcount refs; /* the kernel's, and one per tracee */
	struct mutex lock;
	TAILQ_HEAD(, tracee) tracees; /* lock */
	/* The one scratch memory of the stub is in use: see fault.c. */
	struct mutex scratch_lock;
	TAILQ_ENTRY(stub) orphan_link; /* deaths.c's */
};

/* TRACEE_GUEST: its tracer waits for its next stop. */
enum tracee_state { TRACEE_OWNED, TRACEE_GUEST };

/*
 * A context: struct platform_ctx. A thread of a stub that is parked in the stub's text, untraced,
 * or attached to the thread of the sentry that owns it, and then stopped but while that thread
 * waits. Everything but kicked, hurry and what is read of the state is the owner's.
 */
struct tracee {
	struct ctx_head head;
	_Atomic pid_t tracer; /* the thread that it is attached to; 0: none */
	bool gone;	      /* it has ended, and its tracer has reaped it */
	_Atomic int state;
	_Atomic int kicked;
	_Atomic bool in_call;		/* the tracer waits for a system call of its own */
	_Atomic bool has_run;		/* it has been in the guest */
	uint64_t fs_loaded, gs_loaded;	/* the thread's bases, if regs say something else */
	_Atomic int hurry;		/* HURRY_* */
	unsigned looks;			/* deaths.c's: how often it has been found late */
	TAILQ_ENTRY(tracee) stub_link;	/* stub->tracees */
	TAILQ_ENTRY(tracee) ready_link; /* worker.c's */
};

#define HURRY_NONE 0
#define HURRY_SHARED 1 /* the guest's process is to die; another one shares the stub */
#define HURRY_ALONE 2

static inline struct stub *stub_of(struct platform_as *as)
{
	return (struct stub *)as;
}
static inline struct tracee *tracee_of(struct platform_ctx *ctx)
{
	return (struct tracee *)ctx;
}
static inline struct platform_ctx *tracee_ctx(struct tracee *t)
{
	return (struct platform_ctx *)t;
}
static inline struct stub *tracee_stub(const struct tracee *t)
{
	return stub_of(t->head.as);
}

/*
 * trace.c: requests. All but the first two need the calling thread to be the tracer, and the tracee
 * to be stopped. -ESRCH: the thread is dead, or about to be.
 */
/* Makes the calling thread the tracer of a parked tracee, or finds that it is. */
int tracee_attach(struct tracee *t);
bool tracee_is_mine(const struct tracee *t);
/* Parks the tracee and lets it go. */
void tracee_detach(struct tracee *t);
/*
 * What stopped a tracee: the signal that has come for it, or one of these, or PTRACE_EVENT_STOP in
 * the second byte.
 */
#define STOP_SYSCALL (SIGTRAP | 0x80)			   /* at a system call, or behind it */
#define STOP_CLAIMED (SIGTRAP | PTRACE_EVENT_SECCOMP << 8) /* the filter asks for its tracer */
/* Waits for the next stop. */
int tracee_wait(struct tracee *t, int *stop);
/* Goes on by one of PTRACE_CONT and its kind, with a signal or 0, and waits for the next stop. */
int tracee_run(struct tracee *t, int request, int signo, int *stop);
/* At a stop that is not what is waited for: the signal to go on with. Kicks are remembered by those
 * who kick; job control is not for stubs. */
int stop_pass_signal(int stop);
int tracee_get_regs(struct tracee *t, struct guest_regs *regs);
/* The guest has gone to a code segment for 32-bit programs, of which the kernel's register sets
 * would be others: back to ours. */
int tracee_leave_32_bit(struct tracee *t);
/* All but the bases. orig_rax becomes -1: the host's kernel has no call to restart. */
int tracee_set_regs(struct tracee *t, const struct guest_regs *regs);
/* The registers of the guest, bases included. */
int tracee_load_regs(struct tracee *t);
/* The thread has ended, or will without more of us: takes what it leaves. */
void tracee_reap(struct tracee *t);

/* call.c: system calls of the sentry's in a stub. */
/* 0 and the call's result. */
int tracee_call(struct tracee *t, uint64_t nr, const uint64_t args[6], int64_t *result);
/* Ends the thread by exit(2). */
void tracee_call_exit(struct tracee *t);
int ptrace_memory_call(struct platform_ctx *ctx, uint64_t nr, const uint64_t args[6]);
int ptrace_word_op(struct platform_ctx *ctx, uint64_t addr, enum platform_word_op op, uint32_t arg,
		   uint32_t expected, uint32_t *old);

/* event.c: what a stop of a tracee in the guest means. False: nothing for the kernel; it goes on
 * with the signal *pass. */
bool event_from_stop(struct tracee *t, int stop, struct platform_event *event, int *pass);
/* fault.c: the trap number, the error code and the address of a fault at whose signal the tracee
 * stands. It stands elsewhere afterwards. */
int fault_details(struct tracee *t, struct platform_event *event);

/* fpu.c */
/* To be called once, with the zygote. */
int fpu_init(struct tracee *t);
/* As the kernel has it, FPSTATE_MAX bytes at most, and back. */
int fpu_save(struct tracee *t, void *image);
int fpu_load(struct tracee *t, void *image);
int ptrace_get_fpstate(struct platform_ctx *ctx, void *buf, size_t size);
int ptrace_set_fpstate(struct platform_ctx *ctx, const void *buf, size_t size);
int ptrace_reset_fpstate(struct platform_ctx *ctx);

/* stub.c: objects */
struct stub *stub_alloc(void);
void stub_free(struct stub *stub);
/* Has the stub's reference; the thread is not known yet. */
struct tracee *tracee_alloc(struct stub *stub, void *owner);
/* The last that leaves takes the stub along. */
void ptrace_ctx_exit(struct platform_ctx *ctx);
/* A tracee that never was: for errors. */
void tracee_free(struct tracee *t);
void ptrace_as_get(struct platform_as *as);
void ptrace_as_put(struct platform_as *as);
void ptrace_as_kill(struct platform_as *as);

/* clone.c */
int ptrace_as_create(void *owner, struct platform_as **as, struct platform_ctx **ctx);
int ptrace_fork(struct platform_ctx *parent, void *owner, struct platform_as **as,
		struct platform_ctx **child);
int ptrace_clone_thread(struct platform_ctx *parent, void *owner, uint64_t fs_base,
			struct platform_ctx **child);

/* zygote.c */
int tracer_zygote_start(const char **what);
bool tracer_zygote_has_died(void);
struct platform_as *tracer_make_clean(int *err);
void tracer_zygote_end(void);
/* No clean stub is being made, and none will be. */
void tracer_zygote_stop(void);

/* filter.c: at most STUB_FILTER_MAX instructions; how many. */
unsigned traced_filter(struct sock_filter *insns);

/* worker.c */
struct platform_ctx *ptrace_next(struct platform_ctx *ctx, bool full, struct platform_event *event);
int ptrace_resume(struct platform_ctx *ctx);
void ptrace_hand_over(struct platform_ctx *ctx);
void ptrace_kick(struct platform_ctx *ctx);
void ptrace_set_worker_main(void (*main)(void));
void workers_stop(void);

/* deaths.c */
int deaths_init(void);
int deaths_start(void);
void deaths_stop(void);
/* The last reference is gone; reaps the process and frees the stub when it is dead. */
void deaths_take(struct stub *stub);
void ptrace_hurry(struct platform_ctx *ctx, int nthreads);

#endif
