/* ptrace(2): requests to a tracee that stands in a stop. */
#include <errno.h>
#include <linux/audit.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <asm/prctl.h>

#include "sentry/kernel/ptrace/ptrace_internal.h"
#include "sentry/mm/mm.h"
#include "sentry/uaccess/uaccess.h"

/* Not in every set of headers. */
#define REQUEST_GETREGS 12
#define REQUEST_SETREGS 13
#define REQUEST_GETFPREGS 14
#define REQUEST_SETFPREGS 15
#define REQUEST_ARCH_PRCTL 30
#define REQUEST_SYSEMU 31
#define REQUEST_SYSEMU_SINGLESTEP 32
#define REQUEST_GET_RSEQ_CONFIGURATION 0x420f

struct rseq_configuration {
	uint64_t pointer;
	uint32_t size, signature, flags, pad;
};

struct sighand *trace_lock(struct task *t, bool stopped)
{
	struct sighand *sh = lock_sighand(t->group);
	struct trace *tr = trace_of(t);

	if (tr && tr->tracer == current && (!stopped || (tr->stopped && !tr->listening)))
		return sh;
	mutex_unlock(&sh->lock);
	return NULL;
}

/* --- memory ------------------------------------------------------------------------------------
 */

static long move_word(struct task *t, uint64_t addr, uint64_t *word, bool write)
{
	struct mm *mm = task_mm_get(t);
	ssize_t n;

	if (!mm)
		return -EIO;
	n = mm_access(mm, addr, word, sizeof(*word), write, true);
	mm_put(mm);
	return n == sizeof(*word) ? 0 : -EIO;
}

static long peek(struct task *t, uint64_t addr, uint64_t data)
{
	uint64_t word;
	long ret = move_word(t, addr, &word, false);

	return ret ? ret : put_user(data, word);
}

/* --- registers ---------------------------------------------------------------------------------
 */

static long get_regs(struct task *t, uint64_t data)
{
	uint64_t regs[USER_REGS_COUNT];
	struct sighand *sh = trace_lock(t, true);

	if (!sh)
		return -ESRCH;
	trace_get_regs(t, regs);
	mutex_unlock(&sh->lock);
	return copy_to_user(data, regs, sizeof(regs)) ? -EIO : 0;
}

static long set_regs(struct task *t, uint64_t data)
{
	uint64_t regs[USER_REGS_COUNT];
	struct sighand *sh;
	long ret;

	if (copy_from_user(regs, data, sizeof(regs)))
		return -EFAULT;
	sh = trace_lock(t, true);
	if (!sh)
		return -ESRCH;
	ret = trace_set_regs(t, regs, USER_REGS_COUNT);
	mutex_unlock(&sh->lock);
	return ret;
}

static long peek_user(struct task *t, uint64_t addr, uint64_t data)
{
	struct sighand *sh = trace_lock(t, true);
	uint64_t word;
	long ret;

	if (!sh)
		return -ESRCH;
	ret = trace_peek_user(t, addr, &word);
	mutex_unlock(&sh->lock);
	return ret ? ret : put_user(data, word);
}

static long poke_user(struct task *t, uint64_t addr, uint64_t value)
{
	struct sighand *sh = trace_lock(t, true);
	long ret;

	if (!sh)
		return -ESRCH;
	ret = trace_poke_user(t, addr, value);
	mutex_unlock(&sh->lock);
	return ret;
}

/* Note that the arguments are the other way round. */
static long arch_prctl_of(struct task *t, uint64_t addr, uint64_t option)
{
	switch (option) {
	case ARCH_GET_FS:
		return peek_user(t, offsetof(struct guest_regs, fs_base), addr);
	case ARCH_GET_GS:
		return peek_user(t, offsetof(struct guest_regs, gs_base), addr);
	case ARCH_SET_FS:
		return poke_user(t, offsetof(struct guest_regs, fs_base), addr);
	case ARCH_SET_GS:
		return poke_user(t, offsetof(struct guest_regs, gs_base), addr);
	}
	return -EINVAL;
}

static long get_rseq(struct task *t, uint64_t size, uint64_t data)
{
	const struct rseq_configuration c = {
		.pointer = t->rseq_addr,
		.size = t->rseq_len,
		.signature = t->rseq_sig,
	};

	if (size != sizeof(c))
		return -EINVAL;
	return copy_to_user(data, &c, sizeof(c)) ? -EFAULT : (long)sizeof(c);
}

/* --- signals -----------------------------------------------------------------------------------
 */

static long get_siginfo(struct task *t, uint64_t data)
{
	struct sighand *sh = trace_lock(t, true);
	guest_siginfo_t info;
	bool has;

	if (!sh)
		return -ESRCH;
	has = trace_of(t)->has_info;
	info = trace_of(t)->info;
	mutex_unlock(&sh->lock);
	return has ? copy_to_user(data, &info, sizeof(info)) : -EINVAL;
}

