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
#include <ucontext.h>
#include <unistd.h>

#include "sentry/counters/counters.h"
#include "sentry/platform/systrap/systrap.h"

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

/*
 * The receive, and a way to end it from outside without a race. A signal ends the system call once
 * it sleeps; before that, from _check to _call, the handler moves the program counter on to where
 * the call was interrupted.
 */
long listener_recv_call(int fd, unsigned long request, struct seccomp_notif *n,
			_Atomic int *nudged);
extern const char listener_recv_check[], listener_recv_syscall[], listener_recv_interrupted[];

_Static_assert(EINTR == 4 && SYS_ioctl == 16, "written as numbers below");

__asm__(".pushsection .text\n"
	".globl listener_recv_call\n"
	".type listener_recv_call, @function\n"
	"listener_recv_call:\n"
	"	endbr64\n"
	"	movq %rcx, %r8\n"
	"listener_recv_check:\n"
	"	cmpl $0, (%r8)\n"
	"	jne listener_recv_interrupted\n"
	"	movl $16, %eax\n"
	"listener_recv_syscall:\n"
	"	syscall\n"
	"	ret\n"
	"listener_recv_interrupted:\n"
	"	movq $-4, %rax\n"
	"	ret\n"
	".size listener_recv_call, . - listener_recv_call\n"
	".popsection\n");

__attribute__((no_sanitize("thread"))) static void leader_signal(int signo, siginfo_t *info,
								 void *context)
{
	greg_t *rip = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];

	if (*rip >= (greg_t)listener_recv_check && *rip <= (greg_t)listener_recv_syscall)
		*rip = (greg_t)listener_recv_interrupted;
}

/* As the kernel takes it (man 2 rt_sigaction). */
struct kernel_sigaction {
	void (*handler)(int, siginfo_t *, void *);
	uint64_t flags;
	void (*restorer)(void);
	uint64_t mask;
};

void leader_signal_return(void);
__asm__(".pushsection .text\n"
	".globl leader_signal_return\n"
	".type leader_signal_return, @function\n"
	"leader_signal_return:\n"
	"	movl $15, %eax\n" /* rt_sigreturn */
	"	syscall\n"
	".size leader_signal_return, . - leader_signal_return\n"
	".popsection\n");

/* Not by sigaction(3): ThreadSanitizer's runs handlers later, with a copy of the registers. */
int listener_init(void)
{
	const struct kernel_sigaction sa = {
		.handler = leader_signal,
		.flags = SA_SIGINFO | 0x04000000 /* SA_RESTORER */,
		.restorer = leader_signal_return,
	};

	return syscall(SYS_rt_sigaction, LEADER_SIGNAL, &sa, NULL, 8) ? -errno : 0;
}

void listener_nudge(struct listener *l)
{
	pid_t tid;

	/* The caller has changed what the leader looks at before it sleeps. */
	l->nudged = 1;
	if (!l->in_recv)
		return;
	tid = l->leader_tid;
	if (tid)
		syscall(SYS_tgkill, getpid(), tid, LEADER_SIGNAL);
}

/* False: the call waits no more, because its thread has died or, before Linux 5.19, a kick has
 * taken it back. */
static bool respond(struct listener *l, const struct seccomp_notif_resp *resp)
{
	return !ioctl(l->fd, SECCOMP_IOCTL_NOTIF_SEND, (void *)resp);
}

bool listener_answer(struct listener *l, uint64_t id)
{
	return respond(l, &(struct seccomp_notif_resp){.id = id});
}

static void go_on(struct listener *l, uint64_t id)
{
	respond(l,
		&(struct seccomp_notif_resp){.id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE});
}

/* The stub asks again then. */
static void ask_again(struct listener *l, uint64_t id)
{
	respond(l, &(struct seccomp_notif_resp){.id = id, .error = -EINTR});
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
	systrap_as_kill(as);
}

enum call { CALL_STRANGE, CALL_ORDERED, CALL_AGAIN };

static enum call match_order(struct platform_ctx *ctx, const struct seccomp_notif *n)
{
	uint64_t nr = (uint32_t)n->data.nr;
	unsigned next;
	MUTEX_GUARD(&ctx->order_lock);

