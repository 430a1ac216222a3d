/*
 * Commands: what a stub does because the sentry tells it to. The caller owns the context. Every
 * command that is a syscall comes back as a notification and is let through only as ordered.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sentry/counters/counters.h"
#include "sentry/platform/systrap/systrap.h"

/*
 * The end of a command is the doorbell of the thread that was told to: it cannot ring while it is
 * in the call. Its turn word says nothing: any thread of its process can write there.
 */
static int wait_as_leader(struct platform_ctx *ctx)
{
	while (ctx->cmd_end != END_HERE) {
		struct platform_ctx *other;

		if (ctx->as->dead)
			return -ESRCH;
		other = listener_receive(ctx->listener, ctx);
		if (other)
			worker_dispatch(other);
	}
	return 0;
}

/* Somebody else receives for us, lets the command through and wakes us at its end. */
static int wait_as_follower(struct platform_ctx *ctx)
{
	struct timespec step = {0, 20000000};
	uint32_t end;

	while ((end = ctx->cmd_end) != END_HERE) {
		if (ctx->as->dead)
			return -ESRCH;
		/* The leader may have left without anybody in the guest to lead for. */
		if (!ctx->listener->leader_tid && worker_take_lead(worker_self(), ctx->listener))
			return wait_as_leader(ctx);
		futex_wait_word((void *)&ctx->cmd_end, end, &step);
	}
	return 0;
}

/* From now on a ring of the stub's is no command's end. */
static void await_no_end(struct platform_ctx *ctx)
{
	uint32_t awaited = END_AWAITED;

	if (atomic_compare_exchange_strong(&ctx->cmd_end, &awaited, END_NONE))
		return;
	while (ctx->cmd_end == END_RINGING)
		sched_yield(); /* the leader is about to be done with it */
	ctx->cmd_end = END_NONE;
}

static void wait_begin(struct platform_ctx *ctx)
{
	/* Before the look at as->dead: whoever kills it looks at this afterwards. */
	atomic_fetch_add(&ctx->as->waiting, 1);
	ctx->owed_ms = 0;
	ctx->cmd_waits = true;
	watchdog_note(ctx->hurry);
}

static void wait_end(struct platform_ctx *ctx)
{
	ctx->cmd_waits = false;
	atomic_fetch_sub(&ctx->as->waiting, 1);
}

static int disobeyed(struct platform_ctx *ctx, const char *how)
{
	log_warn("tampering: stub %d %s", ctx->as->pid, how);
	systrap_as_kill(ctx->as);
	return -ESRCH;
}

int ctx_check_obeyed(struct platform_ctx *ctx)
{
	bool done;

	if (ctx->as->dead)
		return -ESRCH;
	if (ctx->slot->batch_failed) {
		log_warn("the host refused memory to stub %d", ctx->as->pid);
		systrap_as_kill(ctx->as);
		return -ESRCH;
	}
	if (!ctx->batch_armed)
		return 0;
	mutex_lock(&ctx->order_lock);
	done = ctx->batch_next == ctx->batch_armed;
	ctx->batch_next = ctx->batch_armed = 0;
	mutex_unlock(&ctx->order_lock);
	return done ? 0 : disobeyed(ctx, "has skipped memory commands");
}

/*
 * The batch: anonymous mmap, munmap and mprotect of a process with one thread are put off until the
 * stub gets its next turn, and executed then before anything else. That saves a hand-over each:
 * most are the last thing that a syscall does. They cannot fail but for want of the host's memory
 * or map entries; then the process is killed, as by the OOM killer. Each is verified like any
 * command.
 *
 * MADV_DONTNEED is put off with more threads, too: what another of them does to the range until
 * then, it does while the guest's call is under way.
 */
void ctx_post_batch(struct platform_ctx *ctx)
{
	struct slot *slot = ctx->slot;

	if (!ctx->nbatch)
		return;
	memcpy(slot->batch, ctx->batch, sizeof(slot->batch[0]) * ctx->nbatch);
	slot->batch_n = ctx->nbatch;
	mutex_lock(&ctx->order_lock);
	ctx->batch_next = 0;
	ctx->batch_armed = ctx->nbatch;
	mutex_unlock(&ctx->order_lock);
	ctx->nbatch = 0;
	/* In this order: another worker may be next. */
	ctx->as->batch_worker = NULL;
	ctx->as->batch_ctx = NULL;
}

