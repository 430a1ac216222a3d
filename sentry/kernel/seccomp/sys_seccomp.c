/* seccomp, and what prctl has of it. */
#include "sentry/kernel/seccomp/seccomp.h"

#include <errno.h>
#include <stdlib.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"

/* A listener, which would answer notifications, cannot be had. */
#define FILTER_FLAGS                                                                               \
	(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW |    \
	 SECCOMP_FILTER_FLAG_TSYNC_ESRCH)

int seccomp_filter_from_user(struct task *t, unsigned flags, uaddr_t uprog)
{
	struct sock_filter *insns __free = NULL;
	struct sock_fprog prog;
	size_t size;

	if (flags & ~(unsigned)FILTER_FLAGS)
		return -EINVAL;
	if (get_user(&prog, uprog))
		return -EFAULT;
	if (!prog.len || prog.len > BPF_MAXINSNS || !prog.filter)
		return -EINVAL;
	size = prog.len * sizeof(*insns);
	insns = malloc(size);
	if (!insns)
		return -ENOMEM;
	/* Who may not comes before what cannot be read. */
	if (!t->no_new_privs && !own_ns_capable(CAP_SYS_ADMIN))
		return -EACCES;
	if (copy_from_user(insns, (uaddr_t)prog.filter, size))
		return -EFAULT;
	return seccomp_add_filter(t, insns, prog.len, flags);
}

static long action_available(unsigned flags, uaddr_t uaction)
{
	uint32_t action;

	if (flags)
		return -EINVAL;
	if (get_user(&action, uaction))
		return -EFAULT;
	return seccomp_action_known(action) ? 0 : -EOPNOTSUPP;
}

SYSCALL_DEFINE3(seccomp, unsigned, op, unsigned, flags, uaddr_t, arg)
{
	switch (op) {
	case SECCOMP_SET_MODE_STRICT:
		return flags || arg ? -EINVAL : seccomp_set_strict(t);
	case SECCOMP_SET_MODE_FILTER:
		return seccomp_filter_from_user(t, flags, arg);
	case SECCOMP_GET_ACTION_AVAIL:
		return action_available(flags, arg);
	default:
		return -EINVAL;
	}
}
