/*
 * The run loop: what a worker does. It takes the next event of any guest thread, runs it to the
 * end on its own stack, and gives the thread back to the guest. The path of a syscall allocates
 * nothing and takes no lock that all share.
 */
#include <string.h>

#include "sentry/kernel/lifecycle.h"
#include "sentry/kernel/restart.h"
#include "sentry/kernel/seccomp.h"
#include "sentry/kernel/strace.h"
#include "sentry/mm/mm.h"
#include "sentry/syscalls/syscall.h"

/* What makes the way back to the guest a long one. */
#define TF_WORK (TF_SIGPENDING | TF_KILLED | TF_RESTORE_MASK | TF_PARK | TF_NOTIFY_RESUME | TF_EXIT)

static long not_implemented(uint32_t nr)
{
	static _Atomic uint8_t logged[SYSCALL_MAX];

	if (nr < SYSCALL_MAX && syscall_table[nr].name && !atomic_exchange(&logged[nr], 1))
		log_info("syscall %u (%s) is not implemented", nr, syscall_table[nr].name);
	return -ENOSYS;
}

static long traced(struct task *t, uint32_t nr, const struct syscall_args *args, syscall_fn fn)
{
	int64_t start = strace_enter(t, nr, args);
	long ret = fn ? fn(t, args) : not_implemented(nr);

	strace_exit(t, nr, args, ret, start);
	return ret;
}

/* False: no result yet. */
static bool run_syscall(struct task *t, struct guest_regs *regs)
{
	uint32_t nr = (uint32_t)regs->orig_rax;
	struct syscall_args args = {
		{regs->rdi, regs->rsi, regs->rdx, regs->r10, regs->r8, regs->r9}};
	syscall_fn fn = likely(nr < SYSCALL_MAX) ? syscall_table[nr].fn : NULL;
	long ret;

	t->in_syscall = true;
	t->syscall_nr = nr;
	if (unlikely(t->seccomp_mode) && !seccomp_allows(t, regs))
		return true;
	if (unlikely(strace_enabled) && nr < SYSCALL_MAX && syscall_table[nr].name)
		ret = traced(t, nr, &args, fn);
	else
		ret = likely(fn != NULL) ? fn(t, &args) : not_implemented(nr);
	if (unlikely(ret == -ESUSPENDED))
		return false;
	/* execve has another context now. */
	platform_regs(t->ctx)->rax = ret;
	return true;
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

/* False: the task has ended. */
static bool leave_sentry(struct task *t)
{
	if ((atomic_load(&t->flags) & TF_EXIT) || !deliver_signals(t)) {
		do_exit(t, t->exit_code);
		return false;
	}
	return true;
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
	case EVENT_DEAD:
	case EVENT_CONTINUE:
		break;
	}
	return true;
}

void worker_main(void)
{
	struct platform_ctx *ctx = NULL;
	struct platform_event event;
	bool full = false;

	while ((ctx = platform_next(ctx, full, &event))) {
		struct task *t = platform_owner(ctx);

		bool done;

		current = t;
		done = run_event(t, &event);
		while (unlikely(!done) && !task_let_go(t))
			done = run_continuation(t);
		if (unlikely(!done)) {
			/* Somebody else's from now on. */
			current = NULL;
			ctx = NULL;
			continue;
		}
		if (unlikely(atomic_load_explicit(&t->flags, memory_order_relaxed) & TF_WORK) ||
		    unlikely(has_restart_code(t))) {
			if (!leave_sentry(t)) {
				ctx = NULL;
				continue;
			}
		}
		full = event.kind != EVENT_SYSCALL && event.kind != EVENT_CONTINUE;
		if (atomic_load_explicit(&t->flags, memory_order_relaxed) & TF_FULL_REGS) {
			atomic_fetch_and(&t->flags, ~TF_FULL_REGS);
			full = true;
		}
		ctx = t->ctx;
		current = NULL;
	}
}
