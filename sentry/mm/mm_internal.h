/*
 * Between the files of sentry/mm. What the memory system calls use comes first. Functions take
 * mm->lock unless they say otherwise; results are the system calls'. `ctx` stands in mm and is
 * owned by the caller.
 */
#ifndef MOAT_SENTRY_MM_MM_INTERNAL_H
#define MOAT_SENTRY_MM_MM_INTERNAL_H

#include "sentry/mm/mm.h"

/* man 2 brk, the kernel's form: the new break, or the old one when it cannot be moved. */
uint64_t mm_brk(struct mm *mm, struct platform_ctx *ctx, uint64_t addr);
/* man 2 mremap. flags are MREMAP_*. */
int64_t mm_mremap(struct mm *mm, struct platform_ctx *ctx, uint64_t addr, uint64_t len,
		  uint64_t new_len, unsigned flags, uint64_t new_addr);
/* man 2 remap_file_pages. */
int mm_remap_file_pages(struct mm *mm, struct platform_ctx *ctx, uint64_t addr, uint64_t len,
			int prot, uint64_t pgoff);
/* man 2 madvise. */
int mm_madvise(struct mm *mm, struct platform_ctx *ctx, uint64_t addr, uint64_t len, int advice);
/* man 2 mlock, mlockall, munlock. onfault: MLOCK_ONFAULT, do not make resident now. */
int mm_mlock(struct mm *mm, struct platform_ctx *ctx, uint64_t addr, uint64_t len, bool onfault);
int mm_munlock(struct mm *mm, uint64_t addr, uint64_t len);
int mm_mlockall(struct mm *mm, struct platform_ctx *ctx, int flags);
void mm_munlockall(struct mm *mm);
/* Makes pages resident as far as they can be; the host's swapping is its own business. Takes
 * mm->lock for a bounded number of pages at a time, and stops when the task is to die. */
void mm_populate(struct mm *mm, struct platform_ctx *ctx, uint64_t start, uint64_t end);

/* --- inside sentry/mm; mm->lock held ---------------------------------------------------------- */

/* A mapping to make. `addr` with MAP_FIXED or MAP_FIXED_NOREPLACE in `flags` is where it goes,
 * otherwise a hint. References to file and shared are taken when it succeeds. */
struct map_request {
	uint64_t addr, len; /* page aligned, len > 0 */
	int prot, flags;    /* PROT_*, MAP_* */
	uint32_t vm_flags;
	struct file *file;
	uint64_t offset;
	int host_fd; /* -1: anonymous */
	uint64_t host_offset;
	struct shared_memory *shared;
	const char *name;
};
int64_t mm_map(struct mm *mm, struct platform_ctx *ctx, const struct map_request *req);
int mm_unmap(struct mm *mm, struct platform_ctx *ctx, uint64_t start, uint64_t end);
/* A free place of len bytes as mmap without MAP_FIXED chooses it; 0: none. */
uint64_t mm_find_place(struct mm *mm, uint64_t hint, uint64_t len, int flags);
/* Would `bytes` more break RLIMIT_AS, RLIMIT_DATA (if data) or the number of maps? */
bool mm_may_expand(struct mm *mm, uint64_t bytes, bool data);
bool mm_may_lock(struct mm *mm, uint64_t bytes);
/* Tells the platform if text in the range is about to change or has changed. */
bool mm_range_has_text(struct mm *mm, uint64_t start, uint64_t end);

#endif
