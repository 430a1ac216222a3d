/* Address spaces: life, fork, what exec sets up, limits. */
#include "sentry/mm/mm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/random.h>

#include "sentry/kernel/core/cred.h"
#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/machine.h"
#include "sentry/mm/mm_internal.h"
#include "sentry/mm/vma_internal.h"
#include "sentry/vfs/file.h"

/* Between the highest stack and mmap_base: room for the stack to grow, as in Linux. */
#define STACK_RANDOM_RANGE (16ULL << 30)
#define STACK_GAP_MIN (128ULL << 20)
#define MMAP_RANDOM_BITS 28
/* How much of a stack is mapped at once, room for argv and envp included (E2BIG limits them to a
 * quarter of the stack's limit, and to 6 MiB). The rest comes by faults; a system call never needs
 * it, since the call itself has pushed something below any buffer. */
#define STACK_EAGER_MAX (8ULL << 20)
#define STACK_EAGER_MIN (128ULL << 10)

static uint64_t random_pages(unsigned bits)
{
	uint64_t r = 0;

	if (current_personality() & ADDR_NO_RANDOMIZE)
		return 0;
	if (getrandom(&r, sizeof(r), GRND_NONBLOCK) != sizeof(r))
		r = (uint64_t)monotonic_ns() * 0x9e3779b97f4a7c15ULL >> 20;
	return (r & ((1ULL << bits) - 1)) << PAGE_SHIFT;
}

struct mm *mm_create(struct platform_as *as)
{
	struct mm *mm = calloc(1, sizeof(*mm));

	if (!mm)
		return NULL;
	refcount_init(&mm->refs);
	mutex_init_as(&mm->lock, LOCK_OVER_COMMANDS);
	RB_INIT(&mm->vmas);
	mm->as = as;
	mm->dumpable = 1;
	mm->user_ns = user_ns_get(current ? current_cred()->user_ns : &root_user_ns);
	atomic_init(&mm->coredump_filter, COREDUMP_FILTER_DEFAULT);
	mm->mmap_base = GUEST_TASK_SIZE - STACK_RANDOM_RANGE - STACK_GAP_MIN -
			random_pages(MMAP_RANDOM_BITS);
	return mm;
}

void mm_set_user_ns(struct mm *mm, struct user_ns *ns)
{
	user_ns_get(ns);
	user_ns_put(mm->user_ns);
	mm->user_ns = ns;
}

struct mm *mm_get(struct mm *mm)
{
	refcount_inc(&mm->refs);
	return mm;
}

void mm_put(struct mm *mm)
{
	struct vm_area *vma;

	if (!mm || !refcount_dec(&mm->refs))
		return;
	while ((vma = RB_ROOT(&mm->vmas))) {
		vma_remove(mm, vma);
		vma_free(vma);
	}
	if (mm->exe) {
		inode_allow_write_access(mm->exe->inode);
		file_put(mm->exe);
	}
	if (mm->aio)
		mm->aio_free(mm->aio);
	if (mm->as)
		platform_as_put(mm->as);
	user_ns_put(mm->user_ns);
	mutex_destroy(&mm->lock);
	free(mm);
}

int mm_set_exe(struct mm *mm, struct file *file)
{
	int err = inode_deny_write_access(file->inode);

	if (!err)
		mm->exe = file_get(file);
	return err;
}

static void copy_layout(struct mm *to, const struct mm *from)
{
	to->mmap_base = from->mmap_base;
	to->start_code = from->start_code;
	to->end_code = from->end_code;
	to->start_data = from->start_data;
	to->end_data = from->end_data;
	to->start_brk = from->start_brk;
	to->brk = from->brk;
	to->start_stack = from->start_stack;
	to->arg_start = from->arg_start;
	to->arg_end = from->arg_end;
	to->env_start = from->env_start;
	to->env_end = from->env_end;
	to->vdso = from->vdso;
	memcpy(to->auxv, from->auxv, sizeof(to->auxv));
	to->auxv_len = from->auxv_len;
	to->dumpable = from->dumpable;
	mm_set_user_ns(to, from->user_ns);
	atomic_store(&to->coredump_filter, atomic_load(&from->coredump_filter));
	/* Cannot fail: the parent's reference keeps writers out already. */
	if (from->exe)
		mm_set_exe(to, from->exe);
}

