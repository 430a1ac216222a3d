/*
 * Tasks (guest threads), thread groups (guest processes), and what they share.
 *
 * Lock order (outermost first):
 *   kernel->tasklist_lock -> thread_group->lock -> sighand->lock -> files->lock -> fs->lock
 *   mm->lock is taken before none of these; a wait queue's lock comes after all of them.
 * Only the worker that owns a task's context changes the fields marked [owner]; others may read
 * them only where the comment says so.
 */
#ifndef MOAT_SENTRY_KERNEL_TASK_H
#define MOAT_SENTRY_KERNEL_TASK_H

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <bsd/sys/tree.h>

#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/kernel/cred.h"
#include "sentry/kernel/restart.h"
#include "sentry/kernel/signal.h"
#include "sentry/kernel/timer.h"
#include "sentry/kernel/wait.h"
#include "sentry/platform/platform.h"

struct mm;
struct parker;
struct files; /* fd table: vfs/fdtable.h */
struct fs;    /* root, cwd, umask: vfs/fs.h */
struct file;
struct tty;
struct mnt_ns; /* vfs/mount.h */
struct uts_ns;
struct ipc_ns;
struct net_ns;
struct container;
struct pid_ns;

#define TASK_COMM_LEN 16
#define PID_NS_MAX_DEPTH 33 /* the first, and 32 below it */

/* A numeric id in every pid namespace from the root down to its own; used for threads, processes,
 * process groups and sessions alike. */
struct pid {
	struct refcount refs;
	struct pid_ns *ns; /* the innermost */
	unsigned depth;
	struct task *task;		 /* the thread with this id, or NULL; tasklist_lock */
	struct thread_group *group;	 /* the process with this id, or NULL; tasklist_lock */
	TAILQ_HEAD(, thread_group) pgrp; /* members of the process group; tasklist_lock */
	TAILQ_HEAD(, thread_group) session;
	struct wait_queue exit_wait; /* pidfd poll */
	void *pidfd_inode;	     /* for pidfd identity */
	struct {
		pid_t nr;
		struct pid_ns *ns;
	} numbers[]; /* [0] root namespace ... [depth] innermost */
};

struct pid_ns {
	struct refcount refs;
	struct pid_ns *parent;
	unsigned depth;
	struct thread_group *init;   /* its reaper; tasklist_lock */
	pid_t last;		     /* last number given out */
	void *table;		     /* nr -> struct pid; kernel/pid.c */
	unsigned long inum;	     /* for /proc/PID/ns */
	unsigned count;		     /* numbers in use; kernel/pid.c */
	bool dying;		     /* init has exited */
	struct thread_group *ending; /* init, while it waits for the others to go; tasklist_lock */
};

enum task_state {
	TASK_RUNNING,
	TASK_SLEEPING,
	TASK_DISK_SLEEP,
	TASK_STOPPED,
	TASK_TRACED,
	TASK_ZOMBIE,
	TASK_DEAD
};

/* Why work is pending before the return to the guest: task->flags bits (atomic). */
#define TF_SIGPENDING 0x0001	/* look at the pending queues */
#define TF_KILLED 0x0002	/* the group is exiting: leave as soon as possible */
#define TF_RESTORE_MASK 0x0004	/* saved_mask is to be restored */
#define TF_FULL_REGS 0x0008	/* [owner] handler changed registers other than rax */
#define TF_PARK 0x0010		/* pause, checkpoint: unwind and stop */
#define TF_NOTIFY_RESUME 0x0020 /* task_work */
#define TF_EXIT 0x0040		/* [owner] task_exit() was called: the run loop ends the task */
#define TF_EXITING 0x0080	/* gets no more signals; sighand->lock */

/* A blocked syscall with a relative timeout, to be entered again by restart_syscall(2). */
struct restart_block {
	long (*fn)(struct task *t, struct restart_block *rb);
	int64_t deadline; /* monotonic ns */
	uint64_t arg[5];
};

/* What read(2), write(2) and their kin moved, and how many there were, for /proc/PID/io. */
struct task_io {
	uint64_t rchar, wchar, syscr, syscw;
};

