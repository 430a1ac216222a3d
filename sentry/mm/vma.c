#include "sentry/mm/vma_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "sentry/vfs/file.h"

static int vma_compare(const struct vm_area *a, const struct vm_area *b)
{
	return a->start < b->start ? -1 : a->start > b->start;
}

static void vma_augment(struct vm_area *vma)
{
	struct vm_area *left = RB_LEFT(vma, node), *right = RB_RIGHT(vma, node);
	uint64_t max = vma->gap;

	if (left && left->max_gap > max)
		max = left->max_gap;
	if (right && right->max_gap > max)
		max = right->max_gap;
	vma->max_gap = max;
}

#undef RB_AUGMENT
#define RB_AUGMENT(x) vma_augment(x)
RB_GENERATE(vma_tree, vm_area, node, vma_compare)

static void augment_up(struct vm_area *vma)
{
	for (; vma; vma = RB_PARENT(vma, node))
		vma_augment(vma);
}

struct vm_area *vma_next(struct vm_area *vma)
{
	return RB_NEXT(vma_tree, NULL, vma);
}

struct vm_area *vma_prev(struct vm_area *vma)
{
	return RB_PREV(vma_tree, NULL, vma);
}

struct vm_area *vma_find(struct mm *mm, uint64_t addr)
{
	struct vm_area *v = RB_ROOT(&mm->vmas), *found = NULL;

	while (v) {
		if (v->end > addr) {
			found = v;
			v = RB_LEFT(v, node);
		} else {
			v = RB_RIGHT(v, node);
		}
	}
	return found;
}

static void update_gap(struct vm_area *vma)
{
	struct vm_area *prev = vma_prev(vma);

	vma->gap = vma->start - (prev ? prev->end : 0);
	augment_up(vma);
}

void vma_account(struct mm *mm, const struct vm_area *vma, uint64_t bytes, int sign)
{
	uint64_t pages = (bytes >> PAGE_SHIFT) * sign;

	mm->total_vm += pages;
	if (mm->total_vm > mm->hiwater_vm)
		mm->hiwater_vm = mm->total_vm;
	if (vma->flags & VM_GROWSDOWN)
		mm->stack_vm += pages;
	else if ((vma->prot & PROT_EXEC) && !(vma->prot & PROT_WRITE))
		mm->exec_vm += pages;
	else if (vma_is_data(vma))
		mm->data_vm += pages;
	if (vma->flags & VM_LOCKED)
		mm->locked_vm += pages;
}

void vma_insert(struct mm *mm, struct vm_area *vma)
{
	struct vm_area *next;

	vma->gap = vma->max_gap = 0;
	RB_INSERT(vma_tree, &mm->vmas, vma);
	update_gap(vma);
	next = vma_next(vma);
	if (next)
		update_gap(next);
	mm->map_count++;
	vma_account(mm, vma, vma->end - vma->start, 1);
}

void vma_remove(struct mm *mm, struct vm_area *vma)
{
	struct vm_area *next = vma_next(vma), *deepest = RB_PARENT(vma, node);

	/* RB_REMOVE puts the successor in the place of a node with two children: the lowest node
	 * whose subtree changes is then the successor's parent, or the successor itself. */
	if (RB_LEFT(vma, node) && RB_RIGHT(vma, node))
		deepest = RB_PARENT(next, node) == vma ? next : RB_PARENT(next, node);
	RB_REMOVE(vma_tree, &mm->vmas, vma);
	augment_up(deepest);
	if (next)
		update_gap(next);
	mm->map_count--;
	vma_account(mm, vma, vma->end - vma->start, -1);
}

void vma_set_range(struct mm *mm, struct vm_area *vma, uint64_t start, uint64_t end)
{
	struct vm_area *next = vma_next(vma);

	vma_account(mm, vma, vma->end - vma->start, -1);
	vma->start = start;
	vma->end = end;
	vma_account(mm, vma, end - start, 1);
	update_gap(vma);
	if (next)
		update_gap(next);
}

struct vm_area *vma_clone(const struct vm_area *model, uint64_t start, uint64_t end)
{
	struct vm_area *vma = malloc(sizeof(*vma));
	uint64_t moved = start - model->start;

	if (!vma)
		return NULL;
	*vma = *model;
	vma->start = start;
	vma->end = end;
	if (vma->file)
		file_get(vma->file);
	if (vma->shared)
		shared_memory_get(vma->shared);
	vma->offset += moved;
	vma->host_offset += moved;
	return vma;
}

void vma_free(struct vm_area *vma)
{
	if (!vma)
		return;
	if (vma->file)
		file_put(vma->file);
	if (vma->shared)
		shared_memory_put(vma->shared);
	free(vma);
}

int vma_split_at(struct mm *mm, uint64_t addr)
{
	struct vm_area *vma = vma_find(mm, addr), *upper;

	if (!vma || vma->start >= addr)
		return 0;
	upper = vma_clone(vma, addr, vma->end);
	if (!upper)
		return -ENOMEM;
	vma_set_range(mm, vma, vma->start, addr);
	vma_insert(mm, upper);
	return 0;
}

