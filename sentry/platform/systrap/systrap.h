/*
 * The systrap platform's own structures. Lock order: listener->lock -> pool.lock -> as_table.lock
 * -> as->lock -> tid_table.lock; none is held across a host call that can block.
 */
#ifndef MOAT_SENTRY_PLATFORM_SYSTRAP_H
#define MOAT_SENTRY_PLATFORM_SYSTRAP_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/platform/shared/ops.h"
#include "sentry/platform/platform.h"
#include "sentry/platform/shared/filter.h"
#include "sentry/platform/shared/stub_host.h"
#include "sentry/platform/shared/object.h"
#include "sentry/platform/shared/spare.h"
#include "sentry/platform/shared/stub_pid.h"
#include "sentry/platform/shared/usage.h"
#include "sentry/platform/shared/vdso.h"
#include "sentry/platform/shared/zygote.h"
#include "sentry/platform/systrap/layout.h"

#ifdef __SANITIZE_THREAD__
#define MAX_AS 1024 /* more regions than these find no room beside ThreadSanitizer's shadow */
#else
#define MAX_AS 16384
#endif
#define KICK_SIGNAL SIGURG
/* The exit signal of stubs: real-time signals queue, each with its pid. */
#define STUB_EXIT_SIGNAL (__SIGRTMIN + 3)
/* Wakes a leader out of NOTIF_RECV. */
#define LEADER_SIGNAL (__SIGRTMIN + 4)

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
	_Atomic pid_t leader_tid;
	_Atomic int in_guest; /* contexts that may send a notification by themselves */
	_Atomic int in_recv;  /* the leader sleeps in NOTIF_RECV, or is about to */
	_Atomic int nudged;   /* it is to look around again first */
	bool orphaned;	      /* waits in the pool for a leader: pool.lock */
	STAILQ_ENTRY(listener) orphan_link;
	struct child_list {
		struct platform_ctx *first; /* children whose first notification is awaited */
	} children;
};

/* CTX_EXITING: its thread is to exit. CTX_PARKED: its thread waits for another context that takes
 * it over. Whoever makes it CTX_LEAVING from there frees it. */
enum ctx_state { CTX_OWNED, CTX_GUEST, CTX_EXITING, CTX_PARKED, CTX_LEAVING };

/* The state is the lower bits of a word whose upper ones count the visits to the guest: who has
 * seen the event of one visit, and is late, must not take a later one for it. */
#define CTX_STATE_MASK 7ULL
#define CTX_VISIT 8ULL

/* Threads of an address space that wait for a new context. */
#define MAX_PARKED 16
/* The index of a context whose slot is another's now. */
#define NO_SLOT UINT32_MAX

struct platform_ctx {
	/* struct ctx_head's */
	struct guest_regs regs;
	void *owner;
	struct platform_as *as;
	_Atomic pid_t tid;
	uint64_t cpu_ns_before, cpu_ns_seen;