/* Shared by the threads of a process (Linux: signal_struct). */
struct thread_group {
	struct refcount refs;
	struct mutex lock;
	TAILQ_HEAD(, task) threads; /* tasklist_lock for write; lock or tasklist_lock for read */
	int num_threads, num_live;
	struct task *leader;
	struct pid *tgid, *pgrp, *session; /* tasklist_lock */
	TAILQ_ENTRY(thread_group) pgrp_link, session_link, all_link;
	struct thread_group *parent; /* real parent process; tasklist_lock */
	struct task *parent_thread;  /* the thread of parent that made it, or its heir, or NULL;
					tasklist_lock */
	TAILQ_HEAD(, thread_group) children;
	TAILQ_ENTRY(thread_group) sibling;
	int exit_signal;
	struct wait_queue child_wait; /* parents sleep here in wait4 */

	/* The handlers of all threads; replaced only by execve. Memory of a sighand is never
	 * returned, so it may be locked without a reference: see lock_sighand(). */
	struct sighand *sighand;
	bool unkillable;	   /* init of a pid namespace: default actions do not kill it */
	struct sigpending pending; /* sighand->lock */
	bool exiting;		   /* group exit under way; sighand->lock */
	int exit_status;	   /* wait status of the group once exiting */
	bool zombie;		   /* all threads are gone; waits to be reaped; tasklist_lock */
	struct task *exec_task;	   /* the thread that de-threads the group in execve */
	struct wait_queue thread_exit_wait; /* exec waits here for the other threads */

	/* Job control; sighand->lock */
	bool stopped, stop_notify, cont_notify;
	int stop_signal, group_stop_count;
	int notify_why; /* CLD_CONTINUED or CLD_STOPPED: the next thread tells the parent */

	struct rlimit rlim[RLIM_NLIMITS]; /* lock */
	struct tty *tty;		  /* controlling terminal; tasklist_lock */
	bool is_child_subreaper, has_child_subreaper;
	bool did_exec;
	int64_t start_time; /* monotonic ns */

	/* getrusage, times: of threads that are gone, and of reaped children. ns, faults, KiB. */
	struct {
		uint64_t utime, stime, minflt, majflt, maxrss, nvcsw, nivcsw;
	} dead, children_usage;
	struct task_io dead_io; /* of threads that are gone; tasklist_lock */

	/* interval timers (ITIMER_REAL...), POSIX timers: kernel/itimer.c, kernel/posix_timer.c */
	struct ktimer itimer_real;
	int64_t itimer_real_interval;
	struct {
		int64_t expires, interval;
	} itimer_cpu[2];    /* VIRTUAL, PROF: ns of CPU time */
	void *posix_timers; /* owned by kernel/posix_timer.c; NULL when none */
	int oom_score_adj;
	struct container *container;
};

/* A guest thread. */
struct task {
	struct refcount refs;
	struct platform_ctx *ctx; /* NULL once dead */
	struct thread_group *group;
	TAILQ_ENTRY(task) thread_link;
	struct pid *pid; /* the thread id */
	char comm[TASK_COMM_LEN];
	_Atomic uint32_t flags;		      /* TF_* */
	_Atomic int state;		      /* enum task_state, for /proc */
	_Atomic uint32_t wake_word;	      /* kernel/wait.c */
	struct parker *parker;		      /* of the thread that sleeps for it; kernel/wait.c */
	long (*continuation)(struct task *t); /* of a syscall that waits without one; [owner] */
	struct ktimer wait_timer;	      /* likewise */
	struct futex_sleep *futex_sleep;      /* kernel/futex.c; NULL until the first wait */

	struct mm *mm;	     /* [owner] writes under group->lock; readers task_mm_get() */
	struct files *files; /* likewise task_files_get() */
	struct fs *fs;
	struct sighand *sighand;
	struct cred *cred; /* [owner]; readers task_cred_get() */
	struct mutex cred_lock;
	/* namespaces; [owner], readers under group->lock */
	struct mnt_ns *mnt_ns;
	struct uts_ns *uts_ns;
	struct ipc_ns *ipc_ns;
	struct net_ns *net_ns;
	struct pid_ns *pid_ns_children;

