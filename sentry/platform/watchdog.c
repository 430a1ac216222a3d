/*
 * The watchdog: a guest can block the kick's signal, by jumping to the stub's rt_sigreturn with a
 * mask of its choice, and then compute for ever. A context that has not answered a kick at
 * KICK_LOOKS looks, a second apart, loses its stub. (Looks and not time: a paused sandbox must not
 * wake up to a massacre.) The thread sleeps for good while no kick is open.
 */
#include <semaphore.h>
#include <time.h>

#include "base/thread.h"
#include "sentry/platform/systrap.h"

#define KICK_LOOKS 5

static sem_t kicks;
static _Atomic bool watching;

void watchdog_note_kick(void)
{
	if (!atomic_exchange(&watching, true))
		sem_post(&kicks);
}

/* True while kicks are open. */
static bool look(void)
{
	bool open = false;

	for (uint32_t i = 1; i < MAX_AS; i++) {
		struct platform_as *as = as_lock_nth(&i);
		struct platform_ctx *ctx;

		if (!as)
			break;
		TAILQ_FOREACH (ctx, &as->ctxs, as_link) {
			if (ctx->state != CTX_GUEST || !ctx->kicked)
				continue;
			open = true;
			if (++ctx->kick_looks < KICK_LOOKS || as->dead)
				continue;
			log_warn("stub %d does not answer: killed", as->pid);
			platform_as_kill(as);
		}
		as_unlock_nth(as);
	}
	return open;
}

static void *watchdog_main(void *arg)
{
	const struct timespec second = {1, 0};

	for (;;) {
		while (sem_wait(&kicks))
			;
		do {
			nanosleep(&second, NULL);
			if (systrap.down)
				return NULL;
			watching = false; /* a kick from now on counts as a new one */
		} while (look() && !atomic_exchange(&watching, true));
	}
}

int watchdog_start(void)
{
	sem_init(&kicks, 0, 0);
	return thread_start(watchdog_main, NULL, THREAD_STACK_SMALL);
}