	struct listener *listener; /* as->listener */
	struct slot *slot;	   /* the sentry's mapping */
	uint32_t index;		   /* in the address space's slot region */
	_Atomic uint64_t state;	   /* CTX_*, and the visits */
	struct refcount refs; /* whoever owns it; a worker that has just given it to the guest */
	_Atomic uint32_t seq; /* the last hand-over that was taken; a ring with it is late */
	uint64_t notif_id;    /* an unanswered doorbell, or 0: the owner's */
	_Atomic int kicked;
	/* What the watchdog sees: a worker waits for the stub, and whether patience is short. */
	_Atomic bool cmd_waits;
	_Atomic int hurry; /* HURRY_* */
	bool was_parked;   /* CTX_PARKED, then CTX_LEAVING: counted in as->nparked; as->lock */
	bool has_run;	   /* it has been in the guest; as->lock */
	/* The watchdog's: how long it has owed an answer, its user time then, and how long it
	 * has slept. */
	_Atomic unsigned owed_ms;
	unsigned slept_ms;
	uint64_t user_ms, waited_ms;
	bool suspended;	    /* on the ready queue to be continued, not with an event */
	bool start;	    /* on the ready queue to be resumed, not with an event */
	bool fast;	    /* the last event came through the patched entry */
	bool executes;	    /* on its next resume it makes the call in the slot */
	bool fpu_live;	    /* the guest's FPU state is in the CPU of the stub */
	bool fpu_pending;   /* fpu_addr is to be loaded */
	uint64_t fpu_addr;  /* stub address of the FPU image, checked */
	uint64_t fs_loaded; /* without FSGSBASE: the stub thread's FS base */
	/* Spinning: see worker.c */
	uint32_t heat;	      /* events in a row that came soon after the resume */
	uint32_t spin_misses; /* spins in vain since the last good run */
	uint32_t spin_skip;   /* events for which not to try */
	uint32_t spin_hits;
	int64_t resumed_at;	   /* monotonic ns */
	_Atomic bool spun_in_vain; /* by a worker that does not own it any more */
	bool spinning;		   /* stub and worker stand on different CPUs, polling */
	struct mutex order_lock;   /* for the leader, who compares, and the owner, who orders */
	/* The order that is open: what the notification must equal. */
	int order; /* ORDER_* */
	uint64_t cmd_nr, cmd_args[6];
	_Atomic uint32_t cmd_end; /* END_*: its end, for the worker that waits for it */
	/* Commands put off until the stub's next turn, and how far it has come with them. */
	unsigned nbatch; /* the owner's */
	unsigned batch_armed, batch_next;
	struct {
		uint64_t nr, args[6];
	} batch[8];
	/* While it is expected: on listener->children. */
	struct platform_ctx *next_child;
	struct platform_as *parent;  /* whose clone makes it */
	struct platform_ctx *maker;  /* and which of its contexts; listener->lock */
	struct platform_ctx *making; /* the child that is expected of this one; listener->lock */
	bool called;		     /* the clone that makes it was let through; listener->lock */
	uint32_t cookie;	     /* a new process's: known from its parent's order; not 0 */
	struct platform_ctx *hash_next; /* tid table */
	TAILQ_ENTRY(platform_ctx) as_link, ready_link;
	struct platform_event event; /* while on the ready queue */
};

ASSERT_CTX_HEAD(struct platform_ctx);

struct platform_as {
	/* struct as_head's */
	pid_t pid;
	_Atomic bool dead; /* the stub is gone or being killed */
	_Atomic int nctx;
	struct as_head *pid_next;
	/* The one context, with a batch, and the worker that owns it; NULL: no batch. */
	struct platform_ctx *_Atomic batch_ctx;

	struct worker *_Atomic batch_worker;
	struct refcount refs; /* the kernel's, and one per context */
	uint32_t index;
	struct listener *listener;
	struct mutex lock;
	TAILQ_HEAD(, platform_ctx) ctxs;
	uint64_t used[SLOTS_PER_AS / 64]; /* slots in use */
	int nparked;			  /* contexts that are CTX_PARKED; lock */
	_Atomic int waiting;		  /* workers that wait for what one of its threads does */
	_Atomic int clones;		  /* let through, and the child has not been seen yet */
	_Atomic unsigned cloning, cloned; /* let through and not over; let through at all */
	_Atomic uint32_t inherited; /* the parent's region, while it may still be mapped; or 0 */
	int forking;		    /* forks under way: no patching meanwhile; lock */
	bool shares_text;	    /* never patch; lock */
	bool exposed;		    /* likewise: a debugger looks at it */
	bool restored;		    /* and what had been patched is as it was before; lock */
	bool patching;		    /* a worker is at it: no fork, no second one; lock */
	struct patches *patches;    /* patched sites, or NULL; owned by whoever owns a context */
	unsigned in_crowd;	    /* the watchdog's: the most threads that it has seen */
	_Atomic unsigned end; /* AS_EXITED: its exit signal has come; AS_ORPHAN: no references */
};

ASSERT_AS_HEAD(struct platform_as);

/*
 * An order: expected; let through, at least once; none. One that was let through may be asked for
 * again while it is open: where the host's kernel is interrupted on the way to the call it starts
 * anew.
 */
