/* Guest memory from outside, by the stub's process id: process_vm_* and /proc/PID/mem. */
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sentry/counters/counters.h"
#include "sentry/platform/shared/ops.h"
#include "sentry/platform/shared/stub_host.h"
#include "sentry/platform/shared/object.h"
#include "sentry/platform/shared/usermem.h"

/* Before anybody looks at the memory: what has been put off is done. */
static void settle(struct platform_as *as)
{
	if (as_head(as)->batch_ctx)
		platform_ops->settle(as);
}

static bool by_file(void)
{
	return __atomic_load_n(&stub_host.config.without, __ATOMIC_RELAXED) &
	       PLATFORM_WITHOUT_PROCESS_VM;
}

/* A filter around us forbids the calls: from now on the other way. */
static bool is_forbidden(ssize_t n)
{
	if (n >= 0 || (errno != EPERM && errno != ENOSYS))
		return false;
	__atomic_fetch_or(&stub_host.config.without, PLATFORM_WITHOUT_PROCESS_VM, __ATOMIC_RELAXED);
	return true;
}

/*
 * The pid stays the stub's as long as the address space is referenced: it is reaped only when the
 * last reference has gone, so it cannot be another process's.
 */
ssize_t platform_read_mem(struct platform_as *as, const struct iovec *local, int nlocal,
			  const struct iovec *remote, int nremote)
{
	ssize_t n;

	count(COUNT_READ_CALLS);
	settle(as);
	if (unlikely(by_file()))
		return usermem_by_file(as_head(as)->pid, local, nlocal, remote, nremote, false);
	n = process_vm_readv(as_head(as)->pid, local, (unsigned long)nlocal, remote,
			     (unsigned long)nremote, 0);
	if (unlikely(is_forbidden(n)))
		return usermem_by_file(as_head(as)->pid, local, nlocal, remote, nremote, false);
	count_n(COUNT_READ_BYTES, n > 0 ? (uint64_t)n : 0);
	return n < 0 ? -errno : n;
}

ssize_t platform_write_mem(struct platform_as *as, const struct iovec *local, int nlocal,
			   const struct iovec *remote, int nremote)
{
	ssize_t n;

	count(COUNT_WRITE_CALLS);
	settle(as);
	if (unlikely(by_file()))
		return usermem_by_file(as_head(as)->pid, local, nlocal, remote, nremote, true);
	n = process_vm_writev(as_head(as)->pid, local, (unsigned long)nlocal, remote,
			      (unsigned long)nremote, 0);
	if (unlikely(is_forbidden(n)))
		return usermem_by_file(as_head(as)->pid, local, nlocal, remote, nremote, true);
	count_n(COUNT_WRITE_BYTES, n > 0 ? (uint64_t)n : 0);
	return n < 0 ? -errno : n;
}

static int open_mem(struct platform_as *as, int flags)
{
	settle(as);
	return stub_host_open_proc(as_head(as)->pid, "mem", flags);
}

ssize_t platform_force_read(struct platform_as *as, uint64_t addr, void *buf, size_t n)
{
	int __close_fd fd = open_mem(as, O_RDONLY);
	ssize_t r;

	if (fd < 0)
		return fd;
	if (addr >= GUEST_TASK_SIZE || n > GUEST_TASK_SIZE - addr)
		return -EFAULT;
	r = pread(fd, buf, n, (off_t)addr);
	return r < 0 ? (errno == EIO ? -EFAULT : -errno) : r;
}

ssize_t platform_force_write(struct platform_as *as, uint64_t addr, const void *buf, size_t n)
{
	int __close_fd fd = open_mem(as, O_WRONLY);
	ssize_t r;

	if (fd < 0)
		return fd;
	if (addr >= GUEST_TASK_SIZE || n > GUEST_TASK_SIZE - addr)
		return -EFAULT;
	r = pwrite(fd, buf, n, (off_t)addr);
	return r < 0 ? (errno == EIO ? -EFAULT : -errno) : r;
}
