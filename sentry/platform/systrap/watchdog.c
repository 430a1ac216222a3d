/*
 * The watchdog: what a stub owes must come in bounded time. It owes an answer to a kick while it is
 * in the guest (which it can block, by jumping to the stub's rt_sigreturn with a mask of its
 * choice), the end of a command that a worker waits for, and the end of a thread that was told to
 * exit. Whose stub lets us wait too long loses it. Time is counted in looks, so that a paused
 * sandbox does not wake up to a massacre; and a thread that waits for a CPU, or has done its part
 * while the worker that is to hear of it waits for one, owes nothing meanwhile. The thread sleeps
 * for good while nothing is owed.
 */
#include <errno.h>
#include <semaphore.h>
#include <time.h>

#include "base/clock.h"
#include "base/thread.h"
#include "sentry/platform/systrap/systrap.h"

#define LOOK_MS 1000
#define LOOK_URGENT_MS 50
#define KICK_MS 5000
/* A call that was let through may take the host's kernel a while: much memory, slow disks. */
#define COMMAND_MS 60000
#define EXIT_MS 5000
/* One leader receives what all threads of a process have to say, one after the other. */
#define CROWD_MS 10
#define HURRY_SHARED_MS 800
#define HURRY_ALONE_MS 100
/* A thread that computes so long in a command, or sleeps through so many looks, does not obey. */
#define SELF_MS 200
#define SLEEPS_MS 3000

static sem_t notes;
static _Atomic bool watching, urgent_note;

void watchdog_note(bool urgent)
{
	if (urgent && !atomic_exchange(&urgent_note, true)) {
		atomic_store(&watching, true);
		sem_post(&notes);
	} else if (!atomic_load(&watching) && !atomic_exchange(&watching, true))
		sem_post(&notes);
}

/* all_dying: nobody who shares the stub is going to stay. */
static unsigned patience_ms(struct platform_ctx *ctx, bool all_dying)
{
	if (all_dying)
		return HURRY_ALONE_MS;
	if (ctx->hurry)
		return HURRY_SHARED_MS;
	if (ctx->cmd_waits)
		return COMMAND_MS;
	return (ctx_state(ctx) == CTX_EXITING ? EXIT_MS : KICK_MS) + ctx->as->in_crowd * CROWD_MS;
}

/* True if the thread has better things to do than the command. first: look at what it owes. */
static bool ignores_command(struct platform_ctx *ctx, bool first, unsigned passed_ms)
{
	uint64_t user_ms;
	char state;

	if (!ctx->cmd_waits || stub_thread_stat(ctx, &state, &user_ms))
		return false;
	if (first)
		ctx->user_ms = user_ms;
	if (user_ms - ctx->user_ms >= SELF_MS)
		return true;
	ctx->slept_ms = state == 'S' && !first ? ctx->slept_ms + passed_ms : 0;
	return ctx->slept_ms >= SLEEPS_MS;
}

/* as->lock held. One that has never been in the guest is being made by another of them. */
static bool all_die(struct platform_as *as)
{
	struct platform_ctx *ctx;

	TAILQ_FOREACH (ctx, &as->ctxs, as_link)
		if (!ctx->hurry && ctx->has_run && ctx_state(ctx) < CTX_EXITING)
			return false;
	return true;
}

/* How long its thread, and who hears of it, have waited for CPUs until now; 0: not known. */
static uint64_t waited_ms(struct platform_ctx *ctx)
{
	uint64_t stub = 0, leader = 0;
	pid_t tid = ctx->listener->leader_tid;

	if (stub_thread_waited(ctx, &stub))
		return 0;
	if (tid)
		own_thread_waited(tid, &leader);
	return stub + leader;
}

/* Of the time that has passed, what counts. */
static unsigned fair_ms(struct platform_ctx *ctx, unsigned passed_ms)
{
	uint64_t waited = waited_ms(ctx), lost = 0;

	if (ctx->owed_ms && waited > ctx->waited_ms)
		lost = waited - ctx->waited_ms;
	ctx->waited_ms = waited;
	return passed_ms - (unsigned)MIN(lost, passed_ms);
}

/* as->lock held. What it owes, it has paid by its own word, and nobody has taken it. */
static bool is_late(const struct platform_ctx *ctx)
{
	return ctx->owed_ms >= LOOK_MS && ctx_state(ctx) == CTX_GUEST &&
	       __atomic_load_n(&ctx->slot->turn, __ATOMIC_RELAXED) == TURN_SENTRY;
}