	if ((ctx->order == ORDER_EXPECTED || ctx->order == ORDER_SEEN) && nr == ctx->cmd_nr &&
	    args_equal(&n->data, ctx->cmd_args)) {
		bool again = ctx->order == ORDER_SEEN;

		ctx->order = ORDER_SEEN;
		return again ? CALL_AGAIN : CALL_ORDERED;
	}
	next = ctx->batch_next;
	if (next < ctx->batch_armed && nr == ctx->batch[next].nr &&
	    args_equal(&n->data, ctx->batch[next].args)) {
		ctx->batch_next++;
		return CALL_ORDERED;
	}
	if (next > 0 && nr == ctx->batch[next - 1].nr &&
	    args_equal(&n->data, ctx->batch[next - 1].args))
		return CALL_AGAIN;
	return CALL_STRANGE;
}

/* A clone(2) that was let through, asked for again: the host's kernel starts it anew where a signal
 * or a freezer comes in between; but then the first has made nothing. */
static void clone_again(struct listener *l, struct platform_ctx *ctx, const struct seccomp_notif *n)
{
	struct platform_as *as = ctx->as;
	enum strays strays = STRAYS_SOME;
	bool expected;

	mutex_lock(&l->lock);
	expected = ctx->making;
	mutex_unlock(&l->lock);
	/* No child shows itself meanwhile: the leader is here. */
	if (expected)
		strays = strays_look(as, n->data.args[0] & CLONE_THREAD, 1);
	if (strays == STRAYS_NONE)
		go_on(l, n->id);
	else if (strays == STRAYS_UNKNOWN)
		ask_again(l, n->id);
	else
		tampered(as, n);
}

/* Before the clone(2) is let through, and its child can be there. */
static void clone_begins(struct listener *l, struct platform_ctx *ctx)
{
	struct platform_as *as = ctx->as;

	mutex_lock(&l->lock);
	if (ctx->making)
		ctx->making->called = true;
	mutex_unlock(&l->lock);
	atomic_fetch_add(&as->clones, 1);
	atomic_fetch_add(&as->cloning, 1);
	atomic_fetch_add(&as->cloned, 1);
}

/* Lets through what was ordered from ctx's thread. */
static void let_through(struct listener *l, struct platform_ctx *ctx, const struct seccomp_notif *n,
			bool again)
{
	struct platform_as *as = ctx->as;

	/* The thread's id is in the table; but it is only a number, and the caller may be another
	 * process that has it now. (While the call waits, its own is its own.) */
	if (syscall(SYS_tgkill, as->pid, n->pid, 0)) {
		stray_kill_caller(l, n);
		return;
	}
	if (n->data.nr == SYS_clone && again) {
		clone_again(l, ctx, n);
		return;
	}
	if (n->data.nr == SYS_clone)
		clone_begins(l, ctx);
	go_on(l, n->id);
}

/* --- children ----------------------------------------------------------------------------------
 *
 * The first call of a thread that we do not know. Only clones that we let through make such
 * threads.
 *
 * A forked child maps its slot region, and shows with it the cookie that was in the order to its
 * parent: so it is that parent's child and no other's, and that it is a process of its own, and
 * new, the host says (as_register). A new thread sets its signal stack, and is of the process that
 * it was ordered for.
 */
static bool is_first_map(const struct platform_ctx *child, const struct seccomp_notif *n)
{
	const uint64_t want[6] = {
		STUB_SLOTS,
		SLOT_REGION,
		PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_FIXED,
		fork_fd_argument(child->cookie),
		child->as->index * SLOT_REGION,
	};

	return n->data.nr == SYS_mmap && child->cookie && args_equal(&n->data, want);
}

static bool is_first_sigaltstack(const struct platform_ctx *child, const struct seccomp_notif *n)
{
	uint64_t ss = slot_stub_addr(child->index) + offsetof(struct slot, scratch);

	/* Forks share the listener, and the same slot index: it must be a thread of this process.
	 */
	return n->data.nr == SYS_sigaltstack && !child->cookie && n->data.args[0] == ss &&
	       !n->data.args[1] && !syscall(SYS_tgkill, child->as->pid, n->pid, 0);
}