static long set_siginfo(struct task *t, uint64_t data)
{
	guest_siginfo_t info;
	struct sighand *sh;
	bool has;

	if (copy_from_user(&info, data, sizeof(info)))
		return -EFAULT;
	sh = trace_lock(t, true);
	if (!sh)
		return -ESRCH;
	has = trace_of(t)->has_info;
	if (has)
		trace_of(t)->info = info;
	mutex_unlock(&sh->lock);
	return has ? 0 : -EINVAL;
}

static long get_sigmask(struct task *t, uint64_t size, uint64_t data)
{
	struct sighand *sh;
	sigset64_t mask;

	if (size != sizeof(mask))
		return -EINVAL;
	sh = trace_lock(t, true);
	if (!sh)
		return -ESRCH;
	mask = atomic_load(&t->flags) & TF_RESTORE_MASK ? t->saved_mask : t->blocked;
	mutex_unlock(&sh->lock);
	return copy_to_user(data, &mask, sizeof(mask));
}

static long set_sigmask(struct task *t, uint64_t size, uint64_t data)
{
	struct sighand *sh;
	sigset64_t mask;

	if (size != sizeof(mask))
		return -EINVAL;
	if (copy_from_user(&mask, data, sizeof(mask)))
		return -EFAULT;
	sh = trace_lock(t, true);
	if (!sh)
		return -ESRCH;
	atomic_fetch_and(&t->flags, ~(uint32_t)TF_RESTORE_MASK);
	t->blocked = mask & ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP));
	recalc_sigpending(t);
	mutex_unlock(&sh->lock);
	return 0;
}

/* The n-th that is queued, without taking it out. sighand->lock held. */
static bool queued_siginfo(const struct sigpending *p, uint64_t n, guest_siginfo_t *info)
{
	const struct sigqueue *q;

	TAILQ_FOREACH (q, &p->queue, link)
		if (!n--) {
			*info = q->info;
			return true;
		}
	return false;
}

static long peek_siginfo(struct task *t, uint64_t uargs, uint64_t data)
{
	struct ptrace_peeksiginfo_args args;
	int done = 0;

	if (copy_from_user(&args, uargs, sizeof(args)))
		return -EFAULT;
	if ((args.flags & ~(uint32_t)PTRACE_PEEKSIGINFO_SHARED) || args.nr < 0)
		return -EINVAL;
	for (; done < args.nr; done++) {
		struct sighand *sh = trace_lock(t, true);
		guest_siginfo_t info;
		bool found;

		if (!sh)
			return done ? done : -ESRCH;
		found = queued_siginfo(args.flags & PTRACE_PEEKSIGINFO_SHARED ? &t->group->pending
									      : &t->pending,
				       args.off + (unsigned)done, &info);
		mutex_unlock(&sh->lock);
		if (!found)
			break;
		if (copy_to_user(data + (unsigned)done * sizeof(info), &info, sizeof(info)))
			return done ? done : -EFAULT;
		if (signal_pending(current))
			return done + 1;
	}
	return done;
}

/* --- going on ----------------------------------------------------------------------------------
 */

static long go_on(struct task *t, enum trace_mode mode, uint64_t sig)
{
	struct sighand *sh;

	if (sig > GUEST_NSIG)
		return -EIO;
	sh = trace_lock(t, true);
	if (!sh)
		return -ESRCH;
	trace_continue(t, mode, (int)sig);
	mutex_unlock(&sh->lock);
	return 0;
}

/* In a group stop only: it stays, and the tracer hears of what changes. */
static long listen(struct task *t)
{
	struct sighand *sh = trace_lock(t, true);
	struct trace *tr = trace_of(t);
	long ret = -EIO;

	if (!sh)
		return -ESRCH;
	if (tr->seized && tr->has_info && tr->info.si_code >> 8 == PTRACE_EVENT_STOP) {
		tr->listening = true;
		if (t->jobctl & JOBCTL_TRAP_NOTIFY)
			trace_continue(t, tr->mode, 0);
		ret = 0;
	}
	mutex_unlock(&sh->lock);
	return ret;
}

static long set_options(struct task *t, uint64_t data)
{
	struct sighand *sh;

	if ((data & ~(uint64_t)PTRACE_O_MASK) || (data & PTRACE_O_SUSPEND_SECCOMP))
		return -EINVAL;
	sh = trace_lock(t, true);
	if (!sh)
		return -ESRCH;
	trace_of(t)->options = (uint32_t)data;
	mutex_unlock(&sh->lock);
	return 0;
}

static long get_message(struct task *t, uint64_t data)
{
	struct sighand *sh = trace_lock(t, true);
	uint64_t message;

	if (!sh)
		return -ESRCH;
	message = trace_of(t)->message;
	mutex_unlock(&sh->lock);
	return put_user(data, message);
}

/* --- the call that it is in --------------------------------------------------------------------
 */

static void fill_arguments(const struct guest_regs *r, __u64 *nr, __u64 args[6])
{
	const uint64_t from[6] = {r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9};

	*nr = r->orig_rax;
	memcpy(args, from, sizeof(from));
}

