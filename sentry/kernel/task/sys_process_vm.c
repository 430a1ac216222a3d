/* process_vm_readv(2), process_vm_writev(2): through a buffer of the sentry's. */
#include <errno.h>
#include <stdlib.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/task/task.h"
#include "sentry/mm/mm.h"
#include "sentry/uaccess/uaccess.h"

#define FAST_SEGMENTS 8
#define CHUNK (64UL * 1024)

/* One remote segment; bytes moved, fewer than its length at a fault, or -errno. */
static ssize_t move_segment(struct mm *mm, struct iov_iter *local, const struct iovec *remote,
			    char *buf, bool write)
{
	uint64_t addr = (uint64_t)remote->iov_base;
	size_t done = 0;

	while (done < remote->iov_len && iov_iter_count(local)) {
		size_t n = MIN(remote->iov_len - done, CHUNK);
		ssize_t moved, other;

		n = MIN(n, iov_iter_count(local));
		/* Page by page at the other side's end, so that what is there is moved. */
		moved = write ? copy_from_iter(local, buf, n)
			      : mm_access(mm, addr + done, buf, n, false, false);
		if (moved <= 0)
			return done ? (ssize_t)done : -EFAULT;
		other = write ? mm_access(mm, addr + done, buf, moved, true, false)
			      : copy_to_iter(local, buf, moved);
		if (other <= 0)
			return done ? (ssize_t)done : -EFAULT;
		done += other;
		if (other != moved || (size_t)moved != n)
			break;
	}
	return (ssize_t)done;
}

static long move_all(struct mm *mm, struct iov_iter *local, const struct iovec *remote, int nr,
		     bool write)
{
	char *buf = malloc(CHUNK);
	ssize_t total = 0;

	if (!buf)
		return -ENOMEM;
	for (int i = 0; i < nr && iov_iter_count(local); i++) {
		ssize_t n;

		if (!remote[i].iov_len)
			continue;
		n = move_segment(mm, local, &remote[i], buf, write);
		if (n < 0) {
			total = total ? total : n;
			break;
		}
		total += n;
		if ((size_t)n < remote[i].iov_len)
			break;
	}
	free(buf);
	return total;
}

static long process_vm(int pid, uaddr_t ulocal, uint64_t nlocal, uaddr_t uremote, uint64_t nremote,
		       uint64_t flags, bool write)
{
	struct iovec fast_local[FAST_SEGMENTS], fast_remote[FAST_SEGMENTS];
	struct iovec *__free alloc_local = NULL, *__free alloc_remote = NULL;
	struct iov_iter local, remote;
	struct task *target;
	struct mm *mm;
	long ret;

	if (flags || nlocal > 1024 || nremote > 1024)
		return -EINVAL;
	ret = iovec_from_user(&local, ulocal, (int)nlocal, fast_local, FAST_SEGMENTS, &alloc_local);
	if (ret)
		return ret;
	ret = iovec_from_user(&remote, uremote, (int)nremote, fast_remote, FAST_SEGMENTS,
			      &alloc_remote);
	if (ret)
		return ret;
	target = task_find(pid);
	if (!target)
		return -ESRCH;
	ret = ptrace_may_access(target, false);
	mm = ret ? NULL : task_mm_get(target);
	task_put(target);
	if (ret)
		return ret;
	if (!mm)
		return -ESRCH;
	ret = move_all(mm, &local, remote.iov, remote.nr, write);
	mm_put(mm);
	return ret;
}

SYSCALL_DEFINE6(process_vm_readv, int, pid, uaddr_t, local, uint64_t, nlocal, uaddr_t, remote,
		uint64_t, nremote, uint64_t, flags)
{
	return process_vm(pid, local, nlocal, remote, nremote, flags, false);
}

SYSCALL_DEFINE6(process_vm_writev, int, pid, uaddr_t, local, uint64_t, nlocal, uaddr_t, remote,
		uint64_t, nremote, uint64_t, flags)
{
	return process_vm(pid, local, nlocal, remote, nremote, flags, true);
}
