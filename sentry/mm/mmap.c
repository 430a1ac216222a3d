/* mmap and munmap (man 2 mmap). */
#include <errno.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>

#include "sentry/kernel/core/cred.h"
#include "sentry/kernel/core/current.h"
#include "sentry/mm/mm_internal.h"
#include "sentry/mm/vma_internal.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"

#define HUGE_PAGE (2UL << 20)
#define MAP_32BIT_LOW 0x40000000ULL
#define MAP_32BIT_HIGH 0x80000000ULL
/* Flags that MAP_SHARED_VALIDATE accepts. */
#define MAP_KNOWN                                                                                  \
	(MAP_SHARED_VALIDATE | MAP_FIXED | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_DENYWRITE |         \
	 MAP_EXECUTABLE | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | MAP_STACK |   \
	 MAP_HUGETLB | MAP_32BIT | MAP_FIXED_NOREPLACE | (int)(63U << MAP_HUGE_SHIFT))

/* The gap searches, around what the platform keeps. */
static uint64_t gap_below(struct mm *mm, uint64_t high, uint64_t len)
{
	uint64_t place = vma_gap_topdown(mm, PLATFORM_RESERVED_END, high, len);

	return place ? place : vma_gap_topdown(mm, GUEST_MMAP_MIN, PLATFORM_RESERVED_START, len);
}

static uint64_t gap_above(struct mm *mm, uint64_t low, uint64_t high, uint64_t len)
{
	uint64_t place = 0;

	if (low < PLATFORM_RESERVED_START)
		place = vma_gap_bottomup(mm, low, MIN(high, PLATFORM_RESERVED_START), len);
	if (!place && high > PLATFORM_RESERVED_END)
		place = vma_gap_bottomup(mm, MAX(low, PLATFORM_RESERVED_END), high, len);
	return place;
}

/* Where memory that may be huge pages goes: at a multiple of their size, as in Linux. */
static uint64_t find_huge_place(struct mm *mm, uint64_t len)
{
	uint64_t place;

	if (len < HUGE_PAGE || len % HUGE_PAGE || len > GUEST_TASK_SIZE)
		return 0;
	place = gap_below(mm, mm->mmap_base, len + HUGE_PAGE - PAGE_SIZE);
	return place ? ROUND_UP(place, HUGE_PAGE) : 0;
}

uint64_t mm_find_place(struct mm *mm, uint64_t hint, uint64_t len, int flags)
{
	uint64_t place = 0;

	if (len > GUEST_TASK_SIZE)
		return 0;
	hint = hint & PAGE_MASK;
	if (hint >= GUEST_MMAP_MIN && hint <= GUEST_TASK_SIZE - len &&
	    vma_range_free(mm, hint, hint + len))
		return hint;
	if (flags & MAP_32BIT)
		return gap_above(mm, MAP_32BIT_LOW, MAP_32BIT_HIGH, len);
	if (flags & MAP_ANONYMOUS)
		place = find_huge_place(mm, len);
	if (!place)
		place = gap_below(mm, mm->mmap_base, len);
	if (!place)
		place = gap_above(mm, mm->mmap_base, GUEST_TASK_SIZE, len);
	return place;
}

static int64_t place_of(struct mm *mm, const struct map_request *req)
{
	uint64_t place;

	if (!(req->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))) {
		place = mm_find_place(mm, req->addr, req->len, req->flags);
		return place ? (int64_t)place : -ENOMEM;
	}
	if (req->len > GUEST_TASK_SIZE || req->addr > GUEST_TASK_SIZE - req->len)
		return -ENOMEM;
	if (req->addr & ~PAGE_MASK)
		return -EINVAL;
	if (req->addr < GUEST_MMAP_MIN)
		return -EPERM;
	if (range_reserved(req->addr, req->addr + req->len))
		return -ENOMEM;
	if ((req->flags & MAP_FIXED_NOREPLACE) &&
	    !vma_range_free(mm, req->addr, req->addr + req->len))
		return -EEXIST;
	return (int64_t)req->addr;
}

