/*
 * The systrap platform's own structures. Lock order: listener->lock -> pool.lock -> as_table.lock
 * -> tid_table.lock; none is held across a host call that can block.
 */
#ifndef MOAT_SENTRY_PLATFORM_SYSTRAP_H
#define MOAT_SENTRY_PLATFORM_SYSTRAP_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/platform/layout.h"
#include "sentry/platform/platform.h"

#define MAX_AS 16384
#define KICK_SIGNAL SIGURG
/* The exit signal of stubs: real-time signals queue, each with its pid. */
#define STUB_EXIT_SIGNAL (__SIGRTMIN + 3)
/* Wakes a leader out of NOTIF_RECV. */
#define LEADER_SIGNAL (__SIGRTMIN + 4)
/* How long a stub may take for a command before it is taken for hostile. */
#define COMMAND_TIMEOUT_NS (10LL * 1000000000)

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1UL
#endif

struct worker;
struct parker;

/* The notification fd of a fresh stub, its threads and its forks. */
struct listener {
	struct refcount refs;
	int fd;
	struct mutex lock;
	struct worker *leader; /* who receives from fd, or has been told to */
	_Atomic int in_guest;  /* contexts that may send a notification by themselves */
	_Atomic int in_recv;   /* the leader sleeps in NOTIF_RECV */
	struct child_list {
		struct platform_ctx *first; /* children whose first notification is awaited */
	} children;
};

enum ctx_state { CTX_OWNED, CTX_GUEST, CTX_EXITING };

struct platform_ctx {
	struct platform_as *as;
	struct listener *listener; /* as->listener */
	struct slot *slot;	   /* the sentry's mapping */
	uint32_t index;		   /* in the address space's slot region */
	void *owner;
	struct guest_regs regs;
	_Atomic int state;
	_Atomic pid_t tid;
	struct refcount refs;	/* whoever owns it; a worker that has just given it to the guest */
	_Atomic uint32_t seq;	/* the last hand-over that was taken; a ring with it is late */
	uint64_t notif_id;	/* an unanswered doorbell, or 0 */
	_Atomic int kick_looks; /* how often the watchdog has found it kicked and in the guest */
	_Atomic int kicked;
	bool suspended;	   /* on the ready queue to be continued, not with an event */
	bool start;	   /* on the ready queue to be resumed, not with an event */
	bool fast;	   /* the last event came through the patched entry */
	bool fpu_live;	   /* the guest's FPU state is in the CPU of the stub */
	bool fpu_pending;  /* fpu_addr is to be loaded */
	uint64_t fpu_addr; /* stub address of the FPU image, checked */
	/* Spinning: see worker.c */
	uint32_t heat;	      /* events in a row that came soon after the resume */
	uint32_t spin_misses; /* spins in vain since the last good run */
	uint32_t spin_skip;   /* events for which not to try */
	uint32_t spin_hits;
	int64_t resumed_at; /* monotonic ns */
	bool spinning;	    /* stub and worker stand on different CPUs, polling */
	/* The command under way: what the notification must equal. */
	_Atomic int cmd_armed; /* 1: expected, 0: seen or none */
	uint64_t cmd_nr, cmd_args[6];
	_Atomic int cmd_done;
	/* Commands put off until the stub's next turn, and how far it has come with them. */
	unsigned nbatch;
	_Atomic unsigned batch_armed, batch_next;
	struct {
		uint64_t nr, args[6];
	} batch[8];
	struct platform_ctx *next_child; /* listener->children */
	struct platform_ctx *hash_next;	 /* tid table */
	TAILQ_ENTRY(platform_ctx) as_link, ready_link;
	struct platform_event event; /* while on the ready queue */
};

struct platform_as {
	struct refcount refs; /* the kernel's, and one per context */
	uint32_t index;
	pid_t pid;
	struct listener *listener;
	struct mutex lock;
	TAILQ_HEAD(, platform_ctx) ctxs;
	int nctx;
	uint64_t used[SLOTS_PER_AS / 64]; /* slots in use */
	_Atomic bool dead;		  /* the stub is gone or being killed */
	/* The one context, with a batch, and the worker that owns it; NULL: no batch. */
	struct platform_ctx *_Atomic batch_ctx;
	struct worker *batch_worker;
	int forking;		 /* forks under way: no patching meanwhile; lock */
	bool shares_text;	 /* never patch; lock */
	bool patching;		 /* a worker is at it: no fork, no second one; lock */
	struct patches *patches; /* patched sites, or NULL; owned by whoever owns a context */
	_Atomic unsigned end;	 /* AS_EXITED: its exit signal has come; AS_ORPHAN: no references */
};

/* Whoever sets the second of these reaps the pid and frees the address space. */
#define AS_EXITED 1u
#define AS_ORPHAN 2u

struct worker {
	TAILQ_ENTRY(worker) idle_link;
	struct parker *parker;
	struct listener *lead; /* whose leader it is */
	struct platform_ctx *cur;
	struct platform_ctx *next; /* to be continued after the present event, or NULL */
	bool crowded;		   /* cur is such a one, and its waker runs on this CPU */
	pid_t tid;
};

struct systrap {
	struct platform_config config;
	int slots_fd;
	char *slots; /* all regions */
	pid_t zygote_pid;
	struct slot *zygote;
	struct mutex zygote_lock;
	size_t fpstate_size;
	void (*worker_main)(void);
	_Atomic bool down;
	bool futex_mode; /* notifications do not wake on the same CPU: events come by futex */
	int text_fd;
};
extern struct systrap systrap;

