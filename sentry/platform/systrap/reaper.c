/* Death of stubs: expected or not. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/thread.h"
#include "sentry/platform/systrap/systrap.h"

void systrap_as_get(struct platform_as *as)
{
	refcount_inc(&as->refs);
}

static void end_of_as(struct platform_as *as, unsigned bit)
{
	if (!(atomic_fetch_or(&as->end, bit) & ~bit))
		return;
	as_unregister(as);
	as_free(as);
}

/*
 * The pid may be reaped only when nobody can use it any more: at the last reference, or when the
 * exit signal comes after that.
 */
void systrap_as_put(struct platform_as *as)
{
	if (!refcount_dec(&as->refs))
		return;
	systrap_as_kill(as);
	if (as->pid <= 0)
		as_free(as);
	else
		end_of_as(as, AS_ORPHAN);
}

void systrap_as_kill(struct platform_as *as)
{
	if (atomic_exchange(&as->dead, true))
		return;
	if (as->pid > 0)
		kill(as->pid, SIGKILL);
	/* Those who wait on its slots look every few milliseconds. */
	if (as->waiting && as->listener)
		listener_nudge(as->listener);
}

/* Contexts that were in the guest when their stub died belong to nobody: report them. */
static void report_deaths(struct platform_as *as)
{
	for (;;) {
		struct platform_ctx *ctx, *found = NULL;

		mutex_lock(&as->lock);
		TAILQ_FOREACH (ctx, &as->ctxs, as_link) {
			if (ctx_claim(ctx)) {
				found = ctx;
				break;
			}
		}
		mutex_unlock(&as->lock);
		if (!found)
			return;
		found->event = (struct platform_event){.kind = EVENT_DEAD};
		worker_dispatch(found);
	}
}

/* And those whose threads were to exit need not do it any more. */
static void free_exiting(struct platform_as *as)
{
	for (;;) {
		struct platform_ctx *ctx, *found = NULL;

		mutex_lock(&as->lock);
		TAILQ_FOREACH (ctx, &as->ctxs, as_link) {
			if (ctx_left(ctx)) {
				found = ctx;
				break;
			}
		}
		mutex_unlock(&as->lock);
		if (!found)
			return;
		ctx_free(found);
	}
}

static void stub_exited(pid_t pid)
{
	siginfo_t info = {0};
	struct platform_as *as;

	if (pid == systrap.zygote_pid) {
		if (systrap.down)
			return;
		log_error("the zygote died");
		_exit(1);
	}
	if (stub_reap_unknown(pid))
		return;
	as = as_by_pid(pid);
	/* The signal may be an old one of a pid that has been reaped and given out again. */
	if (!as || waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) ||
	    info.si_pid != pid)
		return;
	if (!atomic_exchange(&as->dead, true))
		log_info("stub %d died by itself or from outside", pid);
	report_deaths(as);
	free_exiting(as);
	if (as->listener) {
		listener_nudge(as->listener);
		futex_wake_word(&slot_of(as->index, 0)->turn, INT32_MAX);
	}
	end_of_as(as, AS_EXITED);
}

static void *reaper_main(void *arg)
{
	sigset_t set;
	siginfo_t info;

	sigemptyset(&set);
	sigaddset(&set, STUB_EXIT_SIGNAL);
	while (!systrap.down)
		if (sigwaitinfo(&set, &info) > 0)
			stub_exited(info.si_pid);
	return NULL;
}

#define DRAIN_LOOKS 50

void reaper_drain(void)
{
	const struct timespec step = {0, 20000000}, none = {0, 0};
	siginfo_t info = {0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, STUB_EXIT_SIGNAL);
	for (int i = 0; i < DRAIN_LOOKS; i++) {
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL))
			break; /* no children */
		if (sigtimedwait(&set, &info, &step) > 0)
			stub_exited(info.si_pid);
	}
	while (sigtimedwait(&set, &info, &none) > 0)
		;
}

int reaper_start(void)
{
	return thread_start(reaper_main, NULL, THREAD_STACK_SMALL);
}
