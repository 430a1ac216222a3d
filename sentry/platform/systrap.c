/* The systrap platform: start, shutdown, small accessors. */
#include "sentry/platform/systrap.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct systrap systrap;

int platform_init(const struct platform_config *config)
{
	sigset_t set;
	int ret;

	if (config->name && strcmp(config->name, "systrap")) {
		log_error("no platform \"%s\"", config->name);
		return -EINVAL;
	}
	systrap.config = *config;
	platform_fpstate_size();
	/* All threads inherit this: only the reaper takes the signal. */
	sigemptyset(&set);
	sigaddset(&set, STUB_EXIT_SIGNAL);
	sigprocmask(SIG_BLOCK, &set, NULL);
	ret = slots_init();
	if (!ret)
		ret = vdso_init();
	return ret ? ret : zygote_start();
}

int platform_start_threads(void)
{
	int ret = reaper_start();

	if (!ret)
		ret = spare_start();
	return ret ? ret : watchdog_start();
}

void platform_shutdown(void)
{
	systrap.down = true;
	/* With this lock held no clean stub is half made: every pid is known, and no more come. */
	mutex_lock(&systrap.zygote_lock);
	kill(systrap.zygote_pid, SIGKILL);
	as_kill_all();
	mutex_unlock(&systrap.zygote_lock);
	while (waitpid(systrap.zygote_pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

void *platform_owner(struct platform_ctx *ctx)
{
	return ctx->owner;
}

void platform_set_owner(struct platform_ctx *ctx, void *owner)
{
	ctx->owner = owner;
}

struct platform_as *platform_ctx_as(struct platform_ctx *ctx)
{
	return ctx->as;
}

struct guest_regs *platform_regs(struct platform_ctx *ctx)
{
	return &ctx->regs;
}

void platform_set_identity(struct platform_ctx *ctx, const struct platform_identity *id)
{
}