void ctx_recall_batch(struct platform_ctx *ctx)
{
	struct platform_ctx *none = NULL;

	if (!ctx->batch_armed)
		return;
	ctx->slot->batch_n = 0;
	mutex_lock(&ctx->order_lock);
	ctx->nbatch = ctx->batch_armed;
	ctx->batch_armed = ctx->batch_next = 0;
	mutex_unlock(&ctx->order_lock);
	/* Another thread of the guest may have begun one meanwhile. */
	if (!atomic_compare_exchange_strong(&ctx->as->batch_ctx, &none, ctx))
		ctx_flush(ctx);
	else
		ctx->as->batch_worker = worker_self();
}

int ctx_flush(struct platform_ctx *ctx)
{
	static const uint64_t none[6];

	if (!ctx->nbatch)
		return 0;
	count(COUNT_COMMAND_FLUSH);
	return ctx_command(ctx, CMD_NOTHING, 0, none, NULL);
}

void as_flush(struct platform_as *as)
{
	struct platform_ctx *ctx = as->batch_ctx;

	if (ctx && as->batch_worker == worker_self())
		ctx_flush(ctx);
}

/* With more than one thread: only one of them puts off at a time. */
static bool begin_shared_batch(struct platform_ctx *ctx)
{
	struct platform_ctx *none = NULL;

	return ctx->nbatch || atomic_compare_exchange_strong(&ctx->as->batch_ctx, &none, ctx);
}

#define PUT_OFF_MAX (16UL << 20)
static bool put_off(struct platform_ctx *ctx, uint64_t nr, const uint64_t args[6])
{
	struct platform_as *as = ctx->as;

	/* The host may well refuse much memory at once: that is the guest's ENOMEM. */
	if (systrap.futex_mode || ctx_state(ctx) != CTX_OWNED || as->dead)
		return false;
	if (nr == SYS_madvise ? !begin_shared_batch(ctx) : as->nctx != 1 || args[1] > PUT_OFF_MAX)
		return false;
	if (ctx->nbatch == ARRAY_SIZE(ctx->batch) && ctx_flush(ctx))
		return false;
	ctx->batch[ctx->nbatch].nr = nr;
	memcpy(ctx->batch[ctx->nbatch].args, args, sizeof(ctx->batch[0].args));
	ctx->nbatch++;
	as->batch_worker = worker_self();
	as->batch_ctx = ctx;
	count(COUNT_COMMAND_BATCHED);
	return true;
}

static int disarm(struct platform_ctx *ctx)
{
	int order;
	MUTEX_GUARD(&ctx->order_lock);

	order = ctx->order;
	ctx->order = ORDER_NONE;
	return order;
}

int ctx_command(struct platform_ctx *ctx, uint32_t cmd, uint64_t nr, const uint64_t args[6],
		int64_t *result)
{
	struct slot *slot = ctx->slot;
	struct worker *w = worker_self();
	uint64_t ring;
	bool leader;
	int ret;

	if (ctx->as->dead)
		return -ESRCH;
	lock_check_command();
	lead_waited_for();
	leader = worker_take_lead(w, ctx->listener);
	slot->cmd = cmd;
	slot->cmd_nr = nr;
	memcpy(slot->cmd_args, args, sizeof(slot->cmd_args));
	slot->spin = 0;
	__atomic_store_n(&slot->wake, WAKE_DOORBELL, __ATOMIC_SEQ_CST);
	wait_begin(ctx);
	ctx_post_batch(ctx);
	ring = ctx_take_ring(ctx);
	ctx->cmd_end = END_AWAITED;
	ctx_wake_stub(ctx, TURN_COMMAND, ring);
	if (leader) {
		ret = wait_as_leader(ctx);
	} else {
		/* Until the command is done somebody must receive for us: it counts like a context
		 * in the guest. */
		count(COUNT_COMMAND_FOLLOWED);
		atomic_fetch_add(&ctx->listener->in_guest, 1);
		worker_ensure_leader(ctx->listener);
		ret = wait_as_follower(ctx);
		atomic_fetch_sub(&ctx->listener->in_guest, 1);
	}
	wait_end(ctx);
	await_no_end(ctx);
	if (!ret)
		ret = ctx_check_obeyed(ctx);
	if (disarm(ctx) == ORDER_SKIPPED && !ret)
		ret = disobeyed(ctx, "has not made the call that it was told to make");
	if (!ret && result)
		*result = __atomic_load_n(&slot->cmd_result, __ATOMIC_RELAXED);
	return ret;
}

static void arm(struct platform_ctx *ctx, uint64_t nr, const uint64_t args[6])
{
	MUTEX_GUARD(&ctx->order_lock);

	ctx->cmd_nr = nr;
	memcpy(ctx->cmd_args, args, sizeof(ctx->cmd_args));
	ctx->order = ORDER_EXPECTED;
}

