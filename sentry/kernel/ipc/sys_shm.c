/* System V shared memory: arguments; the work is in kernel/ipc/ipc_shm.c. */
#include <errno.h>
#include <string.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/ipc/ipc_shm_internal.h"
#include "sentry/uaccess/uaccess.h"

SYSCALL_DEFINE3(shmget, key_t, key, size_t, size, int, flags)
{
	return shm_get(key, size, flags);
}

SYSCALL_DEFINE3(shmat, int, id, uint64_t, addr, int, flags)
{
	return shm_attach(t, id, addr, flags);
}

SYSCALL_DEFINE1(shmdt, uint64_t, addr)
{
	return shm_detach(t, addr);
}

static long put_limits(uaddr_t ubuf)
{
	struct shminfo info = {
		.shmmax = ipc_limit_get(IPC_SHMMAX),
		.shmmin = 1,
		.shmmni = ipc_limit_get(IPC_SHMMNI),
		.shmseg = ipc_limit_get(IPC_SHMMNI),
		.shmall = ipc_limit_get(IPC_SHMALL),
	};
	int used, max = ipc_max_index(IPC_SHM, &used);

	return put_user(ubuf, info) ? -EFAULT : max;
}

static long put_info(uaddr_t ubuf)
{
	struct shm_info info = {0};
	int max = ipc_max_index(IPC_SHM, &info.used_ids);

	info.shm_tot = info.shm_rss = shm_total() >> PAGE_SHIFT;
	return put_user(ubuf, info) ? -EFAULT : max;
}

SYSCALL_DEFINE3(shmctl, int, id, int, cmd, uaddr_t, ubuf)
{
	struct shmid_ds ds;
	long ret;

	if (id < 0 || cmd < 0)
		return -EINVAL;
	switch (cmd) {
	case IPC_INFO:
		return put_limits(ubuf);
	case SHM_INFO:
		return put_info(ubuf);
	case IPC_STAT:
	case SHM_STAT:
	case SHM_STAT_ANY:
		ret = shm_stat(id, cmd, &ds);
		return ret >= 0 && put_user(ubuf, ds) ? -EFAULT : ret;
	case IPC_SET:
		return get_user(&ds, ubuf) ? -EFAULT : shm_set(id, &ds);
	case IPC_RMID:
		return shm_remove(id);
	case SHM_LOCK:
	case SHM_UNLOCK:
		return shm_lock(id, cmd == SHM_LOCK);
	default:
		return -EINVAL;
	}
}