/* What is known of a thread that owes: its own words, and the host's. as->lock held. */
static void describe(struct platform_ctx *ctx)
{
	const struct listener *l = ctx->listener;
	uint64_t user_ms = 0;
	char state = '?';

	stub_thread_stat(ctx, &state, &user_ms);
	log_warn("stub thread %d: %s for %u ms, host state %c, %lu ms of user time; state %d, "
		 "turn %u, wake %u, sleeping %u, hand-overs %u of %u, end %u; leader %d%s, %d in "
		 "the guest",
		 ctx->tid,
		 ctx->cmd_waits			 ? "owes the end of a command"
		 : ctx_state(ctx) == CTX_EXITING ? "does not exit"
						 : "does not obey a kick",
		 ctx->owed_ms, state, user_ms, ctx_state(ctx), ctx->slot->turn, ctx->slot->wake,
		 ctx->slot->stub_sleeping, ctx->seq, ctx->slot->seq, ctx->cmd_end, l->leader_tid,
		 l->in_recv ? " receives" : "", l->in_guest);
}

/* as->lock held. True if ctx owes something; *urgent: and patience is short. */
static bool look_at(struct platform_ctx *ctx, unsigned passed_ms, bool *urgent)
{
	bool owes = ctx->cmd_waits || ctx_state(ctx) == CTX_EXITING ||
		    (ctx_state(ctx) == CTX_GUEST && ctx->kicked);
	bool first = !ctx->owed_ms, all_dying;
	unsigned fair;

	if (!owes || ctx->as->dead) {
		ctx->owed_ms = 0;
		return false;
	}
	if (ctx->hurry)
		*urgent = true;
	all_dying = ctx->hurry == HURRY_ALONE || (ctx->hurry && all_die(ctx->as));
	fair = all_dying ? passed_ms : fair_ms(ctx, passed_ms);
	ctx->owed_ms += fair;
	if (ctx->owed_ms < patience_ms(ctx, all_dying) &&
	    !(passed_ms == LOOK_MS && ignores_command(ctx, first, fair)))
		return true;
	/* Nothing is lost with those who are to die, but the time that they would take for it. */
	if (!all_dying) {
		log_warn("stub %d does not answer: killed", ctx->as->pid);
		describe(ctx);
	}
	systrap_as_kill(ctx->as);
	return false;
}

static bool look(unsigned passed_ms, bool *urgent)
{
	bool open = false;

	for (uint32_t i = 1; i < MAX_AS; i++) {
		struct platform_as *as = as_lock_nth(&i);
		struct platform_ctx *ctx, *late = NULL;

		if (!as)
			break;
		as->in_crowd = MAX(as->in_crowd, (unsigned)(as->nctx + as->nparked));
		TAILQ_FOREACH (ctx, &as->ctxs, as_link) {
			open |= look_at(ctx, passed_ms, urgent);
			if (!late && is_late(ctx)) {
				late = ctx;
				ctx_get(late);
			}
		}
		as_unlock_nth(as);
		/* One of each process, each time: the others' turn comes. */
		if (late) {
			worker_take_late(late);
			ctx_put(late);
		}
	}
	return open;
}

/* Sleeps for a look's time; an urgent note cuts it short. Returns the time that counts. */
static unsigned sleep_between(bool urgent)
{
	unsigned ms = urgent ? LOOK_URGENT_MS : LOOK_MS;
	int64_t end = monotonic_ns() + ms * 1000000LL;
	struct timespec until = {end / NSEC_PER_SEC, end % NSEC_PER_SEC};

	while (sem_clockwait(&notes, CLOCK_MONOTONIC, &until)) {
		if (errno == ETIMEDOUT)
			return ms;
		if (errno != EINTR)
			break;
	}
	return 0;
}

static void *watchdog_main(void *arg)
{
	for (;;) {
		bool open, urgent = false;

		while (sem_wait(&notes))
			;
		/* Most debts are paid by the first look, so that comes after a while: a busy
		 * sandbox wakes this thread once a second. */
		do {
			unsigned passed = sleep_between(urgent || urgent_note);

			if (systrap.down)
				return NULL;
			watching = urgent_note = false; /* a note from now on counts as new */
			urgent = false;
			open = look(passed, &urgent);
			if (open)
				watching = true;
		} while (watching);
	}
}

int watchdog_start(void)
{
	sem_init(&notes, 0, 0);
	return thread_start(watchdog_main, NULL, THREAD_STACK_SMALL);
}
