/*
 * The platform: how guest code runs, and how its syscalls and faults come into the sentry.
 *
 * Words:
 *   address space (struct platform_as)   one host process (the stub) that holds a guest's memory
 *   context (struct platform_ctx)        one guest thread: a host thread of a stub, and its slot
 *   worker                               a sentry thread; runs a context's event to the end
 *
 * Ownership of a context: it is either *in the guest* (running, nobody may touch its registers) or
 * *owned by one thread* (from the platform_next() that returned it, or the call that made it, to
 * the platform_next() or platform_resume() that gives it to the guest, or the platform_hand_over()
 * that gives it to another thread). All functions below that take a ctx need the caller to own it,
 * if they do not say something else.
 *
 * Only sentry/platform/ knows which implementation runs.
 */
#ifndef MOAT_SENTRY_PLATFORM_H
#define MOAT_SENTRY_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "sentry/arch/regs.h"

struct platform_as;
struct platform_ctx;

enum platform_event_kind {
	EVENT_SYSCALL,	   /* regs->orig_rax is the number; rip is past the instruction */
	EVENT_FAULT,	   /* a synchronous signal: fields below */
	EVENT_INTERRUPTED, /* kicked; registers are whole, orig_rax is -1 */
	EVENT_CONTINUE,	   /* platform_continue() was called; registers as they were left */
	EVENT_DEAD,	   /* the stub died or tampered: the process must be killed; no registers */
	EVENT_RESTART, /* kicked while it made a futex call: orig_rax is its number, the rest whole
			*/
};

struct platform_event {
	enum platform_event_kind kind;
	int signo, code;	/* EVENT_FAULT: SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP; si_code */
	uint64_t addr;		/* EVENT_FAULT: si_addr (cr2 for SIGSEGV) */
	uint32_t trapno, error; /* EVENT_FAULT: as in the host's sigcontext */
	int64_t slept_ns;	/* EVENT_RESTART: how long the call has slept */
};

/* Features of hosts that the platform does not need but makes use of. */
#define PLATFORM_WITHOUT_FSGSBASE 1u	   /* instructions for the FS and GS base (Linux 5.9) */
#define PLATFORM_WITHOUT_SYNC_WAKE_UP 2u   /* notifications wake on the same CPU (Linux 6.6) */
#define PLATFORM_WITHOUT_WAIT_KILLABLE 4u  /* received ones are not taken back (Linux 5.19) */
#define PLATFORM_WITHOUT_PROCESS_VM 8u	   /* process_vm_readv and _writev (an outer filter) */
#define PLATFORM_WITHOUT_NOTIFICATIONS 16u /* seccomp notifications: no systrap */
#define PLATFORM_WITHOUT_DIRECT_FUTEX 32u  /* stubs that make calls of the guest's themselves */

struct platform_config {
	const char *name; /* "systrap" or "ptrace"; NULL: the first of them that starts */
	int num_cpus;	  /* how many workers may usefully spin and run */
	uint32_t without; /* PLATFORM_WITHOUT_*: do as on a host that lacks them */
	int proc_fd; /* O_PATH fd of a procfs mount of the sandbox's pid namespace; not owned */
	/* The host's OOM killer (proc_pid_oom_score_adj(5)) is to leave the caller alone, who has
	 * set its own value so; stubs get this one. */
	bool oom_spared;
	int oom_score_adj;
	/* Called, from any thread of the platform's choosing, when ctx's stub died while no worker
	 * owned ctx. The kernel then kills the guest process and calls platform_ctx_exit(ctx). */
	void (*on_death)(struct platform_ctx *ctx, void *owner);
};

/* --- life of the platform ------------------------------------------------------------------ */

/* Creates the zygote and a first stub. Called before the sandbox's seccomp filter is installed and
 * before other threads exist. 0 or -errno, and platform_problem() then says more. If no name is
 * given and the platform is not systrap, the log says why. */
int platform_init(const struct platform_config *config);
/* What kept a platform from starting, for people. */
const char *platform_problem(void);
/* Of the one that runs. */
const char *platform_name(void);
/* The names of all, in order of preference; NULL after the last. At any time. */
const char *platform_choice(unsigned i);
/* The same name, if there is a platform of that name, or NULL. At any time. */
const char *platform_find(const char *name);
/* Does it trace its stubs? The sandbox's filter allows ptrace(2) for that alone. */
bool platform_traces(void);
/* Starts what needs threads (the reaper, the spare-stub maker). After the filter. */
int platform_start_threads(void);
/* Kills every stub and the zygote. */
void platform_shutdown(void);

