/* Memory policies, as far as every machine has a node 0. */
#include <errno.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

static long set(int mode, unsigned long *mask, unsigned long maxnode)
{
	return syscall(SYS_set_mempolicy, mode, mask, maxnode);
}

static long get(int *mode, unsigned long *mask, unsigned long maxnode, void *addr, int flags)
{
	return syscall(SYS_get_mempolicy, mode, mask, maxnode, addr, flags);
}

int main(void)
{
	unsigned long node0 = 1, none = 0, mask[16] = {0};
	int mode = -1;
	char *p;

	if (get(&mode, NULL, 0, NULL, 0) && errno == ENOSYS)
		return 0; /* a kernel without NUMA */
	CHECK_EQ(mode, MPOL_DEFAULT);
	CHECK_EQ(get(NULL, mask, 1024, NULL, MPOL_F_MEMS_ALLOWED), 0);
	CHECK(mask[0] & 1);
	CHECK_EQ(set(MPOL_BIND, &node0, 64), 0);
	CHECK_EQ(get(&mode, mask, 1024, NULL, 0), 0);
	CHECK_EQ(mode, MPOL_BIND);
	CHECK_EQ(mask[0], 1);
	CHECK_ERRNO(set(MPOL_BIND, &none, 64), EINVAL);
	CHECK_ERRNO(set(MPOL_DEFAULT, &node0, 64), EINVAL);
	CHECK_ERRNO(set(77, &node0, 64), EINVAL);
	CHECK_ERRNO(set(MPOL_BIND, (void *)8, 64), EFAULT);
	CHECK_EQ(set(MPOL_DEFAULT, NULL, 0), 0);
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK_EQ(syscall(SYS_mbind, p, 8192, MPOL_BIND, &node0, 64, 0), 0);
	p[0] = 1;
	CHECK_EQ(get(&mode, NULL, 0, p, MPOL_F_NODE | MPOL_F_ADDR), 0);
	CHECK_EQ(mode, 0);
	CHECK_ERRNO(syscall(SYS_mbind, p + 1, 4096, MPOL_BIND, &node0, 64, 0), EINVAL);
	munmap(p, 8192);
	CHECK_ERRNO(syscall(SYS_mbind, p, 8192, MPOL_BIND, &node0, 64, 0), EFAULT);
	CHECK_ERRNO(get(&mode, NULL, 0, p, MPOL_F_ADDR), EFAULT);
	CHECK_ERRNO(get(&mode, NULL, 0, p, 0), EINVAL);
	CHECK_DONE();
}
