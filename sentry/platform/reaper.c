/* Death of stubs: expected or not. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/thread.h"
#include "sentry/platform/systrap.h"

void platform_as_get(struct platform_as *as)
{
	refcount_inc(&as->refs);
}

static void end_of_as(struct platform_as *as, unsigned bit)
{
	if (!(atomic_fetch_or(&as->end, bit) & ~bit))
		return;
	while (waitpid(as->pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	as_free(as);
}

/*
 * The pid may be reaped only when nobody can use it any more: at the last reference, or when the
 * exit signal comes after that.
 */
void platform_as_put(struct platform_as *as)
{
	if (!refcount_dec(&as->refs))
		return;
	platform_as_kill(as);
	if (as->pid <= 0)
		as_free(as);
	else
		end_of_as(as, AS_ORPHAN);
}

void platform_as_kill(struct platform_as *as)
{
	if (atomic_exchange(&as->dead, true))
		return;
	if (as->pid > 0)
		kill(as->pid, SIGKILL);
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
	as = as_by_pid(pid);
	/* The signal may be an old one of a pid that has been reaped and given out again. */
	if (!as || waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) ||
	    info.si_pid != pid)
		return;
	if (!atomic_exchange(&as->dead, true))
		log_info("stub %d died by itself or from outside", pid);
	report_deaths(as);
	if (as->listener->in_recv)
		listener_interrupt(as->listener);
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

static void no_action(int signo)
{
}

int reaper_start(void)
{
	struct sigaction sa = {.sa_handler = no_action};

	sigaction(LEADER_SIGNAL, &sa, NULL);
	return thread_start(reaper_main, NULL, THREAD_STACK_SMALL);
}