static void count_memory_call(uint64_t nr)
{
	count(nr == SYS_mmap	   ? COUNT_COMMAND_MMAP
	      : nr == SYS_munmap   ? COUNT_COMMAND_MUNMAP
	      : nr == SYS_mprotect ? COUNT_COMMAND_MPROTECT
	      : nr == SYS_mremap   ? COUNT_COMMAND_MREMAP
				   : COUNT_COMMAND_MADVISE);
}

int systrap_memory_call(struct platform_ctx *ctx, uint64_t nr, const uint64_t args[6])
{
	int64_t result = 0;
	int ret;

	count_memory_call(nr);
	if ((nr == SYS_munmap || nr == SYS_mprotect ||
	     (nr == SYS_madvise && args[2] == MADV_DONTNEED) ||
	     (nr == SYS_mmap && (args[3] & MAP_ANONYMOUS) && !(args[3] & MAP_POPULATE))) &&
	    put_off(ctx, nr, args))
		return 0;
	arm(ctx, nr, args);
	ret = ctx_command(ctx, CMD_SYSCALL, nr, args, &result);
	if (ret)
		return ret;
	return result < 0 && result >= -4095 ? (int)result : 0;
}

int map_reserved(struct platform_ctx *ctx)
{
	const uint64_t args[6] = {PLATFORM_RESERVED_START,
				  PLATFORM_RESERVED_END - PLATFORM_RESERVED_START,
				  PROT_READ | PROT_EXEC,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, ~0ULL};

	return systrap_memory_call(ctx, SYS_mmap, args);
}

int systrap_word_op(struct platform_ctx *ctx, uint64_t addr, enum platform_word_op op, uint32_t arg,
		    uint32_t expected, uint32_t *old)
{
	const uint64_t args[6] = {op, addr, arg, expected};
	int64_t result;
	int ret = ctx_command(ctx, CMD_WORD, 0, args, &result);

	count(COUNT_COMMAND_WORD);
	if (ret)
		return ret;
	if (result < 0)
		return -EFAULT;
	*old = (uint32_t)result;
	return 0;
}

/* --- clones ----------------------------------------------------------------------------------- */

static void expect_child(struct platform_ctx *parent, struct platform_ctx *child)
{
	struct listener *l = child->listener;

	child->parent = parent->as;
	child->maker = parent;
	mutex_lock(&l->lock);
	parent->making = child;
	child->next_child = l->children.first;
	l->children.first = child;
	mutex_unlock(&l->lock);
}

/* True if it was still expected: the clone has not happened. */
static bool unexpect_child(struct platform_ctx *child)
{
	struct listener *l = child->listener;
	bool found = false;

	mutex_lock(&l->lock);
	for (struct platform_ctx **p = &l->children.first; *p; p = &(*p)->next_child)
		if (*p == child) {
			*p = child->next_child;
			child->maker->making = NULL;
			found = true;
			break;
		}
	mutex_unlock(&l->lock);
	return found;
}

/* Waits until the child's first notification has told its thread id. */
static int wait_for_child(struct platform_ctx *parent, struct platform_ctx *child)
{
	struct worker *w = worker_self();

	lead_waited_for();
	while (!child->tid) {
		struct timespec step = {0, 10000000};

		if (parent->as->dead)
			return -ESRCH;
		if (worker_take_lead(w, parent->listener)) {
			struct platform_ctx *other;

			/* The leader before us may have received it: nothing else would come. */
			if (child->tid)
				break;
			other = listener_receive(parent->listener, parent);
			if (other)
				worker_dispatch(other);
		} else {
			futex_wait_word(&child->tid, 0, &step);
		}
	}
	return 0;
}

static void inherit(struct platform_ctx *parent, struct platform_ctx *child)
{
	child->regs = parent->regs;
	child->fpu_live = parent->fpu_live;
	if (!parent->fpu_live) {
		uint64_t off = parent->fpu_addr - slot_stub_addr(parent->index);

		memcpy((char *)child->slot + SLOT_FPU, (char *)parent->slot + off,
		       platform_fpstate_size());
		child->fpu_addr = slot_stub_addr(child->index) + SLOT_FPU;
	}
}

/* The host refused, says the stub: see that no child came. */
static int clone_refused(struct platform_ctx *parent, struct platform_ctx *child, int64_t result)
{
	bool none = unexpect_child(child);

	if (none) {
		systrap_block_begin();
		none = strays_none(parent->as, !child->cookie);
		systrap_block_end();
	}
	if (!none) {
		systrap_as_kill(child->as);
		return disobeyed(parent, "denies its child");
	}
	atomic_fetch_sub(&parent->as->clones, 1);
	return result >= -4095 ? (int)result : -EAGAIN;
}

