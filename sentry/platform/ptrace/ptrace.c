/* The ptrace platform: start, shutdown, what it implements. */
#include "sentry/platform/ptrace/ptrace.h"

#include <errno.h>

#include "sentry/platform/shared/spare.h"
#include "sentry/platform/shared/stub_pid.h"
#include "sentry/platform/shared/vdso.h"

static int ptrace_init(const char **what)
{
	int ret;

	*what = "signals";
	ret = deaths_init();
	if (ret)
		return ret;
	*what = "the vDSO";
	ret = vdso_init();
	if (ret)
		return ret;
	ret = tracer_zygote_start(what);
	if (!ret) {
		*what = "the first stub";
		ret = spare_init(tracer_make_clean);
	}
	if (ret)
		tracer_zygote_end();
	return ret;
}

static int ptrace_start_threads(void)
{
	int ret = deaths_start();

	return ret ? ret : spare_start();
}

static void kill_one(struct as_head *as)
{
	ptrace_as_kill((struct platform_as *)as);
}

static void ptrace_shutdown(void)
{
	workers_stop();
	spare_stop();
	deaths_stop();
	tracer_zygote_stop();
	stub_for_each(kill_one);
	tracer_zygote_end();
}

/* A worker serves one guest thread: while that waits, the worker may. */
static bool ptrace_may_suspend(struct platform_ctx *ctx)
{
	return false;
}

static void ptrace_continue(struct platform_ctx *ctx)
{
	panic("a context continues that was never left");
}

static void ptrace_block(void)
{
}

const struct platform_ops ptrace_ops = {
	.name = "ptrace",
	.traces = true,
	.init = ptrace_init,
	.start_threads = ptrace_start_threads,
	.shutdown = ptrace_shutdown,
	.as_create = ptrace_as_create,
	.fork = ptrace_fork,
	.clone_thread = ptrace_clone_thread,
	.ctx_exit = ptrace_ctx_exit,
	.as_get = ptrace_as_get,
	.as_put = ptrace_as_put,
	.as_kill = ptrace_as_kill,
	.next = ptrace_next,
	.resume = ptrace_resume,
	.hand_over = ptrace_hand_over,
	.may_suspend = ptrace_may_suspend,
	.continue_ = ptrace_continue,
	.kick = ptrace_kick,
	.hurry = ptrace_hurry,
	.block_begin = ptrace_block,
	.block_end = ptrace_block,
	.set_worker_main = ptrace_set_worker_main,
	.get_fpstate = ptrace_get_fpstate,
	.set_fpstate = ptrace_set_fpstate,
	.reset_fpstate = ptrace_reset_fpstate,
	.memory_call = ptrace_memory_call,
	.word_op = ptrace_word_op,
};
