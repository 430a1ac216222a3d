/* The point of no return: other threads end, the new program takes the place of the old one. */
#include <errno.h>
#include <string.h>

#include "sentry/kernel/exec/exec_internal.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/task_upcalls.h"
#include "sentry/kernel/time/timers.h"
#include "sentry/mm/mm.h"
#include "sentry/vfs/file.h"

static bool alone(struct thread_group *g)
{
	return g->num_threads == 1;
}

/* The caller's thread becomes the process's: it takes the leader's place and number. The leader is
 * a zombie already. */
static void become_leader(struct task *t)
{
	struct thread_group *g = t->group;
	struct task *old;
	struct pid *tid;
	WRITE_GUARD(&kernel.tasklist_lock);

	old = g->leader;
	if (old == t)
		return;
	tid = t->pid;
	mutex_lock(&g->lock);
	t->pid = old->pid;
	old->pid = tid;
	t->pid->task = t;
	tid->task = old;
	g->leader = t;
	t->start_time = old->start_time;
	mutex_unlock(&g->lock);
	task_release(old);
}

static int end_other_threads(struct task *t)
{
	struct thread_group *g = t->group;
	struct sighand *sh = lock_sighand(g);
	struct task *each;
	int err;

	if (g->exiting || g->exec_task || fatal_signal_pending(t)) {
		mutex_unlock(&sh->lock);
		return -EAGAIN;
	}
	g->exec_task = t;
	g->group_stop_count = 0;
	for_each_thread (g, each) {
		if (each == t || (atomic_load(&each->flags) & TF_EXITING))
			continue;
		each->jobctl = 0;
		signal_kill_thread(each);
	}
	t->jobctl = 0;
	mutex_unlock(&sh->lock);
	err = wait_event_killable(&g->thread_exit_wait, alone(g), NO_DEADLINE);
	sh = lock_sighand(g);
	g->exec_task = NULL;
	recalc_sigpending(t);
	mutex_unlock(&sh->lock);
	if (err)
		return -EAGAIN;
	become_leader(t);
	return 0;
}

/* Tables that other processes share become the program's own. Before anything is lost. */
static int unshare_tables(struct task *t, struct files **files, struct sighand **sh)
{
	*files = NULL;
	*sh = NULL;
	if (refcount_read(&t->files->refs) > 1) {
		*files = files_dup(t->files);
		if (!*files)
			return -ENOMEM;
	}
	/* One reference is the task's, one the group's. */
	if (refcount_read(&t->sighand->refs) > 2) {
		*sh = sighand_alloc();
		if (!*sh) {
			if (*files)
				files_put(*files);
			return -ENOMEM;
		}
	}
	return 0;
}

static void replace_sighand(struct task *t, struct sighand *fresh)
{
	struct thread_group *g = t->group;
	struct sighand *old = t->sighand;

	mutex_lock(&old->lock);
	memcpy(fresh->action, old->action, sizeof(fresh->action));
	t->sighand = fresh;
	__atomic_store_n(&g->sighand, sighand_get(fresh), __ATOMIC_RELEASE);
	mutex_unlock(&old->lock);
	sighand_put(old);
	sighand_put(old);
}

static void reset_signals(struct task *t)
{
	struct sighand *sh = lock_sighand(t->group);

	for (int i = 0; i < GUEST_NSIG; i++) {
		struct ksigaction *ka = &sh->action[i];

		if (ka->handler != 1)
			ka->handler = 0;
		ka->flags = ka->restorer = ka->mask = 0;
	}
	mutex_unlock(&sh->lock);
	t->altstack_sp = t->altstack_size = 0;
	t->altstack_flags = SS_DISABLE;
}

static void set_comm(struct task *t, const char *name)
{
	const char *slash = strrchr(name, '/');

	memset(t->comm, 0, sizeof(t->comm));
	strncpy(t->comm, slash ? slash + 1 : name, sizeof(t->comm) - 1);
}

static void swap_memory(struct exec *e, const struct cpu_usage *cpu, struct platform_ctx **old_ctx,
			struct mm **old_mm)
{
	struct task *t = e->task;
	struct sighand *sh;

	write_lock(&kernel.tasklist_lock);
	account_cpu(t->group, cpu, t);
	mutex_lock(&t->group->lock);
	sh = lock_sighand(t->group);
	*old_mm = t->mm;
	*old_ctx = t->ctx;
	t->mm = e->mm;
	t->ctx = e->ctx;
	mutex_unlock(&sh->lock);
	mutex_unlock(&t->group->lock);
	write_unlock(&kernel.tasklist_lock);
	e->mm = NULL;
	e->ctx = NULL;
}

static void set_registers(struct exec *e)
{
	struct task *t = e->task;
	struct guest_regs *regs = platform_regs(t->ctx);

	memset(regs, 0, sizeof(*regs));
	regs->rip = e->entry;
	regs->rsp = e->stack;
	regs->eflags = GUEST_EFLAGS_FIXED;
	regs->cs = GUEST_CS;
	regs->ss = GUEST_SS;
	regs->orig_rax = -1;
	t->in_syscall = false;
	atomic_fetch_or(&t->flags, TF_FULL_REGS);
}

static void replace_cred(struct exec *e)
{
	struct task *t = e->task;
	struct cred *old;

	/* From here on only who may do as much as it can begins to trace it. Who did just before
	 * has come too late to be reckoned with: nobody gets at powers that way. */
	read_lock(&kernel.tasklist_lock);
	if (e->secure && !trace_bears_set_id(t))
		group_kill(t->group, SIGKILL);
	mutex_lock(&t->cred_lock);
	old = t->cred;
	t->cred = steal_ptr(&e->cred);
	mutex_unlock(&t->cred_lock);
	read_unlock(&kernel.tasklist_lock);
	if (e->secure || old->euid != t->cred->euid || old->egid != t->cred->egid)
		t->pdeath_signal = 0;
	cred_put(old);
}

static void reset_task(struct exec *e)
{
	struct task *t = e->task;

	reset_signals(t);
	t->clear_child_tid = t->set_child_tid = t->robust_list = 0;
	t->rseq_addr = 0;
	t->rseq_len = t->rseq_sig = 0;
	t->restart.fn = NULL;
	t->keep_caps = false;
	t->personality &= ~(uint64_t)(e->secure ? 0x007fffff & ~0xff : 0);
	t->group->did_exec = true;
	set_comm(t, e->name);
	group_timers_exec(t->group);
}

int exec_commit(struct exec *e)
{
	struct task *t = e->task;
	struct platform_ctx *old_ctx;
	struct mm *old_mm;
	struct files *files;
	struct cpu_usage cpu = {0};
	struct sighand *sh;
	int err = unshare_tables(t, &files, &sh);

	if (err)
		return err;
	e->old_pid = pid_get(t->pid);
	err = end_other_threads(t);
	if (err) {
		if (files)
			files_put(files);
		if (sh)
			sighand_put(sh);
		return err;
	}
	if (t->mm) {
		account_thread(t, &cpu);
		futex_task_exit(t);
	}
	if (files) {
		mutex_lock(&t->group->lock);
		struct files *old = t->files;

		t->files = files;
		mutex_unlock(&t->group->lock);
		files_put(old);
	}
	if (sh)
		replace_sighand(t, sh);
	swap_memory(e, &cpu, &old_ctx, &old_mm);
	vfork_release(t);
	files_close_on_exec(t->files);
	replace_cred(e);
	reset_task(e);
	set_registers(e);
	task_update_identity(t);
	if (old_mm)
		mm_put(old_mm);
	if (old_ctx)
		platform_ctx_exit(old_ctx);
	return 0;
}