	struct sigpending pending; /* sighand->lock */
	uint32_t jobctl;	   /* JOBCTL_*; sighand->lock */
	sigset64_t blocked;	   /* sighand->lock to write; owner reads */
	sigset64_t saved_mask;	   /* [owner] */
	sigset64_t sigwait_mask;   /* signals that sigtimedwait waits for; sighand->lock */
	uint64_t altstack_sp, altstack_size;
	uint32_t altstack_flags;

	struct restart_block restart; /* [owner] */
	uint64_t set_child_tid, clear_child_tid;
	uint64_t robust_list;
	uint64_t rseq_addr;
	uint32_t rseq_len, rseq_sig;
	_Atomic(struct vfork *) vfork; /* set in a vfork child until exec or exit */

	int exit_code; /* wait status, once exiting */
	int pdeath_signal;
	_Atomic bool
		no_new_privs; /* only ever set: by the task, or by a thread that syncs seccomp */
	bool keep_caps;
	uint64_t personality;
	uint64_t timer_slack, default_timer_slack; /* ns; the default is what the parent had */
	int nice;
	int sched_policy, sched_priority;
	bool sched_reset_on_fork;
	cpu_set_t affinity;
	int ioprio;
	int mempolicy; /* MPOL_*; [owner] */
	uint64_t mempolicy_nodes;
	int64_t start_time; /* monotonic ns */
	uint64_t nvcsw;
	struct task_io io; /* [owner] writes, by task_count_io() */
	void *pi_waiter;   /* kernel/futex_pi.c */
	void *pi_held;
	struct seccomp_filter *_Atomic seccomp; /* kernel/seccomp.h; group->lock to write */
	_Atomic uint8_t seccomp_mode;		/* SECCOMP_MODE_*; likewise */
	void *ptrace;				/* later */
	const char *syscall_name; /* [owner] what it is in, for logs and debug.Stacks */
	uint64_t syscall_nr;
	bool in_syscall; /* restart applies */
	struct {
		uint64_t addr;
		uint32_t trapno, error;
	} fault;		/* [owner] the last fault, for signal frames */
	bool nproc_exceeded;	/* set*uid went past RLIMIT_NPROC: execve fails */
	bool exec_fd_cloexec;	/* [owner] execveat's fd goes away at exec */
	struct task *next_dead; /* kernel/exit.c */
	void *ucount;		/* whose RLIMIT_NPROC it counts for: kernel/ucount.c */
};

/* The task whose event this worker is running, or NULL. */
extern __thread struct task *current;

struct kernel {
	struct rwlock tasklist_lock;
	struct pid_ns *root_pid_ns;
	TAILQ_HEAD(, thread_group) groups; /* all; tasklist_lock */
	int num_tasks;			   /* tasklist_lock */
	int64_t boot_time_ns;		   /* CLOCK_REALTIME at start */
	int64_t boot_mono_ns;
	int num_cpus;
	uint64_t total_memory; /* bytes */
	_Atomic uint64_t oom_kills;
	struct wait_queue exit_wait; /* woken when a container's init has exited */
};
extern struct kernel kernel;

/* --- references ------------------------------------------------------------------------------ */
struct task *task_get(struct task *t);
void task_put(struct task *t);
struct thread_group *group_get(struct thread_group *g);
void group_put(struct thread_group *g);
struct cred *task_cred_get(struct task *t);
struct mm *task_mm_get(struct task *t);	      /* NULL when it has exited */
struct files *task_files_get(struct task *t); /* NULL likewise */
struct fs *task_fs_get(struct task *t);

/* --- ids: kernel/pid.c ------------------------------------------------------------------------ */
/* The number of a pid object / task / process as seen from a namespace; 0 if it is not in it. */
pid_t pid_nr_ns(const struct pid *pid, const struct pid_ns *ns);
struct pid_ns *task_pid_ns(const struct task *t); /* the namespace its own pid lives in */
pid_t task_tid(const struct task *t);		  /* as the task itself sees it */
pid_t task_tgid(const struct task *t);
pid_t group_nr_ns(const struct thread_group *g, const struct pid_ns *ns);
struct pid *pid_get(struct pid *p);
void pid_put(struct pid *p);
/* Looks a number up in a namespace; returns a reference or NULL. */
struct pid *pid_find(struct pid_ns *ns, pid_t nr);
/* By number in the current task's namespace; reference or NULL. */
struct task *task_find(pid_t tid);
struct thread_group *group_find(pid_t tgid);
/* The next process in ns with number >= *nr; reference, *nr updated; NULL at the end. For /proc. */
struct thread_group *group_next(struct pid_ns *ns, pid_t *nr);

