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

#include "base/clock.h"
#include "sentry/platform/systrap.h"

/* As leader of the listener: the completion comes as a doorbell. */
static int wait_as_leader(struct platform_ctx *ctx)
{
	int64_t end = monotonic_ns() + COMMAND_TIMEOUT_NS;

	while (!ctx->cmd_done) {
		struct platform_ctx *other;

		if (ctx->as->dead)
			return -ESRCH;
		if (monotonic_ns() > end) {
			platform_as_kill(ctx->as);
			return -ESRCH;
		}
		other = listener_receive(ctx->listener, ctx);
		if (other)
			worker_dispatch(other);
	}
	return 0;
}

/* Somebody else receives for us and lets the command through; the stub then wakes the turn word. */
static int wait_as_follower(struct platform_ctx *ctx)
{
	struct timespec step = {0, 20000000};
	int64_t end = monotonic_ns() + COMMAND_TIMEOUT_NS;
	uint32_t turn;

	while ((turn = __atomic_load_n(&ctx->slot->turn, __ATOMIC_SEQ_CST)) != TURN_SENTRY) {
		if (ctx->as->dead)
			return -ESRCH;
		if (monotonic_ns() > end) {
			platform_as_kill(ctx->as);
			return -ESRCH;
		}
		/* The leader may have left without anybody in the guest to lead for. */
		if (!ctx->listener->leader && worker_take_lead(worker_self(), ctx->listener)) {
			__atomic_store_n(&ctx->slot->wake, WAKE_DOORBELL, __ATOMIC_SEQ_CST);
			if (__atomic_load_n(&ctx->slot->turn, __ATOMIC_SEQ_CST) == TURN_SENTRY)
				return 0;
			return wait_as_leader(ctx);
		}
		futex_wait_word(&ctx->slot->turn, turn, &step);
	}
	return 0;
}

/*
 * The batch: anonymous mmap, munmap and mprotect of a process with one thread are put off until the
 * stub gets its next turn, and executed then before anything else. That saves a hand-over each:
 * most are the last thing that a syscall does. They cannot fail but for want of the host's memory
 * or map entries; then the process is killed, as by the OOM killer. Each is verified like any
 * command.
 */
void ctx_post_batch(struct platform_ctx *ctx)
{
	struct slot *slot = ctx->slot;

	if (!ctx->nbatch)
		return;
	memcpy(slot->batch, ctx->batch, sizeof(slot->batch[0]) * ctx->nbatch);
	slot->batch_n = ctx->nbatch;
	slot->batch_failed = 0;
	ctx->batch_next = 0;
	ctx->batch_armed = ctx->nbatch;
	ctx->nbatch = 0;
	ctx->as->batch_ctx = NULL;
}

int ctx_flush(struct platform_ctx *ctx)
{
	static const uint64_t none[6];

	return ctx->nbatch ? ctx_command(ctx, CMD_NOTHING, 0, none, NULL) : 0;
}

void as_flush(struct platform_as *as)
{
	struct platform_ctx *ctx = as->batch_ctx;

	if (ctx && as->batch_worker == worker_self())
		ctx_flush(ctx);
}

#define PUT_OFF_MAX (16UL << 20)
static bool put_off(struct platform_ctx *ctx, uint64_t nr, const uint64_t args[6])
{
	struct platform_as *as = ctx->as;

	/* The host may well refuse much memory at once: that is the guest's ENOMEM. */
	if (systrap.futex_mode || as->nctx != 1 || ctx->state != CTX_OWNED || as->dead ||
	    args[1] > PUT_OFF_MAX)
		return false;
	if (ctx->nbatch == ARRAY_SIZE(ctx->batch) && ctx_flush(ctx))
		return false;
	ctx->batch[ctx->nbatch].nr = nr;
	memcpy(ctx->batch[ctx->nbatch].args, args, sizeof(ctx->batch[0].args));
	ctx->nbatch++;
	as->batch_worker = worker_self();
	as->batch_ctx = ctx;
	return true;
}

int ctx_command(struct platform_ctx *ctx, uint32_t cmd, uint64_t nr, const uint64_t args[6],
		int64_t *result)
{
	struct slot *slot = ctx->slot;
	struct worker *w = worker_self();
	bool leader;
	int ret;

	if (ctx->as->dead)
		return -ESRCH;
	leader = worker_take_lead(w, ctx->listener);
	slot->cmd = cmd;
	slot->cmd_nr = nr;
	memcpy(slot->cmd_args, args, sizeof(slot->cmd_args));
	slot->spin = 0;
	__atomic_store_n(&slot->wake, leader ? WAKE_DOORBELL : WAKE_FUTEX, __ATOMIC_SEQ_CST);
	ctx->cmd_done = 0;
	ctx_post_batch(ctx);
	ctx_wake_stub(ctx, TURN_COMMAND);
	if (leader) {
		ret = wait_as_leader(ctx);
	} else {
		/* Until the command is done somebody must receive for us: it counts like a context
		 * in the guest. */
		atomic_fetch_add(&ctx->listener->in_guest, 1);
		worker_ensure_leader(ctx->listener);
		ret = wait_as_follower(ctx);
		atomic_fetch_sub(&ctx->listener->in_guest, 1);
	}
	ctx->cmd_armed = 0;
	ctx->seq = slot->seq;
	if (!ret && slot->batch_failed) {
		log_warn("the host refused memory to stub %d", ctx->as->pid);
		platform_as_kill(ctx->as);
		ret = -ESRCH;
	}
	if (!ret && result)
		*result = __atomic_load_n(&slot->cmd_result, __ATOMIC_RELAXED);
	return ret;
}

