/* Between the files of kernel/coredump. */
#ifndef MOAT_SENTRY_KERNEL_COREDUMP_COREDUMP_INTERNAL_H
#define MOAT_SENTRY_KERNEL_COREDUMP_COREDUMP_INTERNAL_H

#include "base/text.h"
#include "sentry/kernel/coredump/coredump.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/task/task.h"
#include "sentry/mm/mm.h"
#include "sentry/vfs/file.h"

/* One thread's part of the notes. */
struct core_thread {
	TAILQ_ENTRY(core_thread) link;
	pid_t tid;
	sigset64_t pending, blocked;
	struct guest_regs regs;
	bool has_fp;
	char fp[]; /* as platform_get_fpstate; empty without has_fp */
};
TAILQ_HEAD(core_threads, core_thread);

struct core_dump {
	struct refcount refs;
	struct task *owner; /* who writes; not counted: it outlives `done` */
	int sig;
	guest_siginfo_t info;
	struct core_threads threads; /* the owner's first; sighand->lock */
	unsigned num_fp;	     /* with floating point state; sighand->lock */
	_Atomic bool done;
	struct wait_queue done_wait;
};

/* The file on its way. */
struct core_file {
	struct thread_group *group;
	struct file *file;
	uint64_t pos;		 /* where the next byte goes */
	uint64_t end;		 /* how far the file reaches yet */
	uint64_t written, limit; /* bytes that are no holes; RLIMIT_CORE */
};

/* core_name.c: the file's name for this signal, malloc'd. NULL: none, or no memory. */
char *core_name(const struct core_dump *d);

/* core_memory.c */
struct core_range {
	uint64_t start, end;
	uint64_t size; /* of what is dumped, from start */
	uint64_t offset;
	int prot;
	bool sparse;	   /* pages that are not there are holes */
	struct file *file; /* counted, or NULL */
};
struct core_ranges {
	struct core_range *all;
	size_t n;
};
/* The mappings of mm, and how much of each its filter wants; ends early when a SIGKILL comes for g,
 * whose it is. -ENOMEM. */
int core_ranges_get(struct thread_group *g, struct mm *mm, struct core_ranges *r);
void core_ranges_put(struct core_ranges *r);
/* Headers, the notes, memory. 0, or -errno: the file ends before its end. */
int core_write(struct core_file *f, struct mm *mm, const struct core_ranges *r,
	       const struct text *notes);

/* core_notes.c. notes->failed: no memory. */
void core_notes(struct text *notes, const struct core_dump *d, const struct core_ranges *r);

#endif
