/* Guest memory from outside, by the stub's process id: process_vm_* and /proc/PID/mem. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sentry/platform/systrap.h"

/*
 * The pid stays the stub's as long as the address space is referenced: it is reaped only when the
 * last reference has gone, so it cannot be another process's.
 */
ssize_t platform_read_mem(struct platform_as *as, const struct iovec *local, int nlocal,
			  const struct iovec *remote, int nremote)
{
	if (as->batch_ctx)
		as_flush(as);
	ssize_t n = process_vm_readv(as->pid, local, (unsigned long)nlocal, remote,
				     (unsigned long)nremote, 0);

	return n < 0 ? -errno : n;
}

ssize_t platform_write_mem(struct platform_as *as, const struct iovec *local, int nlocal,
			   const struct iovec *remote, int nremote)
{
	if (as->batch_ctx)
		as_flush(as);
	ssize_t n = process_vm_writev(as->pid, local, (unsigned long)nlocal, remote,
				      (unsigned long)nremote, 0);

	return n < 0 ? -errno : n;
}

static int open_mem(struct platform_as *as, int flags)
{
	char path[32];
	int fd;

	if (as->batch_ctx)
		as_flush(as);
	snprintf(path, sizeof(path), "%d/mem", as->pid);
	fd = openat(systrap.config.proc_fd, path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
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