/* slots.c */
int slots_init(void);
struct platform_as *as_alloc(void);
void as_free(struct platform_as *as);
void as_kill_all(void);
/* The first address space with index >= *i, its lock held together with the table's; *i is its
 * index. NULL: none. */
struct platform_as *as_lock_nth(uint32_t *i);
void as_unlock_nth(struct platform_as *as);
struct platform_ctx *ctx_alloc(struct platform_as *as, int index, void *owner);
void ctx_free(struct platform_ctx *ctx); /* frees the slot, drops the owner's reference */
void ctx_put(struct platform_ctx *ctx);
static inline void ctx_get(struct platform_ctx *ctx)
{
	refcount_inc(&ctx->refs);
}
static inline struct slot *slot_of(uint32_t as_index, uint32_t index)
{
	return (struct slot *)(systrap.slots + as_index * SLOT_REGION + index * SLOT_SIZE);
}
static inline uint64_t slot_stub_addr(uint32_t index)
{
	return STUB_SLOTS + index * SLOT_SIZE;
}
/* No reference is taken: an address space is not freed before its AS_EXITED is set. */
struct platform_as *as_by_pid(pid_t pid);
void tid_insert(struct platform_ctx *ctx);
void tid_remove(struct platform_ctx *ctx);
struct platform_ctx *tid_find(pid_t tid); /* with a reference; NULL: not ours */

/* vdso.c */
int vdso_init(void);
void vdso_describe(struct zygote_args *args); /* where the host's is, to be moved */
void vdso_disable(void);

/* zygote.c */
int zygote_start(void);
int zygote_fresh(struct platform_as *as); /* fills pid and listener */
unsigned trap_filter(struct sock_filter *prog, unsigned max);
unsigned notify_filter(struct sock_filter *prog, unsigned max);

/* spare.c: a clean stub, one reference; NULL with *err set */
struct platform_as *spare_take(int *err);
int spare_start(void);

/* listener.c */
struct listener *listener_alloc(int fd);
void listener_get(struct listener *l);
void listener_put(struct listener *l);
/* The caller leads l. Receives and handles one notification (blocks). Returns a context that now
 * has an event for the caller, or NULL (something else was handled, or interrupted). `mine` is the
 * context whose command the caller waits for, or NULL. */
struct platform_ctx *listener_receive(struct listener *l, struct platform_ctx *mine);
void listener_reply(struct platform_ctx *ctx); /* answers ctx's open doorbell */
/* Do answers wake the stub on the CPU of whoever answers (as they do at first), or on any? */
void listener_wake_here(struct listener *l, bool here);
void listener_interrupt(struct listener *l);

/* worker.c */
struct worker *worker_self(void);
bool worker_take_lead(struct worker *w, struct listener *l); /* true if w leads l now */
void worker_drop_lead(struct worker *w);		     /* hands on if needed */
void worker_ensure_leader(struct listener *l);
void worker_dispatch(struct platform_ctx *ready); /* queue an owned context with its event */
void ctx_load_event(struct platform_ctx *ctx, struct platform_event *event);
/* From the guest to owned, for the one who succeeds: the caller then owns ctx. */
bool ctx_claim(struct platform_ctx *ctx);
void ctx_wake_stub(struct platform_ctx *ctx, uint32_t turn);

/* command.c */
/* Executes what has been put off; -ESRCH: the stub is dead. */
int ctx_flush(struct platform_ctx *ctx);
/* Hands the batch to the stub together with a turn; called just before ctx_wake_stub. */
void ctx_post_batch(struct platform_ctx *ctx);
/* Before access to guest memory from outside. */
void as_flush(struct platform_as *as);
int ctx_command(struct platform_ctx *ctx, uint32_t cmd, uint64_t nr, const uint64_t args[6],
		int64_t *result);

/* patch.c: lock: as->lock guards as->patches. */
/* After a trapped syscall: counts the site, patches it when it is hot. */
void patch_consider(struct platform_ctx *ctx);
/* as->lock held. Before a full resume: where to go instead of regs.rip, if a patch stands there. */
void patch_fix_resume(struct platform_ctx *ctx);
/* A SIGILL: true if it is a jump to the syscall of a patched site; the event becomes that syscall.
 */
bool patch_is_syscall(struct platform_ctx *ctx);
/* Keeps patching off while the address space is copied; nests. */
void patching_stop(struct platform_as *as);
void patching_resume(struct platform_as *as);
struct patches *patches_get(struct patches *p);
void patches_put(struct patches *p);

/* command.c: for ranges that the kernel may not touch. */
int platform_map_reserved(struct platform_ctx *ctx);

/* watchdog.c */
int watchdog_start(void);
void watchdog_note_kick(void);

/* reaper.c */
int reaper_start(void);

static inline long futex_wait_word(void *word, uint32_t value, const struct timespec *timeout);
long futex_op(void *word, int op, uint32_t value, const struct timespec *timeout);
static inline long futex_wait_word(void *word, uint32_t value, const struct timespec *timeout)
{
	return futex_op(word, 0 /* FUTEX_WAIT, shared */, value, timeout);
}
static inline void futex_wake_word(void *word, int n)
{
	futex_op(word, 1 /* FUTEX_WAKE, shared */, n, NULL);
}

#endif
