/*
 * Tasks (guest threads), thread groups (guest processes), and what they share.
 *
 * Lock order (outermost first):
 *   kernel->tasklist_lock -> thread_group->lock -> sighand->lock -> files->lock -> fs->lock
 *   mm->lock is taken before none of these; a wait queue's lock comes after all of them.
 * Only the worker that owns a task's context changes the fields marked [owner]; others may read
 * them only where the comment says so.
 */
#ifndef MOAT_SENTRY_KERNEL_TASK_TASK_H
#define MOAT_SENTRY_KERNEL_TASK_TASK_H

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <bsd/sys/tree.h>

#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/kernel/core/cred.h"
#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/ktimer.h"
#include "sentry/kernel/core/pid.h"
#include "sentry/kernel/core/restart.h"
#include "sentry/kernel/core/wait.h"
#include "sentry/kernel/task/sighand.h"
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
struct cgroup_ns;
struct container_mark;
struct pid_ns;
struct trace;	  /* kernel/task/trace.h */
struct core_dump; /* kernel/coredump */

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
	struct user_ns *user_ns; /* counted: the owner */
	unsigned depth;
	struct thread_group *init;   /* its reaper; tasklist_lock */
	pid_t last;		     /* last number given out */
	void *table;		     /* nr -> struct pid; kernel/task/pid.c */
	unsigned long inum;	     /* for /proc/PID/ns */
	unsigned count;		     /* numbers in use; kernel/task/pid.c */
	_Atomic bool dying;	     /* init has exited */
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
#define TF_LEFT 0x0100		/* [owner] a wait was left for TF_PARK, and for nothing else */
#define TF_TRACE 0x0400		/* the tracer wants to see calls or steps: kernel/ptrace */
#define TF_PUT_OFF 0x0200	/* [owner] enters a call again that it had left so: kept_deadline */

/* task->entry_work: who looks at a system call before it is made. */
#define ENTRY_SECCOMP 1
#define ENTRY_TRACE 2

/* What read(2), write(2) and their kin moved, and how many there were, for /proc/PID/io. */
struct task_io {
	uint64_t rchar, wchar, syscr, syscw;
};

/* Shared by the threads of a process (Linux: signal_struct). */
struct thread_group {
	struct refcount refs;
	struct mutex lock;
	TAILQ_HEAD(, task) threads; /* tasklist_lock for write; lock or tasklist_lock for read */
	_Atomic int num_threads;
	int num_live;
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
	TAILQ_HEAD(, trace) tracees;  /* of its threads; tasklist_lock */

	/* The handlers of all threads; replaced only by execve. Memory of a sighand is never
	 * returned, so it may be locked without a reference: see lock_sighand(). */
	struct sighand *sighand;
	bool unkillable;	   /* init of a pid namespace: default actions do not kill it */
	struct sigpending pending; /* sighand->lock */
	bool exiting;		   /* group exit under way; sighand->lock */
	int exit_status;	   /* wait status of the group once exiting */
	bool zombie;		   /* all threads are gone; waits to be reaped; tasklist_lock */
	/* Its core file is being written; sighand->lock. SIGKILL has come meanwhile. */
	struct core_dump *core;
	_Atomic bool core_killed;
	struct task *exec_task;		    /* the thread that de-threads the group in execve */
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

	/* interval timers (ITIMER_REAL...), POSIX timers: kernel/time/itimer.c,
	 * kernel/time/posix_timer.c */
	struct ktimer itimer_real;
	int64_t itimer_real_interval;
	struct {
		int64_t expires, interval;
	} itimer_cpu[2];    /* VIRTUAL, PROF: ns of CPU time */
	void *posix_timers; /* owned by kernel/time/posix_timer.c; NULL when none */
	int oom_score_adj;
	struct container_mark *container; /* counted; NULL: none */
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
	_Atomic bool parked;		      /* stands still for TF_PARK */
	_Atomic uint32_t wake_word;	      /* sleep.c */
	struct parker *parker;		      /* of the thread that sleeps for it; sleep.c */
	long (*continuation)(struct task *t); /* of a syscall that waits without one; [owner] */
	struct ktimer wait_timer;	      /* likewise */
	struct futex_sleep *futex_sleep;      /* kernel/futex/futex.c; NULL until the first wait */

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
	struct cgroup_ns *cgroup_ns;
	struct pid_ns *pid_ns_children;

	struct sigpending pending; /* sighand->lock */
	uint32_t jobctl;	   /* JOBCTL_*; sighand->lock */
	sigset64_t blocked;	   /* sighand->lock to write; owner reads */
	_Atomic bool mask_lent;	   /* `blocked` is the guest's now: signal_mask_take() */
	sigset64_t saved_mask;	   /* [owner] */
	sigset64_t sigwait_mask;   /* signals that sigtimedwait waits for; sighand->lock */
	uint64_t altstack_sp, altstack_size;
	uint32_t altstack_flags;