static int clone_child(struct platform_ctx *parent, struct platform_ctx *child, uint32_t cmd,
		       uint64_t flags, uint64_t tls, uint64_t arg4, uint64_t arg5)
{
	const uint64_t clone_args[6] = {flags, 0, 0, 0, tls, 0};
	const uint64_t cmd_args[6] = {flags, 0, 0, tls, arg4, arg5};
	int64_t result = 0;
	int ret;

	expect_child(parent, child);
	arm(parent, SYS_clone, clone_args);
	ret = ctx_command(parent, cmd, SYS_clone, cmd_args, &result);
	if (!ret && result < 0)
		return clone_refused(parent, child, result);
	if (!ret) {
		wait_begin(parent);
		ret = wait_for_child(parent, child);
		wait_end(parent);
	}
	/* And when first_call() has it already: waits until that is done with it. */
	unexpect_child(child);
	return ret;
}

/* A number that nobody can guess, positive as an int. */
static uint32_t new_cookie(void)
{
	uint32_t cookie;

	do
		cookie = arc4random() & INT32_MAX;
	while (!cookie);
	return cookie;
}

int systrap_fork(struct platform_ctx *parent, void *owner, struct platform_as **as_out,
		 struct platform_ctx **child_out)
{
	struct platform_as *as = as_alloc(parent->as);
	struct platform_ctx *child;
	int ret;

	count(COUNT_COMMAND_FORK);
	if (!as)
		return -EAGAIN;
	as->listener = parent->listener;
	listener_get(as->listener);
	child = ctx_alloc(as, (int)parent->index, owner);
	if (!child) {
		systrap_as_put(as);
		return -ENOMEM;
	}
	inherit(parent, child);
	child->fs_loaded = parent->fs_loaded;
	child->cookie = new_cookie();
	/* The child's memory and the table of what is patched in it must agree. */
	patching_stop(parent->as);
	as->patches = patches_get(parent->as->patches);
	as->shares_text = parent->as->shares_text;
	as->exposed = parent->as->exposed;
	as->restored = parent->as->restored;
	ret = clone_child(parent, child, CMD_FORK, STUB_FORK_FLAGS, 0,
			  fork_fd_argument(child->cookie), as->index * SLOT_REGION);
	patching_resume(parent->as);
	if (ret) {
		systrap_as_kill(as);
		ctx_free(child);
		systrap_as_put(as);
		return ret;
	}
	*as_out = as;
	*child_out = child;
	return 0;
}

int systrap_clone_thread(struct platform_ctx *parent, void *owner, uint64_t fs_base,
			 struct platform_ctx **child_out)
{
	struct platform_ctx *child = NULL;
	uint64_t flags =
		CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
	int ret;

	/* One that is there already has not parent's FPU state, unless that is in memory. */
	if (!parent->fpu_live)
		child = ctx_take_parked(parent->as, owner);
	if (child) {
		count(COUNT_STUB_THREAD_REUSED);
		inherit(parent, child);
		child->regs.fs_base = fs_base;
		*child_out = child;
		return 0;
	}
	count(COUNT_COMMAND_THREAD);
	child = ctx_alloc(parent->as, -1, owner);
	if (!child)
		return -EAGAIN;
	inherit(parent, child);
	child->fs_loaded = parent->fs_loaded;
	child->regs.fs_base = fs_base;
	/* Where setting it is a system call the clone does it on the way. */
	if (!(systrap.features & STUB_FSGSBASE) && fs_base != child->fs_loaded) {
		flags |= CLONE_SETTLS;
		child->fs_loaded = fs_base;
	}
	ret = clone_child(parent, child, CMD_THREAD, flags, flags & CLONE_SETTLS ? fs_base : 0, 0,
			  slot_stub_addr(child->index));
	if (ret) {
		ctx_free(child);
		return ret;
	}
	*child_out = child;
	return 0;
}

int systrap_as_create(void *owner, struct platform_as **as_out, struct platform_ctx **ctx_out)
{
	struct platform_ctx *ctx;
	struct platform_as *as;
	int ret = -EAGAIN;

	as = spare_take(&ret);
	if (!as)
		return ret;
	ctx = ctx_alloc(as, 0, owner);
	if (!ctx) {
		systrap_as_kill(as);
		systrap_as_put(as);
		return -ENOMEM;
	}
	ctx->slot->turn = TURN_SENTRY;
	ctx->slot->stub_sleeping =
		1; /* it is, or is about to be: a wake-up too many does no harm */
	ctx->tid = as->pid;
	tid_insert(ctx);
	platform_reset_fpstate(ctx);
	*as_out = as;
	*ctx_out = ctx;
	return 0;
}