/* --- address spaces and contexts ----------------------------------------------------------- */

/* Takes a clean stub (from the spare pool when one is ready): an address space with nothing mapped
 * below GUEST_TASK_SIZE, and its first context, owned by the caller, registers all zero. `owner`
 * is what platform_owner() answers (the task). One reference to *as for the caller. */
int platform_as_create(void *owner, struct platform_as **as, struct platform_ctx **ctx);
/* Clones parent's address space, copy on write, like fork(2): *child stands where parent stands,
 * with the same registers, FPU state and fs_base; owned by the caller, not running yet. */
int platform_fork(struct platform_ctx *parent, void *owner, struct platform_as **as,
		  struct platform_ctx **child);
/* A further context in parent's address space (CLONE_VM: threads and vfork children), same
 * registers and FPU state as parent, but with this fs_base, below GUEST_TASK_SIZE; owned by the
 * caller, not running yet. */
int platform_clone_thread(struct platform_ctx *parent, void *owner, uint64_t fs_base,
			  struct platform_ctx **child);
/* Ends the context: its host thread exits and the slot is freed. Consumes ctx. The stub goes with
 * its last context. */
void platform_ctx_exit(struct platform_ctx *ctx);
void platform_as_get(struct platform_as *as);
void platform_as_put(struct platform_as *as);
/* Kills the stub at once (SIGKILL). Contexts in the guest then report EVENT_DEAD or on_death. */
void platform_as_kill(struct platform_as *as);

void *platform_owner(struct platform_ctx *ctx);
void platform_set_owner(struct platform_ctx *ctx, void *owner);
struct platform_as *platform_ctx_as(struct platform_ctx *ctx);

/* --- running ------------------------------------------------------------------------------- */

/* The worker's private copy of the context's registers: what the last event left, and what the
 * next resume will load. Never points into shared memory. */
struct guest_regs *platform_regs(struct platform_ctx *ctx);
/* Resumes ctx (unless NULL) and waits for the next event of any context that this worker may
 * serve. Returns that context, now owned by the caller, with *event filled. NULL: shutting down.
 * `full` says that the handler changed registers other than rax (false allows the fast way back).
 */
struct platform_ctx *platform_next(struct platform_ctx *ctx, bool full,
				   struct platform_event *event);
/* Lets ctx run (full register load) without waiting for it: for a new child. */
int platform_resume(struct platform_ctx *ctx);
/* The caller owns ctx, and from now on another thread does, which the two arrange between them: it
 * has not run yet, and is resumed or ended there. */
void platform_hand_over(struct platform_ctx *ctx);
/* May the worker that runs ctx's event leave it, and take the next one by platform_next(NULL)? */
bool platform_may_suspend(struct platform_ctx *ctx);
/* Gives a context that was left so to some worker, as EVENT_CONTINUE: to the calling thread after
 * its present event if that is a worker, otherwise to an idle one. Any thread, any locks, once. */
void platform_continue(struct platform_ctx *ctx);
/* Makes ctx report an event soon. If a worker owns it, its next resume reports EVENT_INTERRUPTED
 * at once. Any thread; never blocks. The caller makes sure that ctx is not freed meanwhile. */
void platform_kick(struct platform_ctx *ctx);
/* The process of ctx, of so many threads, is being killed: from now on its stub gets 100 ms for
 * what it owes (the answer to a kick, a command's end), or 800 ms if another process that stays has
 * part in it, and is killed then. As platform_kick(). */
void platform_hurry(struct platform_ctx *ctx, int nthreads);
/* Around anything in which a worker may sleep for long: lets another worker serve its contexts.
 * wait_block() calls them; other code that makes blocking host calls does so itself. */
void platform_block_begin(void);
void platform_block_end(void);
/* Set by the kernel before platform_start_threads: the main function of a further worker thread,
 * which the platform starts when the last idle worker blocks. It loops over platform_next(). */
void platform_set_worker_main(void (*worker_main)(void));

/* --- FPU ----------------------------------------------------------------------------------- */

/* Size in bytes of the XSAVE area on this machine (standard format, as in signal frames). */
size_t platform_fpstate_size(void);
/* Copies the guest's FPU state out (XSAVE standard format, with the sw_reserved magic bytes that
 * Linux puts into signal frames) or in (garbage makes the guest fault, nothing else). */