static void arm(struct platform_ctx *ctx, uint64_t nr, const uint64_t args[6])
{
	ctx->cmd_nr = nr;
	memcpy(ctx->cmd_args, args, sizeof(ctx->cmd_args));
	atomic_store(&ctx->cmd_armed, 1);
}

/* A syscall in the stub: 0 or -errno. */
static int stub_call(struct platform_ctx *ctx, uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2,
		     uint64_t a3, uint64_t a4, uint64_t a5)
{
	const uint64_t args[6] = {a0, a1, a2, a3, a4, a5};
	int64_t result = 0;
	int ret;

	if ((nr == SYS_munmap || nr == SYS_mprotect ||
	     (nr == SYS_mmap && (a3 & MAP_ANONYMOUS) && !(a3 & MAP_POPULATE))) &&
	    put_off(ctx, nr, args))
		return 0;
	arm(ctx, nr, args);
	ret = ctx_command(ctx, CMD_SYSCALL, nr, args, &result);
	if (ret)
		return ret;
	return result < 0 && result >= -4095 ? (int)result : 0;
}

static bool guest_range(uint64_t addr, uint64_t len)
{
	uint64_t end;

	return !(addr & ~PAGE_MASK) && !__builtin_add_overflow(addr, len, &end) &&
	       end <= GUEST_TASK_SIZE &&
	       (addr >= PLATFORM_RESERVED_END || end <= PLATFORM_RESERVED_START);
}

int platform_mmap(struct platform_ctx *ctx, uint64_t addr, uint64_t len, int prot, int flags,
		  int fd, uint64_t offset)
{
	if (!guest_range(addr, len))
		return -EINVAL;
	flags &= MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_POPULATE |
		 MAP_GROWSDOWN;
	return stub_call(ctx, SYS_mmap, addr, len, (uint64_t)prot, (uint64_t)flags | MAP_FIXED,
			 fd < 0 ? ~0ULL : (uint64_t)fd, offset);
}

int platform_map_reserved(struct platform_ctx *ctx)
{
	return stub_call(ctx, SYS_mmap, PLATFORM_RESERVED_START,
			 PLATFORM_RESERVED_END - PLATFORM_RESERVED_START, PROT_READ | PROT_EXEC,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, ~0ULL, 0);
}

int platform_munmap(struct platform_ctx *ctx, uint64_t addr, uint64_t len)
{
	if (!guest_range(addr, len))
		return -EINVAL;
	return stub_call(ctx, SYS_munmap, addr, len, 0, 0, 0, 0);
}

int platform_mprotect(struct platform_ctx *ctx, uint64_t addr, uint64_t len, int prot)
{
	if (!guest_range(addr, len))
		return -EINVAL;
	return stub_call(ctx, SYS_mprotect, addr, len, (uint64_t)prot, 0, 0, 0);
}

int platform_mremap(struct platform_ctx *ctx, uint64_t addr, uint64_t len, uint64_t new_len,
		    uint64_t new_addr)
{
	if (!guest_range(addr, len) || !guest_range(new_addr, new_len))
		return -EINVAL;
	return stub_call(ctx, SYS_mremap, addr, len, new_len,
			 addr == new_addr ? 0 : MREMAP_MAYMOVE | MREMAP_FIXED,
			 addr == new_addr ? 0 : new_addr, 0);
}

int platform_madvise(struct platform_ctx *ctx, uint64_t addr, uint64_t len, int advice)
{
	if (!guest_range(addr, len))
		return -EINVAL;
	return stub_call(ctx, SYS_madvise, addr, len, (uint64_t)advice, 0, 0, 0);
}

/* --- clones ----------------------------------------------------------------------------------- */

static void expect_child(struct platform_ctx *child)
{
	struct listener *l = child->listener;

	mutex_lock(&l->lock);
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
			found = true;
			break;
		}
	mutex_unlock(&l->lock);
	return found;
}

