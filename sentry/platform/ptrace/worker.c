/*
 * Workers. A context in the guest has a worker of its own, its tracer, which waits for it; the
 * worker keeps it while the guest thread lives (exec gives the guest thread another context,
 * attached to the same worker). A context that is handed to "some worker" is parked and waits on
 * the ready queue.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/parker.h"
#include "base/thread.h"
#include "sentry/counters/counters.h"
#include "sentry/platform/ptrace/ptrace.h"

#define WORKER_STACK ((size_t)256 * 1024)
/* A crowd of guest threads that is gone leaves no crowd of workers behind. */
#define MAX_IDLE 64

struct idle_worker {
	struct parker *parker;
	TAILQ_ENTRY(idle_worker) link;
};

static struct {
	struct mutex lock;
	TAILQ_HEAD(, idle_worker) idle;
	unsigned nidle;
	TAILQ_HEAD(, tracee) ready;
	void (*worker_main)(void);
	_Atomic bool down;
} pool = {.lock = MUTEX_INIT,
	  .idle = TAILQ_HEAD_INITIALIZER(pool.idle),
	  .ready = TAILQ_HEAD_INITIALIZER(pool.ready)};

static void *worker_thread(void *arg)
{
	pool.worker_main();
	return NULL;
}

/* True if there was one. */
static bool wake_idle(void)
{
	struct idle_worker *w;

	mutex_lock(&pool.lock);
	w = TAILQ_FIRST(&pool.idle);
	if (w) {
		TAILQ_REMOVE(&pool.idle, w, link);
		pool.nidle--;
	}
	mutex_unlock(&pool.lock);
	/* It stays until it has taken the wake-up. */
	if (w)
		parker_wake(w->parker);
	return w;
}

void workers_stop(void)
{
	pool.down = true;
	while (wake_idle())
		;
}

/* The next context that waits for a worker; NULL: this worker is not needed any more. */
static struct tracee *take_ready(void)
{
	struct idle_worker self = {.parker = parker_self()};

	for (;;) {
		struct tracee *t;

		mutex_lock(&pool.lock);
		t = TAILQ_FIRST(&pool.ready);
		if (t) {
			TAILQ_REMOVE(&pool.ready, t, ready_link);
		} else if (pool.nidle < MAX_IDLE && !pool.down) {
			TAILQ_INSERT_HEAD(&pool.idle, &self, link);
			pool.nidle++;
		} else {
			mutex_unlock(&pool.lock);
			return NULL;
		}
		mutex_unlock(&pool.lock);
		if (t)
			return t;
		parker_sleep(self.parker, INT64_MAX);
	}
}

void ptrace_hand_over(struct platform_ctx *ctx)
{
	if (tracee_is_mine(tracee_of(ctx)))
		tracee_detach(tracee_of(ctx));
}

int ptrace_resume(struct platform_ctx *ctx)
{
	struct tracee *t = tracee_of(ctx);
	int err;

	ptrace_hand_over(ctx);
	mutex_lock(&pool.lock);
	TAILQ_INSERT_TAIL(&pool.ready, t, ready_link);
	mutex_unlock(&pool.lock);
	if (wake_idle() || !pool.worker_main)
		return 0;
	err = thread_start(worker_thread, NULL, WORKER_STACK);
	if (!err)
		return 0;
	log_error("cannot start a worker thread: %s", strerror(-err));
	mutex_lock(&pool.lock);
	TAILQ_FOREACH (t, &pool.ready, ready_link)
		if (t == tracee_of(ctx))
			break;
	if (t)
		TAILQ_REMOVE(&pool.ready, t, ready_link);
	mutex_unlock(&pool.lock);
	/* Another worker may have become free, and have taken it. */
	return t ? err : 0;
}

/* True with an event of its; false: kicked before it went. */
static bool run(struct tracee *t, struct platform_event *event)
{
	int stop, pass = 0, ret = tracee_load_regs(t);

	t->has_run = true;
	atomic_store(&t->state, TRACEE_GUEST);
	/* Who kicks sets this first and looks at the state afterwards. */
	if (atomic_load(&t->kicked)) {
		atomic_store(&t->state, TRACEE_OWNED);
		return false;
	}
	do {
		if (!ret)
			ret = tracee_run(t, PTRACE_SYSEMU, pass, &stop);
		if (ret) {
			*event = (struct platform_event){.kind = EVENT_DEAD};
			break;
		}
	} while (!event_from_stop(t, stop, event, &pass));
	atomic_store(&t->state, TRACEE_OWNED);
	return true;
}

struct platform_ctx *ptrace_next(struct platform_ctx *ctx, bool full, struct platform_event *event)
{
	struct tracee *t = ctx ? tracee_of(ctx) : take_ready();

	if (!t || pool.down)
		return NULL;
	if (tracee_attach(t)) {
		*event = (struct platform_event){.kind = EVENT_DEAD};
	} else if (!run(t, event)) {
		t->head.regs.orig_rax = ~0ULL;
		*event = (struct platform_event){.kind = EVENT_INTERRUPTED};
	}
	count(COUNT_EVENT_TRACE);
	if (event->kind == EVENT_DEAD)
		ptrace_as_kill(t->head.as);
	t->kicked = 0;
	return tracee_ctx(t);
}

void ptrace_kick(struct platform_ctx *ctx)
{
	struct tracee *t = tracee_of(ctx);

	atomic_store(&t->kicked, 1);
	if (atomic_load(&t->state) == TRACEE_GUEST)
		syscall(SYS_tgkill, tracee_stub(t)->head.pid, t->head.tid, KICK_SIGNAL);
}

void ptrace_set_worker_main(void (*worker_main)(void))
{
	pool.worker_main = worker_main;
}