int platform_get_fpstate(struct platform_ctx *ctx, void *buf, size_t size);
int platform_set_fpstate(struct platform_ctx *ctx, const void *buf, size_t size);
/* The initial state, for exec. */
int platform_reset_fpstate(struct platform_ctx *ctx);

/* --- memory commands -------------------------------------------------------------------------
 * Executed by ctx's stub thread in its address space, verified by the sentry. Addresses are chosen
 * by the caller: every mmap is MAP_FIXED. 0 or -errno of the host's call; but anonymous mmap,
 * munmap and mprotect, which the caller has checked against its own tree, may be put off until the
 * context's next turn (access to its memory from here counts as one) and then fail by killing the
 * process. mm->lock may be held. fd is an fd of the sentry, -1 for anonymous. */
int platform_mmap(struct platform_ctx *ctx, uint64_t addr, uint64_t len, int prot, int flags,
		  int fd, uint64_t offset);
int platform_munmap(struct platform_ctx *ctx, uint64_t addr, uint64_t len);
int platform_mprotect(struct platform_ctx *ctx, uint64_t addr, uint64_t len, int prot);
/* Moves or resizes; new_addr is fixed (MREMAP_FIXED|MREMAP_MAYMOVE, or in place when equal). */
int platform_mremap(struct platform_ctx *ctx, uint64_t addr, uint64_t len, uint64_t new_len,
		    uint64_t new_addr);
int platform_madvise(struct platform_ctx *ctx, uint64_t addr, uint64_t len, int advice);

/* --- access to guest memory from outside ---------------------------------------------------
 * process_vm_readv/writev semantics: page protections count. Return bytes moved (may be short at a
 * fault) or -errno (-EFAULT when nothing moved; -ESRCH when the stub is gone). Any thread. */
ssize_t platform_read_mem(struct platform_as *as, const struct iovec *local, int nlocal,
			  const struct iovec *remote, int nremote);
ssize_t platform_write_mem(struct platform_as *as, const struct iovec *local, int nlocal,
			   const struct iovec *remote, int nremote);
/* /proc/PID/mem semantics: reads and writes through protections. */
ssize_t platform_force_read(struct platform_as *as, uint64_t addr, void *buf, size_t n);
ssize_t platform_force_write(struct platform_as *as, uint64_t addr, const void *buf, size_t n);

/* Host-side facts for /proc and getrusage. */
struct platform_usage {
	uint64_t utime_ns, stime_ns;
	uint64_t minflt, majflt;
	uint64_t rss_pages, shared_pages;
};
int platform_as_usage(struct platform_as *as, struct platform_usage *usage);
/* Bytes of private memory. exact: pages that forks share count once among all of them, which takes
 * the host about a millisecond for 100 MB. */
int platform_as_anon(struct platform_as *as, bool exact, uint64_t *bytes);
/* Likewise of this process, the sentry. */
int platform_self_anon(uint64_t *bytes);
/* The most resident pages it ever had. */
int platform_as_peak_rss(struct platform_as *as, uint64_t *pages);
/* What is resident of one mapping, in bytes (man 5 proc_pid_smaps). */
struct platform_resident {
	uint64_t rss, pss, shared_clean, shared_dirty, private_clean, private_dirty;
	uint64_t referenced, anonymous, anon_huge, swap;
};
/* Calls fn for every mapping that the host has of the address space, the platform's own among them,
 * by rising addresses. The host may join or divide what the caller thinks of as mappings. mm->lock
 * may be held. 0, -ESRCH, -ENOMEM. */
int platform_as_each_mapping(struct platform_as *as,
			     void (*fn)(void *arg, uint64_t start, uint64_t end,
					const struct platform_resident *u),
			     void *arg);
/* Of n pages from addr on, which there are: 0, or PLATFORM_PAGE_*. Nothing comes into being by
 * that. -ESRCH, -EIO. */
#define PLATFORM_PAGE_THERE 1 /* in memory, or swapped out */
#define PLATFORM_PAGE_OWN 2   /* and belongs to no file */
int platform_as_pages(struct platform_as *as, uint64_t addr, size_t n, uint8_t *pages);
int platform_ctx_cpu_ns(struct platform_ctx *ctx, uint64_t *ns);

