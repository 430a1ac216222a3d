/* Seccomp: filters, and what their answers do. */
#include "sentry/kernel/seccomp/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/bpf.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/task_upcalls.h"

#define DATA_WORDS (sizeof(struct seccomp_data) / 4)
#define KNOWN_WORDS 2 /* number and architecture */
/* Instructions of all filters of a task, each filter counting four more (Linux). */
#define MAX_PATH 32768
#define ERRNO_MAX 4095U
/* In the kernel's asm/siginfo.h, which cannot be included together with signal.h. */
#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1
#endif

struct seccomp_filter {
	struct refcount refs;
	struct seccomp_filter *older; /* counted */
	unsigned depth, path_length;
	/* Calls that this filter and all older ones allow whatever their arguments are. */
	uint64_t allowed[(SYSCALL_MAX + 63) / 64];
	struct bpf_prog *prog;
};

static struct seccomp_filter *filter_get(struct seccomp_filter *f)
{
	if (f)
		refcount_inc(&f->refs);
	return f;
}

static void filter_put(struct seccomp_filter *f)
{
	while (f && refcount_dec(&f->refs)) {
		struct seccomp_filter *older = f->older;

		bpf_prog_free(f->prog);
		free(f);
		f = older;
	}
}

int seccomp_mode(const struct task *t)
{
	return atomic_load(&t->seccomp_mode);
}

unsigned seccomp_filters(const struct task *t)
{
	const struct seccomp_filter *f = atomic_load(&t->seccomp);

	return f ? f->depth : 0;
}

void seccomp_inherit(struct task *child, const struct task *parent)
{
	struct seccomp_filter *old =
		atomic_exchange(&child->seccomp, filter_get(atomic_load(&parent->seccomp)));

	filter_put(old);
	atomic_store(&child->seccomp_mode, atomic_load(&parent->seccomp_mode));
	if (atomic_load(&parent->seccomp_mode))
		atomic_fetch_or(&child->entry_work, ENTRY_SECCOMP);
	if (parent->no_new_privs)
		child->no_new_privs = true;
}

void seccomp_forget(struct task *t)
{
	filter_put(atomic_exchange(&t->seccomp, NULL));
}

/* --- setting up
 * ------------------------------------------------------------------------------- */

int seccomp_set_strict(struct task *t)
{
	READ_GUARD(&kernel.tasklist_lock);
	MUTEX_GUARD(&t->group->lock);
	if (atomic_load(&t->seccomp_mode) == SECCOMP_MODE_FILTER)
		return -EINVAL;
	atomic_store(&t->seccomp_mode, SECCOMP_MODE_STRICT);
	atomic_fetch_or(&t->entry_work, ENTRY_SECCOMP);
	task_show_identity(t);
	return 0;
}