/* Gives up a context. What becomes of its thread: */
enum leave {
	LEAVE_KILL,   /* it was the last: the stub ends */
	LEAVE_FIRST,  /* the stub's first thread stays: the process is known by its id */
	LEAVE_PARKED, /* it waits for another context */
	LEAVE_EXIT,   /* it is told to exit; the context is freed when it does or its stub dies */
};

/* stands: its thread waits for its turn, with nothing put off. as->lock held. */
static bool may_park(const struct platform_ctx *ctx, bool stands)
{
	return stands && ctx->as->nparked < MAX_PARKED && !ctx->nbatch && !ctx->batch_armed &&
	       !ctx->kicked && !ctx->hurry && ctx->has_run;
}

static enum leave leave(struct platform_ctx *ctx, bool stands)
{
	struct platform_as *as = ctx->as;
	struct platform_ctx *other;
	bool last = true;
	MUTEX_GUARD(&as->lock);

	/* With the state set in the same step: of two that leave at a time one is the last. */
	TAILQ_FOREACH (other, &as->ctxs, as_link)
		last &= other == ctx || ctx_state(other) >= CTX_EXITING;
	if (!last && !as->dead && ctx->tid != as->pid && may_park(ctx, stands)) {
		as->nctx--;
		as->nparked++;
		ctx->was_parked = true;
		ctx->owner = NULL;
		ctx_set_state(ctx, CTX_PARKED);
		return LEAVE_PARKED;
	}
	if (!last && !as->dead && ctx->tid != as->pid) {
		atomic_fetch_add(&ctx->listener->in_guest, 1);
		ctx_set_state(ctx, CTX_EXITING);
		return LEAVE_EXIT;
	}
	ctx_set_state(ctx, CTX_LEAVING);
	return last || as->dead ? LEAVE_KILL : LEAVE_FIRST;
}

/* To CTX_LEAVING. These are not followed by another visit. */
static bool leave_from(struct platform_ctx *ctx, enum ctx_state state)
{
	uint64_t old = (ctx->state & ~CTX_STATE_MASK) | state;

	return atomic_compare_exchange_strong(&ctx->state, &old,
					      (old & ~CTX_STATE_MASK) | CTX_LEAVING);
}

bool ctx_left_parked(struct platform_ctx *ctx)
{
	return leave_from(ctx, CTX_PARKED);
}

bool ctx_left(struct platform_ctx *ctx)
{
	if (ctx_left_parked(ctx))
		return true;
	if (!leave_from(ctx, CTX_EXITING))
		return false;
	atomic_fetch_sub(&ctx->listener->in_guest, 1);
	return true;
}

static void order_exit(struct platform_ctx *ctx)
{
	static const uint64_t none[6];
	struct listener *l = ctx->listener;

	uint64_t ring = ctx_take_ring(ctx);

	count(COUNT_COMMAND_EXIT);
	ctx->slot->cmd = CMD_EXIT;
	ctx->owed_ms = 0;
	watchdog_note(ctx->hurry);
	/* The last thing that is its own: from now on it may be freed, and its slot another's. */
	arm(ctx, SYS_exit, none);
	ctx_wake_stub(ctx, TURN_COMMAND, ring);
	if (worker_self()->lead != l)
		worker_ensure_leader(l);
}

void systrap_ctx_exit(struct platform_ctx *ctx)
{
	struct worker *w = worker_self();
	bool stands;

	if (w->cur == ctx)
		w->cur = NULL;
	stands = !ctx_claim(ctx); /* a dying one may be in the guest */
	ctx_get(ctx);
	switch (leave(ctx, stands)) {
	case LEAVE_KILL:
		systrap_as_kill(ctx->as);
		ctx_free(ctx);
		break;
	case LEAVE_FIRST:
		ctx_free(ctx);
		break;
	case LEAVE_PARKED:
		if (ctx->as->dead && ctx_left(ctx))
			ctx_free(ctx);
		break;
	case LEAVE_EXIT:
		order_exit(ctx);
		/* If its stub has died meanwhile, the reaper may not have seen it leave. */
		if (ctx->as->dead && ctx_left(ctx))
			ctx_free(ctx);
		break;
	}
	ctx_put(ctx);
}