/* Pages of the range that are mapped already, and so count only once. */
static uint64_t mapped_bytes(struct mm *mm, uint64_t start, uint64_t end)
{
	struct vm_area *vma;
	uint64_t bytes = 0;

	for (vma = vma_find(mm, start); vma && vma->start < end; vma = vma_next(vma))
		bytes += MIN(vma->end, end) - MAX(vma->start, start);
	return bytes;
}

static int host_map(struct platform_ctx *ctx, const struct vm_area *vma)
{
	int host = MAP_FIXED | (vma->flags & VM_SHARED ? MAP_SHARED : MAP_PRIVATE);

	if (vma->host_fd < 0)
		host |= MAP_ANONYMOUS;
	if (vma->flags & VM_NORESERVE)
		host |= MAP_NORESERVE;
	return platform_mmap(ctx, vma->start, vma->end - vma->start, vma->prot, host, vma->host_fd,
			     vma->host_offset);
}

int64_t mm_map(struct mm *mm, struct platform_ctx *ctx, const struct map_request *req)
{
	struct vm_area model = {
		.prot = req->prot,
		.flags = req->vm_flags,
		.file = req->file,
		.offset = req->offset,
		.host_fd = req->host_fd,
		.host_offset = req->host_offset,
		.shared = req->shared,
		.name = req->name,
	};
	int64_t start = place_of(mm, req);
	struct vm_area *vma;
	uint64_t end;
	bool text;
	int ret;

	if (start < 0)
		return start;
	end = start + req->len;
	if (!mm_may_expand(mm, req->len - mapped_bytes(mm, start, end), vma_is_data(&model)))
		return -ENOMEM;
	ret = vma_split_around(mm, start, end);
	if (ret)
		return ret;
	model.start = start;
	model.end = end;
	vma = vma_clone(&model, start, end);
	if (!vma)
		return -ENOMEM;
	text = mm_range_has_text(mm, start, end);
	if ((model.flags & VM_SHARED) && (req->prot & PROT_WRITE) && (req->prot & PROT_EXEC))
		platform_text_shared(mm->as);
	ret = host_map(ctx, vma);
	if (ret) {
		vma_merge_range(mm, start, end);
		vma_free(vma);
		return ret;
	}
	vma_drop_range(mm, start, end);
	vma_insert(mm, vma);
	vma_merge(mm, vma);
	if (text)
		platform_text_changed(mm->as, start, req->len);
	return start;
}

/* --- files ------------------------------------------------------------------------------------ */

/* man 2 fcntl: mappings that were made before F_SEAL_FUTURE_WRITE stay writable, no others. */
static bool sealed_against_writes(struct file *file)
{
	long seals = file->ops->fcntl ? file->ops->fcntl(file, F_GET_SEALS, 0) : -EINVAL;

	return seals > 0 && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE));
}

/* What Linux asks of the file, and its fd of the sentry. */
static int map_file(struct map_request *req)
{
	struct file *file = req->file;
	bool shared = req->vm_flags & VM_SHARED;
	unsigned long mnt_flags = file->path.mnt ? file->path.mnt->flags : 0;
	int ret;

	if (file->is_path)
		return -EBADF;
	if (shared && (req->prot & PROT_WRITE) && !file->can_write)
		return -EACCES;
	if (!file->can_read)
		return -EACCES;
	if ((req->prot & PROT_EXEC) && (mnt_flags & MS_NOEXEC))
		return -EPERM;
	if (!file->ops || !file->ops->mmap)
		return -ENODEV;
	if (req->flags & MAP_GROWSDOWN)
		return -EINVAL;
	if (shared && !file->can_write)
		req->vm_flags &= ~VM_MAYWRITE;
	ret = file->ops->mmap(file, req->offset, req->len, req->prot, req->flags, &req->host_fd,
			      &req->host_offset);
	if (ret)
		return ret;
	if (shared && sealed_against_writes(file))
		req->vm_flags &= ~VM_MAYWRITE;
	/* No fd: the file stands for anonymous memory (/dev/zero). */
	if (req->host_fd < 0)
		req->host_fd = -1;
	return 0;
}