#define ORDER_NONE 0
#define ORDER_EXPECTED 1
#define ORDER_SEEN 2
#define ORDER_SKIPPED 3 /* its end has come without it */

/* Its end is the stub thread's own doorbell, which it cannot ring while it is in the call. */
#define END_NONE 0
#define END_AWAITED 1
#define END_RINGING 2 /* a leader has it and writes down the ring */
#define END_HERE 3

#define HURRY_NONE 0
#define HURRY_SHARED 1 /* the guest's process is to die; another one shares the stub */
#define HURRY_ALONE 2

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
	uint32_t features;   /* STUB_*: what the stubs may use of this host */
	bool direct_futexes; /* stubs make the calls on private futexes */
	int slots_fd;
	char *slots; /* all regions */
	pid_t zygote_pid;
	struct slot *zygote;
	struct mutex zygote_lock;
	void (*worker_main)(void);
	_Atomic bool down;
	_Atomic bool
		futex_mode; /* notifications do not wake on the same CPU: events come by futex */
};
extern struct systrap systrap;

/* What the files below have of struct platform_ops; see platform.h. */
int systrap_as_create(void *owner, struct platform_as **as, struct platform_ctx **ctx);
int systrap_fork(struct platform_ctx *parent, void *owner, struct platform_as **as,
		 struct platform_ctx **child);
int systrap_clone_thread(struct platform_ctx *parent, void *owner, uint64_t fs_base,
			 struct platform_ctx **child);
void systrap_ctx_exit(struct platform_ctx *ctx);
void systrap_as_get(struct platform_as *as);
void systrap_as_put(struct platform_as *as);
void systrap_as_kill(struct platform_as *as);
struct platform_ctx *systrap_next(struct platform_ctx *ctx, bool full,
				  struct platform_event *event);
int systrap_resume(struct platform_ctx *ctx);
bool systrap_may_suspend(struct platform_ctx *ctx);
void systrap_continue(struct platform_ctx *ctx);
void systrap_kick(struct platform_ctx *ctx);
void systrap_hurry(struct platform_ctx *ctx, int nthreads);
void systrap_block_begin(void);
void systrap_block_end(void);
void systrap_set_worker_main(void (*worker_main)(void));
int systrap_get_fpstate(struct platform_ctx *ctx, void *buf, size_t size);
int systrap_set_fpstate(struct platform_ctx *ctx, const void *buf, size_t size);
int systrap_reset_fpstate(struct platform_ctx *ctx);
int systrap_memory_call(struct platform_ctx *ctx, uint64_t nr, const uint64_t args[6]);
int systrap_word_op(struct platform_ctx *ctx, uint64_t addr, enum platform_word_op op, uint32_t arg,
		    uint32_t expected, uint32_t *old);
void systrap_text_changed(struct platform_as *as, uint64_t addr, uint64_t len);
void systrap_text_shared(struct platform_as *as);
void systrap_expose(struct platform_ctx *ctx);
void systrap_set_identity(struct platform_ctx *ctx, const struct platform_identity *id);
void systrap_set_parent(struct platform_ctx *ctx, int32_t ppid);
void systrap_lend_mask(struct platform_ctx *ctx, uint64_t mask);
uint64_t systrap_take_mask(struct platform_ctx *ctx);
bool systrap_executes_futexes(void);
void systrap_execute(struct platform_ctx *ctx, uint64_t nr, const uint64_t args[6],
		     int64_t deadline);
void systrap_execute_report(struct platform_ctx *ctx);
void systrap_execute_not(struct platform_ctx *ctx);
bool systrap_sleeps(struct platform_ctx *ctx);

/* direct.c */
void direct_init(void);
/* The stub has reported EVENT_RESTART; registers are loaded. */
void direct_load_restart(struct platform_ctx *ctx, struct platform_event *event);
/* Whether ctx's thread sleeps in a futex call, and how many of all do: by their own word. */
bool ctx_sleeps(struct platform_ctx *ctx);
int as_sleepers(struct platform_as *as);
int systrap_sleepers(void);
/* Before and after a site is patched: who sleeps meanwhile comes to the sentry when it wakes. */
void patch_gen_bump(struct platform_as *as);

