/* rt_sig*, sigaltstack, pause (man 7 signal). Sending is in kill.c. */
#include <string.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/core/timeout.h"
#include "sentry/kernel/signal/signal_internal.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"

#define MINSIGSTKSZ_ABI 2048

static bool valid_signal(int sig)
{
	return sig >= 1 && sig <= GUEST_NSIG;
}

SYSCALL_DEFINE4(rt_sigaction, int, sig, uaddr_t, uact, uaddr_t, uold, size_t, size)
{
	/* The kernel's layout: handler, flags, restorer, mask. */
	struct ksigaction act, old;
	struct sighand *sh;
	struct task *each;

	if (size != sizeof(sigset64_t))
		return -EINVAL;
	if (uact && copy_from_user(&act, uact, sizeof(act)))
		return -EFAULT;
	if (!valid_signal(sig) || (uact && (sig == SIGKILL || sig == SIGSTOP)))
		return -EINVAL;
	sh = lock_sighand(t->group);
	old = sh->action[sig - 1];
	if (uact) {
		act.mask &= ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP));
		/* Flags that this kernel knows; SA_UNSUPPORTED (0x400) is never kept. */
		act.flags &= SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART |
			     SA_NODEFER | (uint32_t)SA_RESETHAND | 0x04000000 | 0x800;
		sh->action[sig - 1] = act;
		if (act.handler == 1 || (act.handler == 0 && sig_default_ignores(sig))) {
			/* POSIX: ignoring a signal discards it where it is pending. */
			sigpending_flush(&t->group->pending, SIG_BIT(sig));
			for_each_thread (t->group, each)
				sigpending_flush(&each->pending, SIG_BIT(sig));
			recalc_sigpending(t);
		}
	}
	mutex_unlock(&sh->lock);
	if (uold && copy_to_user(uold, &old, sizeof(old)))
		return -EFAULT;
	return 0;
}

SYSCALL_DEFINE4(rt_sigprocmask, int, how, uaddr_t, uset, uaddr_t, uold, size_t, size)
{
	sigset64_t set, old = t->blocked;

	if (size != sizeof(sigset64_t))
		return -EINVAL;
	if (uset) {
		if (get_user(&set, uset))
			return -EFAULT;
		switch (how) {
		case SIG_BLOCK:
			set |= old;
			break;
		case SIG_UNBLOCK:
			set = old & ~set;
			break;
		case SIG_SETMASK:
			break;
		default:
			return -EINVAL;
		}
		if (set != old)
			set_blocked(t, set);
	}
	if (uold && put_user(uold, old))
		return -EFAULT;
	return 0;
}

SYSCALL_DEFINE2(rt_sigpending, uaddr_t, uset, size_t, size)
{
	sigset64_t set;

	if (size > sizeof(set))
		return -EINVAL;
	set = signals_pending(t, t->blocked);
	return copy_to_user(uset, &set, size);
}

SYSCALL_DEFINE0(rt_sigreturn)
{
	/* What was interrupted may itself have had -EFAULT in rax. */
	if (restore_signal_frame(t)) {
		/* As Linux: a bad frame is a SIGSEGV at the place of the return. */
		t->in_syscall = false;
		force_signal(t, SIGSEGV, NULL);
		return 0;
	}
	return platform_regs(t->ctx)->rax;
}

/* Until a signal comes, or a pause. */
static long wait_for_handler(struct task *t)
{
	int err = 0;

	while (!err && !signal_pending(t)) {
		wait_prepare();
		err = wait_block(NO_DEADLINE, true);
	}
	return -ERESTARTNOHAND;
}

SYSCALL_DEFINE2(rt_sigsuspend, uaddr_t, uset, size_t, size)
{
	sigset64_t set;
	int err = sigset_from_user(&set, uset, size);

	if (err)
		return err;
	set_temporary_mask(t, set);
	return wait_for_handler(t);
}

SYSCALL_DEFINE0(pause)
{
	return wait_for_handler(t);
}

struct guest_stack {
	uint64_t sp;
	uint32_t flags, pad;
	uint64_t size;
};

SYSCALL_DEFINE2(sigaltstack, uaddr_t, unew, uaddr_t, uold)
{
	uint64_t sp = platform_regs(t->ctx)->rsp;
	struct guest_stack new,
		old = {
			.sp = t->altstack_sp,
			.size = t->altstack_size,
			.flags = altstack_state(t, sp) | (t->altstack_flags & SS_AUTODISARM),
		};
	uint32_t mode;

	if (unew) {
		if (copy_from_user(&new, unew, sizeof(new)))
			return -EFAULT;
		mode = new.flags & ~SS_AUTODISARM;
		if (altstack_state(t, sp) == SS_ONSTACK)
			return -EPERM;
		if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0)
			return -EINVAL;
		if (mode == SS_DISABLE) {
			new.sp = new.size = 0;
		} else if (new.size < MINSIGSTKSZ_ABI) {
			return -ENOMEM;
		}
		t->altstack_sp = new.sp;
		t->altstack_size = new.size;
		t->altstack_flags = new.flags;
	}
	if (uold && copy_to_user(uold, &old, sizeof(old)))
		return -EFAULT;
	return 0;
}

/* Waits for one of `set` until the deadline: the signal's number, -EAGAIN, -EINTR. */
static long wait_for_signal(struct task *t, sigset64_t set, int64_t deadline, guest_siginfo_t *info)
{
	struct sighand *sh;
	int sig, err = 0;

	for (;;) {
		wait_prepare();
		sh = lock_sighand(t->group);
		t->sigwait_mask = 0;
		sig = dequeue_signal(t, set, info);
		if (sig || err) {
			recalc_sigpending(t);
			mutex_unlock(&sh->lock);
			break;
		}
		/* Until then, senders count these as not blocked. */
		t->sigwait_mask = set;
		recalc_sigpending(t);
		mutex_unlock(&sh->lock);
		err = deadline ? wait_block(deadline, true) : -ETIMEDOUT;
	}
	if (sig)
		return sig;
	return err == -ETIMEDOUT ? -EAGAIN : -EINTR;
}

SYSCALL_DEFINE4(rt_sigtimedwait, uaddr_t, uset, uaddr_t, uinfo, uaddr_t, utimeout, size_t, size)
{
	int64_t deadline = NO_DEADLINE;
	struct timespec ts;
	guest_siginfo_t info;
	sigset64_t set;
	long ret = sigset_from_user(&set, uset, size);

	if (ret)
		return ret;
	if (utimeout) {
		if (get_user(&ts, utimeout))
			return -EFAULT;
		deadline = deadline_of_call(&ts);
		if (deadline < 0)
			return deadline;
	}
	set &= ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP));
	ret = wait_for_signal(t, set, deadline, &info);
	if (ret > 0 && uinfo && copy_to_user(uinfo, &info, sizeof(info)))
		return -EFAULT;
	return ret;
}

SYSCALL_DEFINE0(restart_syscall)
{
	struct restart_block rb = t->restart;

	if (!rb.fn)
		return -EINTR;
	return rb.fn(t, &rb);
}
