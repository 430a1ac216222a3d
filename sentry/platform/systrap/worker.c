/*
 * Workers: which sentry thread serves which context.
 *
 * A worker that has resumed a context polls its slot for a while if a CPU is idle. Then it becomes
 * the leader of the context's listener if that has none, and sleeps in NOTIF_RECV; or it goes to
 * the idle pool. The leader runs the events that it receives by itself. Before it blocks it hands
 * the listener on if other contexts of it are in the guest.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parker.h"
#include "base/thread.h"
#include "sentry/counters/counters.h"
#include "sentry/platform/systrap/systrap.h"

#define WORKER_STACK (256 * 1024)
#define SPIN_NS 20000 /* how long a worker polls a slot */
#define HOT_NS 50000
#define HOT_EVENTS 8
#define MAX_SKIP_SHIFT 6 /* a vain poll costs as much as four events by notification */
#define FORGIVE_HITS 16

static struct {
	struct mutex lock;
	TAILQ_HEAD(, worker) idle;
	TAILQ_HEAD(, platform_ctx) ready;
	STAILQ_HEAD(, listener) orphans; /* that need a leader; each with a reference */
} pool = {.lock = MUTEX_INIT,
	  .idle = TAILQ_HEAD_INITIALIZER(pool.idle),
	  .ready = TAILQ_HEAD_INITIALIZER(pool.ready),
	  .orphans = STAILQ_HEAD_INITIALIZER(pool.orphans)};

/* Contexts in the guest, for the decision whether to spin. */
static _Atomic int running;

static __thread struct worker *self;

#ifdef MOAT_DEBUG
struct lock_tag lead_tag = {.name = "the lead of a listener", .flags = LOCK_IS_LEAD};
#endif

