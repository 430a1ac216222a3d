/*
 * The run loop: what a worker does. It takes the next event of any guest thread, runs it to the
 * end on its own stack, and gives the thread back to the guest. The path of a syscall allocates
 * nothing and takes no lock that all share.
 */
#include <string.h>

#include "sentry/kernel/core/restart.h"
#include "sentry/kernel/coredump/coredump.h"
#include "sentry/kernel/futex/futex.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/kernel/run/run_internal.h"
#include "sentry/kernel/seccomp/seccomp.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/trace.h"
#include "sentry/mm/mm.h"
#include "sentry/syscalls/dispatch.h"

/* What makes the way back to the guest a long one. */
#define TF_WORK                                                                                    \
	(TF_SIGPENDING | TF_KILLED | TF_RESTORE_MASK | TF_PARK | TF_NOTIFY_RESUME | TF_EXIT |      \
	 TF_LEFT | TF_PUT_OFF | TF_TRACE)

/* Filters and a tracer have a say in it before it is made; they may have changed it then. */
static bool may_be_made(struct task *t, struct guest_regs *regs)
{
	uint8_t work = atomic_load(&t->entry_work);

	if ((work & ENTRY_TRACE) && !trace_call_begins(t))
		return false;
	return !(work & ENTRY_SECCOMP) || seccomp_allows(t, regs);
}

/* False: no result yet. */
static bool run_syscall(struct task *t, struct guest_regs *regs)
{
	long ret;

	t->in_syscall = true;
	t->syscall_nr = (uint32_t)regs->orig_rax;
	if (unlikely(t->entry_work) && !may_be_made(t, regs))
		return true;
	uint32_t nr = (uint32_t)regs->orig_rax;
	struct syscall_args args = {
		{regs->rdi, regs->rsi, regs->rdx, regs->r10, regs->r8, regs->r9}};

	ret = syscall_dispatch(t, nr, &args);
	if (unlikely(ret == -ESUSPENDED))
		return false;
	if (unlikely(ret == -EEXECUTED))
		ret = t->called_off;
	/* execve has another context now. */
	platform_regs(t->ctx)->rax = ret;
	return true;
}

/* A signal comes before the call that the guest's thread was to make. */
static void call_off(struct task *t)
{
	t->executes = false;
	platform_execute_not(t->ctx);
}

/* What a suspended syscall does when it has been woken. */
static bool run_continuation(struct task *t)
{
	long ret = t->continuation(t);

	if (ret == -ESUSPENDED)
		return false;
	platform_regs(t->ctx)->rax = ret;
	return true;
}

static void run_fault(struct task *t, const struct platform_event *event)
{
	guest_siginfo_t info;
	int sig = event->signo, code = event->code;
	uint64_t addr = event->addr;

	if (sig == SIGSEGV || sig == SIGBUS) {
		sig = mm_handle_fault(t->mm, t->ctx, event, &code, &addr);
		if (!sig)
			return;
	}
	t->fault.addr = event->addr;
	t->fault.trapno = event->trapno;
	t->fault.error = event->error;
	memset(&info, 0, sizeof(info));
	info.si_signo = sig;
	info.si_code = code;
	info.si_addr = (void *)addr;
	force_signal(t, sig, &info);
}

static bool has_restart_code(struct task *t)
{
	int64_t rax = platform_regs(t->ctx)->rax;

	return t->in_syscall && rax <= -ERESTARTSYS && rax >= -ERESTART_RESTARTBLOCK &&
	       rax != -ENOIOCTLCMD;
}

/* False: the task has ended. ends_call: what it leaves is a system call. */
static bool leave_sentry(struct task *t, bool ends_call)
{
	if (unlikely(atomic_load(&t->flags) & TF_TRACE) && ends_call &&
	    !(atomic_load(&t->flags) & TF_EXIT))
		trace_call_ends(t);
	if ((atomic_load(&t->flags) & TF_EXIT) || !deliver_signals(t)) {
		coredump_join(t);
		if (unlikely(task_traced(t)))
			trace_exits(t, t->exit_code);
		do_exit(t, t->exit_code);
		return false;
	}
	if (unlikely(atomic_load(&t->flags) & TF_TRACE))
		trace_resumes(t);
	return true;
}

/* An event that is no new system call. True: it ends one. */
static bool begin_other_event(struct task *t, struct platform_event *event)
{
	bool ends_call = event->kind == EVENT_CONTINUE || event->kind == EVENT_RESTART;

	if (unlikely(atomic_load(&t->flags) & TF_TRACE) && event->kind != EVENT_CONTINUE)
		ends_call = trace_event(t, event) || ends_call;
	return ends_call;
}

/* False: the task's syscall waits, without a thread. */
static bool run_event(struct task *t, const struct platform_event *event)
{
	if (event->kind == EVENT_DEAD)
		group_kill(t->group, SIGKILL);
	if (t->continuation)
		return run_continuation(t);
	switch (event->kind) {
	case EVENT_SYSCALL:
		return run_syscall(t, platform_regs(t->ctx));
	case EVENT_FAULT:
		t->in_syscall = false;
		run_fault(t, event);
		break;
	case EVENT_INTERRUPTED:
		t->in_syscall = false;
		break;
	case EVENT_RESTART:
		t->in_syscall = true;
		platform_regs(t->ctx)->rax = futex_interrupted(t, event->slept_ns);
		break;
	case EVENT_DEAD:
	case EVENT_CONTINUE:
		break;
	}
	return true;
}

/* Runs the event, which ends a call then or not. False: the call waits, without a thread. */
static bool run_to_end(struct task *t, struct platform_event *event, bool *ends_call)
{
	bool done;

	*ends_call = true;
	if (unlikely(event->kind != EVENT_SYSCALL))
		*ends_call = begin_other_event(t, event);
	done = run_event(t, event);
	while (unlikely(!done) && !task_let_go(t))
		done = run_continuation(t);
	return done;
}

void worker_main(void)
{
	struct platform_ctx *ctx = NULL;
	struct platform_event event;
	bool full = false;

	while ((ctx = platform_next(ctx, full, &event))) {
		struct task *t = platform_owner(ctx);

		bool done, call;
		uint32_t work;

		current = t;
		signal_mask_return(t);
		done = run_to_end(t, &event, &call);
		if (unlikely(!done)) {
			/* Somebody else's from now on. */
			current = NULL;
			ctx = NULL;
			continue;
		}
		work = atomic_load_explicit(&t->flags, memory_order_relaxed) & TF_WORK;
		if (unlikely(t->executes) && (work & ~TF_TRACE))
			call_off(t);
		if (unlikely(work) && t->executes) {
			trace_executes(t);
		} else if (unlikely(work) || (!t->executes && unlikely(has_restart_code(t)))) {
			if (!leave_sentry(t, call)) {
				ctx = NULL;
				continue;
			}
		}
		full = event.kind != EVENT_SYSCALL && event.kind != EVENT_CONTINUE;
		if (atomic_load_explicit(&t->flags, memory_order_relaxed) & TF_FULL_REGS) {
			atomic_fetch_and(&t->flags, ~TF_FULL_REGS);
			full = true;
		}
		t->executes = false;
		signal_mask_lend(t);
		ctx = t->ctx;
		current = NULL;
	}
}
