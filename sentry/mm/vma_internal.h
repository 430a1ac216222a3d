/*
 * The tree of VMAs, for files of sentry/mm (and, reading, others under mm->lock). No function here
 * touches the platform; all need mm->lock.
 *
 * Every node knows the free gap below it and the largest gap of its subtree, so a free range is
 * found without walking over the mappings.
 */
#ifndef MOAT_SENTRY_MM_VMA_INTERNAL_H
#define MOAT_SENTRY_MM_VMA_INTERNAL_H

#include "sentry/mm/mm.h"

/* Linux's default less some room, since the stub has mappings of its own, and the host may need two
 * where the tree has one: a command that the host refuses can cost the process its life. */
#define MAX_MAP_COUNT 65000

/* What the platform keeps for itself: as if something were mapped there that nobody can touch. */
#ifndef PLATFORM_RESERVED_START
#define PLATFORM_RESERVED_START 0x7e060000ULL
#define PLATFORM_RESERVED_END 0x7e080000ULL
#endif
static inline bool range_reserved(uint64_t start, uint64_t end)
{
	return start < PLATFORM_RESERVED_END && end > PLATFORM_RESERVED_START;
}

RB_PROTOTYPE(vma_tree, vm_area, node, vma_compare)

/* A copy of *model (references to file and shared taken) for [start, end), its host_offset and
 * offset moved along with start; not in the tree. NULL: no memory. */
struct vm_area *vma_clone(const struct vm_area *model, uint64_t start, uint64_t end);
/* Drops its references and frees it; it is not in the tree. */
void vma_free(struct vm_area *vma);
void vma_insert(struct mm *mm, struct vm_area *vma);
void vma_remove(struct mm *mm, struct vm_area *vma);
struct vm_area *vma_prev(struct vm_area *vma);
/* Moves its ends; the new range overlaps no other VMA. The file offset of start does not move. */
void vma_set_range(struct mm *mm, struct vm_area *vma, uint64_t start, uint64_t end);

/* Cuts the VMA that contains addr in its inside, if any, in two. 0 or -ENOMEM. */
int vma_split_at(struct mm *mm, uint64_t addr);
int vma_split_around(struct mm *mm, uint64_t start, uint64_t end);
/* Joins vma with the neighbours that continue it; returns the VMA that then contains it. */
struct vm_area *vma_merge(struct mm *mm, struct vm_area *vma);
/* Joins what can be joined from the VMA before start to the one after end. */
void vma_merge_range(struct mm *mm, uint64_t start, uint64_t end);
/* Removes and frees the VMAs in a range at whose ends vma_split_around() has cut. */
void vma_drop_range(struct mm *mm, uint64_t start, uint64_t end);

/* True if nothing is mapped in the range, and none of it is the platform's. */
bool vma_range_free(struct mm *mm, uint64_t start, uint64_t end);
/* The highest (lowest) range of len bytes in [low, high) without VMAs: its start, or 0. What the
 * platform keeps for itself is the caller's to avoid. */
uint64_t vma_gap_topdown(struct mm *mm, uint64_t low, uint64_t high, uint64_t len);
uint64_t vma_gap_bottomup(struct mm *mm, uint64_t low, uint64_t high, uint64_t len);

/* Adds (or, with sign -1, takes away) pages of such a VMA to the mm's counters. */
void vma_account(struct mm *mm, const struct vm_area *vma, uint64_t bytes, int sign);
static inline bool vma_is_data(const struct vm_area *vma)
{
	return (vma->prot & 2 /* PROT_WRITE */) && !(vma->flags & (VM_SHARED | VM_GROWSDOWN));
}
/* True for memory that belongs to one address space and to no file. */
static inline bool vma_is_private_anon(const struct vm_area *vma)
{
	return vma->host_fd < 0 && !(vma->flags & VM_SHARED);
}

#endif