static size_t fill_call(struct task *t, struct ptrace_syscall_info *info)
{
	const struct guest_regs *r = platform_regs(t->ctx);

	memset(info, 0, sizeof(*info));
	info->op = trace_of(t)->call;
	info->arch = AUDIT_ARCH_X86_64;
	info->instruction_pointer = r->rip;
	info->stack_pointer = r->rsp;
	switch (info->op) {
	case PTRACE_SYSCALL_INFO_ENTRY:
		fill_arguments(r, &info->entry.nr, info->entry.args);
		return offsetof(struct ptrace_syscall_info, entry) + sizeof(info->entry.nr) +
		       sizeof(info->entry.args);
	case PTRACE_SYSCALL_INFO_EXIT:
		info->exit.rval = (int64_t)r->rax;
		info->exit.is_error = r->rax >= (uint64_t)-4095;
		return offsetof(struct ptrace_syscall_info, exit.is_error) + 1;
	case PTRACE_SYSCALL_INFO_SECCOMP:
		fill_arguments(r, &info->seccomp.nr, info->seccomp.args);
		info->seccomp.ret_data = trace_of(t)->seccomp_data;
		return offsetof(struct ptrace_syscall_info, seccomp.ret_data) +
		       sizeof(info->seccomp.ret_data);
	}
	return offsetof(struct ptrace_syscall_info, entry);
}

static long get_call(struct task *t, uint64_t size, uint64_t data)
{
	struct sighand *sh = trace_lock(t, true);
	struct ptrace_syscall_info info;
	size_t actual;

	if (!sh)
		return -ESRCH;
	actual = fill_call(t, &info);
	mutex_unlock(&sh->lock);
	return copy_to_user(data, &info, MIN(size, actual)) ? -EFAULT : (long)actual;
}

/* --- which request -----------------------------------------------------------------------------
 */

static long request_regs(struct task *t, uint64_t request, uint64_t addr, uint64_t data)
{
	switch (request) {
	case PTRACE_PEEKUSR:
		return peek_user(t, addr, data);
	case PTRACE_POKEUSR:
		return poke_user(t, addr, data);
	case REQUEST_GETREGS:
		return get_regs(t, data);
	case REQUEST_SETREGS:
		return set_regs(t, data);
	case REQUEST_GETFPREGS:
		return trace_fpregs(t, data, false);
	case REQUEST_SETFPREGS:
		return trace_fpregs(t, data, true);
	case PTRACE_GETREGSET:
		return trace_regset(t, addr, data, false);
	case PTRACE_SETREGSET:
		return trace_regset(t, addr, data, true);
	case REQUEST_ARCH_PRCTL:
		return arch_prctl_of(t, addr, data);
	case REQUEST_GET_RSEQ_CONFIGURATION:
		return get_rseq(t, addr, data);
	case PTRACE_GET_SYSCALL_INFO:
		return get_call(t, addr, data);
	}
	return -EIO;
}

static long request_signals(struct task *t, uint64_t request, uint64_t addr, uint64_t data)
{
	switch (request) {
	case PTRACE_GETSIGINFO:
		return get_siginfo(t, data);
	case PTRACE_SETSIGINFO:
		return set_siginfo(t, data);
	case PTRACE_PEEKSIGINFO:
		return peek_siginfo(t, addr, data);
	case PTRACE_GETSIGMASK:
		return get_sigmask(t, addr, data);
	case PTRACE_SETSIGMASK:
		return set_sigmask(t, addr, data);
	case PTRACE_SETOPTIONS:
	case 21: /* PTRACE_OLDSETOPTIONS */
		return set_options(t, data);
	case PTRACE_GETEVENTMSG:
		return get_message(t, data);
	}
	return request_regs(t, request, addr, data);
}

long trace_request(struct task *t, uint64_t request, uint64_t addr, uint64_t data)
{
	struct sighand *sh = trace_lock(t, true);

	if (!sh)
		return -ESRCH;
	mutex_unlock(&sh->lock);
	switch (request) {
	case PTRACE_PEEKTEXT:
	case PTRACE_PEEKDATA:
		return peek(t, addr, data);
	case PTRACE_POKETEXT:
	case PTRACE_POKEDATA:
		return move_word(t, addr, &data, true);
	case PTRACE_CONT:
		return go_on(t, TRACE_RUN, data);
	case PTRACE_SYSCALL:
		return go_on(t, TRACE_CALLS, data);
	case PTRACE_SINGLESTEP:
		return go_on(t, TRACE_STEP, data);
	case REQUEST_SYSEMU:
		return go_on(t, TRACE_EMULATE, data);
	case REQUEST_SYSEMU_SINGLESTEP:
		return go_on(t, TRACE_EMULATE_STEP, data);
	case PTRACE_DETACH:
		return data > GUEST_NSIG ? -EIO : trace_detach(t, (int)data);
	case PTRACE_LISTEN:
		return listen(t);
	}
	return request_signals(t, request, addr, data);
}
