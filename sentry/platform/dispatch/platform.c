/* Which platform runs: chosen at start; what platform.h promises goes on to it. */
#include "sentry/platform/platform.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/command_lock.h"
#include "base/compiler.h"
#include "base/log.h"
#include "sentry/platform/shared/ops.h"
#include "sentry/platform/shared/stub_host.h"
#include "sentry/platform/shared/object.h"

/* In order of preference. */
static const struct platform_ops *const platforms[] = {&systrap_ops, &ptrace_ops};

/* Some unit tests wait and wake without any platform: before the start, either's functions will
 * do. */
const struct platform_ops *platform_ops = &systrap_ops;
static char problem[160];

static int start(const struct platform_ops *ops)
{
	const char *what = "cannot start";
	int ret = ops->init(&what);

	if (ret)
		snprintf(problem, sizeof(problem), "%s: %s: %s", ops->name, what, strerror(-ret));
	else
		platform_ops = ops;
	return ret;
}

static const struct platform_ops *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(platforms); i++)
		if (!strcmp(platforms[i]->name, name))
			return platforms[i];
	return NULL;
}

const char *platform_choice(unsigned i)
{
	return i < ARRAY_SIZE(platforms) ? platforms[i]->name : NULL;
}

const char *platform_find(const char *name)
{
	const struct platform_ops *ops = find(name);

	return ops ? ops->name : NULL;
}

static int start_named(const char *name)
{
	const struct platform_ops *ops = find(name);

	if (ops)
		return start(ops);
	snprintf(problem, sizeof(problem), "there is no platform %s", name);
	return -EINVAL;
}

int platform_init(const struct platform_config *config)
{
	int ret = -ENOSYS;

	command_lock_hooks = (struct command_lock_hooks){platform_block_begin, platform_block_end};
	stub_host_init(config);
	if (config->name)
		return start_named(config->name);
	for (size_t i = 0; i < ARRAY_SIZE(platforms); i++) {
		ret = start(platforms[i]);
		if (!ret)
			return 0;
		if (i + 1 < ARRAY_SIZE(platforms))
			log_warn("%s; so the platform is %s, which is slower", problem,
				 platforms[i + 1]->name);
	}
	return ret;
}

const char *platform_problem(void)
{
	return problem;
}

const char *platform_name(void)
{
	return platform_ops->name;
}

bool platform_traces(void)
{
	return platform_ops->traces;
}

int platform_start_threads(void)
{
	return platform_ops->start_threads();
}

void platform_shutdown(void)
{
	platform_ops->shutdown();
}

/* --- objects -----------------------------------------------------------------------------------
 */

int platform_as_create(void *owner, struct platform_as **as, struct platform_ctx **ctx)
{
	return platform_ops->as_create(owner, as, ctx);
}

int platform_fork(struct platform_ctx *parent, void *owner, struct platform_as **as,
		  struct platform_ctx **child)
{
	return platform_ops->fork(parent, owner, as, child);
}

int platform_clone_thread(struct platform_ctx *parent, void *owner, uint64_t fs_base,
			  struct platform_ctx **child)
{
	return platform_ops->clone_thread(parent, owner, fs_base, child);
}

void platform_ctx_exit(struct platform_ctx *ctx)
{
	platform_ops->ctx_exit(ctx);
}

void platform_as_get(struct platform_as *as)
{
	platform_ops->as_get(as);
}

void platform_as_put(struct platform_as *as)
{
	platform_ops->as_put(as);
}

void platform_as_kill(struct platform_as *as)
{
	platform_ops->as_kill(as);
}

void *platform_owner(struct platform_ctx *ctx)
{
	return ctx_head(ctx)->owner;
}

void platform_set_owner(struct platform_ctx *ctx, void *owner)
{
	ctx_head(ctx)->owner = owner;
}

struct platform_as *platform_ctx_as(struct platform_ctx *ctx)
{
	return ctx_head(ctx)->as;
}

struct guest_regs *platform_regs(struct platform_ctx *ctx)
{
	return &ctx_head(ctx)->regs;
}

/* --- running -----------------------------------------------------------------------------------
 */

struct platform_ctx *platform_next(struct platform_ctx *ctx, bool full,
				   struct platform_event *event)
{
	return platform_ops->next(ctx, full, event);
}

int platform_resume(struct platform_ctx *ctx)
{
	return platform_ops->resume(ctx);
}

void platform_hand_over(struct platform_ctx *ctx)
{
	platform_ops->hand_over(ctx);
}

bool platform_may_suspend(struct platform_ctx *ctx)
{
	return platform_ops->may_suspend(ctx);
}

void platform_continue(struct platform_ctx *ctx)
{
	platform_ops->continue_(ctx);
}

void platform_kick(struct platform_ctx *ctx)
{
	platform_ops->kick(ctx);
}

void platform_hurry(struct platform_ctx *ctx, int nthreads)
{
	platform_ops->hurry(ctx, nthreads);
}

void platform_block_begin(void)
{
	platform_ops->block_begin();
}

void platform_block_end(void)
{
	platform_ops->block_end();
}

void platform_set_worker_main(void (*worker_main)(void))
{
	platform_ops->set_worker_main(worker_main);
}

/* --- the rest ----------------------------------------------------------------------------------
 */

int platform_get_fpstate(struct platform_ctx *ctx, void *buf, size_t size)
{
	return platform_ops->get_fpstate(ctx, buf, size);
}

int platform_set_fpstate(struct platform_ctx *ctx, const void *buf, size_t size)
{
	return platform_ops->set_fpstate(ctx, buf, size);
}

int platform_reset_fpstate(struct platform_ctx *ctx)
{
	return platform_ops->reset_fpstate(ctx);
}

void platform_text_changed(struct platform_as *as, uint64_t addr, uint64_t len)
{
	if (platform_ops->text_changed)
		platform_ops->text_changed(as, addr, len);
}

void platform_expose(struct platform_ctx *ctx)
{
	if (platform_ops->expose)
		platform_ops->expose(ctx);
}

void platform_text_shared(struct platform_as *as)
{
	if (platform_ops->text_shared)
		platform_ops->text_shared(as);
}

void platform_set_parent(struct platform_ctx *ctx, int32_t ppid)
{
	if (platform_ops->set_parent)
		platform_ops->set_parent(ctx, ppid);
}

bool platform_lend_mask(struct platform_ctx *ctx, uint64_t mask)
{
	if (!platform_ops->lend_mask)
		return false;
	platform_ops->lend_mask(ctx, mask);
	return true;
}

uint64_t platform_take_mask(struct platform_ctx *ctx)
{
	return platform_ops->take_mask(ctx);
}

bool platform_executes_futexes(void)
{
	return platform_ops->executes_futexes && platform_ops->executes_futexes();
}

void platform_execute(struct platform_ctx *ctx, uint64_t nr, const uint64_t args[6],
		      int64_t deadline)
{
	platform_ops->execute(ctx, nr, args, deadline);
}

void platform_execute_report(struct platform_ctx *ctx)
{
	platform_ops->execute_report(ctx);
}

void platform_execute_not(struct platform_ctx *ctx)
{
	platform_ops->execute_not(ctx);
}

bool platform_sleeps(struct platform_ctx *ctx)
{
	return platform_ops->sleeps && platform_ops->sleeps(ctx);
}

void platform_set_identity(struct platform_ctx *ctx, const struct platform_identity *id)
{
	if (platform_ops->set_identity)
		platform_ops->set_identity(ctx, id);
}