/* What it has shown itself with: it may have to ask for it again. */
static void order_seen(struct platform_ctx *ctx, const struct seccomp_notif *n)
{
	MUTEX_GUARD(&ctx->order_lock);

	ctx->order = ORDER_SEEN;
	ctx->cmd_nr = (uint32_t)n->data.nr;
	memcpy(ctx->cmd_args, n->data.args, sizeof(ctx->cmd_args));
}

/*
 * A ring of a thread that has no context any more. What it rang for another worker may have seen in
 * its turn word, and that may have ended its process, or its own context while it stays as the
 * process's first thread.
 */
static bool rings_late(struct listener *l, const struct seccomp_notif *n)
{
	struct platform_as *as;
	bool late = false;

	if (n->data.nr != DOORBELL_NR)
		return false;
	/* While its call waits, the thread's id is its own, and a process's is until it is reaped.
	 */
	for (uint32_t i = 1; !late && (as = as_lock_nth(&i)); i++) {
		late = as->listener == l && !(as->end & AS_EXITED) &&
		       (as->pid == (pid_t)n->pid ||
			(as->dead && !syscall(SYS_tgkill, as->pid, n->pid, 0)));
		as_unlock_nth(as);
	}
	return late;
}

static void first_call(struct listener *l, const struct seccomp_notif *n)
{
	struct platform_ctx **p, *ctx = NULL;

	mutex_lock(&l->lock);
	for (p = &l->children.first; *p; p = &(*p)->next_child)
		if ((*p)->called && (is_first_map(*p, n) || is_first_sigaltstack(*p, n))) {
			ctx = *p;
			break;
		}
	if (ctx && ctx->cookie && as_register(ctx->as, (pid_t)n->pid))
		ctx = NULL;
	/* All under the lock: a parent that gives up takes it before it frees the child. */
	if (ctx) {
		*p = ctx->next_child;
		ctx->maker->making = NULL;
		atomic_fetch_sub(&ctx->parent->clones, 1);
		ctx->tid = (pid_t)n->pid;
		order_seen(ctx, n);
		tid_insert(ctx);
		ctx_get(ctx);
	}
	mutex_unlock(&l->lock);
	if (!ctx && rings_late(l, n)) {
		listener_answer(l, n->id);
		return;
	}
	if (!ctx) {
		log_warn("tampering: unknown stub thread %u at %#llx called %d", n->pid,
			 n->data.instruction_pointer, n->data.nr);
		stray_kill_caller(l, n);
		return;
	}
	go_on(l, n->id);
	futex_wake_word(&ctx->tid, 1);
	ctx_put(ctx);
}

static void exit_let_through(struct listener *l, struct platform_ctx *ctx,
			     const struct seccomp_notif *n)
{
	struct platform_as *as = ctx->as;

	if (!ctx_left(ctx))
		return; /* the stub is dead */
	systrap_as_get(as);
	tid_remove(ctx);
	let_through(l, ctx, n, false);
	ctx->tid = 0;
	ctx_free(ctx);
	systrap_as_put(as);
}

static void order_over(struct platform_ctx *ctx)
{
	MUTEX_GUARD(&ctx->order_lock);

	if (ctx->order == ORDER_SEEN && ctx->cmd_nr == SYS_clone)
		atomic_fetch_sub(&ctx->as->cloning, 1);
	if (ctx->order == ORDER_EXPECTED)
		ctx->order = ORDER_SKIPPED;
	else if (ctx->order == ORDER_SEEN)
		ctx->order = ORDER_NONE;
}

/* Hand-overs are numbered, and go round: up to the last that was taken, a ring's is late. */
static bool is_late(const struct platform_ctx *ctx, uint32_t seq)
{
	return (int32_t)(seq - ctx->seq) <= 0;
}

