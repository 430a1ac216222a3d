/*
 * Notifications. One listener per fresh stub; its forks and threads inherit it. At most one worker,
 * the leader, receives from it at a time.
 *
 * A notification is one of three things: the doorbell (a context has an event, or has finished a
 * command), a command's syscall (let through only if it equals what the sentry ordered, and once),
 * or a new child's first call. Anything else is tampering, and the process dies for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sentry/platform/systrap.h"

struct listener *listener_alloc(int fd)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	refcount_init(&l->refs);
	l->fd = fd;
	mutex_init(&l->lock);
	return l;
}

void listener_get(struct listener *l)
{
	refcount_inc(&l->refs);
}

void listener_put(struct listener *l)
{
	if (!refcount_dec(&l->refs))
		return;
	close(l->fd);
	mutex_destroy(&l->lock);
	free(l);
}

void listener_interrupt(struct listener *l)
{
	/* The signal may come just before the leader sleeps: repeat until it has left. */
	for (int i = 0; i < 1000 && l->in_recv; i++) {
		struct worker *w;
		pid_t tid;

		mutex_lock(&l->lock);
		w = l->leader;
		tid = w ? w->tid : 0;
		mutex_unlock(&l->lock);
		if (!tid)
			return;
		syscall(SYS_tgkill, getpid(), tid, LEADER_SIGNAL);
		usleep(50);
	}
}

static void respond(struct listener *l, uint64_t id, bool let_through)
{
	struct seccomp_notif_resp resp = {
		.id = id,
		.flags = let_through ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0,
	};

	/* ENOENT: the thread has died meanwhile. */
	ioctl(l->fd, SECCOMP_IOCTL_NOTIF_SEND, &resp);
}

void listener_reply(struct platform_ctx *ctx)
{
	uint64_t id = ctx->notif_id;

	if (!id)
		return;
	ctx->notif_id = 0;
	respond(ctx->listener, id, false);
}

void listener_wake_here(struct listener *l, bool here)
{
	__u64 flags = here ? SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP : 0;

	ioctl(l->fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, flags);
}

static bool args_equal(const struct seccomp_data *data, const uint64_t args[6])
{
	return !memcmp(data->args, args, 6 * sizeof(uint64_t));
}

static void tampered(struct platform_as *as, const struct seccomp_notif *n)
{
	log_warn("tampering: stub thread %u at %#llx called %d(%#llx, %#llx, %#llx, %#llx, %#llx, "
		 "%#llx)",
		 n->pid, n->data.instruction_pointer, n->data.nr, n->data.args[0], n->data.args[1],
		 n->data.args[2], n->data.args[3], n->data.args[4], n->data.args[5]);
	if (as)
		platform_as_kill(as);
	else
		kill((pid_t)n->pid, SIGKILL);
}

/*
 * The first call of a thread that we do not know: a forked child maps its slot region, a new thread
 * sets its signal stack. Only clones that we let through make such threads.
 */
static void first_call(struct listener *l, const struct seccomp_notif *n)
{
	struct platform_ctx **p, *ctx = NULL;
	const uint64_t fork_args[6] = {STUB_SLOTS,
				       SLOT_REGION,
				       PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_FIXED,
				       (uint64_t)systrap.slots_fd,
				       0};
	bool is_fork = n->data.nr == SYS_mmap;

	mutex_lock(&l->lock);
	for (p = &l->children.first; *p; p = &(*p)->next_child) {
		uint64_t want[6];

		if (is_fork) {
			memcpy(want, fork_args, sizeof(want));
			want[5] = (*p)->as->index * SLOT_REGION;
			if ((*p)->as->pid || !args_equal(&n->data, want))
				continue;
		} else if (n->data.nr == SYS_sigaltstack) {
			uint64_t ss = slot_stub_addr((*p)->index) + offsetof(struct slot, scratch);

			/* Forks share the listener, and the same slot index: it must be a thread
			 * of this very process. */
			if (!(*p)->as->pid || n->data.args[0] != ss || n->data.args[1] ||
			    syscall(SYS_tgkill, (*p)->as->pid, n->pid, 0))
				continue;
		} else {
			break;
		}
		ctx = *p;
		*p = ctx->next_child;
		break;
	}
	/* All under the lock: a parent that gives up takes it before it frees the child. */
	if (ctx) {
		if (is_fork)
			ctx->as->pid = (pid_t)n->pid;
		ctx->tid = (pid_t)n->pid;
		tid_insert(ctx);
	}
	mutex_unlock(&l->lock);
	if (!ctx) {
		tampered(NULL, n);
		return;
	}
	respond(l, n->id, true);
	futex_wake_word(&ctx->tid, 1);
}

