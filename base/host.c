#include "base/host.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>

_Atomic uint32_t host_missing;

int host_cpus(void)
{
	/* The kernel wants a set as large as its own, which may have more than cpu_set_t's 1024. */
	for (int n = CPU_SETSIZE; n <= 1 << 16; n *= 4) {
		cpu_set_t *set = CPU_ALLOC(n);
		size_t size = CPU_ALLOC_SIZE(n);
		int ret, count = 0;

		if (!set)
			break;
		ret = sched_getaffinity(0, size, set);
		if (!ret)
			count = CPU_COUNT_S(size, set);
		CPU_FREE(set);
		if (!ret)
			return count > 0 ? count : 1;
		if (errno != EINVAL)
			break;
	}
	return 1;
}
