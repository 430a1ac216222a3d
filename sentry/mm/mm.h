/*
 * Address spaces: the tree of VMAs, and the mmap family on it. The host kernel's mm of the stub is
 * the real memory; this tree is the authority on what should be mapped where.
 *
 * Locks: mm->lock guards the tree and the counters. It may be held while a platform command runs.
 * It comes before inode and file locks, after nothing but files->lock's absence: never take
 * mm->lock with any other sentry lock held, and never call copy_*_user's callers' locks inside it.
 * copy_*_user do not take it. Take it with command_lock() or COMMAND_GUARD().
 */
#ifndef MOAT_SENTRY_MM_MM_H
#define MOAT_SENTRY_MM_MM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <bsd/sys/tree.h>

#include "base/command_lock.h"
#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/platform/platform.h"

struct file;
struct task;

/* vma->flags besides prot */
#define VM_SHARED 0x0001
#define VM_GROWSDOWN 0x0002
#define VM_LOCKED 0x0004
#define VM_DONTFORK 0x0008
#define VM_WIPEFORK 0x0010
#define VM_DONTDUMP 0x0020
#define VM_NORESERVE 0x0040
#define VM_MAYWRITE 0x0080 /* mprotect may add PROT_WRITE */
#define VM_SPECIAL 0x0100  /* vdso, vvar: not merged, not remapped */
#define VM_HUGETLB 0x0200

/* mm->coredump_filter: what there is to choose, and what is chosen at first. */
#define COREDUMP_FILTER_BITS 0x1ffU
#define COREDUMP_FILTER_DEFAULT 0x33U

struct vm_area {
	RB_ENTRY(vm_area) node;
	uint64_t start, end;   /* page aligned */
	uint64_t gap, max_gap; /* free bytes below it; the largest in its subtree: vma.c */
	int prot;	       /* PROT_* as the guest asked */
	uint32_t flags;
	struct file *file; /* referenced; NULL for anonymous */
	uint64_t offset;   /* bytes into file */
	/* What backs it on the host when it is not private anonymous: an fd of the sentry that
	 * lives as long as `file` (or `shared`) is referenced. */
	int host_fd;
	uint64_t host_offset;
	struct shared_memory
		*shared;  /* shared anonymous memory, SysV segments; referenced or NULL */
	const char *name; /* "[heap]", "[stack]", "[vdso]" or NULL; static */
};
RB_HEAD(vma_tree, vm_area);

struct mm {
	struct refcount refs;
	struct mutex lock;
	struct vma_tree vmas;
	struct platform_as *as; /* referenced; changes never: exec makes a new mm */
	uint64_t mmap_base;	/* top-down search starts here */
	uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
	uint64_t arg_start, arg_end, env_start, env_end;
	uint64_t vdso;
	uint64_t auxv[64]; /* saved auxv pairs for /proc/PID/auxv */
	unsigned auxv_len; /* entries (uint64_t) used */
	struct file *exe;  /* referenced; mm->lock */
	uint64_t total_vm, locked_vm, data_vm, stack_vm, exec_vm; /* pages */
	uint64_t hiwater_vm, hiwater_rss;
	uint32_t def_flags;		    /* mlockall(MCL_FUTURE) */
	unsigned map_count;		    /* VMAs in the tree */
	_Atomic bool membarrier_registered; /* for MEMBARRIER_CMD_PRIVATE_EXPEDITED */
	uint64_t stale_addr; /* the last stale fault, and how often in a row: fault.c */
	unsigned stale_count;
	int dumpable;
	/* Counted: who is root there may trace it though it is not dumpable. */
	struct user_ns *user_ns;
	_Atomic unsigned coredump_filter; /* man 5 core; lives on through exec */
	/* Asynchronous I/O contexts (fs/aio); NULL: none yet. aio_free is called with them at the
	 * last mm_put. */
	struct aio_table *_Atomic aio;
	void (*aio_free)(void *);
};

/* Anonymous memory that several address spaces share (MAP_SHARED|MAP_ANONYMOUS, SysV shm): a memfd.
 */
