/* madvise, and locking in memory (man 2 madvise, mlock). */
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "sentry/kernel/core/cred.h"
#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/signals.h"
#include "sentry/mm/mm_internal.h"
#include "sentry/mm/vma_internal.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* How much is made resident with mm->lock held: a few milliseconds' worth. */
#define POPULATE_STEP (4UL << 20)

/* --- madvise ---------------------------------------------------------------------------------- */

static int check_vma(const struct vm_area *vma, int advice)
{
	switch (advice) {
	case MADV_DONTNEED:
		return vma->flags & VM_LOCKED ? -EINVAL : 0;
	case MADV_FREE:
		return vma_is_private_anon(vma) ? 0 : -EINVAL;
	case MADV_REMOVE:
		if (vma->flags & VM_LOCKED)
			return -EINVAL;
		if (!(vma->flags & VM_SHARED) || vma->host_fd < 0)
			return -EINVAL;
		return vma->prot & PROT_WRITE ? 0 : -EACCES;
	case MADV_COLD:
	case MADV_PAGEOUT:
		return vma->flags & VM_LOCKED ? -EINVAL : 0;
	case MADV_WIPEONFORK:
		return vma_is_private_anon(vma) && !vma->file ? 0 : -EINVAL;
	case MADV_DOFORK:
		return vma->flags & VM_SPECIAL ? -EINVAL : 0;
	default:
		return 0;
	}
}

/* Advice that changes only what the tree says; true if `advice` is of that kind. */
static bool flag_advice(int advice, uint32_t *set, uint32_t *clear)
{
	*set = *clear = 0;
	switch (advice) {
	case MADV_DONTFORK:
		*set = VM_DONTFORK;
		return true;
	case MADV_DOFORK:
		*clear = VM_DONTFORK;
		return true;
	case MADV_WIPEONFORK:
		*set = VM_WIPEFORK;
		return true;
	case MADV_KEEPONFORK:
		*clear = VM_WIPEFORK;
		return true;
	case MADV_DONTDUMP:
		*set = VM_DONTDUMP;
		return true;
	case MADV_DODUMP:
		*clear = VM_DONTDUMP;
		return true;
	default:
		return false;
	}
}

/* Advice that the host carries out on the pages. */
static bool host_advice(int advice)
{
	switch (advice) {
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_WILLNEED:
	case MADV_DONTNEED:
	case MADV_FREE:
	case MADV_REMOVE:
	case MADV_COLD:
	case MADV_PAGEOUT:
	case MADV_COLLAPSE:
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
		return true;
	default:
		return false;
	}
}

static bool read_pattern(int advice)
{
	return advice == MADV_NORMAL || advice == MADV_RANDOM || advice == MADV_SEQUENTIAL ||
	       advice == MADV_WILLNEED;
}

static int apply(struct mm *mm, struct platform_ctx *ctx, struct vm_area **vma, uint64_t start,
		 uint64_t end, int advice)
{
	uint32_t set, clear;
	int ret = check_vma(*vma, advice);

	if (ret)
		return ret;
	if (flag_advice(advice, &set, &clear)) {
		if (mm->map_count + 2 > MAX_MAP_COUNT)
			return -ENOMEM;
		ret = vma_split_around(mm, start, end);
		*vma = vma_find(mm, start);
		if (!ret)
			(*vma)->flags = ((*vma)->flags | set) & ~clear;
		return ret;
	}
	/* Merging pages across processes is off, as on a kernel where KSM does not run; how memory
	 * without a file is read matters to nobody. */
	if (!host_advice(advice) || (read_pattern(advice) && (*vma)->host_fd < 0))
		return 0;
	ret = platform_madvise(ctx, start, end - start, advice);
	/* Text that comes back from its file has lost what the platform patched. */
	if (!ret && (advice == MADV_DONTNEED || advice == MADV_REMOVE) &&
	    ((*vma)->prot & PROT_EXEC))
		platform_text_changed(mm->as, start, end - start);
	/* Hints that this host does not know are still only hints. */
	if (ret == -EINVAL && (advice == MADV_HUGEPAGE || advice == MADV_NOHUGEPAGE))
		ret = 0;
	return ret;
}

/* A stack and its guard page, for one, are two mappings: one order to the stub does for both. Moves
 * *vma on to the last that can be done together with it, without a hole before `end`. */