static void exit_let_through(struct listener *l, struct platform_ctx *ctx, uint64_t id)
{
	atomic_fetch_sub(&l->in_guest, 1);
	tid_remove(ctx);
	respond(l, id, true);
	ctx->tid = 0;
	ctx_free(ctx);
}

/* The doorbell. Returns the context if it now has an event for whoever received this. */
static struct platform_ctx *doorbell(struct listener *l, struct platform_ctx *ctx,
				     const struct seccomp_notif *n, struct platform_ctx *mine)
{
	uint32_t seq = (uint32_t)n->data.args[0];
	uint64_t id = n->id;

	/* A worker that polls may have taken the event already and given the turn back: then this
	 * ring is late and means nothing. */
	if (seq == ctx->seq) {
		respond(l, id, false);
		return NULL;
	}
	if (ctx_claim(ctx)) {
		ctx->seq = seq;
		ctx->notif_id = id;
		ctx_load_event(ctx, &ctx->event);
		return ctx;
	}
	if (ctx == mine) {
		/* My command is done. */
		ctx->seq = seq;
		ctx->notif_id = id;
		ctx->cmd_done = 1;
		return NULL;
	}
	/* Its worker polls or sleeps on the slot and will see the turn: nothing to keep. */
	respond(l, id, false);
	return NULL;
}

/* A notification of ctx's thread. Returns ctx if it now has an event for whoever received this. */
static struct platform_ctx *handle(struct listener *l, struct platform_ctx *ctx,
				   const struct seccomp_notif *n, struct platform_ctx *mine)
{
	if (n->data.nr == DOORBELL_NR)
		return doorbell(l, ctx, n, mine);
	if (ctx->cmd_armed && (uint64_t)(uint32_t)n->data.nr == ctx->cmd_nr &&
	    args_equal(&n->data, ctx->cmd_args)) {
		ctx->cmd_armed = 0;
		if (ctx->state == CTX_EXITING)
			exit_let_through(l, ctx, n->id);
		else
			respond(l, n->id, true);
		return NULL;
	}
	if (ctx->batch_next < ctx->batch_armed &&
	    (uint64_t)(uint32_t)n->data.nr == ctx->batch[ctx->batch_next].nr &&
	    args_equal(&n->data, ctx->batch[ctx->batch_next].args)) {
		ctx->batch_next++;
		respond(l, n->id, true);
		return NULL;
	}
	tampered(ctx->as, n);
	return NULL;
}

struct platform_ctx *listener_receive(struct listener *l, struct platform_ctx *mine)
{
	struct seccomp_notif n = {0};
	struct platform_ctx *ctx, *event = NULL;
	int ret;

	l->in_recv = 1;
	if (!mine && l->in_guest <= 0) {
		l->in_recv = 0;
		return NULL;
	}
	if (mine && mine->as->dead) {
		l->in_recv = 0;
		return NULL;
	}
	ret = ioctl(l->fd, SECCOMP_IOCTL_NOTIF_RECV, &n);
	l->in_recv = 0;
	if (ret)
		return NULL; /* EINTR: interrupted; ENOENT: the caller died */
	ctx = tid_find((pid_t)n.pid);
	if (!ctx || ctx->listener != l)
		first_call(l, &n);
	else
		event = handle(l, ctx, &n, mine);
	if (ctx)
		ctx_put(ctx);
	return event;
}