static void find_allowed(struct seccomp_filter *f)
{
	for (uint32_t nr = 0; nr < SYSCALL_MAX; nr++) {
		const uint32_t data[KNOWN_WORDS] = {nr, AUDIT_ARCH_X86_64};
		uint64_t bit = 1ULL << (nr % 64);
		uint32_t value;

		if (f->older && !(f->older->allowed[nr / 64] & bit))
			continue;
		if (bpf_constant(f->prog, data, KNOWN_WORDS, &value) &&
		    (value & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ALLOW)
			f->allowed[nr / 64] |= bit;
	}
}

static bool is_ancestor(const struct seccomp_filter *f, const struct seccomp_filter *of)
{
	if (!f)
		return true;
	while (of && of != f)
		of = of->older;
	return of != NULL;
}

/* tasklist_lock and group->lock held. A thread that cannot follow, or NULL. */
static struct task *stubborn_thread(struct task *t)
{
	struct seccomp_filter *mine = atomic_load(&t->seccomp);
	struct task *each;

	for_each_thread (t->group, each) {
		if (each == t || (atomic_load(&each->flags) & TF_EXITING) ||
		    atomic_load(&each->seccomp_mode) == SECCOMP_MODE_DISABLED)
			continue;
		if (atomic_load(&each->seccomp_mode) == SECCOMP_MODE_STRICT ||
		    !is_ancestor(atomic_load(&each->seccomp), mine))
			return each;
	}
	return NULL;
}

/* tasklist_lock and group->lock held. All threads have what t has. */
static void synchronize(struct task *t)
{
	struct task *each;

	for_each_thread (t->group, each)
		if (each != t && !(atomic_load(&each->flags) & TF_EXITING)) {
			seccomp_inherit(each, t);
			task_show_identity(each);
		}
}

/* tasklist_lock and group->lock held. Takes f on success. */
static int attach(struct task *t, struct seccomp_filter *f, unsigned flags)
{
	struct seccomp_filter *older = atomic_load(&t->seccomp);
	struct task *other;

	if (atomic_load(&t->seccomp_mode) == SECCOMP_MODE_STRICT)
		return -EINVAL;
	f->path_length = bpf_prog_len(f->prog) + (older ? older->path_length + 4 : 0);
	if (f->path_length > MAX_PATH)
		return -ENOMEM;
	other = flags & SECCOMP_FILTER_FLAG_TSYNC ? stubborn_thread(t) : NULL;
	if (other)
		return flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH
			       ? -ESRCH
			       : pid_nr_ns(other->pid, task_pid_ns(t));
	f->older = older; /* the task's reference becomes f's */
	f->depth = older ? older->depth + 1 : 1;
	find_allowed(f);
	atomic_store(&t->seccomp, f);
	atomic_store(&t->seccomp_mode, SECCOMP_MODE_FILTER);
	atomic_fetch_or(&t->entry_work, ENTRY_SECCOMP);
	task_show_identity(t);
	if (flags & SECCOMP_FILTER_FLAG_TSYNC)
		synchronize(t);
	return 0;
}

int seccomp_add_filter(struct task *t, const struct sock_filter *prog, unsigned len, unsigned flags)
{
	if (!t->no_new_privs && !own_ns_capable(CAP_SYS_ADMIN))
		return -EACCES;
	return seccomp_impose_filter(t, prog, len, flags);
}

int seccomp_impose_filter(struct task *t, const struct sock_filter *prog, unsigned len,
			  unsigned flags)
{
	struct seccomp_filter *f = calloc(1, sizeof(*f));
	int ret;

	if (!f)
		return -ENOMEM;
	refcount_init(&f->refs);
	ret = bpf_prog_create(prog, len, BPF_SECCOMP, &f->prog);
	if (ret) {
		filter_put(f);
		return ret;
	}
	read_lock(&kernel.tasklist_lock);
	mutex_lock(&t->group->lock);
	ret = attach(t, f, flags);
	mutex_unlock(&t->group->lock);
	read_unlock(&kernel.tasklist_lock);
	if (ret)
		filter_put(f);
	return ret;
}

/* --- judging
 * ---------------------------------------------------------------------------------- */

/* Those that can be carried out: nobody here can listen for notifications. */
bool seccomp_action_known(uint32_t action)
{
	switch (action) {
	case SECCOMP_RET_KILL_PROCESS:
	case SECCOMP_RET_KILL_THREAD:
	case SECCOMP_RET_TRAP:
	case SECCOMP_RET_ERRNO:
	case SECCOMP_RET_TRACE:
	case SECCOMP_RET_LOG:
	case SECCOMP_RET_ALLOW:
		return true;
	default:
		return false;
	}
}

/* The check has seen to it that the offset is that of a word. */
static bool load_word(void *words, uint32_t off, uint32_t size, uint32_t *out)
{
	*out = ((const uint32_t *)words)[off / 4];
	return true;
}

static uint32_t ask_filters(const struct seccomp_filter *f, const struct guest_regs *regs)
{
	const struct seccomp_data data = {
		.nr = (int)regs->orig_rax,
		.arch = AUDIT_ARCH_X86_64,
		.instruction_pointer = regs->rip,
		.args = {regs->rdi, regs->rsi, regs->rdx, regs->r10, regs->r8, regs->r9},
	};
	static const struct bpf_ops ops = {.load = load_word};
	uint32_t words[DATA_WORDS], verdict = SECCOMP_RET_ALLOW;

	memcpy(words, &data, sizeof(words));
	for (; f; f = f->older) {
		uint32_t value = bpf_run(f->prog, &ops, words, sizeof(words));

		/* KILL_PROCESS is the smallest as a signed number. */
		if ((int32_t)(value & SECCOMP_RET_ACTION_FULL) <
		    (int32_t)(verdict & SECCOMP_RET_ACTION_FULL))
			verdict = value;
	}
	return verdict;
}

static void fill_info(guest_siginfo_t *info, const struct guest_regs *regs, int data)
{
	memset(info, 0, sizeof(*info));
	info->si_signo = SIGSYS;
	info->si_code = SYS_SECCOMP;
	info->si_errno = data;
	info->si_call_addr = (void *)regs->rip;
	info->si_syscall = (int)regs->orig_rax;
	info->si_arch = AUDIT_ARCH_X86_64;
}

/* SECCOMP_RET_KILL_PROCESS (man 2 seccomp): as by SIGSYS, core file and all, that nothing catches.
 */
static void kill_process(struct task *t, struct guest_regs *regs, int data)
{
	guest_siginfo_t info;

	fill_info(&info, regs, data);
	regs->rax = regs->orig_rax;
	group_exit_dumping(t, SIGSYS, &info);
}

static void trap(struct task *t, struct guest_regs *regs, int data)
{
	guest_siginfo_t info;

	fill_info(&info, regs, data);
	/* As if the call had not been made: its number is what the handler finds. */
	regs->rax = regs->orig_rax;
	t->in_syscall = false;
	force_signal(t, SIGSYS, &info);
}

static bool allowed_in_strict_mode(uint32_t nr)
{
	return nr == SYS_read || nr == SYS_write || nr == SYS_exit || nr == SYS_rt_sigreturn;
}

static bool judge(struct task *t, struct guest_regs *regs, bool traced);

/* The tracer decides, and may change the call: then the filters see that one. */
static bool ask_tracer(struct task *t, struct guest_regs *regs, uint32_t data)
{
	if (!trace_seccomp(t, data)) {
		regs->rax = -(uint64_t)ENOSYS;
		return false;
	}
	if (fatal_signal_pending(t) || (int32_t)regs->orig_rax < 0)
		return false;
	return judge(t, regs, true);
}

/* traced: the tracer has let it pass already. */
static bool judge(struct task *t, struct guest_regs *regs, bool traced)
{
	const struct seccomp_filter *f = atomic_load(&t->seccomp);
	uint32_t nr = (uint32_t)regs->orig_rax, verdict;

	if (f && nr < SYSCALL_MAX && (f->allowed[nr / 64] & 1ULL << (nr % 64)))
		return true;
	verdict = ask_filters(f, regs);
	switch (verdict & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_ALLOW:
	case SECCOMP_RET_LOG:
		return true;
	case SECCOMP_RET_ERRNO:
		regs->rax = -(uint64_t)MIN(verdict & SECCOMP_RET_DATA, ERRNO_MAX);
		t->in_syscall = false; /* whatever the number, no restart */
		return false;
	case SECCOMP_RET_TRAP:
		trap(t, regs, (int)(verdict & SECCOMP_RET_DATA));
		return false;
	case SECCOMP_RET_TRACE:
		return traced || ask_tracer(t, regs, verdict & SECCOMP_RET_DATA);
	case SECCOMP_RET_USER_NOTIF:
		regs->rax = -(uint64_t)ENOSYS;
		return false;
	case SECCOMP_RET_KILL_THREAD:
		task_exit(t, SIGSYS);
		return false;
	default:
		kill_process(t, regs, (int)(verdict & SECCOMP_RET_DATA));
		return false;
	}
}

bool seccomp_allows(struct task *t, struct guest_regs *regs)
{
	if (atomic_load(&t->seccomp_mode) != SECCOMP_MODE_STRICT)
		return judge(t, regs, false);
	if (allowed_in_strict_mode((uint32_t)regs->orig_rax))
		return true;
	task_exit(t, SIGKILL);
	return false;
}