	struct restart_block restart; /* [owner] */
	/* [owner] How long the wait would have lasted that was left last for TF_PARK; 0: no limit
	 */
	int64_t kept_deadline;
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
	struct task_io io; /* [owner] writes, by current_count_io() */
	void *pi_waiter;   /* kernel/futex/futex_pi.c */
	void *pi_held;
	struct seccomp_filter *_Atomic seccomp; /* kernel/seccomp/seccomp.h; group->lock to write */
	_Atomic uint8_t seccomp_mode;		/* SECCOMP_MODE_*; likewise */
	_Atomic uint8_t entry_work;		/* ENTRY_* */
	struct trace *_Atomic trace;		/* NULL: has never been traced */
	const char *syscall_name; /* [owner] what it is in, for logs and debug.Stacks */
	uint64_t syscall_nr;
	bool in_syscall; /* restart applies */
	/* [owner] The guest's own thread is to make the call, unless a signal comes first; then it
	 * returns this. */
	bool executes;
	long called_off;
	struct {
		uint64_t addr;
		uint32_t trapno, error;
	} fault;			/* [owner] the last fault, for signal frames */
	bool nproc_exceeded;		/* set*uid went past RLIMIT_NPROC: execve fails */
	bool core_joined;		/* has left its registers for a core file; sighand->lock */
	bool exec_fd_cloexec;		/* [owner] execveat's fd goes away at exec */
	struct task *next_dead;		/* kernel/task/exit.c */
	struct container_mark *counted; /* where it is one of the threads; counted; NULL: nowhere */
	void *ucount;			/* whose RLIMIT_NPROC it counts for: kernel/task/ucount.c */
};

struct kernel {
	struct rwlock tasklist_lock;
	struct pid_ns *root_pid_ns;
	TAILQ_HEAD(, thread_group) groups; /* all; tasklist_lock */
	int num_tasks;			   /* tasklist_lock */
	_Atomic uint64_t oom_kills;
	bool watched;		     /* set at start: every call is logged, none may go unseen */
	struct wait_queue exit_wait; /* woken when a container's init has exited */
};
extern struct kernel kernel;

/* --- references ------------------------------------------------------------------------------ */
struct task *task_get(struct task *t);
void task_put(struct task *t);
struct thread_group *group_get(struct thread_group *g);
void group_put(struct thread_group *g);
struct cred *task_cred_get(struct task *t);
/* What a user is called in the user namespace of t. */
uid_t task_shown_uid(struct task *t, uid_t kuid);
struct mm *task_mm_get(struct task *t);	      /* NULL when it has exited */
struct files *task_files_get(struct task *t); /* NULL likewise */
struct fs *task_fs_get(struct task *t);

/* The current task has the capability over the user namespace of t. */
bool task_capable(struct task *t, int cap);
/* The user namespace that owns a namespace of the type CLONE_NEW*: for a user namespace its parent.
 * NULL: it is the first, or of a kind of which there is only one. */
struct user_ns *namespace_owner(unsigned type, const void *ns);

/* --- ids: kernel/task/pid.c
 * ------------------------------------------------------------------------ */
pid_t task_tid(const struct task *t); /* as the task itself sees it */
pid_t task_tgid(const struct task *t);
/* As pid_nr_ns() for a process. */
pid_t group_nr_ns(const struct thread_group *g, const struct pid_ns *ns);
/* By number in the current task's namespace; reference or NULL. */
struct task *task_find(pid_t tid);
struct thread_group *group_find(pid_t tgid);
/* The next process in ns with number >= *nr; reference, *nr updated; NULL at the end. For /proc. */
struct thread_group *group_next(struct pid_ns *ns, pid_t *nr);

/* --- life: kernel/task/task.c, clone.c, exec.c, exit.c
 * ----------------------------------------------
 */
struct clone_args_k {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
	uint64_t set_tid, set_tid_size, cgroup;
};
long task_clone(struct task *parent, const struct clone_args_k *args); /* child's tid or -errno */
/* True if no member of the process group has its parent in another group of the session (POSIX:
 * orphaned): stop signals of the terminal then fail with EIO. Takes tasklist_lock. */
bool pgrp_is_orphaned(struct pid *pgrp);
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
/* t->state, or TASK_SLEEPING in a call that its own thread makes. tasklist_lock held. */
int task_state_now(struct task *t);
/* Sets what the stub answers by itself (getpid, getuid ...) after a change. Owner only. */
void task_update_identity(struct task *t);
/* Likewise, with tasklist_lock held: of any task. */
void task_show_identity(struct task *t);

/* For platform_config.on_death: kills and reaps the guest process whose stub died. */
void kernel_on_stub_death(struct platform_ctx *ctx, void *owner);

#endif
