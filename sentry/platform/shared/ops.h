/*
 * What a platform implements: platform.h's functions without the prefix, as far as the platforms
 * differ. Chosen once, by platform_init().
 */
#ifndef MOAT_SENTRY_PLATFORM_SHARED_OPS_H
#define MOAT_SENTRY_PLATFORM_SHARED_OPS_H

#include "sentry/platform/platform.h"

struct platform_ops {
	const char *name;
	bool traces; /* by ptrace(2) */
	/* Makes the zygote and the first stub, which is the first spare one. 0 or -errno with a
	 * word about what failed in *what; nothing is left then, and another platform may be
	 * tried. */
	int (*init)(const char **what);
	int (*start_threads)(void);
	void (*shutdown)(void);

	int (*as_create)(void *owner, struct platform_as **as, struct platform_ctx **ctx);
	int (*fork)(struct platform_ctx *parent, void *owner, struct platform_as **as,
		    struct platform_ctx **child);
	int (*clone_thread)(struct platform_ctx *parent, void *owner, uint64_t fs_base,
			    struct platform_ctx **child);
	void (*ctx_exit)(struct platform_ctx *ctx);
	void (*as_get)(struct platform_as *as);
	void (*as_put)(struct platform_as *as);
	void (*as_kill)(struct platform_as *as);

	struct platform_ctx *(*next)(struct platform_ctx *ctx, bool full,
				     struct platform_event *event);
	int (*resume)(struct platform_ctx *ctx);
	void (*hand_over)(struct platform_ctx *ctx);
	bool (*may_suspend)(struct platform_ctx *ctx);
	void (*continue_)(struct platform_ctx *ctx);
	void (*kick)(struct platform_ctx *ctx);
	void (*hurry)(struct platform_ctx *ctx, int nthreads);
	void (*block_begin)(void);
	void (*block_end)(void);
	void (*set_worker_main)(void (*worker_main)(void));

	int (*get_fpstate)(struct platform_ctx *ctx, void *buf, size_t size);
	int (*set_fpstate)(struct platform_ctx *ctx, const void *buf, size_t size);
	int (*reset_fpstate)(struct platform_ctx *ctx);

	/* The range and the flags have been checked; fd -1 is ~0. */
	int (*memory_call)(struct platform_ctx *ctx, uint64_t nr, const uint64_t args[6]);
	int (*word_op)(struct platform_ctx *ctx, uint64_t addr, enum platform_word_op op,
		       uint32_t arg, uint32_t expected, uint32_t *old);
	/* as_head(as)->batch_ctx is set: what has been put off is done, if it is the caller's. */
	void (*settle)(struct platform_as *as);

	/* These may be NULL: nothing needs to be done. */
	void (*text_changed)(struct platform_as *as, uint64_t addr, uint64_t len);
	void (*text_shared)(struct platform_as *as);
	void (*expose)(struct platform_ctx *ctx);
	void (*set_identity)(struct platform_ctx *ctx, const struct platform_identity *id);
	void (*set_parent)(struct platform_ctx *ctx, int32_t ppid);
	/* Both or none. */
	void (*lend_mask)(struct platform_ctx *ctx, uint64_t mask);
	uint64_t (*take_mask)(struct platform_ctx *ctx);
	/* Bytes that the guest has got of what is the platform's own, beyond what it needs. */
	uint64_t (*taken_memory)(struct platform_as *as);
	/* All or none of them. */
	bool (*executes_futexes)(void);
	void (*execute)(struct platform_ctx *ctx, uint64_t nr, const uint64_t args[6],
			int64_t deadline);
	void (*execute_report)(struct platform_ctx *ctx);
	void (*execute_not)(struct platform_ctx *ctx);
	bool (*sleeps)(struct platform_ctx *ctx);
};

extern const struct platform_ops systrap_ops, ptrace_ops;
extern const struct platform_ops *platform_ops; /* the one that runs */

#endif
