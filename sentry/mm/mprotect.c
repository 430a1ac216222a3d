/* mprotect (man 2 mprotect). */
#include <errno.h>
#include <sys/mman.h>
#include <sys/personality.h>

#include "sentry/kernel/core/current.h"
#include "sentry/mm/mm_internal.h"
#include "sentry/mm/vma_internal.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"

#define PROT_SEM_BIT 0x8
#define PROT_RWX (PROT_READ | PROT_WRITE | PROT_EXEC)

static int check_vma(const struct vm_area *vma, int prot)
{
	if ((prot & PROT_WRITE) && (vma->flags & VM_SHARED) && !(vma->flags & VM_MAYWRITE))
		return -EACCES;
	if ((vma->flags & VM_SPECIAL) && (prot & PROT_WRITE) && !(vma->flags & VM_MAYWRITE))
		return -EACCES;
	if ((prot & PROT_EXEC) && vma->file && vma->file->path.mnt &&
	    (vma->file->path.mnt->flags & MS_NOEXEC))
		return -EACCES;
	return 0;
}

/* How far from start the change may go, and why no farther: Linux changes what comes before the
 * first hole or refusal. */
static int check_range(struct mm *mm, uint64_t start, uint64_t end, int prot, uint64_t *stop)
{
	struct vm_area *vma;
	uint64_t at = start, new_data = 0;

	for (vma = vma_find(mm, start); at < end; vma = vma_next(vma)) {
		uint64_t upto;
		int ret;

		*stop = at;
		if (!vma || vma->start > at)
			return -ENOMEM;
		ret = check_vma(vma, prot);
		if (ret)
			return ret;
		upto = MIN(vma->end, end);
		if ((prot & PROT_WRITE) && !(vma->prot & PROT_WRITE) &&
		    !(vma->flags & (VM_SHARED | VM_GROWSDOWN))) {
			new_data += upto - at;
			if (!mm_may_expand(mm, 0, false) || mm->data_vm + (new_data >> PAGE_SHIFT) >
								    current_rlimit(RLIMIT_DATA) >>
								    PAGE_SHIFT)
				return -ENOMEM;
		}
		at = upto;
	}
	*stop = end;
	return 0;
}

static void note_shared_text(struct mm *mm, uint64_t start, uint64_t end)
{
	struct vm_area *vma;

	for (vma = vma_find(mm, start); vma && vma->start < end; vma = vma_next(vma))
		if (vma->flags & VM_SHARED)
			platform_text_shared(mm->as);
}

static int change(struct mm *mm, struct platform_ctx *ctx, uint64_t start, uint64_t end, int prot)
{
	bool text =
		mm_range_has_text(mm, start, end) && (prot & PROT_RWX) != (PROT_READ | PROT_EXEC);
	struct vm_area *vma = vma_find(mm, start);
	int ret;

	/* Nothing to do: programs do protect twice. */
	if (vma && vma->start <= start && vma->end >= end && vma->prot == prot)
		return 0;
	if (mm->map_count + 2 > MAX_MAP_COUNT)
		return -ENOMEM;
	if ((prot & PROT_WRITE) && (prot & PROT_EXEC))
		note_shared_text(mm, start, end);
	ret = vma_split_around(mm, start, end);
	if (!ret)
		ret = platform_mprotect(ctx, start, end - start, prot);
	if (!ret) {
		for (vma = vma_find(mm, start); vma && vma->start < end; vma = vma_next(vma)) {
			vma_account(mm, vma, vma->end - vma->start, -1);
			vma->prot = prot;
			vma_account(mm, vma, vma->end - vma->start, 1);
		}
		if (text)
			platform_text_changed(mm->as, start, end - start);
	}
	vma_merge_range(mm, start, end);
	return ret;
}

/* With PROT_GROWSDOWN the change reaches down to the start of the stack. */
static int grows_down_start(struct mm *mm, uint64_t *start)
{
	struct vm_area *vma = vma_find(mm, *start);

	if (!vma || vma->start > *start)
		return -ENOMEM;
	if (!(vma->flags & VM_GROWSDOWN))
		return -EINVAL;
	*start = vma->start;
	return 0;
}

int mm_mprotect(struct mm *mm, struct platform_ctx *ctx, uint64_t addr, uint64_t len, int prot)
{
	int grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
	uint64_t start = addr, end, stop;
	int ret, done;

	prot &= ~(PROT_GROWSDOWN | PROT_GROWSUP);
	if (grows == (PROT_GROWSDOWN | PROT_GROWSUP) || (addr & ~PAGE_MASK))
		return -EINVAL;
	if (!len)
		return 0;
	len = ROUND_UP(len, PAGE_SIZE);
	if (!len || __builtin_add_overflow(addr, len, &end))
		return -ENOMEM;
	if (prot & ~(PROT_RWX | PROT_SEM_BIT))
		return -EINVAL;
	prot &= PROT_RWX;
	if ((current_personality() & READ_IMPLIES_EXEC) && (prot & PROT_READ))
		prot |= PROT_EXEC;
	if (end > GUEST_TASK_SIZE)
		return -ENOMEM;
	COMMAND_GUARD(&mm->lock);
	if (grows == PROT_GROWSUP)
		return -EINVAL;
	if (grows) {
		ret = grows_down_start(mm, &start);
		if (ret)
			return ret;
	}
	ret = check_range(mm, start, end, prot, &stop);
	done = stop > start ? change(mm, ctx, start, stop, prot) : 0;
	return done ? done : ret;
}
