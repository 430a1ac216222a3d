/*
 * Changing a word of guest memory in one step.
 *
 * Futex operations that change the word race with the guest's own atomic instructions on it. The
 * sentry does not map private guest memory, so it makes the page read-only for the moment: threads
 * of the guest that write to it then fault, and the fault waits for mm->lock, which is held. System
 * calls of other threads that copy to the page see mm->freeze_seq change and try again. Shared
 * memory, anonymous or of a file, is mapped by the sentry and changed with an atomic instruction.
 *
 * What remains: where the host refuses that (it is out of memory, or the stub is dying) the word is
 * read, compared and written without that care.
 */
#include <errno.h>
#include <sys/mman.h>

#include "sentry/kernel/futex.h"
#include "sentry/mm/guarded_word.h"
#include "sentry/mm/mm.h"

int futex_read(uaddr_t uaddr, uint32_t *val)
{
	return get_user(val, uaddr);
}

static int update_plain(uaddr_t uaddr, uint32_t (*fn)(uint32_t, void *), void *arg, uint32_t *old)
{
	uint32_t new;

	if (get_user(old, uaddr))
		return -EFAULT;
	new = fn(*old, arg);
	return new == *old ? 0 : put_user(uaddr, new);
}

static int update_shared(const struct vm_area *vma, uaddr_t uaddr, uint32_t (*fn)(uint32_t, void *),
			 void *arg, uint32_t *old)
{
	uint64_t offset = vma->host_offset + (uaddr - vma->start);
	char *page;
	int ret;

	page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vma->host_fd,
		    (off_t)(offset & PAGE_MASK));
	if (page == MAP_FAILED)
		return update_plain(uaddr, fn, arg, old);
	*old = 0;
	do {
		ret = guarded_cmpxchg((uint32_t *)(page + (offset & ~PAGE_MASK)), old,
				      fn(*old, arg));
	} while (ret == -EAGAIN);
	munmap(page, PAGE_SIZE);
	return ret;
}

static int update_frozen(struct task *t, const struct vm_area *vma, uaddr_t uaddr,
			 uint32_t (*fn)(uint32_t, void *), void *arg, uint32_t *old)
{
	uint64_t page = uaddr & PAGE_MASK;
	uint32_t new;
	int ret = 0;

	atomic_fetch_add(&t->mm->freeze_seq, 1);
	if (platform_mprotect(t->ctx, page, PAGE_SIZE, vma->prot & ~PROT_WRITE)) {
		atomic_fetch_add(&t->mm->freeze_seq, 1);
		return update_plain(uaddr, fn, arg, old);
	}
	if (get_user(old, uaddr)) {
		ret = -EFAULT;
	} else {
		new = fn(*old, arg);
		if (new != *old &&
		    platform_force_write(t->mm->as, uaddr, &new, sizeof(new)) != sizeof(new))
			ret = -EFAULT;
	}
	platform_mprotect(t->ctx, page, PAGE_SIZE, vma->prot);
	atomic_fetch_add(&t->mm->freeze_seq, 1);
	return ret;
}

int futex_update(struct task *t, uaddr_t uaddr, uint32_t (*fn)(uint32_t old, void *arg), void *arg,
		 uint32_t *old)
{
	struct vm_area *vma = vma_find(t->mm, uaddr);

	if (!vma || vma->start > uaddr || !(vma->prot & PROT_WRITE))
		return -EFAULT;
	if ((vma->flags & VM_SHARED) && vma->host_fd >= 0)
		return update_shared(vma, uaddr, fn, arg, old);
	/* Nobody else runs in here. */
	if (refcount_read(&t->mm->refs) == 1 || !t->ctx)
		return update_plain(uaddr, fn, arg, old);
	return update_frozen(t, vma, uaddr, fn, arg, old);
}

struct exchange {
	uint32_t expected, new;
};

static uint32_t exchange(uint32_t old, void *arg)
{
	const struct exchange *x = arg;

	return old == x->expected ? x->new : old;
}

int futex_cmpxchg(struct task *t, uaddr_t uaddr, uint32_t expected, uint32_t new)
{
	struct exchange x = {expected, new};
	uint32_t old;
	int ret = futex_update(t, uaddr, exchange, &x, &old);

	if (ret)
		return ret;
	return old == expected ? 0 : -EAGAIN;
}
