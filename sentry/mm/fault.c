/* Faults that the platform reports. */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "sentry/kernel/core/current.h"
#include "sentry/mm/mm_internal.h"
#include "sentry/mm/vma_internal.h"

/* The page fault's error code (Intel SDM vol. 3, 4.7). */
#define PF_WRITE 0x2
#define PF_INSTR 0x10
#define TRAP_PAGE_FAULT 14
/* Free space that Linux keeps below a stack (stack_guard_gap), in bytes. */
#define STACK_GUARD_GAP (256 * PAGE_SIZE)
/* A fault that the tree of VMAs says should not happen is a race with a change of the mapping that
 * is over by now, so the access is tried again; but not for ever. */
#define STALE_MAX 1000
/* Faults on a growing stack map this much more at a time. */
#define STACK_STEP (128UL << 10)

#ifndef SI_KERNEL
#define SI_KERNEL 0x80
#endif

static bool access_allowed(const struct vm_area *vma, uint32_t error)
{
	if (error & PF_INSTR)
		return vma->prot & PROT_EXEC;
	if (error & PF_WRITE)
		return vma->prot & PROT_WRITE;
	return vma->prot != PROT_NONE;
}

/* Grows the stack-like VMA above addr down to it. */
static int grow_down(struct mm *mm, struct platform_ctx *ctx, struct vm_area *vma, uint64_t addr)
{
	uint64_t start = addr & PAGE_MASK, limit = current_rlimit(RLIMIT_STACK), step;
	struct vm_area *prev = vma_prev(vma);
	uint64_t floor = prev ? prev->end : GUEST_MMAP_MIN;
	int ret;

	if (prev && prev->prot != PROT_NONE && !(prev->flags & VM_GROWSDOWN))
		floor += STACK_GUARD_GAP;
	if (range_reserved(start, vma->start) || start < floor || vma->end - start > limit)
		return -ENOMEM;
	if (!mm_may_expand(mm, vma->start - start, false))
		return -ENOMEM;
	if ((vma->flags & VM_LOCKED) && !mm_may_lock(mm, vma->start - start))
		return -ENOMEM;
	/* A little more than asked, if that is allowed, too. */
	step = vma->start - STACK_STEP;
	if (vma->start > STACK_STEP && step < start && step >= floor &&
	    !range_reserved(step, vma->start) && vma->end - step <= limit &&
	    mm_may_expand(mm, vma->start - step, false))
		start = step;
	ret = platform_mmap(ctx, start, vma->start - start, vma->prot,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
	if (!ret)
		vma_set_range(mm, vma, start, vma->end);
	return ret;
}

static bool try_again(struct mm *mm, uint64_t addr)
{
	if (mm->stale_addr != addr) {
		mm->stale_addr = addr;
		mm->stale_count = 0;
	}
	return ++mm->stale_count < STALE_MAX;
}

int mm_handle_fault(struct mm *mm, struct platform_ctx *ctx, const struct platform_event *event,
		    int *code, uint64_t *addr)
{
	struct vm_area *vma;

	*code = event->code;
	*addr = event->addr;
	if (event->signo != SIGSEGV)
		return event->signo;
	if (event->trapno != TRAP_PAGE_FAULT || event->code == SI_KERNEL) {
		*code = SI_KERNEL;
		*addr = 0;
		return SIGSEGV;
	}
	if (event->code != SEGV_MAPERR && event->code != SEGV_ACCERR)
		return SIGSEGV;
	COMMAND_GUARD(&mm->lock);
	vma = vma_find(mm, event->addr);
	if (vma && vma->start <= event->addr) {
		if (access_allowed(vma, event->error) && try_again(mm, event->addr))
			return 0;
		*code = SEGV_ACCERR;
		return SIGSEGV;
	}
	if (vma && (vma->flags & VM_GROWSDOWN) && event->addr >= GUEST_MMAP_MIN &&
	    !grow_down(mm, ctx, vma, event->addr))
		return 0;
	*code = SEGV_MAPERR;
	return SIGSEGV;
}