static int check_flags(uint64_t len, int flags, const struct file *file)
{
	switch (flags & MAP_TYPE) {
	case MAP_SHARED_VALIDATE:
		if (!file)
			return -EINVAL;
		if (flags & ~MAP_KNOWN)
			return -EOPNOTSUPP;
		break;
	case MAP_SHARED:
	case MAP_PRIVATE:
		break;
	default:
		return -EINVAL;
	}
	/* No huge pages are reserved: as on a host without any. */
	if (flags & MAP_HUGETLB)
		return file ? -EINVAL : -ENOMEM;
	return 0;
}

static uint32_t vm_flags_of(const struct mm *mm, int flags)
{
	uint32_t vm = VM_MAYWRITE | mm->def_flags;

	if ((flags & MAP_TYPE) != MAP_PRIVATE)
		vm |= VM_SHARED;
	if (flags & MAP_GROWSDOWN)
		vm |= VM_GROWSDOWN;
	if (flags & MAP_LOCKED)
		vm |= VM_LOCKED;
	if (flags & MAP_NORESERVE)
		vm |= VM_NORESERVE;
	return vm;
}

/* Checks what depends on the address space, and maps. */
static int64_t mmap_request(struct mm *mm, struct platform_ctx *ctx, struct map_request *req,
			    int flags)
{
	int64_t ret;

	COMMAND_GUARD(&mm->lock);
	req->vm_flags = vm_flags_of(mm, flags);
	if ((flags & MAP_LOCKED) && !current_rlimit(RLIMIT_MEMLOCK) && !capable(CAP_IPC_LOCK))
		return -EPERM;
	if ((req->vm_flags & VM_LOCKED) && !mm_may_lock(mm, req->len))
		return -EAGAIN;
	if (req->file) {
		ret = map_file(req);
		if (ret)
			return ret;
	}
	if ((req->vm_flags & VM_SHARED) && req->host_fd < 0) {
		if (flags & MAP_GROWSDOWN)
			return -EINVAL;
		ret = shared_memory_create(req->len, &req->shared);
		if (ret)
			return ret;
		req->host_fd = req->shared->fd;
	}
	ret = mm_map(mm, ctx, req);
	if (req->shared)
		shared_memory_put(req->shared);
	return ret;
}

