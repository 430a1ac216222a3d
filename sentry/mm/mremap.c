/* mremap (man 2 mremap). */
#include <errno.h>
#include <sys/mman.h>

#include "sentry/mm/mm_internal.h"
#include "sentry/mm/vma_internal.h"
#include "sentry/vfs/file.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

struct move {
	uint64_t addr, len, new_len, new_addr;
	unsigned flags;
};

/* The VMA that holds all of [addr, addr+len); where that shrinks, what is left of it. */
static int source(struct mm *mm, const struct move *m, struct vm_area **out)
{
	struct vm_area *vma = vma_find(mm, m->addr);

	*out = vma;
	if (!vma || vma->start > m->addr)
		return -EFAULT;
	if (vma->flags & VM_SPECIAL && m->len != m->new_len)
		return -EFAULT;
	if (MIN(m->len, m->new_len) > vma->end - m->addr)
		return -EFAULT;
	/* A length of 0 duplicates a shared mapping. */
	if (!m->len && !(vma->flags & VM_SHARED))
		return -EINVAL;
	if ((m->flags & MREMAP_DONTUNMAP) && !vma_is_private_anon(vma))
		return -EINVAL;
	if (m->new_len > m->len) {
		uint64_t more = m->new_len - m->len;

		if ((vma->flags & VM_LOCKED) && !mm_may_lock(mm, more))
			return -EAGAIN;
		if (!mm_may_expand(mm, more, vma_is_data(vma)))
			return -ENOMEM;
	}
	return 0;
}

/* The host may see several mappings where the tree has one (it does not join anonymous memory that
 * was faulted in at different times) and refuses to move across their borders with EFAULT: then
 * the parts are moved. */
static int host_move(struct platform_ctx *ctx, uint64_t addr, uint64_t len, uint64_t new_len,
		     uint64_t to)
{
	int ret = platform_mremap(ctx, addr, len, new_len, to);
	uint64_t half = ROUND_DOWN(len / 2, PAGE_SIZE);

	if (ret != -EFAULT || !half)
		return ret;
	ret = host_move(ctx, addr, half, half, to);
	return ret ? ret : host_move(ctx, addr + half, len - half, new_len - half, to + half);
}

/* Shared anonymous memory does not grow with its mapping: accesses past its end are SIGBUS, as in
 * Linux, and the host sees to that. */
static int64_t grow_in_place(struct mm *mm, struct platform_ctx *ctx, struct vm_area *vma,
			     const struct move *m)
{
	uint64_t end = m->addr + m->new_len, start = vma->start;
	int ret = platform_mremap(ctx, m->addr, m->len, m->new_len, m->addr);

	/* More than one mapping of the host: the tail is mapped on its own. */
	if (ret == -EFAULT) {
		int flags = MAP_FIXED | (vma->flags & VM_SHARED ? MAP_SHARED : MAP_PRIVATE);
		uint64_t tail = vma->end - start;

		if (vma->host_fd < 0)
			flags |= MAP_ANONYMOUS;
		if (vma->flags & VM_NORESERVE)
			flags |= MAP_NORESERVE;
		ret = platform_mmap(ctx, vma->end, end - vma->end, vma->prot, flags, vma->host_fd,
				    vma->host_fd < 0 ? 0 : vma->host_offset + tail);
	}
	if (ret)
		return ret;
	vma_set_range(mm, vma, start, end);
	vma_merge(mm, vma);
	return (int64_t)m->addr;
}

/* A mapping of the same thing at new_addr (old length 0, or what stays behind of DONTUNMAP). */
static int64_t duplicate(struct mm *mm, struct platform_ctx *ctx, struct vm_area *vma,
			 const struct move *m, uint64_t to, uint64_t len)
{
	struct map_request req = {
		.addr = to,
		.len = len,
		.prot = vma->prot,
		.flags = MAP_FIXED,
		.vm_flags = vma->flags,
		.file = vma->file,
		.offset = vma->offset + (m->addr - vma->start),
		.host_fd = vma->host_fd,
		.host_offset = vma->host_offset + (m->addr - vma->start),
		.shared = vma->shared,
		.name = vma->name,
	};

	return mm_map(mm, ctx, &req);
}