struct shared_memory {
	struct refcount refs;
	int fd;
	uint64_t size;
	unsigned long ino;
	void *private; /* SysV segment */
	/* Called at the last put, before it is freed; may be NULL. */
	void (*release)(struct shared_memory *s);
};
int shared_memory_create(uint64_t size, struct shared_memory **out);
void shared_memory_get(struct shared_memory *s);
void shared_memory_put(struct shared_memory *s);

/* Consumes the caller's reference to `as`. */
struct mm *mm_create(struct platform_as *as);
/* While it is the caller's alone. */
void mm_set_user_ns(struct mm *mm, struct user_ns *ns);
struct mm *mm_get(struct mm *mm);
void mm_put(struct mm *mm);
/* Duplicates the tree for a fork whose stub is already cloned; runs the commands that DONTFORK and
 * WIPEFORK need in the child's context. parent->lock must be held by the caller around both the
 * clone of the stub and this call. Consumes the caller's reference to child_as on success only. */
int mm_fork(struct mm *parent, struct platform_as *child_as, struct platform_ctx *child_ctx,
	    struct mm **out);

/* All below act on `mm` through context `ctx`, which stands in it and is owned by the caller. They
 * take mm->lock. Results as the syscalls'. */
int64_t mm_mmap(struct mm *mm, struct platform_ctx *ctx, uint64_t addr, uint64_t len, int prot,
		int flags, struct file *file, uint64_t offset);
int mm_munmap(struct mm *mm, struct platform_ctx *ctx, uint64_t addr, uint64_t len);
int mm_mprotect(struct mm *mm, struct platform_ctx *ctx, uint64_t addr, uint64_t len, int prot);
/* For the ELF loader: a mapping with a name and VM_SPECIAL etc.; host_fd < 0 with file NULL is
 * private anonymous. */
int mm_map_special(struct mm *mm, struct platform_ctx *ctx, uint64_t addr, uint64_t len, int prot,
		   uint32_t vm_flags, int host_fd, uint64_t host_offset, const char *name);
/* The stack of a new program: top is page aligned; grows down to RLIMIT_STACK. */
int mm_setup_stack(struct mm *mm, struct platform_ctx *ctx, uint64_t top, uint64_t max_size,
		   int prot);
void mm_set_brk(struct mm *mm, uint64_t start);
/* Says which program runs in it, once; nobody may open the file for writing until mm goes.
 * -ETXTBSY: somebody has. */
int mm_set_exe(struct mm *mm, struct file *file);

/* A fault reported by the platform. 0: resolved, run again. Otherwise the signal to send; *code and
 * *addr as siginfo wants them. Handles stack growth and what is stale. */
int mm_handle_fault(struct mm *mm, struct platform_ctx *ctx, const struct platform_event *event,
		    int *code, uint64_t *addr);

/* Attaches a shared segment (man 2 shmat): all of it, at addr if not 0 (replacing what is there
 * only when `remap`). The address or -errno. */
int64_t mm_map_shared(struct mm *mm, struct platform_ctx *ctx, struct shared_memory *shared,
		      uint64_t addr, int prot, bool remap);

/* Detaches the segment attached at addr (man 2 shmdt): the segment, referenced, or -EINVAL. */
int mm_unmap_shared(struct mm *mm, struct platform_ctx *ctx, uint64_t addr,
		    struct shared_memory **shared);

/* Another process's memory, page protections counted unless `force`. Bytes or -errno. */
ssize_t mm_access(struct mm *mm, uint64_t addr, void *buf, size_t n, bool write, bool force);

/* True if all of the range is mapped; mm->lock held. */
bool vma_range_mapped(struct mm *mm, uint64_t start, uint64_t end);
/* The VMA with end > addr, lowest; mm->lock held. */
struct vm_area *vma_find(struct mm *mm, uint64_t addr);
struct vm_area *vma_next(struct vm_area *vma);
/* Counts of resident pages for /proc: rss and shared, from the platform. */
int mm_rss(struct mm *mm, uint64_t *rss_pages, uint64_t *shared_pages);

#endif
