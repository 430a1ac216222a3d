/*
 * What every platform's address spaces and contexts begin with. The platforms define the rest for
 * themselves: struct platform_as and struct platform_ctx are systrap's, the ptrace platform has its
 * stubs and tracees behind the same pointers.
 */
#ifndef MOAT_SENTRY_PLATFORM_SHARED_OBJECT_H
#define MOAT_SENTRY_PLATFORM_SHARED_OBJECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "sentry/arch/regs.h"
#include "sentry/platform/platform.h"

struct as_head {
	pid_t pid;		  /* the stub's; see stub_pid.h for how long it is its own */
	_Atomic bool dead;	  /* the stub is gone or being killed */
	_Atomic int nctx;	  /* contexts */
	struct as_head *pid_next; /* stub_pid.c's */
	/* The context whose memory commands have been put off, or NULL: see ops->settle. */
	struct platform_ctx *_Atomic batch_ctx;
};

struct ctx_head {
	struct guest_regs regs; /* platform_regs() */
	void *owner;		/* platform_owner() */
	struct platform_as *as;
	_Atomic pid_t tid; /* of the stub's thread, once it is known */
	/* What the thread had used before it was this context's, and at the last look. */
	uint64_t cpu_ns_before, cpu_ns_seen;
};

static inline struct as_head *as_head(struct platform_as *as)
{
	return (struct as_head *)as;
}

static inline struct ctx_head *ctx_head(struct platform_ctx *ctx)
{
	return (struct ctx_head *)ctx;
}

/* For a platform's structure that does not embed the head, but begins with the same members. */
#define ASSERT_AS_HEAD(type)                                                                       \
	_Static_assert(offsetof(type, pid) == offsetof(struct as_head, pid) &&                     \
			       offsetof(type, dead) == offsetof(struct as_head, dead) &&           \
			       offsetof(type, nctx) == offsetof(struct as_head, nctx) &&           \
			       offsetof(type, pid_next) == offsetof(struct as_head, pid_next) &&   \
			       offsetof(type, batch_ctx) == offsetof(struct as_head, batch_ctx),   \
		       "begins with struct as_head")
#define ASSERT_CTX_HEAD(type)                                                                      \
	_Static_assert(offsetof(type, regs) == offsetof(struct ctx_head, regs) &&                  \
			       offsetof(type, owner) == offsetof(struct ctx_head, owner) &&        \
			       offsetof(type, as) == offsetof(struct ctx_head, as) &&              \
			       offsetof(type, tid) == offsetof(struct ctx_head, tid) &&            \
			       offsetof(type, cpu_ns_seen) ==                                      \
				       offsetof(struct ctx_head, cpu_ns_seen),                     \
		       "begins with struct ctx_head")

#endif