int64_t mm_mmap(struct mm *mm, struct platform_ctx *ctx, uint64_t addr, uint64_t len, int prot,
		int flags, struct file *file, uint64_t offset)
{
	struct map_request req = {
		.addr = addr,
		.len = ROUND_UP(len, PAGE_SIZE),
		.prot = prot & (PROT_READ | PROT_WRITE | PROT_EXEC),
		.flags = file ? flags & ~MAP_ANONYMOUS : flags | MAP_ANONYMOUS,
		.file = file,
		.offset = file ? offset : 0,
		.host_fd = -1,
	};
	uint64_t end;
	int64_t ret;

	if (!len)
		return -EINVAL;
	ret = check_flags(len, flags, file);
	if (ret)
		return ret;
	if (!req.len || req.len > GUEST_TASK_SIZE)
		return -ENOMEM;
	if (__builtin_add_overflow(req.offset, req.len, &end) || (int64_t)end < 0)
		return -EOVERFLOW;
	if ((current_personality() & READ_IMPLIES_EXEC) && (prot & PROT_READ))
		req.prot |= PROT_EXEC;
	ret = mmap_request(mm, ctx, &req, flags);
	if (ret >= 0 &&
	    ((flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE || (req.vm_flags & VM_LOCKED)))
		mm_populate(mm, ctx, ret, ret + req.len);
	return ret;
}

int64_t mm_map_shared(struct mm *mm, struct platform_ctx *ctx, struct shared_memory *shared,
		      uint64_t addr, int prot, bool remap)
{
	struct map_request req = {
		.addr = addr,
		.len = ROUND_UP(shared->size, PAGE_SIZE),
		.prot = prot,
		.flags = MAP_SHARED | (!addr   ? 0
				       : remap ? MAP_FIXED
					       : MAP_FIXED_NOREPLACE),
		.vm_flags = VM_SHARED | (prot & PROT_WRITE ? VM_MAYWRITE : 0),
		.host_fd = shared->fd,
		.shared = shared,
	};
	int64_t ret;

	COMMAND_GUARD(&mm->lock);
	ret = mm_map(mm, ctx, &req);
	return ret == -EEXIST ? -EINVAL : ret;
}

/* --- munmap ----------------------------------------------------------------------------------- */

static int host_unmap(struct platform_ctx *ctx, uint64_t start, uint64_t end)
{
	int ret = 0;

	if (!range_reserved(start, end))
		return platform_munmap(ctx, start, end - start);
	if (start < PLATFORM_RESERVED_START)
		ret = platform_munmap(ctx, start, PLATFORM_RESERVED_START - start);
	if (!ret && end > PLATFORM_RESERVED_END)
		ret = platform_munmap(ctx, PLATFORM_RESERVED_END, end - PLATFORM_RESERVED_END);
	return ret;
}

int mm_unmap(struct mm *mm, struct platform_ctx *ctx, uint64_t start, uint64_t end)
{
	struct vm_area *vma = vma_find(mm, start);
	bool text;
	int ret;

	if (!vma || vma->start >= end)
		return 0;
	/* Cutting a hole makes one VMA more. */
	if (vma->start < start && vma->end > end && mm->map_count >= MAX_MAP_COUNT)
		return -ENOMEM;
	ret = vma_split_around(mm, start, end);
	if (ret)
		return ret;
	text = mm_range_has_text(mm, start, end);
	ret = host_unmap(ctx, start, end);
	if (ret) {
		vma_merge_range(mm, start, end);
		return ret;
	}
	vma_drop_range(mm, start, end);
	if (text)
		platform_text_changed(mm->as, start, end - start);
	return 0;
}

int mm_munmap(struct mm *mm, struct platform_ctx *ctx, uint64_t addr, uint64_t len)
{
	if ((addr & ~PAGE_MASK) || !len || addr > GUEST_TASK_SIZE || len > GUEST_TASK_SIZE - addr)
		return -EINVAL;
	COMMAND_GUARD(&mm->lock);
	return mm_unmap(mm, ctx, addr, addr + ROUND_UP(len, PAGE_SIZE));
}

/* --- shmdt ------------------------------------------------------------------------------------ */

int mm_unmap_shared(struct mm *mm, struct platform_ctx *ctx, uint64_t addr,
		    struct shared_memory **shared)
{
	struct vm_area *vma;
	struct shared_memory *s;
	uint64_t end, next;
	int ret = 0;

	COMMAND_GUARD(&mm->lock);
	vma = vma_find(mm, addr);
	if (!vma || vma->start != addr || !vma->shared || !vma->shared->private || vma->host_offset)
		return -EINVAL;
	s = vma->shared;
	shared_memory_get(s);
	end = addr + ROUND_UP(s->size, PAGE_SIZE);
	/* What is left of the attachment, whatever was done to its parts. */
	for (; vma && vma->start < end && !ret; vma = vma_find(mm, next)) {
		next = vma->end;
		if (vma->shared == s && vma->host_offset == vma->start - addr)
			ret = mm_unmap(mm, ctx, vma->start, vma->end);
	}
	if (ret)
		shared_memory_put(s);
	else
		*shared = s;
	return ret;
}