/* Moves [addr, addr+len) to `to`, where it is new_len long. */
static int64_t move_to(struct mm *mm, struct platform_ctx *ctx, const struct move *m, uint64_t to)
{
	uint64_t keep = MIN(m->len, m->new_len);
	struct vm_area *vma, *moved;
	int ret;

	if (mm->map_count + 3 > MAX_MAP_COUNT)
		return -ENOMEM;
	/* Shrinking moves: what is too much goes first. */
	if (m->new_len < m->len) {
		ret = mm_unmap(mm, ctx, m->addr + m->new_len, m->addr + m->len);
		if (ret)
			return ret;
	}
	ret = mm_unmap(mm, ctx, to, to + m->new_len);
	if (!ret)
		ret = vma_split_around(mm, m->addr, m->addr + keep);
	if (ret)
		return ret;
	vma = vma_find(mm, m->addr);
	moved = vma_clone(vma, vma->start, vma->end);
	if (!moved)
		return -ENOMEM;
	moved->start = to;
	moved->end = to + m->new_len;
	ret = host_move(ctx, m->addr, keep, m->new_len, to);
	if (ret) {
		vma_free(moved);
		vma_merge_range(mm, m->addr, m->addr + keep);
		return ret;
	}
	if (vma->prot & PROT_EXEC) {
		platform_text_changed(mm->as, m->addr, keep);
		platform_text_changed(mm->as, to, m->new_len);
	}
	vma_drop_range(mm, m->addr, m->addr + keep);
	vma_insert(mm, moved);
	moved = vma_merge(mm, moved);
	if (m->flags & MREMAP_DONTUNMAP) {
		struct vm_area like = *moved;

		like.flags &= ~VM_LOCKED;
		like.file = NULL;
		return duplicate(mm, ctx, &like, m, m->addr, keep) < 0 ? -ENOMEM : (int64_t)to;
	}
	return (int64_t)to;
}

static int check_target(uint64_t to, uint64_t len)
{
	if (to < GUEST_MMAP_MIN)
		return -EPERM;
	return range_reserved(to, to + len) ? -ENOMEM : 0;
}

/* A move without a change of length may be of several mappings (Linux 6.17), which keep the
 * distances between them. What was moved before an error stays where it is then. */
static int64_t move_all(struct mm *mm, struct platform_ctx *ctx, const struct move *m)
{
	uint64_t end = m->addr + m->len, at = m->addr;
	struct vm_area *vma = vma_find(mm, at);
	int64_t ret;

	if (!vma || vma->start > at)
		return -EFAULT;
	for (; vma && vma->start < end; vma = vma_find(mm, at)) {
		struct move part = *m;

		part.addr = MAX(vma->start, at);
		part.len = part.new_len = MIN(vma->end, end) - part.addr;
		part.new_addr = m->new_addr + (part.addr - m->addr);
		at = part.addr + part.len;
		ret = source(mm, &part, &vma);
		if (!ret)
			ret = check_target(part.new_addr, part.len);
		if (!ret)
			ret = move_to(mm, ctx, &part, part.new_addr);
		if (ret < 0)
			return ret;
	}
	return (int64_t)m->new_addr;
}

static int64_t remap_fixed(struct mm *mm, struct platform_ctx *ctx, const struct move *m)
{
	uint64_t to = m->new_addr;
	struct vm_area *vma;
	int ret;

	if (to & ~PAGE_MASK)
		return -EINVAL;
	if (to > GUEST_TASK_SIZE - m->new_len)
		return -EINVAL;
	if ((m->flags & MREMAP_FIXED) && m->addr < to + m->new_len && to < m->addr + m->len)
		return -EINVAL;
	if ((m->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) == MREMAP_FIXED && m->len == m->new_len)
		return move_all(mm, ctx, m);
	ret = source(mm, m, &vma);
	if (!ret && (m->flags & MREMAP_FIXED))
		ret = check_target(to, m->new_len);
	if (ret)
		return ret;
	if (!(m->flags & MREMAP_FIXED)) {
		to = mm_find_place(mm, to, m->new_len, vma->file ? 0 : MAP_ANONYMOUS);
		if (!to)
			return -ENOMEM;
	}
	return m->len ? move_to(mm, ctx, m, to) : duplicate(mm, ctx, vma, m, to, m->new_len);
}

