/* The systrap platform: start, shutdown, what it implements. */
#include "sentry/platform/systrap/systrap.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct systrap systrap;

static int init_parts(const char **what)
{
	int ret;

	*what = "the signal of leaders";
	ret = listener_init();
	if (ret)
		return ret;
	*what = "memory for slots";
	ret = slots_init();
	if (ret)
		return ret;
	*what = "the vDSO";
	ret = vdso_init();
	if (ret)
		return ret;
	*what = "the zygote with its seccomp filter";
	ret = zygote_start();
	if (ret)
		return ret;
	/* Needs the host's kernel to have them, and no other listener above us. */
	*what = "seccomp notifications";
	return spare_init(zygote_make_clean);
}

static void end_zygote(void)
{
	kill(systrap.zygote_pid, SIGKILL);
	while (waitpid(systrap.zygote_pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	systrap.zygote_pid = 0;
}

static int systrap_init(const char **what)
{
	sigset_t set;
	int ret;

	systrap.config = stub_host.config;
	systrap.features = stub_host.features;
	direct_init();
	/* All threads inherit this: only the reaper takes the signal. */
	sigemptyset(&set);
	sigaddset(&set, STUB_EXIT_SIGNAL);
	sigprocmask(SIG_BLOCK, &set, NULL);
	ret = init_parts(what);
	if (!ret)
		return 0;
	if (systrap.zygote_pid > 0)
		end_zygote();
	reaper_drain();
	slots_discard();
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	return ret;
}

static int systrap_start_threads(void)
{
	int ret = reaper_start();

	if (!ret)
		ret = strays_start();
	if (!ret)
		ret = spare_start();
	return ret ? ret : watchdog_start();
}

static void systrap_shutdown(void)
{
	systrap.down = true;
	spare_stop();
	/* With this lock held no clean stub is half made: every pid is known, and no more come. */
	mutex_lock(&systrap.zygote_lock);
	kill(systrap.zygote_pid, SIGKILL);
	as_kill_all();
	mutex_unlock(&systrap.zygote_lock);
	while (waitpid(systrap.zygote_pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

/* The caller must not keep what it listens on. */
static void systrap_hand_over(struct platform_ctx *ctx)
{
	systrap_block_begin();
	systrap_block_end();
}

const struct platform_ops systrap_ops = {
	.name = "systrap",
	.init = systrap_init,
	.start_threads = systrap_start_threads,
	.shutdown = systrap_shutdown,
	.as_create = systrap_as_create,
	.fork = systrap_fork,
	.clone_thread = systrap_clone_thread,
	.ctx_exit = systrap_ctx_exit,
	.as_get = systrap_as_get,
	.as_put = systrap_as_put,
	.as_kill = systrap_as_kill,
	.next = systrap_next,
	.resume = systrap_resume,
	.hand_over = systrap_hand_over,
	.may_suspend = systrap_may_suspend,
	.continue_ = systrap_continue,
	.kick = systrap_kick,
	.hurry = systrap_hurry,
	.block_begin = systrap_block_begin,
	.block_end = systrap_block_end,
	.set_worker_main = systrap_set_worker_main,
	.get_fpstate = systrap_get_fpstate,
	.set_fpstate = systrap_set_fpstate,
	.reset_fpstate = systrap_reset_fpstate,
	.memory_call = systrap_memory_call,
	.word_op = systrap_word_op,
	.taken_memory = systrap_taken_memory,
	.settle = as_flush,
	.text_changed = systrap_text_changed,
	.text_shared = systrap_text_shared,
	.expose = systrap_expose,
	.set_identity = systrap_set_identity,
	.set_parent = systrap_set_parent,
	.lend_mask = systrap_lend_mask,
	.take_mask = systrap_take_mask,
	.executes_futexes = systrap_executes_futexes,
	.execute = systrap_execute,
	.execute_report = systrap_execute_report,
	.execute_not = systrap_execute_not,
	.sleeps = systrap_sleeps,
};