/* One VMA of the parent in the child, whose host memory is already a copy. */
static int fork_vma(struct mm *child, struct platform_ctx *ctx, const struct vm_area *vma)
{
	uint64_t len = vma->end - vma->start;
	struct vm_area *copy;
	int ret;

	if (vma->flags & VM_DONTFORK)
		return platform_munmap(ctx, vma->start, len);
	copy = vma_clone(vma, vma->start, vma->end);
	if (!copy)
		return -ENOMEM;
	copy->flags &= ~VM_LOCKED;
	vma_insert(child, copy);
	if (!(vma->flags & VM_WIPEFORK))
		return 0;
	ret = platform_mmap(ctx, vma->start, len, vma->prot,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
	return ret;
}

int mm_fork(struct mm *parent, struct platform_as *child_as, struct platform_ctx *child_ctx,
	    struct mm **out)
{
	struct mm *child = mm_create(NULL);
	struct vm_area *vma;

	*out = NULL;
	if (!child)
		return -ENOMEM;
	copy_layout(child, parent);
	RB_FOREACH (vma, vma_tree, &parent->vmas) {
		int ret = fork_vma(child, child_ctx, vma);

		if (ret) {
			mm_put(child);
			return ret;
		}
	}
	/* Locks are not inherited, so what they kept apart is one again. */
	if (parent->locked_vm)
		vma_merge_range(child, 0, GUEST_TASK_SIZE);
	child->hiwater_vm = child->total_vm;
	child->as = child_as;
	*out = child;
	return 0;
}

/* --- limits ------------------------------------------------------------------------------------
 */

bool mm_may_expand(struct mm *mm, uint64_t bytes, bool data)
{
	uint64_t pages = bytes >> PAGE_SHIFT;

	if (mm->map_count >= MAX_MAP_COUNT)
		return false;
	if (mm->total_vm + pages > current_rlimit(RLIMIT_AS) >> PAGE_SHIFT)
		return false;
	/* Linux's heuristic overcommit (proc_sys_vm(5), overcommit_memory 0): obvious excess only.
	 */
	if (data && bytes > machine.total_memory)
		return false;
	return !data || mm->data_vm + pages <= current_rlimit(RLIMIT_DATA) >> PAGE_SHIFT;
}

bool mm_may_lock(struct mm *mm, uint64_t bytes)
{
	uint64_t limit = current_rlimit(RLIMIT_MEMLOCK);

	return limit == RLIM_INFINITY || capable(CAP_IPC_LOCK) ||
	       mm->locked_vm + (bytes >> PAGE_SHIFT) <= limit >> PAGE_SHIFT;
}

bool mm_range_has_text(struct mm *mm, uint64_t start, uint64_t end)
{
	struct vm_area *vma;

	for (vma = vma_find(mm, start); vma && vma->start < end; vma = vma_next(vma))
		if (vma->prot & PROT_EXEC)
			return true;
	return false;
}

/* --- a new program -----------------------------------------------------------------------------
 */

int mm_map_special(struct mm *mm, struct platform_ctx *ctx, uint64_t addr, uint64_t len, int prot,
		   uint32_t vm_flags, int host_fd, uint64_t host_offset, const char *name)
{
	struct map_request req = {
		.addr = addr,
		.len = ROUND_UP(len, PAGE_SIZE),
		.prot = prot,
		.flags = MAP_FIXED | (vm_flags & VM_SHARED ? MAP_SHARED : MAP_PRIVATE),
		.vm_flags = vm_flags,
		.host_fd = host_fd,
		.host_offset = host_offset,
		.name = name,
	};
	int64_t ret;

	if ((addr & ~PAGE_MASK) || !req.len || req.len < len)
		return -EINVAL;
	if (!(vm_flags & (VM_SPECIAL | VM_SHARED)))
		req.vm_flags |= VM_MAYWRITE;
	COMMAND_GUARD(&mm->lock);
	ret = mm_map(mm, ctx, &req);
	return ret < 0 ? (int)ret : 0;
}

int mm_setup_stack(struct mm *mm, struct platform_ctx *ctx, uint64_t top, uint64_t max_size,
		   int prot)
{
	uint64_t size = MIN(max_size, STACK_EAGER_MAX), room;
	int ret;

	if ((top & ~PAGE_MASK) || top > GUEST_TASK_SIZE || top < STACK_EAGER_MAX * 2)
		return -EINVAL;
	size = ROUND_UP(MAX(size, STACK_EAGER_MIN), PAGE_SIZE);
	ret = mm_map_special(mm, ctx, top - size, size, prot,
			     VM_GROWSDOWN | VM_MAYWRITE | VM_NORESERVE, -1, 0, "[stack]");
	if (ret)
		return ret;
	/* Leave the stack room to grow to its limit, or to 5/6 of everything (Linux: mmap_base). */
	room = MIN(MAX(max_size, STACK_GAP_MIN), GUEST_TASK_SIZE / 6 * 5) & PAGE_MASK;
	COMMAND_GUARD(&mm->lock);
	mm->start_stack = top;
	if (room < top && mm->mmap_base > top - room)
		mm->mmap_base = top - room;
	return 0;
}

void mm_set_brk(struct mm *mm, uint64_t start)
{
	COMMAND_GUARD(&mm->lock);
	mm->start_brk = mm->brk = start;
}

static bool brk_limit_ok(struct mm *mm, uint64_t addr)
{
	uint64_t limit = current_rlimit(RLIMIT_DATA), used;

	used = addr - mm->start_brk + (mm->end_data - mm->start_data);
	return limit == RLIM_INFINITY || used <= limit;
}

uint64_t mm_brk(struct mm *mm, struct platform_ctx *ctx, uint64_t addr)
{
	uint64_t old_end, new_end;
	struct map_request req = {
		.prot = PROT_READ | PROT_WRITE,
		.flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE,
		.vm_flags = VM_MAYWRITE,
		.host_fd = -1,
		.name = "[heap]",
	};

	COMMAND_GUARD(&mm->lock);
	if (addr < mm->start_brk || addr > GUEST_TASK_SIZE - PAGE_SIZE)
		return mm->brk;
	if (addr > mm->brk && !brk_limit_ok(mm, addr))
		return mm->brk;
	old_end = ROUND_UP(mm->brk, PAGE_SIZE);
	new_end = ROUND_UP(addr, PAGE_SIZE);
	if (new_end < old_end) {
		if (mm_unmap(mm, ctx, new_end, old_end))
			return mm->brk;
	} else if (new_end > old_end) {
		req.addr = old_end;
		req.len = new_end - old_end;
		/* A page stays free between the heap and what comes after it. */
		if (!vma_range_free(mm, old_end, new_end + PAGE_SIZE))
			return mm->brk;
		if (mm_map(mm, ctx, &req) < 0)
			return mm->brk;
	}
	mm->brk = addr;
	return addr;
}

/* --- seen from others --------------------------------------------------------------------------
 */

ssize_t mm_access(struct mm *mm, uint64_t addr, void *buf, size_t n, bool write, bool force)
{
	struct iovec local = {buf, n}, remote = {(void *)addr, n};

	if (addr >= GUEST_TASK_SIZE)
		return -EFAULT;
	if (n > GUEST_TASK_SIZE - addr)
		local.iov_len = remote.iov_len = n = GUEST_TASK_SIZE - addr;
	if (!n)
		return 0;
	if (force)
		return write ? platform_force_write(mm->as, addr, buf, n)
			     : platform_force_read(mm->as, addr, buf, n);
	return write ? platform_write_mem(mm->as, &local, 1, &remote, 1)
		     : platform_read_mem(mm->as, &local, 1, &remote, 1);
}

int mm_rss(struct mm *mm, uint64_t *rss_pages, uint64_t *shared_pages)
{
	struct platform_usage usage;
	int ret = platform_as_usage(mm->as, &usage);

	if (ret)
		return ret;
	*rss_pages = usage.rss_pages;
	*shared_pages = usage.shared_pages;
	COMMAND_GUARD(&mm->lock);
	mm->hiwater_rss = MAX(mm->hiwater_rss, usage.rss_pages);
	return 0;
}