static void join_neighbours(struct vm_area **vma, uint64_t end, int advice)
{
	struct vm_area *next;

	if (advice != MADV_DONTNEED || check_vma(*vma, advice) || (*vma)->prot & PROT_EXEC)
		return;
	while ((*vma)->end < end && (next = vma_next(*vma)) && next->start == (*vma)->end &&
	       !check_vma(next, advice) && !(next->prot & PROT_EXEC))
		*vma = next;
}

/* MADV_POPULATE_*: unlike other advice it ends at the first hole, and can take long: step by step.
 */
static int populate_advice(struct mm *mm, struct platform_ctx *ctx, uint64_t at, uint64_t end,
			   int advice)
{
	while (at < end) {
		struct vm_area *vma;
		uint64_t upto;
		int ret;

		if (fatal_signal_pending(current))
			return -EINTR;
		COMMAND_GUARD(&mm->lock);
		vma = vma_find(mm, at);
		if (!vma || vma->start > at)
			return -ENOMEM;
		upto = MIN(vma->end, end);
		upto = MIN(upto, at + POPULATE_STEP);
		ret = platform_madvise(ctx, at, upto - at, advice);
		if (ret)
			return ret;
		at = upto;
	}
	return 0;
}

static bool is_populate(int advice)
{
	return advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE;
}

static bool known_advice(int advice)
{
	uint32_t set, clear;

	return host_advice(advice) || flag_advice(advice, &set, &clear) || is_populate(advice) ||
	       advice == MADV_MERGEABLE || advice == MADV_UNMERGEABLE;
}

int mm_madvise(struct mm *mm, struct platform_ctx *ctx, uint64_t addr, uint64_t len, int advice)
{
	uint64_t size = ROUND_UP(len, PAGE_SIZE), end, at = addr;
	struct vm_area *vma;
	int unmapped = 0, ret = 0;

	if (!known_advice(advice) || (addr & ~PAGE_MASK) || (len && !size))
		return -EINVAL;
	if (__builtin_add_overflow(addr, size, &end))
		return -EINVAL;
	if (end == addr)
		return 0;
	if (is_populate(advice))
		return populate_advice(mm, ctx, addr, end, advice);
	COMMAND_GUARD(&mm->lock);
	/* Holes are passed over, and reported at the end. */
	for (vma = vma_find(mm, addr); at < end; vma = vma_next(vma)) {
		uint64_t upto;

		if (!vma || vma->start >= end) {
			unmapped = -ENOMEM;
			break;
		}
		if (vma->start > at) {
			unmapped = -ENOMEM;
			at = vma->start;
		}
		join_neighbours(&vma, end, advice);
		upto = MIN(vma->end, end);
		ret = apply(mm, ctx, &vma, at, upto, advice);
		if (ret)
			break;
		at = upto;
	}
	vma_merge_range(mm, addr, MIN(end, GUEST_TASK_SIZE));
	return ret ? ret : unmapped;
}

/* --- making resident ---------------------------------------------------------------------------
 */

void mm_populate(struct mm *mm, struct platform_ctx *ctx, uint64_t start, uint64_t end)
{
	while (start < end && !fatal_signal_pending(current)) {
		struct vm_area *vma;
		uint64_t upto;
		bool write;

		COMMAND_GUARD(&mm->lock);
		vma = vma_find(mm, start);
		if (!vma || vma->start >= end)
			return;
		start = MAX(vma->start, start);
		upto = MIN(vma->end, end);
		upto = MIN(upto, start + POPULATE_STEP);
		write = (vma->prot & PROT_WRITE) && !(vma->flags & VM_SHARED);
		/* What cannot be had here ends with the mapping. */
		if (vma->prot == PROT_NONE || (vma->flags & VM_GROWSDOWN) ||
		    platform_madvise(ctx, start, upto - start,
				     write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ))
			upto = vma->end;
		start = upto;
	}
}

/* --- mlock ------------------------------------------------------------------------------------ */

static uint64_t unlocked_bytes(struct mm *mm, uint64_t start, uint64_t end)
{
	struct vm_area *vma;
	uint64_t bytes = 0;

	for (vma = vma_find(mm, start); vma && vma->start < end; vma = vma_next(vma))
		if (!(vma->flags & VM_LOCKED))
			bytes += MIN(vma->end, end) - MAX(vma->start, start);
	return bytes;
}

