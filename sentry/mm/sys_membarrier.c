/*
 * membarrier(2). The host's MEMBARRIER_CMD_GLOBAL makes every thread of the machine pass a barrier,
 * guests' included, so it serves for all commands that it is strong enough for; the
 * core-serialising and rseq ones are not offered.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/mm/mm.h"
#include "sentry/uaccess/uaccess.h"

static bool host_has_global(void)
{
	static atomic_int known; /* 0: not asked, 1: no, 2: yes */
	int state = atomic_load(&known);

	if (!state) {
		long mask = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

		state = mask > 0 && (mask & MEMBARRIER_CMD_GLOBAL) ? 2 : 1;
		atomic_store(&known, state);
	}
	return state == 2;
}

static long barrier(void)
{
	long ret;

	platform_block_begin();
	ret = syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	platform_block_end();
	return ret ? -EINVAL : 0;
}

SYSCALL_DEFINE3(membarrier, int, cmd, unsigned, flags, int, cpu)
{
	if (flags)
		return -EINVAL;
	if (cmd == MEMBARRIER_CMD_QUERY)
		return !host_has_global()
			       ? 0
			       : MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED |
					 MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED |
					 MEMBARRIER_CMD_PRIVATE_EXPEDITED |
					 MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
	if (!host_has_global())
		return -EINVAL;
	switch (cmd) {
	case MEMBARRIER_CMD_GLOBAL:
	case MEMBARRIER_CMD_GLOBAL_EXPEDITED:
		return barrier();
	case MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED:
		return 0;
	case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED:
		atomic_store(&current_mm()->membarrier_registered, true);
		return 0;
	case MEMBARRIER_CMD_PRIVATE_EXPEDITED:
		if (!atomic_load(&current_mm()->membarrier_registered))
			return -EPERM;
		return refcount_read(&current_mm()->refs) == 1 ? 0 : barrier();
	default:
		return -EINVAL;
	}
}