long futex_op(void *word, int op, uint32_t value, const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

struct worker *worker_self(void)
{
	if (!self) {
		self = calloc(1, sizeof(*self));
		BUG_ON(!self);
		self->tid = (pid_t)syscall(SYS_gettid);
		self->parker = parker_self();
	}
	return self;
}

static void *worker_thread(void *arg)
{
	worker_self();
	systrap.worker_main();
	free(self);
	return NULL;
}

static void start_worker(void)
{
	int err = thread_start(worker_thread, NULL, WORKER_STACK);

	count(COUNT_WORKER_START);
	if (err)
		log_error("cannot start a worker thread: %s", strerror(-err));
}

/* Makes an idle worker look at the pool's queues, or starts one. */
static void wake_worker(void)
{
	struct worker *w;

	mutex_lock(&pool.lock);
	w = TAILQ_FIRST(&pool.idle);
	if (w)
		TAILQ_REMOVE(&pool.idle, w, idle_link);
	mutex_unlock(&pool.lock);
	if (!w) {
		if (systrap.worker_main)
			start_worker();
		return;
	}
	count(COUNT_WORKER_WAKE);
	parker_wake(w->parker);
}

void worker_dispatch(struct platform_ctx *ready)
{
	mutex_lock(&pool.lock);
	TAILQ_INSERT_TAIL(&pool.ready, ready, ready_link);
	mutex_unlock(&pool.lock);
	wake_worker();
}

static void add_orphan(struct listener *l)
{
	bool fresh;

	mutex_lock(&pool.lock);
	fresh = !l->orphaned;
	if (fresh) {
		l->orphaned = true;
		listener_get(l);
		STAILQ_INSERT_TAIL(&pool.orphans, l, orphan_link);
	}
	mutex_unlock(&pool.lock);
	if (fresh)
		wake_worker();
}

bool worker_take_lead(struct worker *w, struct listener *l)
{
	if (w->lead == l)
		return true;
	if (w->lead)
		worker_drop_lead(w);
	mutex_lock(&l->lock);
	if (!l->leader) {
		l->leader = w;
		l->leader_tid = w->tid;
		w->lead = l;
		listener_get(l);
	}
	mutex_unlock(&l->lock);
	if (w->lead == l)
		lead_taken(l);
	return w->lead == l;
}

void worker_drop_lead(struct worker *w)
{
	struct listener *l = w->lead;
	bool needed;

	if (!l)
		return;
	mutex_lock(&l->lock);
	l->leader = NULL;
	l->leader_tid = 0;
	needed = l->in_guest > 0;
	mutex_unlock(&l->lock);
	w->lead = NULL;
	lead_dropped(l);
	if (needed) {
		count(COUNT_LEAD_LEFT);
		add_orphan(l);
	}
	listener_put(l);
}

void worker_ensure_leader(struct listener *l)
{
	bool needed;

	mutex_lock(&l->lock);
	needed = !l->leader && l->in_guest > 0;
	mutex_unlock(&l->lock);
	if (needed)
		add_orphan(l);
}

void systrap_block_begin(void)
{
	struct worker *w = self;

	count(COUNT_BLOCKS);
	if (!w)
		return;
	if (w->next) {
		worker_dispatch(w->next);
		w->next = NULL;
	}
	if (w->lead)
		worker_drop_lead(w);
	else if (w->cur)
		worker_ensure_leader(w->cur->listener);
}

void systrap_block_end(void)
{
}

static void store_registers(struct platform_ctx *ctx)
{
	struct slot *slot = ctx->slot;

	ctx->regs.eflags = (ctx->regs.eflags & GUEST_EFLAGS_MASK) | GUEST_EFLAGS_FIXED;
	memcpy(&slot->regs, &ctx->regs, sizeof(ctx->regs));
	slot->fpstate = ctx->fpu_live ? 0 : ctx->fpu_addr;
	/* Stays set until the stub has done it, even if this resume is taken back. */
	if (!(systrap.features & STUB_FSGSBASE) && ctx->fs_loaded != ctx->regs.fs_base) {
		ctx->fs_loaded = ctx->regs.fs_base;
		slot->set_fs = 1;
	}
}

bool ctx_claim_visit(struct platform_ctx *ctx, uint64_t visit)
{
	uint64_t owned = (visit & ~CTX_STATE_MASK) | CTX_OWNED;

	if ((visit & CTX_STATE_MASK) != CTX_GUEST ||
	    !atomic_compare_exchange_strong(&ctx->state, &visit, owned))
		return false;
	atomic_fetch_sub(&ctx->listener->in_guest, 1);
	atomic_fetch_sub(&running, 1);
	return true;
}

bool ctx_claim(struct platform_ctx *ctx)
{
	uint64_t visit;

	do {
		visit = ctx->state;
		if (ctx_claim_visit(ctx, visit))
			return true;
	} while ((visit & CTX_STATE_MASK) == CTX_GUEST);
	return false;
}

/* How a stub tells of an event that a worker polls for, or that nobody does. */
static uint32_t event_wake(bool polled)
{
	if (polled)
		return WAKE_NONE;
	return systrap.futex_mode ? WAKE_FUTEX : WAKE_DOORBELL;
}

/* It was kicked before it had its turn. */
static void load_kicked(struct platform_ctx *ctx, bool executes)
{
	ctx->event = (struct platform_event){.kind = EVENT_INTERRUPTED};
	if (executes)
		ctx->event.kind = EVENT_RESTART;
	else
		ctx->regs.orig_rax = ~0ULL;
}

/*
 * Gives ctx to the guest, for this visit. False: it was kicked meanwhile, or its stub is dead;
 * still owned.
 *
 * From CTX_GUEST on it may be another worker's at any moment: a guest that does not wait for its
 * turn can ring at once. So whatever is the context's own is done with before that, and what comes
 * after touches nothing but the slot, which is the guest's to spoil anyway.
 */
static bool give_to_guest(struct platform_ctx *ctx, uint32_t turn, bool spin, uint64_t *visit)
{
	struct platform_as *as = ctx->as;
	bool executes = ctx->executes;
	uint64_t ring;

	/* A site is patched under this lock while no thread of the process is in the guest. */
	mutex_lock(&as->lock);
	if (turn == TURN_RESUME) {
		if (as->patches)
			patch_fix_resume(ctx);
		store_registers(ctx);
		ctx->slot->fast = 0;
	} else {
		ctx->slot->regs.rax = ctx->regs.rax;
	}
	__atomic_store_n(&ctx->slot->wake, event_wake(spin), __ATOMIC_RELAXED);
	ctx->slot->spin = spin ? 2000 : 0;
	ctx->slot->kicked = 0;
	ctx_post_batch(ctx);
	ring = ctx_take_ring(ctx);
	ctx->has_run = true;
	ctx->executes = false;
	atomic_fetch_add(&ctx->listener->in_guest, 1);
	atomic_fetch_add(&running, 1);
	*visit = (ctx->state & ~CTX_STATE_MASK) + CTX_VISIT + CTX_GUEST;
	atomic_store(&ctx->state, *visit);
	mutex_unlock(&as->lock);
	if ((atomic_load(&ctx->kicked) || ctx->as->dead) && ctx_claim_visit(ctx, *visit)) {
		ctx->kicked = 0;
		ctx->notif_id = ring;
		ctx_recall_batch(ctx);
		load_kicked(ctx, executes);
		return false;
	}
	ctx_wake_stub(ctx, executes ? TURN_EXECUTE : turn, ring);
	count(executes		  ? COUNT_RESUME_EXECUTE
	      : turn == TURN_FAST ? COUNT_RESUME_FAST
				  : COUNT_RESUME_FULL);
	return true;
}

/* Likewise, for a context that the one before it, just given away by this worker, has woken: side
 * by side on one CPU each would only wait for the other. */
static bool give_elsewhere(struct platform_ctx *ctx, uint32_t turn, uint64_t *visit)
{
	struct listener *l = ctx->listener;
	bool given;

	listener_get(l);
	listener_wake_here(l, false);
	given = give_to_guest(ctx, turn, false, visit);
	listener_wake_here(l, true);
	listener_put(l);
	return given;
}

/* True if the context, which the caller gave to the guest for this visit, gave back the turn, and
 * we own it now. */
static bool try_claim(struct platform_ctx *ctx, uint64_t visit)
{
	if (__atomic_load_n(&ctx->slot->turn, __ATOMIC_ACQUIRE) != TURN_SENTRY ||
	    !ctx_claim_visit(ctx, visit))
		return false;
	ctx->seq = ctx->slot->seq;
	as_proved(ctx->as);
	return true;
}

void worker_take_late(struct platform_ctx *ctx)
{
	uint64_t visit = ctx->state;

	/* In between it was given the turn, or is about to be: the word says nothing new. */
	if (ctx->slot->seq == ctx->seq || !try_claim(ctx, visit))
		return;
	count(COUNT_EVENT_LATE);
	ctx_load_event(ctx, &ctx->event);
	worker_dispatch(ctx);
}

/*
 * Spinning. A context is hot when its events come within HOT_NS of the resume, several in a row.
 * The notification wakes its peer on the same CPU, so before a worker polls it moves to another
 * one: polling where the stub waits to run would keep it from running. A context whose polls are in
 * vain is left alone for a while that doubles each time: no CPU is idle, then.
 */
static void move_to_other_cpu(void)
{
	int cpu = sched_getcpu();
	cpu_set_t all, others;

	if (cpu < 0 || sched_getaffinity(0, sizeof(all), &all))
		return;
	others = all;
	CPU_CLR(cpu, &others);
	if (CPU_COUNT(&others) == 0)
		return;
	sched_setaffinity(0, sizeof(others), &others);
	sched_setaffinity(0, sizeof(all), &all);
}

static bool spin_for_event(struct platform_ctx *ctx, uint64_t visit, bool move)
{
	uint32_t polled = event_wake(true);
	int64_t end;

	if (move)
		move_to_other_cpu();
	end = monotonic_ns() + SPIN_NS;
	do {
		for (int i = 0; i < 100; i++) {
			if (try_claim(ctx, visit)) {
				if (++ctx->spin_hits >= FORGIVE_HITS)
					ctx->spin_misses = 0;
				return true;
			}
			__builtin_ia32_pause();
		}
	} while (monotonic_ns() < end);
	ctx->spun_in_vain = true; /* for its next owner to note */
	count(COUNT_SPIN_VAIN);
	/* From now on the stub rings; look once more for what came before it saw that. The slot may
	 * be another's already, which is waited for in its own way. */
	__atomic_compare_exchange_n(&ctx->slot->wake, &polled, event_wake(false), false,
				    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	return try_claim(ctx, visit);
}

static void note_vain_spin(struct platform_ctx *ctx)
{
	if (!ctx->spun_in_vain)
		return;
	ctx->spun_in_vain = false;
	ctx->spin_hits = 0;
	ctx->spinning = false;
	ctx->heat = HOT_EVENTS - 2; /* it was hot; spin_skip is the brake */
	ctx->spin_skip = 1u << MIN(ctx->spin_misses, (unsigned)MAX_SKIP_SHIFT);
	ctx->spin_misses++;
}

static bool may_spin(struct platform_ctx *ctx)
{
	note_vain_spin(ctx);
	if (ctx->executes || ctx->heat < HOT_EVENTS)
		return false;
	if (ctx->listener->in_guest > 0 && ctx->listener->in_guest > as_sleepers(ctx->as))
		return false; /* or other contexts of this listener would wait */
	if (ctx->spin_skip) {
		ctx->spin_skip--;
		return false;
	}
	/* This worker and the guest need a CPU each. */
	return running + 2 <= systrap.config.num_cpus ||
	       running + 2 - systrap_sleepers() <= systrap.config.num_cpus;
}

/* An event came by the doorbell. */
static void note_heat(struct platform_ctx *ctx)
{
	note_vain_spin(ctx);
	if (monotonic_ns() - ctx->resumed_at < HOT_NS)
		ctx->heat++;
	else
		ctx->heat = 0;
	ctx->spinning = false;
}

static void count_event(const struct platform_ctx *ctx, enum platform_event_kind kind)
{
	switch (kind) {
	case EVENT_SYSCALL:
		count(ctx->fast ? COUNT_SYSCALL_PATCHED : COUNT_SYSCALL_TRAPPED);
		break;
	case EVENT_FAULT:
		count(COUNT_FAULTS);
		break;
	case EVENT_INTERRUPTED:
	case EVENT_RESTART:
		count(COUNT_INTERRUPTIONS);
		break;
	case EVENT_CONTINUE:
	case EVENT_DEAD:
		break;
	}
}

static struct platform_ctx *return_event(struct worker *w, struct platform_ctx *ctx,
					 struct platform_event *event, bool loaded)
{
	if (loaded)
		note_heat(ctx);
	else
		ctx_load_event(ctx, &ctx->event);
	*event = ctx->event;
	w->cur = ctx;
	if (ctx_check_obeyed(ctx)) {
		event->kind = EVENT_DEAD;
	} else if (event->kind == EVENT_SYSCALL && !ctx->fast) {
		patch_consider(ctx);
	} else if (event->kind == EVENT_FAULT && event->signo == SIGILL && patch_is_syscall(ctx)) {
		event->kind = EVENT_SYSCALL;
	}
	count_event(ctx, event->kind);
	return ctx;
}

/*
 * Where notifications cannot wake the leader on the stub's CPU they are no better than a futex, and
 * all waiters wake. So each context in the guest has a worker that sleeps on its turn word. False:
 * the context is not ours any more (its stub died).
 */
static bool sleep_for_event(struct platform_ctx *ctx, uint64_t visit)
{
	const struct timespec second = {1, 0};

	lock_check_sleeps(NULL);
	while (!try_claim(ctx, visit)) {
		uint32_t turn = __atomic_load_n(&ctx->slot->turn, __ATOMIC_ACQUIRE);

		if (ctx->state != visit || systrap.down)
			return false;
		if (turn != TURN_SENTRY)
			futex_wait_word(&ctx->slot->turn, turn, &second);
	}
	return true;
}

/* Takes work that waits in the pool: a ready context, or a listener to lead. */
static struct platform_ctx *take_pooled(struct worker *w)
{
	struct platform_ctx *ctx;
	struct listener *l = NULL;

	mutex_lock(&pool.lock);
	ctx = TAILQ_FIRST(&pool.ready);
	if (ctx)
		TAILQ_REMOVE(&pool.ready, ctx, ready_link);
	else if (!w->lead)
		l = STAILQ_FIRST(&pool.orphans);
	if (l) {
		STAILQ_REMOVE_HEAD(&pool.orphans, orphan_link);
		l->orphaned = false;
	}
	mutex_unlock(&pool.lock);
	if (l) {
		worker_take_lead(w, l);
		listener_put(l);
	}
	return ctx;
}

bool systrap_may_suspend(struct platform_ctx *ctx)
{
	/* A batch belongs to the worker that put it off. */
	return !systrap.futex_mode && !ctx->nbatch && worker_self()->cur == ctx;
}

void systrap_continue(struct platform_ctx *ctx)
{
	struct worker *w = self;

	ctx->suspended = true;
	/* One here costs no change of threads; more had better go to other CPUs. */
	if (w && w->cur && !w->next)
		w->next = ctx;
	else
		worker_dispatch(ctx);
}

static struct platform_ctx *continue_ctx(struct worker *w, struct platform_ctx *ctx,
					 struct platform_event *event)
{
	count(COUNT_CONTINUATIONS);
	ctx->suspended = false;
	w->cur = ctx;
	event->kind = ctx->as->dead ? EVENT_DEAD : EVENT_CONTINUE;
	return ctx;
}

static bool go_idle(struct worker *w)
{
	bool work;

	mutex_lock(&pool.lock);
	work = !TAILQ_EMPTY(&pool.ready) || !STAILQ_EMPTY(&pool.orphans);
	if (!work)
		TAILQ_INSERT_HEAD(&pool.idle, w, idle_link);
	mutex_unlock(&pool.lock);
	/* Whoever takes a worker off the list wakes it. */
	if (!work) {
		count(COUNT_WORKER_IDLE);
		parker_sleep(w->parker, INT64_MAX);
	}
	return !systrap.down;
}

static struct platform_ctx *next_loop(struct worker *w, bool gave, struct platform_event *event)
{
	w->crowded = gave && w->next;
	for (;;) {
		struct platform_ctx *ctx = w->next ? w->next : take_pooled(w);

		w->next = NULL;
		if (systrap.down)
			return NULL;
		if (ctx && ctx->suspended)
			return continue_ctx(w, ctx, event);
		if (ctx && ctx->start) {
			ctx->start = false;
			return systrap_next(ctx, true, event);
		}
		if (ctx)
			return return_event(w, ctx, event, true);
		if (w->lead && w->lead->in_guest > 0) {
			ctx = listener_receive(w->lead, NULL);
			if (ctx)
				return return_event(w, ctx, event, true);
			continue;
		}
		if (w->lead) {
			worker_drop_lead(w);
			continue;
		}
		if (!go_idle(w))
			return NULL;
	}
}

struct platform_ctx *systrap_next(struct platform_ctx *ctx, bool full, struct platform_event *event)
{
	struct worker *w = worker_self();

	w->cur = NULL;
	if (ctx) {
		uint32_t turn = full || !ctx->fast || !ctx->fpu_live ? TURN_RESUME : TURN_FAST;
		bool spin = !ctx->nbatch && !w->next && !w->crowded && may_spin(ctx);
		bool move = spin && !ctx->spinning;
		uint64_t visit;

		if (spin)
			ctx->spinning = true;
		else
			ctx->resumed_at = monotonic_ns();
		/* Once given away, ctx may be claimed and ended by another worker. */
		ctx_get(ctx);
		if (!(w->crowded ? give_elsewhere(ctx, turn, &visit)
				 : give_to_guest(ctx, turn, spin, &visit))) {
			ctx_put(ctx);
			return return_event(w, ctx, event, true);
		}
		if (spin && spin_for_event(ctx, visit, move)) {
			count(COUNT_EVENT_SPIN);
			ctx_put(ctx);
			return return_event(w, ctx, event, false);
		}
		if (systrap.futex_mode) {
			bool ours;

			worker_drop_lead(w);
			ours = sleep_for_event(ctx, visit);
			ctx_put(ctx);
			if (ours) {
				count(COUNT_EVENT_FUTEX);
				return return_event(w, ctx, event, false);
			}
		} else {
			worker_take_lead(w, ctx->listener);
			ctx_put(ctx);
		}
	}
	return next_loop(w, ctx != NULL, event);
}

int systrap_resume(struct platform_ctx *ctx)
{
	struct worker *w = worker_self();
	uint64_t visit;

	/* What was put off belongs to the worker that put it off: not to whoever resumes the
	 * context. */
	if (ctx->nbatch)
		ctx_flush(ctx);
	if (w->cur == ctx)
		w->cur = NULL;
	if (systrap.futex_mode) {
		if (!w->cur)
			worker_drop_lead(w);
		ctx->start = true;
		worker_dispatch(ctx);
		return 0;
	}
	ctx_get(ctx);
	if (!give_to_guest(ctx, TURN_RESUME, false, &visit)) {
		worker_dispatch(ctx);
	} else {
		if (!w->cur)
			worker_drop_lead(w); /* not a worker's loop: it will not receive */
		if (w->lead != ctx->listener)
			worker_ensure_leader(ctx->listener);
	}
	ctx_put(ctx);
	return 0;
}

void systrap_kick(struct platform_ctx *ctx)
{
	atomic_store(&ctx->kicked, 1);
	if (ctx_state(ctx) == CTX_GUEST) {
		watchdog_note(ctx->hurry);
		syscall(SYS_tgkill, ctx->as->pid, ctx->tid, KICK_SIGNAL);
	}
}

void systrap_hurry(struct platform_ctx *ctx, int nthreads)
{
	ctx->hurry = ctx->as->nctx <= nthreads ? HURRY_ALONE : HURRY_SHARED;
	if (ctx->cmd_waits || ctx_state(ctx) != CTX_OWNED)
		watchdog_note(true);
}

void systrap_set_worker_main(void (*worker_main)(void))
{
	systrap.worker_main = worker_main;
}