/* as.c */
/* An address space without a process. parent: whose fork it is to be, or NULL. */
struct platform_as *as_alloc(struct platform_as *parent);
/* After the process has been reaped, or never was. */
void as_free(struct platform_as *as);
/* stub_pid.h's, for address spaces. */
int as_register(struct platform_as *as, pid_t pid);
void as_unregister(struct platform_as *as);
/* The stub has used its own slot region: it has it mapped, and its parent's no more. */
void as_proved(struct platform_as *as);
void region_put(uint32_t index);
void as_kill_all(void);
/* No reference is taken: an address space is not freed before its AS_EXITED is set. */
struct platform_as *as_by_pid(pid_t pid);
/* The first address space with index >= *i, its lock held together with the table's; *i is its
 * index. NULL: none. */
struct platform_as *as_lock_nth(uint32_t *i);
void as_unlock_nth(struct platform_as *as);

/* strays.c: processes and threads that a stub has made and not told of. */
/* The caller of a notification is not known: kills its process. */
void stray_kill_caller(struct listener *l, const struct seccomp_notif *n);
/* The address space that had this region is gone and may have left children behind: kills them,
 * then puts the region. From any thread; done in the background. */
void strays_sweep(uint32_t region);
/* Is there a child of parent's that has not shown itself (thread: a further thread of its)? The
 * clone(2) that may have made it is over; others of parent's, or the host, may keep us from knowing
 * now. own: how many of those that count as under way are the caller's. */
enum strays { STRAYS_NONE, STRAYS_SOME, STRAYS_UNKNOWN };
enum strays strays_look(struct platform_as *parent, bool thread, unsigned own);
/* parent says that its clone that was let through has failed. True if no child of it is there. */
bool strays_none(struct platform_as *parent, bool thread);
int strays_start(void);

/* slots.c */
int slots_init(void);
void slots_discard(void); /* after a start that failed: nobody has a slot */
struct platform_ctx *ctx_alloc(struct platform_as *as, int index, void *owner);
void ctx_free(struct platform_ctx *ctx); /* frees the slot, drops the owner's reference */
/* A context with the thread and the slot of a parked one of as's; NULL: there is none. */
struct platform_ctx *ctx_take_parked(struct platform_as *as, void *owner);
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
void tid_insert(struct platform_ctx *ctx);
void tid_remove(struct platform_ctx *ctx);
/* True if tid is the thread of one of as's contexts. */
bool as_has_thread(struct platform_as *as, pid_t tid);
/* The slots that no thread has a use for are memory all the same: what there is in the region
 * beyond a slot for each thread. */
uint64_t systrap_taken_memory(struct platform_as *as);
struct platform_ctx *tid_find(pid_t tid); /* with a reference; NULL: not ours */

/* zygote.c */
int zygote_start(void);
/* A clean stub, one reference; NULL with *err set. */
struct platform_as *zygote_make_clean(int *err);

/* filter.c */
/* Write at most STUB_FILTER_MAX instructions; return how many. */
unsigned trap_filter(struct sock_filter *insns, uint32_t features);
unsigned notify_filter(struct sock_filter *insns, uint32_t features);

/* listener.c */
struct listener *listener_alloc(int fd);
void listener_get(struct listener *l);
void listener_put(struct listener *l);
/* The caller leads l. Receives and handles one notification (blocks). Returns a context that now
 * has an event for the caller, or NULL (something else was handled, or interrupted). `mine` is the
 * context whose command the caller waits for, or NULL. */
struct platform_ctx *listener_receive(struct listener *l, struct platform_ctx *mine);
static inline uint64_t fork_fd_argument(uint32_t cookie)
{
	/* mmap(2) takes the descriptor from the lower half of its register. */
	return (uint64_t)systrap.slots_fd | (uint64_t)cookie << 32;
}
/* Answers an open doorbell; false: nobody waits for that any more. */
bool listener_answer(struct listener *l, uint64_t id);
/* Do answers wake the stub on the CPU of whoever answers (as they do at first), or on any? */
void listener_wake_here(struct listener *l, bool here);
/* Makes the leader look around again if it sleeps in the receive. Any thread, any locks. */
void listener_nudge(struct listener *l);
int listener_init(void);

