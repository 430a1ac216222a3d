/* The memory system calls: arguments and files; the work is in sentry/mm. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/mm/mm_internal.h"
#include "sentry/mm/vma_internal.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"

SYSCALL_DEFINE6(mmap, uint64_t, addr, uint64_t, len, int, prot, int, flags, int, fd, uint64_t, off)
{
	struct file *__put_file file = NULL;

	if (off & ~PAGE_MASK)
		return -EINVAL;
	if (!(flags & MAP_ANONYMOUS)) {
		file = fd_get(fd);
		if (!file)
			return -EBADF;
	}
	return mm_mmap(current_mm(), current_ctx(), addr, len, prot, flags, file, off);
}

SYSCALL_DEFINE2(munmap, uint64_t, addr, uint64_t, len)
{
	return mm_munmap(current_mm(), current_ctx(), addr, len);
}

SYSCALL_DEFINE3(mprotect, uint64_t, addr, uint64_t, len, int, prot)
{
	return mm_mprotect(current_mm(), current_ctx(), addr, len, prot);
}

SYSCALL_DEFINE5(mremap, uint64_t, addr, uint64_t, len, uint64_t, new_len, unsigned, flags, uint64_t,
		new_addr)
{
	return mm_mremap(current_mm(), current_ctx(), addr, len, new_len, flags, new_addr);
}

SYSCALL_DEFINE5(remap_file_pages, uint64_t, addr, uint64_t, len, int, prot, uint64_t, pgoff, int,
		flags)
{
	return mm_remap_file_pages(current_mm(), current_ctx(), addr, len, prot, pgoff);
}

SYSCALL_DEFINE1(brk, uint64_t, addr)
{
	return (long)mm_brk(current_mm(), current_ctx(), addr);
}

SYSCALL_DEFINE3(madvise, uint64_t, addr, uint64_t, len, int, advice)
{
	return mm_madvise(current_mm(), current_ctx(), addr, len, advice);
}

SYSCALL_DEFINE2(mlock, uint64_t, addr, uint64_t, len)
{
	return mm_mlock(current_mm(), current_ctx(), addr, len, false);
}

SYSCALL_DEFINE3(mlock2, uint64_t, addr, uint64_t, len, int, flags)
{
	if (flags & ~MLOCK_ONFAULT)
		return -EINVAL;
	return mm_mlock(current_mm(), current_ctx(), addr, len, flags & MLOCK_ONFAULT);
}

SYSCALL_DEFINE2(munlock, uint64_t, addr, uint64_t, len)
{
	return mm_munlock(current_mm(), addr, len);
}

SYSCALL_DEFINE1(mlockall, int, flags)
{
	return mm_mlockall(current_mm(), current_ctx(), flags);
}

SYSCALL_DEFINE0(munlockall)
{
	mm_munlockall(current_mm());
	return 0;
}

/* Whether a page is in memory is the host's secret: as Linux does for files of others, mapped
 * pages are all said to be resident (man 2 mincore). */
SYSCALL_DEFINE3(mincore, uint64_t, addr, uint64_t, len, uaddr_t, vec)
{
	uint64_t pages = ROUND_UP(len, PAGE_SIZE) >> PAGE_SHIFT, done = 0;
	struct mm *mm = current_mm();
	unsigned char ones[1024];

	if (addr & ~PAGE_MASK)
		return -EINVAL;
	if (addr > GUEST_TASK_SIZE || len > GUEST_TASK_SIZE - addr)
		return -ENOMEM;
	memset(ones, 1, sizeof(ones));
	while (done < pages) {
		uint64_t n = MIN(pages - done, sizeof(ones));
		uint64_t at = addr + (done << PAGE_SHIFT);
		bool mapped;

		command_lock(&mm->lock);
		mapped = vma_range_mapped(mm, at, at + (n << PAGE_SHIFT));
		mutex_unlock(&mm->lock);
		if (!mapped)
			return -ENOMEM;
		if (copy_to_user(vec + done, ones, n))
			return -EFAULT;
		done += n;
	}
	return 0;
}

/* The next file that msync has to write out, referenced, with its range. */
static struct file *msync_next(struct mm *mm, uint64_t *at, uint64_t end, int flags, int *ret,
			       int64_t *from, int64_t *to)
{
	struct vm_area *vma;

	COMMAND_GUARD(&mm->lock);
	for (vma = vma_find(mm, *at); *at < end; vma = vma_next(vma)) {
		uint64_t upto, start;

		if (!vma || vma->start >= end) {
			*ret = -ENOMEM;
			*at = end;
			return NULL;
		}
		if (vma->start > *at) {
			*ret = -ENOMEM;
			*at = vma->start;
		}
		if ((flags & MS_INVALIDATE) && (vma->flags & VM_LOCKED)) {
			*ret = -EBUSY;
			*at = end;
			return NULL;
		}
		start = *at;
		upto = MIN(vma->end, end);
		*at = upto;
		if ((flags & MS_SYNC) && vma->file && (vma->flags & VM_SHARED)) {
			*from = (int64_t)(vma->offset + (start - vma->start));
			*to = *from + (int64_t)(upto - start) - 1;
			return file_get(vma->file);
		}
	}
	return NULL;
}

SYSCALL_DEFINE3(msync, uint64_t, addr, uint64_t, len, int, flags)
{
	uint64_t size = ROUND_UP(len, PAGE_SIZE), end, at = addr;
	int64_t from = 0, to = 0;
	struct file *file;
	int ret = 0;

	if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) || (addr & ~PAGE_MASK))
		return -EINVAL;
	if ((flags & MS_ASYNC) && (flags & MS_SYNC))
		return -EINVAL;
	if (size < len || __builtin_add_overflow(addr, size, &end))
		return -ENOMEM;
	while (at < end && (file = msync_next(current_mm(), &at, end, flags, &ret, &from, &to))) {
		int err = file->ops->fsync ? file->ops->fsync(file, from, to, true) : 0;

		file_put(file);
		if (err)
			return err;
	}
	return ret;
}
