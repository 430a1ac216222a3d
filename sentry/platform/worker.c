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
#include "sentry/platform/systrap.h"

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
	struct listener *orphans[256]; /* listeners that need a leader; each holds a reference */
	unsigned norphans;
	_Atomic int busy; /* workers that run, spin or receive; not those idle or blocked */
} pool = {.lock = MUTEX_INIT,
	  .idle = TAILQ_HEAD_INITIALIZER(pool.idle),
	  .ready = TAILQ_HEAD_INITIALIZER(pool.ready)};

/* Contexts in the guest, for the decision whether to spin. */
static _Atomic int running;

static __thread struct worker *self;

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
	listener_get(l);
	mutex_lock(&pool.lock);
	if (pool.norphans < ARRAY_SIZE(pool.orphans)) {
		pool.orphans[pool.norphans++] = l;
		l = NULL;
	}
	mutex_unlock(&pool.lock);
	if (l)
		listener_put(l);
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
		w->lead = l;
		listener_get(l);
	}
	mutex_unlock(&l->lock);
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
	needed = l->in_guest > 0;
	mutex_unlock(&l->lock);
	w->lead = NULL;
	if (needed)
		add_orphan(l);
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

void platform_block_begin(void)
{
	struct worker *w = self;

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

void platform_block_end(void)
{
}

/* --- events ------------------------------------------------------------------------------------
 */

/* Copies what the stub has published; everything is checked here, once. */
void ctx_load_event(struct platform_ctx *ctx, struct platform_event *event)
{
	struct slot *slot = ctx->slot;
	uint64_t fpstate = __atomic_load_n(&slot->fpstate, __ATOMIC_RELAXED);
	uint64_t base = slot_stub_addr(ctx->index);
	uint32_t kind = __atomic_load_n(&slot->event, __ATOMIC_RELAXED);

	memcpy(&ctx->regs, &slot->regs, sizeof(ctx->regs));
	ctx->kicked = 0;
	ctx->kick_looks = 0;
	ctx->fast = slot->fast;
	ctx->fpu_pending = false;
	ctx->fpu_live = fpstate == 0;
	/* An image outside the signal stack, or misaligned: the guest has meddled; give it the
	 * top of the stack, which is as good as anything. */
	if (fpstate && fpstate != base + SLOT_FPU && /* the image that was about to be loaded */
	    (fpstate < base + SLOT_FPU || fpstate % 64 ||
	     fpstate > base + SLOT_STACK_TOP - systrap.fpstate_size))
		fpstate = base + SLOT_STACK;
	ctx->fpu_addr = fpstate;
	ctx->regs.cs = GUEST_CS;
	ctx->regs.ss = GUEST_SS;
	ctx->regs.gs_base = 0;
	ctx->regs.eflags = (ctx->regs.eflags & GUEST_EFLAGS_MASK) | GUEST_EFLAGS_FIXED;
	*event = (struct platform_event){.kind = EVENT_INTERRUPTED};
	if (kind == EVENT_SYSCALL) {
		event->kind = EVENT_SYSCALL;
		ctx->regs.rax = (uint64_t)-ENOSYS;
		ctx->regs.orig_rax &= 0xffffffff;
	} else if (kind == EVENT_FAULT) {
		int signo = slot->signo;

		event->kind = EVENT_FAULT;
		event->signo =
			signo == SIGBUS || signo == SIGFPE || signo == SIGILL || signo == SIGTRAP
				? signo
				: SIGSEGV;
		event->code = slot->code;
		event->addr = slot->addr;
		event->trapno = slot->trapno;
		event->error = slot->error;
	}
	if (event->kind != EVENT_SYSCALL)
		ctx->regs.orig_rax = ~0ULL;
}

void ctx_wake_stub(struct platform_ctx *ctx, uint32_t turn)
{
	struct slot *slot = ctx->slot;

	__atomic_store_n(&slot->turn, turn, __ATOMIC_SEQ_CST);
	if (ctx->notif_id)
		listener_reply(ctx);
	else if (__atomic_load_n(&slot->stub_sleeping, __ATOMIC_SEQ_CST))
		futex_wake_word(&slot->turn, 1);
}

static void store_registers(struct platform_ctx *ctx)
{
	struct slot *slot = ctx->slot;

	ctx->regs.eflags = (ctx->regs.eflags & GUEST_EFLAGS_MASK) | GUEST_EFLAGS_FIXED;
	memcpy(&slot->regs, &ctx->regs, sizeof(ctx->regs));
	slot->fpstate = ctx->fpu_live ? 0 : ctx->fpu_addr;
}

bool ctx_claim(struct platform_ctx *ctx)
{
	int guest = CTX_GUEST;

	if (!atomic_compare_exchange_strong(&ctx->state, &guest, CTX_OWNED))
		return false;
	atomic_fetch_sub(&ctx->listener->in_guest, 1);
	atomic_fetch_sub(&running, 1);
	return true;
}

/* How a stub that nobody polls tells of an event. */
static uint32_t event_wake(void)
{
	return systrap.futex_mode ? WAKE_FUTEX : WAKE_DOORBELL;
}

/* Gives ctx to the guest. False: it was kicked meanwhile, or its stub is dead; still owned. */
static bool give_to_guest(struct platform_ctx *ctx, uint32_t turn, bool spin)
{
	struct platform_as *as = ctx->as;

	/* A site is patched under this lock while no thread of the process is in the guest. */
	mutex_lock(&as->lock);
	if (turn == TURN_RESUME) {
		if (as->patches)
			patch_fix_resume(ctx);
		store_registers(ctx);
	} else {
		ctx->slot->regs.rax = ctx->regs.rax;
	}
	__atomic_store_n(&ctx->slot->wake, spin ? WAKE_NONE : event_wake(), __ATOMIC_RELAXED);
	ctx->slot->spin = spin ? 2000 : 0;
	atomic_fetch_add(&ctx->listener->in_guest, 1);
	atomic_fetch_add(&running, 1);
	atomic_store(&ctx->state, CTX_GUEST);
	mutex_unlock(&as->lock);
	if ((atomic_load(&ctx->kicked) || ctx->as->dead) && ctx_claim(ctx)) {
		ctx->kicked = 0;
		return false;
	}
	ctx_post_batch(ctx);
	ctx_wake_stub(ctx, turn);
	return true;
}

/* Likewise, for a context that the one before it, just given away by this worker, has woken: side
 * by side on one CPU each would only wait for the other. */
static bool give_elsewhere(struct platform_ctx *ctx, uint32_t turn)
{
	struct listener *l = ctx->listener;
	bool given;

	listener_get(l);
	listener_wake_here(l, false);
	given = give_to_guest(ctx, turn, false);
	listener_wake_here(l, true);
	listener_put(l);
	return given;
}

/* True if the context gave back the turn, and we own it now. */
static bool try_claim(struct platform_ctx *ctx)
{
	if (__atomic_load_n(&ctx->slot->turn, __ATOMIC_ACQUIRE) != TURN_SENTRY || !ctx_claim(ctx))
		return false;
	ctx->seq = ctx->slot->seq;
	return true;
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

static bool spin_for_event(struct platform_ctx *ctx)
{
	int64_t end;

	if (!ctx->spinning) {
		move_to_other_cpu();
		ctx->spinning = true;
	}
	end = monotonic_ns() + SPIN_NS;
	do {
		for (int i = 0; i < 100; i++) {
			if (try_claim(ctx)) {
				if (++ctx->spin_hits >= FORGIVE_HITS)
					ctx->spin_misses = 0;
				return true;
			}
			__builtin_ia32_pause();
		}
	} while (monotonic_ns() < end);
	ctx->spin_hits = 0;
	ctx->spinning = false;
	ctx->heat = HOT_EVENTS - 2; /* it was hot; spin_skip is the brake */
	ctx->spin_skip = 1u << MIN(ctx->spin_misses, (unsigned)MAX_SKIP_SHIFT);
	ctx->spin_misses++;
	/* From now on the stub rings; look once more for what came before it saw that. */
	__atomic_store_n(&ctx->slot->wake, event_wake(), __ATOMIC_SEQ_CST);
	return try_claim(ctx);
}

static bool may_spin(struct platform_ctx *ctx)
{
	if (ctx->heat < HOT_EVENTS || ctx->listener->in_guest > 0)
		return false; /* or other contexts of this listener would wait */
	if (ctx->spin_skip) {
		ctx->spin_skip--;
		return false;
	}
	/* This worker and the guest need a CPU each. */
	return running + 2 <= systrap.config.num_cpus;
}

/* An event came by the doorbell. */
static void note_heat(struct platform_ctx *ctx)
{
	if (monotonic_ns() - ctx->resumed_at < HOT_NS)
		ctx->heat++;
	else
		ctx->heat = 0;
	ctx->spinning = false;
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
	if (ctx->as->dead) {
		event->kind = EVENT_DEAD;
	} else if (ctx->slot->batch_failed) {
		log_warn("the host refused memory to stub %d", ctx->as->pid);
		platform_as_kill(ctx->as);
		event->kind = EVENT_DEAD;
	} else if (event->kind == EVENT_SYSCALL && !ctx->fast) {
		patch_consider(ctx);
	} else if (event->kind == EVENT_FAULT && event->signo == SIGILL && ctx->as->patches &&
		   patch_is_syscall(ctx)) {
		event->kind = EVENT_SYSCALL;
	}
	return ctx;
}

/*
 * Where notifications cannot wake the leader on the stub's CPU they are no better than a futex, and
 * all waiters wake. So each context in the guest has a worker that sleeps on its turn word. False:
 * the context is not ours any more (its stub died).
 */
static bool sleep_for_event(struct platform_ctx *ctx)
{
	const struct timespec second = {1, 0};

	while (!try_claim(ctx)) {
		uint32_t turn = __atomic_load_n(&ctx->slot->turn, __ATOMIC_ACQUIRE);

		if (ctx->state != CTX_GUEST || systrap.down)
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
	else if (pool.norphans && !w->lead)
		l = pool.orphans[--pool.norphans];
	mutex_unlock(&pool.lock);
	if (l) {
		worker_take_lead(w, l);
		listener_put(l);
	}
	return ctx;
}

bool platform_may_suspend(struct platform_ctx *ctx)
{
	/* A batch belongs to the worker that put it off. */
	return !systrap.futex_mode && !ctx->nbatch && worker_self()->cur == ctx;
}

void platform_continue(struct platform_ctx *ctx)
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
	ctx->suspended = false;
	w->cur = ctx;
	event->kind = ctx->as->dead ? EVENT_DEAD : EVENT_CONTINUE;
	return ctx;
}

static bool go_idle(struct worker *w)
{
	bool work;

	mutex_lock(&pool.lock);
	work = !TAILQ_EMPTY(&pool.ready) || pool.norphans;
	if (!work)
		TAILQ_INSERT_HEAD(&pool.idle, w, idle_link);
	mutex_unlock(&pool.lock);
	/* Whoever takes a worker off the list wakes it. */
	if (!work)
		parker_sleep(w->parker, INT64_MAX);
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
			return platform_next(ctx, true, event);
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

struct platform_ctx *platform_next(struct platform_ctx *ctx, bool full,
				   struct platform_event *event)
{
	struct worker *w = worker_self();

	w->cur = NULL;
	if (ctx) {
		uint32_t turn = full || !ctx->fast || !ctx->fpu_live ? TURN_RESUME : TURN_FAST;
		bool spin = !ctx->nbatch && !w->next && !w->crowded && may_spin(ctx);

		if (!spin)
			ctx->resumed_at = monotonic_ns();
		/* Once given away, ctx may be claimed and ended by another worker. */
		ctx_get(ctx);
		if (!(w->crowded ? give_elsewhere(ctx, turn) : give_to_guest(ctx, turn, spin))) {
			ctx_put(ctx);
			ctx->regs.orig_rax = ~0ULL;
			ctx->event = (struct platform_event){.kind = EVENT_INTERRUPTED};
			return return_event(w, ctx, event, true);
		}
		if (spin && spin_for_event(ctx)) {
			ctx_put(ctx);
			return return_event(w, ctx, event, false);
		}
		if (systrap.futex_mode) {
			bool ours;

			worker_drop_lead(w);
			ours = sleep_for_event(ctx);
			ctx_put(ctx);
			if (ours)
				return return_event(w, ctx, event, false);
		} else {
			worker_take_lead(w, ctx->listener);
			ctx_put(ctx);
		}
	}
	return next_loop(w, ctx != NULL, event);
}

int platform_resume(struct platform_ctx *ctx)
{
	struct worker *w = worker_self();

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
	if (!give_to_guest(ctx, TURN_RESUME, false)) {
		ctx->regs.orig_rax = ~0ULL;
		ctx->event = (struct platform_event){.kind = EVENT_INTERRUPTED};
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

void platform_kick(struct platform_ctx *ctx)
{
	atomic_store(&ctx->kicked, 1);
	if (atomic_load(&ctx->state) == CTX_GUEST) {
		watchdog_note_kick();
		syscall(SYS_tgkill, ctx->as->pid, ctx->tid, KICK_SIGNAL);
	}
}

void platform_set_worker_main(void (*worker_main)(void))
{
	systrap.worker_main = worker_main;
}
