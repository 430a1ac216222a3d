/* System V semaphores: arguments; the work is in kernel/ipc/ipc_sem.c. */
#include <errno.h>
#include <stdlib.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/ipc/ipc_sem_internal.h"
#include "sentry/kernel/time/time.h"
#include "sentry/uaccess/uaccess.h"

#define FAST_OPS 16

SYSCALL_DEFINE3(semget, key_t, key, int, nsems, int, flags)
{
	return sem_get(key, nsems, flags);
}

static long do_semop(struct task *t, int id, uaddr_t uops, unsigned nops, int64_t deadline)
{
	struct sembuf fast[FAST_OPS], *ops = fast, *__free alloc = NULL;

	if (!nops || id < 0)
		return -EINVAL;
	if (nops > ipc_limit_get(IPC_SEMOPM))
		return -E2BIG;
	if (nops > MAX_OPS)
		return -ENOMEM;
	if (nops > FAST_OPS) {
		ops = alloc = malloc(nops * sizeof(*ops));
		if (!ops)
			return -ENOMEM;
	}
	if (copy_from_user(ops, uops, nops * sizeof(*ops)))
		return -EFAULT;
	return sem_op(t, id, ops, nops, deadline);
}

SYSCALL_DEFINE3(semop, int, id, uaddr_t, uops, unsigned, nops)
{
	return do_semop(t, id, uops, nops, NO_DEADLINE);
}

SYSCALL_DEFINE4(semtimedop, int, id, uaddr_t, uops, unsigned, nops, uaddr_t, utimeout)
{
	int64_t ns;
	int ret = utimeout ? timespec_from_user(&ns, utimeout) : 0;

	if (ret)
		return ret;
	return do_semop(t, id, uops, nops,
			utimeout ? current_kept_deadline(deadline_after(ns)) : NO_DEADLINE);
}

static long all_values(int id, int cmd, uaddr_t ubuf)
{
	int n = sem_count(id, cmd == GETALL ? 0444 : 0222), ret;
	uint16_t *__free values = NULL;

	if (n < 0)
		return n;
	values = calloc(n, sizeof(*values));
	if (!values)
		return -ENOMEM;
	if (cmd == SETALL)
		return copy_from_user(values, ubuf, n * sizeof(*values))
			       ? -EFAULT
			       : sem_set_all(id, values, n);
	ret = sem_get_all(id, values, n);
	return ret ? ret : copy_to_user(ubuf, values, n * sizeof(*values));
}

static long put_info(int cmd, uaddr_t ubuf)
{
	struct seminfo info = {
		.semmap = (int)ipc_limit_get(IPC_SEMMNS),
		.semmni = (int)ipc_limit_get(IPC_SEMMNI),
		.semmns = (int)ipc_limit_get(IPC_SEMMNS),
		.semmnu = (int)ipc_limit_get(IPC_SEMMNS),
		.semmsl = (int)ipc_limit_get(IPC_SEMMSL),
		.semopm = (int)ipc_limit_get(IPC_SEMOPM),
		.semume = (int)ipc_limit_get(IPC_SEMOPM),
		.semusz = 20,
		.semvmx = SEMVMX,
		.semaem = SEMVMX,
	};
	int used, max = ipc_max_index(IPC_SEM, &used);

	/* What there is: sets, semaphores. */
	if (cmd == SEM_INFO) {
		info.semusz = used;
		info.semaem = 0;
		for (int i = 0; i <= max; i++) {
			struct semid_ds ds;

			if (sem_stat(i, SEM_STAT_ANY, &ds) >= 0)
				info.semaem += (int)ds.sem_nsems;
		}
	}
	return put_user(ubuf, info) ? -EFAULT : max;
}

SYSCALL_DEFINE4(semctl, int, id, int, num, int, cmd, uint64_t, arg)
{
	struct semid_ds ds;
	long ret;

	if (id < 0)
		return -EINVAL;
	switch (cmd) {
	case IPC_INFO:
	case SEM_INFO:
		return put_info(cmd, arg);
	case IPC_STAT:
	case SEM_STAT:
	case SEM_STAT_ANY:
		ret = sem_stat(id, cmd, &ds);
		return ret >= 0 && put_user(arg, ds) ? -EFAULT : ret;
	case IPC_SET:
		return get_user(&ds, arg) ? -EFAULT : sem_set_perm(id, &ds);
	case IPC_RMID:
		return sem_remove(id);
	case GETVAL:
	case GETPID:
	case GETNCNT:
	case GETZCNT:
		return sem_get_value(id, num, cmd);
	case SETVAL:
		return sem_set_value(id, num, (int)arg);
	case GETALL:
	case SETALL:
		return all_values(id, cmd, arg);
	default:
		return -EINVAL;
	}
}
