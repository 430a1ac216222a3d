/* Between the files of kernel/ptrace. */
#ifndef MOAT_SENTRY_KERNEL_PTRACE_PTRACE_INTERNAL_H
#define MOAT_SENTRY_KERNEL_PTRACE_PTRACE_INTERNAL_H

#include <linux/ptrace.h>

#include "sentry/arch/regs.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/task/task.h"
#include "sentry/kernel/task/task_upcalls.h"
#include "sentry/kernel/task/trace.h"

#define TRAP_FLAG 0x100ULL

static inline struct trace *trace_of(const struct task *t)
{
	return atomic_load_explicit(&t->trace, memory_order_acquire);
}

/* --- trace.c ---------------------------------------------------------------------------------- */
/* PTRACE_TRACEME, ATTACH, SEIZE: 0 or -errno as man 2 ptrace says. */
int trace_me(struct task *t);
int trace_attach(struct task *t, bool seize, uint32_t options);
/* A tracee in a stop goes on without a tracer. -ESRCH: it is not there, or not ours. */
int trace_detach(struct task *t, int sig);

/* --- trace_stop.c ----------------------------------------------------------------------------- */
/* What a tracee in a stop is told to go on with. The tracee's sighand->lock held. */
void trace_continue(struct task *t, enum trace_mode mode, int sig);
/* Stops the current task, if it is traced and not being killed, with SIGTRAP, an event in the
 * second byte of code, and a siginfo that says so. `call` is a PTRACE_SYSCALL_INFO_*. Returns the
 * signal to go on with, 0: none. */
int trace_stop_trap(struct task *t, int code, uint64_t message, uint8_t call);
/* Sets TF_TRACE and its kin as the mode says. Owner. */
void trace_apply_mode(struct task *t);
/* Has fn done by t, which the current task traces and which stands in a stop: fn's result, -ESRCH
 * if t goes before, -EINTR if the current task is killed meanwhile. No locks held. */
int trace_ask(struct task *t, int (*fn)(struct task *t, struct trace *tr));

/* --- trace_regs.c: the tracee's sighand->lock held, in a stop -----------------------------------
 */
/* struct user_regs_struct (sys/user.h, which has a PAGE_SIZE of its own). */
struct user_regs {
	struct guest_regs general;
	uint64_t ds, es, fs, gs;
};
#define USER_REGS_COUNT (sizeof(struct user_regs) / sizeof(uint64_t))
void trace_get_regs(struct task *t, uint64_t out[USER_REGS_COUNT]);
/* The first n of them. -EIO for values that no thread of the guest can have. */
int trace_set_regs(struct task *t, const uint64_t *in, unsigned n);
/* One word of struct user (sys/user.h). */
int trace_peek_user(struct task *t, uint64_t offset, uint64_t *value);
int trace_poke_user(struct task *t, uint64_t offset, uint64_t value);

/* --- trace_regs.c: no locks held ---------------------------------------------------------------
 */
/* PTRACE_GETREGSET and SETREGSET: type is NT_*, uiov the guest's struct iovec. */
int trace_regset(struct task *t, uint64_t type, uint64_t uiov, bool set);
/* NT_PRFPREG to or from the guest's address. */
int trace_fpregs(struct task *t, uint64_t uaddr, bool set);

/* --- trace_watch.c ------------------------------------------------------------------------------
 */
/* Is a debug register in use? Then the tracee goes step by step. */
bool trace_watches(const struct trace *tr);
/* DR0 to DR7 (i < 8). -EIO, -EINVAL: not a value that it takes; -ENOSPC: nothing that we could do.
 * The tracee's sighand->lock held, in a stop. */
uint64_t trace_get_debug(const struct trace *tr, unsigned i);
int trace_set_debug(struct trace *tr, unsigned i, uint64_t value);
/* After a step of the current task: has something happened that is watched for? Without `report`
 * what there is now is only remembered. */
bool trace_look(struct task *t, bool report);
/* A step that the tracer asked for has ended. */
void trace_note_step(struct trace *tr);

/* --- sys_ptrace_stopped.c ----------------------------------------------------------------------
 */
/* A request to a tracee of the current task's that must stand in a stop. */
long trace_request(struct task *t, uint64_t request, uint64_t addr, uint64_t data);
/* Locks t's sighand if the current task traces it; `stopped`: and it stands in a stop that it is
 * not only listening in. NULL otherwise. */
struct sighand *trace_lock(struct task *t, bool stopped);

#endif