/* The end of the command that ctx's worker waits for; false: it waits for none. */
static bool command_end(struct platform_ctx *ctx, uint32_t seq, uint64_t ring)
{
	uint32_t awaited = END_AWAITED;

	if (!atomic_compare_exchange_strong(&ctx->cmd_end, &awaited, END_RINGING))
		return false;
	/* The worker may have taken by polling, just now, what this ring is for, and have given the
	 * command after that. */
	if (is_late(ctx, seq)) {
		ctx->cmd_end = END_AWAITED;
		return false;
	}
	/* Before Linux 5.19 a kick can take the ring back; a call that is made then is too late. */
	order_over(ctx);
	ctx->seq = seq;
	ctx->notif_id = ring;
	ctx->cmd_end = END_HERE;
	return true;
}

/* The doorbell. Returns the context if it now has an event for whoever received this. `mine` is
 * whose command the caller waits for, or NULL. */
static struct platform_ctx *doorbell(struct listener *l, struct platform_ctx *ctx,
				     const struct seccomp_notif *n, struct platform_ctx *mine)
{
	uint32_t seq = (uint32_t)n->data.args[0], turn;
	uint64_t id = n->id, visit;

	/* A worker that polls may take the event, and give the turn back, between any two of these
	 * lines. Then the ring is late and means nothing. */
	do {
		visit = ctx->state;
		turn = __atomic_load_n(&ctx->slot->turn, __ATOMIC_ACQUIRE);
		if (is_late(ctx, seq)) {
			listener_answer(l, id);
			return NULL;
		}
	} while (visit != ctx->state);
	/* Only whoever has its own slot region mapped can have written that. */
	if (turn != TURN_SENTRY) {
		tampered(ctx->as, n);
		return NULL;
	}
	as_proved(ctx->as);
	if (ctx_claim_visit(ctx, visit)) {
		count(COUNT_EVENT_RING);
		ctx->seq = seq;
		ctx->notif_id = id;
		ctx_load_event(ctx, &ctx->event);
		return ctx;
	}
	if (command_end(ctx, seq, id)) {
		if (ctx != mine)
			futex_wake_word((void *)&ctx->cmd_end, 1);
		return NULL;
	}
	/* Its worker polls or sleeps on the slot and will see the turn: nothing to keep. */
	listener_answer(l, id);
	return NULL;
}

/* A notification of ctx's thread. Returns ctx if it now has an event for whoever received this. */
static struct platform_ctx *handle(struct listener *l, struct platform_ctx *ctx,
				   const struct seccomp_notif *n, struct platform_ctx *mine)
{
	enum call call;

	if (n->data.nr == DOORBELL_NR)
		return doorbell(l, ctx, n, mine);
	call = match_order(ctx, n);
	if (call == CALL_STRANGE)
		tampered(ctx->as, n);
	else if (ctx_state(ctx) == CTX_EXITING && n->data.nr == SYS_exit)
		exit_let_through(l, ctx, n);
	else
		let_through(l, ctx, n, call == CALL_AGAIN);
	return NULL;
}

struct platform_ctx *listener_receive(struct listener *l, struct platform_ctx *mine)
{
	struct seccomp_notif n = {0};
	struct platform_ctx *ctx, *event = NULL;
	long ret;

	if (!mine)
		lock_check_sleeps(l);
	l->nudged = 0;
	l->in_recv = 1;
	/* Whoever changes this nudges afterwards. */
	if (mine ? mine->as->dead : l->in_guest <= 0) {
		l->in_recv = 0;
		return NULL;
	}
	ret = listener_recv_call(l->fd, SECCOMP_IOCTL_NOTIF_RECV, &n, &l->nudged);
	l->in_recv = 0;
	if (ret)
		return NULL; /* EINTR: nudged; ENOENT: the caller died */
	ctx = tid_find((pid_t)n.pid);
	/* A dead thread's id may be another's already. */
	if (ctx && (ctx->listener != l ||
		    (ctx->as->dead && syscall(SYS_tgkill, ctx->as->pid, n.pid, 0)))) {
		ctx_put(ctx);
		ctx = NULL;
	}
	if (!ctx)
		first_call(l, &n);
	else
		event = handle(l, ctx, &n, mine);
	if (ctx)
		ctx_put(ctx);
	return event;
}