/* --- life: kernel/task.c, clone.c, exec.c, exit.c ----------------------------------------------
 */
struct clone_args_k {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
	uint64_t set_tid, set_tid_size, cgroup;
};
long task_clone(struct task *parent, const struct clone_args_k *args); /* child's tid or -errno */
/* Replaces the program. path is resolved like execveat. argv/envp are kernel strings, NULL-ended.
 */
int task_exec(struct task *t, struct file *file, const char *path, char *const argv[],
	      char *const envp[]);
/* True if no member of the process group has its parent in another group of the session (POSIX:
 * orphaned): stop signals of the terminal then fail with EIO. Takes tasklist_lock. */
bool pgrp_is_orphaned(struct pid *pgrp);
/* Counts one call that moved n bytes, or none if n is an error. t is current. */
void task_count_io(struct task *t, bool write, ssize_t n);
/* The sum over the threads, living and dead. */
void group_io(struct thread_group *g, struct task_io *sum);
/* exit(2): marks the current task; the run loop ends it on the way out. */
void task_exit(struct task *t, int status);
/* exit_group(2) and fatal signals. */
void group_exit(struct thread_group *g, int status);

/* Calls fn for each process / thread under tasklist_lock (read). */
#define for_each_thread(group, t) TAILQ_FOREACH (t, &(group)->threads, thread_link)

/* May the current task read or change t's innards (/proc/PID, process_vm_*, pidfd_getfd)?
 * 0 or -EPERM. Linux: ptrace_may_access(); fsuid is used when `fscreds`. */
int ptrace_may_access(struct task *t, bool fscreds);
/* Sets what the stub answers by itself (getpid, getuid ...) after a change. Owner only. */
void task_update_identity(struct task *t);

/* --- the kernel: kernel/kernel.c -----------------------------------------------------------------
 */
struct init_params {
	/* The first process of a container; everything is copied. */
	const char *path; /* executable, absolute or searched in PATH of envp */
	char *const *argv, *const *envp;
	const char *cwd;
	const char *hostname, *domainname;
	struct cred *cred;	   /* consumed */
	const struct rlimit *rlim; /* RLIM_NLIMITS entries */
	int umask;
	bool no_new_privs;
	struct file *stdio[3]; /* descriptors 0 to 2; consumed */
	struct tty *console;   /* becomes the controlling terminal of the new session, or NULL */
	struct mnt_ns *mnt_ns; /* with its root mounted; consumed */
	int oom_score_adj;
	/* As Linux treats PID 1 of a namespace: signals without a handler are ignored. False: they
	 * kill, as they kill any process (what `moat do` wants). */
	bool unkillable;
};
int kernel_init(int num_cpus, uint64_t total_memory);
/* From now on total_memory is a limit: what goes beyond is killed (kernel/memory_limit.c). */
int kernel_limit_memory(void);
/* Bytes of memory that guests and the sentry have. exact: see platform_as_anon(). */
uint64_t kernel_memory_used(bool exact);
/* Starts worker threads and returns. */
int kernel_start(void);
/* Creates a container's init process. On error *what (static or from a per-thread buffer) says what
 * failed. The group is referenced for the caller. */
int kernel_create_init(const struct init_params *params, struct thread_group **group,
		       const char **what);
/* Blocks (host thread, not a task) until the group is a zombie; returns its wait status. */
int kernel_wait_group(struct thread_group *group);
/* For platform_config.on_death: kills and reaps the guest process whose stub died. */
void kernel_on_stub_death(struct platform_ctx *ctx, void *owner);
/* A signal from outside (the CLI, the control server). */
int kernel_signal_group(struct thread_group *group, int sig);

#endif