int vma_split_around(struct mm *mm, uint64_t start, uint64_t end)
{
	int ret = vma_split_at(mm, start);

	return ret ? ret : vma_split_at(mm, end);
}

/* True if b, which starts where a ends, continues it. */
static bool mergeable(const struct vm_area *a, const struct vm_area *b)
{
	uint64_t len = a->end - a->start;

	if (a->end != b->start || a->prot != b->prot || a->flags != b->flags ||
	    a->file != b->file || a->shared != b->shared || a->host_fd != b->host_fd ||
	    a->name != b->name || (a->flags & VM_SPECIAL))
		return false;
	if (a->file && a->offset + len != b->offset)
		return false;
	return a->host_fd < 0 || a->host_offset + len == b->host_offset;
}

static struct vm_area *join(struct mm *mm, struct vm_area *a, struct vm_area *b)
{
	uint64_t end = b->end;

	vma_remove(mm, b);
	vma_free(b);
	vma_set_range(mm, a, a->start, end);
	return a;
}

struct vm_area *vma_merge(struct mm *mm, struct vm_area *vma)
{
	struct vm_area *prev = vma_prev(vma), *next = vma_next(vma);

	if (next && mergeable(vma, next))
		vma = join(mm, vma, next);
	if (prev && mergeable(prev, vma))
		vma = join(mm, prev, vma);
	return vma;
}

void vma_merge_range(struct mm *mm, uint64_t start, uint64_t end)
{
	struct vm_area *vma = vma_find(mm, start ? start - 1 : 0);

	while (vma && vma->start <= end) {
		struct vm_area *next = vma_next(vma);

		if (next && mergeable(vma, next))
			vma = join(mm, vma, next);
		else
			vma = next;
	}
}

void vma_drop_range(struct mm *mm, uint64_t start, uint64_t end)
{
	struct vm_area *vma = vma_find(mm, start);

	while (vma && vma->start < end) {
		struct vm_area *next = vma_next(vma);

		vma_remove(mm, vma);
		vma_free(vma);
		vma = next;
	}
}

bool vma_range_free(struct mm *mm, uint64_t start, uint64_t end)
{
	struct vm_area *vma = vma_find(mm, start);

	return (!vma || vma->start >= end) && !range_reserved(start, end);
}

bool vma_range_mapped(struct mm *mm, uint64_t start, uint64_t end)
{
	struct vm_area *vma = vma_find(mm, start);

	while (vma && vma->start <= start) {
		if (vma->end >= end)
			return true;
		start = vma->end;
		vma = vma_next(vma);
	}
	return false;
}

/* The part of the gap below vma that is in [low, high), if len fits in. */
static bool own_gap(const struct vm_area *vma, uint64_t low, uint64_t high, uint64_t len,
		    uint64_t *start, uint64_t *end)
{
	*start = MAX(vma->start - vma->gap, low);
	*end = MIN(vma->start, high);
	return *end > *start && *end - *start >= len;
}

static uint64_t search_topdown(struct vm_area *vma, uint64_t low, uint64_t high, uint64_t len)
{
	uint64_t start, end, found;

	if (!vma || vma->max_gap < len)
		return 0;
	if (vma->end < high) {
		found = search_topdown(RB_RIGHT(vma, node), low, high, len);
		if (found)
			return found;
	}
	if (own_gap(vma, low, high, len, &start, &end))
		return end - len;
	if (vma->start - vma->gap > low)
		return search_topdown(RB_LEFT(vma, node), low, high, len);
	return 0;
}

static uint64_t search_bottomup(struct vm_area *vma, uint64_t low, uint64_t high, uint64_t len)
{
	uint64_t start, end, found;

	if (!vma || vma->max_gap < len)
		return 0;
	if (vma->start - vma->gap > low) {
		found = search_bottomup(RB_LEFT(vma, node), low, high, len);
		if (found)
			return found;
	}
	if (own_gap(vma, low, high, len, &start, &end))
		return start;
	if (vma->end < high)
		return search_bottomup(RB_RIGHT(vma, node), low, high, len);
	return 0;
}

uint64_t vma_gap_topdown(struct mm *mm, uint64_t low, uint64_t high, uint64_t len)
{
	struct vm_area *last = RB_MAX(vma_tree, &mm->vmas);
	uint64_t floor = last ? MAX(last->end, low) : low;

	if (!len)
		return 0;
	if (high > floor && high - floor >= len)
		return high - len;
	return search_topdown(RB_ROOT(&mm->vmas), low, high, len);
}

uint64_t vma_gap_bottomup(struct mm *mm, uint64_t low, uint64_t high, uint64_t len)
{
	struct vm_area *last = RB_MAX(vma_tree, &mm->vmas);
	uint64_t floor = last ? MAX(last->end, low) : low, found;

	if (!len)
		return 0;
	found = search_bottomup(RB_ROOT(&mm->vmas), low, high, len);
	if (found)
		return found;
	return high > floor && high - floor >= len ? floor : 0;
}
