/* ptrace(2): who is meant, and the requests that need no stop. */
#include <errno.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/ptrace/ptrace_internal.h"

static long seize(struct task *target, uint64_t addr, uint64_t data)
{
	if (addr || (data & ~(uint64_t)PTRACE_O_MASK))
		return -EIO;
	/* As a kernel built without checkpoints. */
	if (data & PTRACE_O_SUSPEND_SECCOMP)
		return -EINVAL;
	return trace_attach(target, true, (uint32_t)data);
}

static long interrupt(struct task *target)
{
	struct sighand *sh = trace_lock(target, false);
	struct trace *tr = trace_of(target);
	long ret = 0;

	if (!sh)
		return -ESRCH;
	if (!tr->seized) {
		ret = -EIO;
	} else if (!(atomic_load(&target->flags) & TF_EXITING)) {
		target->jobctl |= JOBCTL_TRAP_STOP;
		if (tr->stopped && tr->listening)
			trace_continue(target, tr->mode, 0);
		signal_wake(target);
	}
	mutex_unlock(&sh->lock);
	return ret;
}

static long kill_tracee(struct task *target)
{
	struct sighand *sh = trace_lock(target, false);

	if (!sh)
		return -ESRCH;
	send_signal_locked(target->group, target, SIGKILL, NULL, false, true);
	mutex_unlock(&sh->lock);
	return 0;
}

SYSCALL_DEFINE4(ptrace, uint64_t, request, int, pid, uint64_t, addr, uint64_t, data)
{
	struct task *target;
	long ret;

	if (request == PTRACE_TRACEME)
		return trace_me(t);
	target = pid > 0 ? task_find(pid) : NULL;
	if (!target)
		return -ESRCH;
	switch (request) {
	case PTRACE_ATTACH:
		ret = trace_attach(target, false, 0);
		break;
	case PTRACE_SEIZE:
		ret = seize(target, addr, data);
		break;
	case PTRACE_INTERRUPT:
		ret = interrupt(target);
		break;
	case PTRACE_KILL:
		ret = kill_tracee(target);
		break;
	default:
		ret = trace_request(target, request, addr, data);
	}
	task_put(target);
	return ret;
}