static int64_t remap_anywhere(struct mm *mm, struct platform_ctx *ctx, const struct move *m)
{
	struct vm_area *vma;
	uint64_t place;
	int ret;

	if (m->len && m->new_len <= m->len) {
		/* Shrinking checks nothing but that something is there. */
		vma = vma_find(mm, m->addr);
		if (!vma || vma->start > m->addr)
			return -EFAULT;
		ret = mm_unmap(mm, ctx, m->addr + m->new_len, m->addr + m->len);
		return ret ? ret : (int64_t)m->addr;
	}
	ret = source(mm, m, &vma);
	if (ret)
		return ret;
	if (m->len && m->addr + m->len == vma->end && m->new_len <= GUEST_TASK_SIZE - m->addr &&
	    vma_range_free(mm, vma->end, m->addr + m->new_len))
		return grow_in_place(mm, ctx, vma, m);
	if (!(m->flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	place = mm_find_place(mm, 0, m->new_len, vma->file ? 0 : MAP_ANONYMOUS);
	if (!place)
		return -ENOMEM;
	return m->len ? move_to(mm, ctx, m, place) : duplicate(mm, ctx, vma, m, place, m->new_len);
}

int64_t mm_mremap(struct mm *mm, struct platform_ctx *ctx, uint64_t addr, uint64_t len,
		  uint64_t new_len, unsigned flags, uint64_t new_addr)
{
	struct move m = {
		.addr = addr,
		.len = ROUND_UP(len, PAGE_SIZE),
		.new_len = ROUND_UP(new_len, PAGE_SIZE),
		.new_addr = new_addr,
		.flags = flags,
	};

	if (flags & ~(MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP))
		return -EINVAL;
	if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && !(flags & MREMAP_MAYMOVE))
		return -EINVAL;
	if ((flags & MREMAP_DONTUNMAP) && m.len != m.new_len)
		return -EINVAL;
	if ((addr & ~PAGE_MASK) || !m.new_len || m.new_len < new_len || m.new_len > GUEST_TASK_SIZE)
		return -EINVAL;
	if (addr >= GUEST_TASK_SIZE || m.len > GUEST_TASK_SIZE - addr)
		return -EFAULT;
	COMMAND_GUARD(&mm->lock);
	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))
		return remap_fixed(mm, ctx, &m);
	return remap_anywhere(mm, ctx, &m);
}

/* Linux has no mappings with pages in any order any more; it makes ordinary ones in their place. */
int mm_remap_file_pages(struct mm *mm, struct platform_ctx *ctx, uint64_t addr, uint64_t len,
			int prot, uint64_t pgoff)
{
	struct file *__put_file file = NULL;
	uint64_t start = addr & PAGE_MASK, size = len & PAGE_MASK, pages = size >> PAGE_SHIFT;
	int64_t ret;
	int map_prot = 0;

	if (prot || start + size <= start || pgoff + pages < pgoff)
		return -EINVAL;
	command_lock(&mm->lock);
	struct vm_area *vma = vma_find(mm, start);

	if (vma && vma->start <= start && start + size <= vma->end && (vma->flags & VM_SHARED) &&
	    vma->file) {
		file = file_get(vma->file);
		map_prot = vma->prot;
	}
	mutex_unlock(&mm->lock);
	if (!file)
		return -EINVAL;
	ret = mm_mmap(mm, ctx, start, size, map_prot, MAP_SHARED | MAP_FIXED, file,
		      pgoff << PAGE_SHIFT);
	return ret < 0 ? (int)ret : 0;
}