/* worker.c */
struct worker *worker_self(void);
/* For the check of lock order: the lead of a listener is waited for like a lock, by whoever waits
 * for the end of a command. */
#ifdef MOAT_DEBUG
extern struct lock_tag lead_tag;
#define lead_taken(l) lock_order_taken(&lead_tag, l, "the lead of a listener at " LOCK_PLACE)
#define lead_dropped(l) lock_order_released(&lead_tag, l, LOCK_PLACE)
#define lead_waited_for() lock_order_waits(&lead_tag, "the end of a command at " LOCK_PLACE)
#else
#define lead_taken(l) ((void)0)
#define lead_dropped(l) ((void)0)
#define lead_waited_for() ((void)0)
#endif
bool worker_take_lead(struct worker *w, struct listener *l); /* true if w leads l now */
void worker_drop_lead(struct worker *w);		     /* hands on if needed */
void worker_ensure_leader(struct listener *l);
void worker_dispatch(struct platform_ctx *ready); /* queue an owned context with its event */
/* The watchdog's: the stub says that it has an event since long. Takes it in place of whoever polls
 * for it, or should receive the ring, and does not get a CPU. A reference is held, no lock. */
void worker_take_late(struct platform_ctx *ctx);
void ctx_load_event(struct platform_ctx *ctx, struct platform_event *event);
/* From the guest to owned, for the one who succeeds: the caller then owns ctx. */
bool ctx_claim(struct platform_ctx *ctx);
/* Likewise, but only in this visit: the word that ctx->state was. */
bool ctx_claim_visit(struct platform_ctx *ctx, uint64_t visit);
static inline enum ctx_state ctx_state(const struct platform_ctx *ctx)
{
	return (enum ctx_state)(ctx->state & CTX_STATE_MASK);
}
/* The owner's, and for a context on its way out that of whoever has made it CTX_LEAVING. */
static inline void ctx_set_state(struct platform_ctx *ctx, enum ctx_state state)
{
	ctx->state = (ctx->state & ~CTX_STATE_MASK) | state;
}
/* The caller's from now on: the doorbell that the next wake-up answers, or 0. */
uint64_t ctx_take_ring(struct platform_ctx *ctx);
/* Gives the turn to the stub. Needs a reference only: see give_to_guest(). */
void ctx_wake_stub(struct platform_ctx *ctx, uint32_t turn, uint64_t ring);

/* command.c */
/* Executes what has been put off; -ESRCH: the stub is dead. */
int ctx_flush(struct platform_ctx *ctx);
/* Hands the batch to the stub together with the next turn. */
void ctx_post_batch(struct platform_ctx *ctx);
/* Takes it back: the turn has not been given. */
void ctx_recall_batch(struct platform_ctx *ctx);
/* After a hand-over: -ESRCH if the stub has not done what was put off, and is killed. */
int ctx_check_obeyed(struct platform_ctx *ctx);
/* Before access to guest memory from outside. */
void as_flush(struct platform_as *as);
/* From CTX_EXITING or CTX_PARKED to CTX_LEAVING, for the one who succeeds. */
bool ctx_left(struct platform_ctx *ctx);
/* The second alone. */
bool ctx_left_parked(struct platform_ctx *ctx);
/* Executes a command in the stub. 0 and the stub's word for its result, which may be NULL; -ESRCH:
 * the stub is dead. */
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

/* command.c: maps the range of the trampolines, which the kernel may not touch. */
int map_reserved(struct platform_ctx *ctx);

/* watchdog.c */
int watchdog_start(void);
/* A stub owes an answer from now on; urgent: soon. */
void watchdog_note(bool urgent);

/* reaper.c */
int reaper_start(void);
/* Instead, after a start that failed: takes what the dead stubs have left. */
void reaper_drain(void);

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