static int set_locked(struct mm *mm, uint64_t start, uint64_t end, bool lock)
{
	struct vm_area *vma;
	int ret;

	if (mm->map_count + 2 > MAX_MAP_COUNT)
		return -ENOMEM;
	ret = vma_split_around(mm, start, end);
	if (ret)
		return ret;
	for (vma = vma_find(mm, start); vma && vma->start < end; vma = vma_next(vma)) {
		if (vma->flags & VM_SPECIAL)
			continue;
		vma_account(mm, vma, vma->end - vma->start, -1);
		vma->flags = lock ? vma->flags | VM_LOCKED : vma->flags & ~VM_LOCKED;
		vma_account(mm, vma, vma->end - vma->start, 1);
	}
	vma_merge_range(mm, start, end);
	return 0;
}

/* The page range that a lock call means: it rounds its address down. */
static int lock_range(uint64_t addr, uint64_t len, uint64_t *start, uint64_t *end)
{
	/* A length that wraps around when it is rounded is none, as in Linux. */
	*start = addr & PAGE_MASK;
	*end = *start + ROUND_UP(len + (addr - *start), PAGE_SIZE);
	return *end < *start ? -EINVAL : 0;
}

static int mlock_range(struct mm *mm, uint64_t start, uint64_t end)
{
	COMMAND_GUARD(&mm->lock);
	if (!mm_may_lock(mm, MIN(unlocked_bytes(mm, start, end), GUEST_TASK_SIZE)) ||
	    (current_rlimit(RLIMIT_MEMLOCK) < end - start && !capable(CAP_IPC_LOCK)))
		return -ENOMEM;
	if (!vma_range_mapped(mm, start, end))
		return -ENOMEM;
	return set_locked(mm, start, end, true);
}

static bool range_has_none(struct mm *mm, uint64_t start, uint64_t end)
{
	struct vm_area *vma;

	COMMAND_GUARD(&mm->lock);
	for (vma = vma_find(mm, start); vma && vma->start < end; vma = vma_next(vma))
		if (vma->prot == PROT_NONE)
			return true;
	return false;
}

int mm_mlock(struct mm *mm, struct platform_ctx *ctx, uint64_t addr, uint64_t len, bool onfault)
{
	uint64_t start, end;
	int ret;

	if (!current_rlimit(RLIMIT_MEMLOCK) && !capable(CAP_IPC_LOCK))
		return -EPERM;
	ret = lock_range(addr, len, &start, &end);
	if (ret || start == end)
		return ret;
	ret = mlock_range(mm, start, end);
	if (ret || onfault)
		return ret;
	mm_populate(mm, ctx, start, end);
	/* What cannot be read cannot be brought in, though it is locked now. */
	return range_has_none(mm, start, end) ? -ENOMEM : 0;
}

int mm_munlock(struct mm *mm, uint64_t addr, uint64_t len)
{
	uint64_t start, end;
	int ret = lock_range(addr, len, &start, &end);

	if (ret || start == end)
		return ret;
	COMMAND_GUARD(&mm->lock);
	if (!vma_range_mapped(mm, start, end))
		return -ENOMEM;
	return set_locked(mm, start, end, false);
}

static int lock_all(struct mm *mm, int flags)
{
	COMMAND_GUARD(&mm->lock);
	if ((flags & MCL_CURRENT) && !capable(CAP_IPC_LOCK) &&
	    mm->total_vm > current_rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT)
		return -ENOMEM;
	mm->def_flags = flags & MCL_FUTURE ? VM_LOCKED : 0;
	if (flags & MCL_CURRENT)
		set_locked(mm, GUEST_MMAP_MIN, GUEST_TASK_SIZE, true);
	return 0;
}

int mm_mlockall(struct mm *mm, struct platform_ctx *ctx, int flags)
{
	int ret;

	if (!flags || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) || flags == MCL_ONFAULT)
		return -EINVAL;
	if (!current_rlimit(RLIMIT_MEMLOCK) && !capable(CAP_IPC_LOCK))
		return -EPERM;
	ret = lock_all(mm, flags);
	if (!ret && (flags & (MCL_CURRENT | MCL_ONFAULT)) == MCL_CURRENT)
		mm_populate(mm, ctx, GUEST_MMAP_MIN, GUEST_TASK_SIZE);
	return ret;
}

void mm_munlockall(struct mm *mm)
{
	COMMAND_GUARD(&mm->lock);
	mm->def_flags = 0;
	set_locked(mm, GUEST_MMAP_MIN, GUEST_TASK_SIZE, false);
}
