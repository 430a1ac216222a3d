/* clone, clone3, fork, vfork, unshare's relatives: argument checks (man 2 clone). */
#include <linux/sched.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"

#define CLONE_ARGS_SIZE_VER0 64
#define CLONE3_VALID                                                                               \
	((uint64_t)(0xffffffffULL & ~(CLONE_DETACHED | CSIGNAL)) | CLONE_CLEAR_SIGHAND |           \
	 CLONE_INTO_CGROUP | CLONE_NEWTIME)

SYSCALL_DEFINE5(clone, uint64_t, flags, uint64_t, stack, uint64_t, parent_tid, uint64_t, child_tid,
		uint64_t, tls)
{
	struct clone_args_k args = {
		.flags = (uint32_t)flags & ~(uint64_t)CSIGNAL,
		.pidfd = parent_tid,
		.child_tid = child_tid,
		.parent_tid = parent_tid,
		.exit_signal = flags & CSIGNAL,
		.stack = stack,
		.tls = tls,
	};

	/* Both would use the same argument. */
	if ((flags & CLONE_PIDFD) && (flags & CLONE_PARENT_SETTID))
		return -EINVAL;
	if (args.exit_signal > GUEST_NSIG)
		return -EINVAL;
	return task_clone(t, &args);
}

SYSCALL_DEFINE0(fork)
{
	struct clone_args_k args = {.exit_signal = SIGCHLD};

	return task_clone(t, &args);
}

SYSCALL_DEFINE0(vfork)
{
	struct clone_args_k args = {.flags = CLONE_VFORK | CLONE_VM, .exit_signal = SIGCHLD};

	return task_clone(t, &args);
}

static int check_clone3(const struct clone_args_k *a)
{
	if ((a->flags & ~CLONE3_VALID) || (a->flags & (CLONE_DETACHED | CSIGNAL)))
		return -EINVAL;
	if (a->exit_signal > GUEST_NSIG)
		return -EINVAL;
	if ((a->flags & (CLONE_THREAD | CLONE_PARENT)) && a->exit_signal)
		return -EINVAL;
	if (!a->set_tid != !a->set_tid_size)
		return -EINVAL;
	if (!a->stack ? a->stack_size != 0 : a->stack_size == 0)
		return -EINVAL;
	if (a->stack && (a->stack >= GUEST_TASK_SIZE || a->stack_size > GUEST_TASK_SIZE - a->stack))
		return -EINVAL;
	return 0;
}

SYSCALL_DEFINE2(clone3, uaddr_t, uargs, size_t, size)
{
	struct clone_args_k args = {0};
	uint8_t rest[PAGE_SIZE];
	int err;

	if (size > PAGE_SIZE)
		return -E2BIG;
	if (size < CLONE_ARGS_SIZE_VER0)
		return -EINVAL;
	if (copy_from_user(&args, uargs, MIN(size, sizeof(args))))
		return -EFAULT;
	/* Fields of a later kernel must be zero. */
	if (size > sizeof(args)) {
		if (copy_from_user(rest, uargs + sizeof(args), size - sizeof(args)))
			return -EFAULT;
		for (size_t i = 0; i < size - sizeof(args); i++)
			if (rest[i])
				return -E2BIG;
	}
	err = check_clone3(&args);
	return err ? err : task_clone(t, &args);
}