/* What platform_word_op() makes of a word; as FUTEX_OP_* of futex(2), in its order, and: */
enum platform_word_op {
	WORD_SET,
	WORD_ADD,
	WORD_OR,
	WORD_ANDN,
	WORD_XOR,
	WORD_SET_IF, /* `arg` if it is `expected`: an exchange with a condition */
};
/* Changes a word of ctx's address space in one step, as other threads of the guest see it. addr is
 * a multiple of 4 below GUEST_TASK_SIZE. 0 and what stood there in *old; -EFAULT: no writable
 * memory; -ESRCH: the stub is dead. mm->lock may be held. */
int platform_word_op(struct platform_ctx *ctx, uint64_t addr, enum platform_word_op op,
		     uint32_t arg, uint32_t expected, uint32_t *old);

/* A range of the guest's addresses that the platform uses for its trampolines: the kernel maps
 * nothing there and unmaps nothing there. */
#define PLATFORM_RESERVED_START 0x7e060000ULL
#define PLATFORM_RESERVED_END 0x7e080000ULL

/* Text at this range may have changed (munmap, mmap over it, made writable): forget patches. */
void platform_text_changed(struct platform_as *as, uint64_t addr, uint64_t len);

/* Memory of this address space is going to be shared, writable and executable at once: patches in
 * it would be seen by others, and be written to a file. Nothing is patched in as or its forks
 * again. */
void platform_text_shared(struct platform_as *as);

/* ctx is going to be looked at, and perhaps changed, by a debugger: what has been put off is done,
 * its program's text becomes what the program thinks it is as soon as no other thread of the
 * process is in the guest, and stays so (forks inherit that), and rip is an address of the
 * program's. The next resume must be a full one. Owner. */
void platform_expose(struct platform_ctx *ctx);

/* The identity that the stub may answer by itself (getpid, getppid, gettid, get*id); set at start,
 * after fork, exec and credential changes. Any thread; as platform_kick(). */
struct platform_identity {
	int32_t ppid, pid, tid;
	uint32_t uid, euid, gid, egid;
	bool direct; /* nobody but the guest needs to know of such calls, and of futex calls */
};
void platform_set_identity(struct platform_ctx *ctx, const struct platform_identity *id);
/* Its parent is another now. */
void platform_set_parent(struct platform_ctx *ctx, int32_t ppid);

/*
 * The mask of blocked signals, for a guest that changes it often: lent before ctx is resumed, the
 * guest's own calls may change it without a word to the sentry, until it is taken back. False: not
 * on this platform. Lent by ctx's owner; taken by anybody, as platform_kick(), and then it is what
 * the guest says, without SIGKILL and SIGSTOP; once taken the guest does not change it any more.
 */
bool platform_lend_mask(struct platform_ctx *ctx, uint64_t mask);
uint64_t platform_take_mask(struct platform_ctx *ctx);

/*
 * Futex calls that concern one address space alone (FUTEX_PRIVATE_FLAG, no priority inheritance;
 * futex_waitv(2) with such entries). A platform that executes them has them made by the guest's own
 * thread, from patched sites without a word to the sentry. All of an address space's must be made
 * so, or none: who sleeps here is not woken there.
 */
bool platform_executes_futexes(void);
/* On ctx's next resume this call is made; rax is its result, other registers are as they were.
 * deadline >= 0: args[3] will be the address of that time (CLOCK_MONOTONIC, ns). A kick that comes
 * before it has slept or while it sleeps reports EVENT_RESTART. ctx owned by the caller. */
void platform_execute(struct platform_ctx *ctx, uint64_t nr, const uint64_t args[6],
		      int64_t deadline);
/* After platform_execute(): the end of the call is to be seen here, as EVENT_INTERRUPTED with the
 * result in rax (or as EVENT_RESTART). */
void platform_execute_report(struct platform_ctx *ctx);
/* It is not, after all. */
void platform_execute_not(struct platform_ctx *ctx);
/* Sleeps in such a call; by the guest's word. As platform_kick(). */
bool platform_sleeps(struct platform_ctx *ctx);

/* AT_HWCAP2 for new programs (man 3 getauxval): what the host's says and the platform bears. */
uint64_t platform_hwcap2(void);

/* The vDSO for new programs: a page-aligned ELF image in the sentry's memory, and an fd + offset
 * that hold the same bytes, for platform_mmap. -ENOSYS: none, the program gets no AT_SYSINFO_EHDR.
 */
int platform_vdso(const void **image, size_t *size, int *fd, uint64_t *offset);

#endif
