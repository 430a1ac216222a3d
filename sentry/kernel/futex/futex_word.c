/*
 * Changing a word of guest memory in one step.
 *
 * Futex operations that change the word race with the guest's own atomic instructions on it. Shared
 * memory, anonymous or of a file, the sentry maps and changes with an atomic instruction. Private
 * memory it does not map: there the stub of the calling thread executes the instruction.
 */
#include <errno.h>
#include <sys/mman.h>

#include "sentry/kernel/futex/futex_internal.h"
#include "sentry/mm/guarded_word.h"
#include "sentry/mm/mm.h"

int futex_read(uaddr_t uaddr, uint32_t *val)
{
	return get_user(val, uaddr);
}

static uint32_t word_result(enum platform_word_op op, uint32_t old, uint32_t arg, uint32_t expected)
{
	switch (op) {
	case WORD_SET:
		return arg;
	case WORD_ADD:
		return old + arg;
	case WORD_OR:
		return old | arg;
	case WORD_ANDN:
		return old & ~arg;
	case WORD_XOR:
		return old ^ arg;
	case WORD_SET_IF:
		return old == expected ? arg : old;
	}
	return old;
}

static int update_plain(uaddr_t uaddr, enum platform_word_op op, uint32_t arg, uint32_t expected,
			uint32_t *old)
{
	uint32_t new;

	if (get_user(old, uaddr))
		return -EFAULT;
	new = word_result(op, *old, arg, expected);
	return new == *old ? 0 : put_user(uaddr, new);
}

static int update_shared(const struct vm_area *vma, uaddr_t uaddr, enum platform_word_op op,
			 uint32_t arg, uint32_t expected, uint32_t *old)
{
	uint64_t offset = vma->host_offset + (uaddr - vma->start);
	char *page;
	int ret;

	page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vma->host_fd,
		    (off_t)(offset & PAGE_MASK));
	if (page == MAP_FAILED)
		return -EFAULT;
	*old = 0;
	do {
		ret = guarded_cmpxchg((uint32_t *)(page + (offset & ~PAGE_MASK)), old,
				      word_result(op, *old, arg, expected));
	} while (ret == -EAGAIN);
	munmap(page, PAGE_SIZE);
	return ret;
}

int futex_update(struct task *t, uaddr_t uaddr, enum platform_word_op op, uint32_t arg,
		 uint32_t expected, uint32_t *old)
{
	struct vm_area *vma = vma_find(t->mm, uaddr);

	if (!vma || vma->start > uaddr || !(vma->prot & PROT_WRITE))
		return -EFAULT;
	if ((vma->flags & VM_SHARED) && vma->host_fd >= 0)
		return update_shared(vma, uaddr, op, arg, expected, old);
	/* Nobody else runs in here. */
	if (refcount_read(&t->mm->refs) == 1 || !t->ctx)
		return update_plain(uaddr, op, arg, expected, old);
	return platform_word_op(t->ctx, uaddr, op, arg, expected, old) ? -EFAULT : 0;
}

int futex_cmpxchg(struct task *t, uaddr_t uaddr, uint32_t expected, uint32_t new)
{
	uint32_t old;
	int ret = futex_update(t, uaddr, WORD_SET_IF, new, expected, &old);

	if (ret)
		return ret;
	return old == expected ? 0 : -EAGAIN;
}