/* Waits until the child's first notification has told its thread id. */
static int wait_for_child(struct platform_ctx *parent, struct platform_ctx *child)
{
	int64_t end = monotonic_ns() + COMMAND_TIMEOUT_NS;
	struct worker *w = worker_self();

	while (!child->tid) {
		struct timespec step = {0, 10000000};

		if (parent->as->dead || monotonic_ns() > end)
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
		       systrap.fpstate_size);
		child->fpu_addr = slot_stub_addr(child->index) + SLOT_FPU;
	}
}

static int clone_child(struct platform_ctx *parent, struct platform_ctx *child, uint32_t cmd,
		       uint64_t flags, uint64_t arg4, uint64_t arg5)
{
	const uint64_t clone_args[6] = {flags, 0, 0, 0, 0, 0};
	const uint64_t cmd_args[6] = {flags, 0, 0, 0, arg4, arg5};
	int64_t result = 0;
	int ret;

	inherit(parent, child);
	expect_child(child);
	arm(parent, SYS_clone, clone_args);
	ret = ctx_command(parent, cmd, SYS_clone, cmd_args, &result);
	if (!ret && result < 0) {
		/* The host refused; the result is the stub's word, so see that no child came. */
		if (unexpect_child(child))
			return result >= -4095 ? (int)result : -EAGAIN;
	}
	if (!ret)
		ret = wait_for_child(parent, child);
	/* And when first_call() has it already: waits until that is done with it. */
	unexpect_child(child);
	return ret;
}

int platform_fork(struct platform_ctx *parent, void *owner, struct platform_as **as_out,
		  struct platform_ctx **child_out)
{
	struct platform_as *as = as_alloc();
	struct platform_ctx *child;
	int ret;

	if (!as)
		return -EAGAIN;
	as->listener = parent->listener;
	listener_get(as->listener);
	child = ctx_alloc(as, (int)parent->index, owner);
	if (!child) {
		platform_as_put(as);
		return -ENOMEM;
	}
	/* The child's memory and the table of what is patched in it must agree. */
	patching_stop(parent->as);
	as->patches = patches_get(parent->as->patches);
	as->shares_text = parent->as->shares_text;
	ret = clone_child(parent, child, CMD_FORK, CLONE_PARENT | CLONE_FILES,
			  (uint64_t)systrap.slots_fd, as->index * SLOT_REGION);
	patching_resume(parent->as);
	if (ret) {
		platform_as_kill(as);
		ctx_free(child);
		platform_as_put(as);
		return ret;
	}
	*as_out = as;
	*child_out = child;
	return 0;
}

int platform_clone_thread(struct platform_ctx *parent, void *owner, struct platform_ctx **child_out)
{
	struct platform_ctx *child = ctx_alloc(parent->as, -1, owner);
	int ret;

	if (!child)
		return -EAGAIN;
	ret = clone_child(parent, child, CMD_THREAD,
			  CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
				  CLONE_SYSVSEM,
			  0, slot_stub_addr(child->index));
	if (ret) {
		ctx_free(child);
		return ret;
	}
	*child_out = child;
	return 0;
}

int platform_as_create(void *owner, struct platform_as **as_out, struct platform_ctx **ctx_out)
{
	struct platform_ctx *ctx;
	struct platform_as *as;
	int ret = -EAGAIN;

	as = spare_take(&ret);
	if (!as)
		return ret;
	ctx = ctx_alloc(as, 0, owner);
	if (!ctx) {
		platform_as_kill(as);
		platform_as_put(as);
		return -ENOMEM;
	}
	ctx->slot->stub_sleeping =
		1; /* it is, or is about to be: a wake-up too many does no harm */
	ctx->tid = as->pid;
	tid_insert(ctx);
	platform_reset_fpstate(ctx);
	*as_out = as;
	*ctx_out = ctx;
	return 0;
}

void platform_ctx_exit(struct platform_ctx *ctx)
{
	static const uint64_t none[6];
	struct worker *w = worker_self();
	struct platform_as *as = ctx->as;
	bool last;

	if (w->cur == ctx)
		w->cur = NULL;
	mutex_lock(&as->lock);
	last = as->nctx == 1;
	mutex_unlock(&as->lock);
	ctx_claim(ctx); /* a dying one may be in the guest */
	if (last || as->dead) {
		platform_as_kill(as);
		ctx_free(ctx);
		return;
	}
	if (ctx->tid == as->pid) {
		/* The stub's first thread stays: the process is known by its id. */
		ctx_free(ctx);
		return;
	}
	arm(ctx, SYS_exit, none);
	atomic_store(&ctx->state, CTX_EXITING);
	atomic_fetch_add(&ctx->listener->in_guest, 1);
	ctx->slot->cmd = CMD_EXIT;
	struct listener *l = ctx->listener;
	listener_get(l);
	ctx_wake_stub(ctx, TURN_COMMAND);
	if (w->lead != l)
		worker_ensure_leader(l);
	listener_put(l);
}
