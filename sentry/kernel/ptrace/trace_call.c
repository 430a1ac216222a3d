/* System call stops and single steps: what TF_TRACE and ENTRY_TRACE bring here. */
#include <signal.h>
#include <string.h>

#include "sentry/kernel/ptrace/ptrace_internal.h"

#define CALL_STOP (SIGTRAP | 0x80)

static bool steps(enum trace_mode mode)
{
	return mode == TRACE_STEP || mode == TRACE_EMULATE_STEP;
}

void trace_apply_mode(struct task *t)
{
	struct trace *tr = trace_of(t);
	bool watch = task_traced(t) && (tr->mode != TRACE_RUN || trace_watches(tr));

	if (watch == tr->watched)
		return;
	tr->watched = watch;
	if (watch) {
		atomic_fetch_or(&t->flags, TF_TRACE);
		atomic_fetch_or(&t->entry_work, ENTRY_TRACE);
	} else {
		atomic_fetch_and(&t->flags, ~(uint32_t)TF_TRACE);
		atomic_fetch_and(&t->entry_work, (uint8_t)~ENTRY_TRACE);
	}
	/* What the stub answers by itself nobody sees. */
	task_update_identity(t);
}

/* What the registers show is the guest's: our trap flag is not. True if it was there. */
static bool take_back_flag(struct task *t, struct trace *tr)
{
	if (!tr->forced_tf)
		return false;
	tr->forced_tf = false;
	platform_regs(t->ctx)->eflags &= ~TRAP_FLAG;
	return true;
}

/* After a step: one that the tracer wanted, or that has done what it watches for, becomes a signal.
 */
static void judge_step(struct task *t, struct trace *tr, struct platform_event *event)
{
	bool hit = trace_watches(tr) && trace_look(t, true);

	if (hit)
		event->code = TRAP_HWBKPT;
	if (steps(tr->mode))
		trace_note_step(tr);
	else if (!hit)
		event->kind = EVENT_INTERRUPTED;
}

/* int3 has SI_KERNEL; some virtual machines' debug registers say nothing about a step. */
static bool is_step(const struct platform_event *event)
{
	return event->kind == EVENT_FAULT && event->signo == SIGTRAP &&
	       (event->code == TRAP_TRACE || event->code == TRAP_BRKPT);
}

bool trace_event(struct task *t, struct platform_event *event)
{
	struct trace *tr = trace_of(t);
	bool forced = take_back_flag(t, tr), executed = tr->executing;
	bool step = forced && is_step(event);

	tr->executing = false;
	if (!task_traced(t)) {
		trace_apply_mode(t);
		if (step)
			event->kind = EVENT_INTERRUPTED;
		return false;
	}
	if (step)
		judge_step(t, tr, event);
	if (!executed || event->kind != EVENT_INTERRUPTED)
		return false;
	platform_regs(t->ctx)->orig_rax = tr->executed_nr;
	return true;
}

static int call_stop_code(const struct trace *tr)
{
	return tr->options & PTRACE_O_TRACESYSGOOD ? CALL_STOP : SIGTRAP;
}

/* The tracer may have a signal sent. */
static void send_injected(struct task *t, int sig)
{
	guest_siginfo_t info;

	if (!sig || fatal_signal_pending(t))
		return;
	memset(&info, 0, sizeof(info));
	info.si_signo = sig;
	info.si_code = SI_USER;
	task_send_signal(t, sig, &info);
}

/* Without PTRACE_O_TRACESYSGOOD the signal that is in the code is not one. */
static void stop_at_call(struct task *t, uint64_t message, uint8_t call)
{
	struct trace *tr = trace_of(t);
	struct sighand *sh = lock_sighand(t->group);
	int code = call_stop_code(tr);
	bool traced = task_traced(t);

	mutex_unlock(&sh->lock);
	if (traced)
		send_injected(t, trace_stop_trap(t, code, message, call));
}

bool trace_call_begins(struct task *t)
{
	struct trace *tr = trace_of(t);
	enum trace_mode mode;

	take_back_flag(t, tr);
	tr->executing = false;
	if (!task_traced(t)) {
		trace_apply_mode(t);
		return true;
	}
	mode = tr->mode;
	if (mode == TRACE_RUN || mode == TRACE_STEP)
		return true;
	stop_at_call(t, PTRACE_EVENTMSG_SYSCALL_ENTRY, PTRACE_SYSCALL_INFO_ENTRY);
	if (fatal_signal_pending(t) || mode == TRACE_EMULATE || mode == TRACE_EMULATE_STEP)
		return false;
	return (int32_t)platform_regs(t->ctx)->orig_rax >= 0;
}

void trace_call_ends(struct task *t)
{
	struct trace *tr = trace_of(t);
	guest_siginfo_t info;

	if (!task_traced(t) || fatal_signal_pending(t))
		return;
	if (tr->mode == TRACE_CALLS) {
		stop_at_call(t, PTRACE_EVENTMSG_SYSCALL_EXIT, PTRACE_SYSCALL_INFO_EXIT);
	} else if (steps(tr->mode)) {
		trace_note_step(tr);
		memset(&info, 0, sizeof(info));
		info.si_signo = SIGTRAP;
		info.si_code = TRAP_BRKPT;
		info.si_addr = (void *)platform_regs(t->ctx)->rip;
		force_signal(t, SIGTRAP, &info);
	}
}

void trace_executes(struct task *t)
{
	struct trace *tr = trace_of(t);

	tr->executing = true;
	tr->executed_nr = platform_regs(t->ctx)->orig_rax;
	platform_execute_report(t->ctx);
}

void trace_resumes(struct task *t)
{
	struct trace *tr = trace_of(t);
	struct guest_regs *regs = platform_regs(t->ctx);

	trace_apply_mode(t);
	if (!tr->watched)
		return;
	/* What the kernel and the tracer have written is not what is watched for. */
	if (trace_watches(tr))
		trace_look(t, false);
	else if (!steps(tr->mode))
		return;
	if (regs->eflags & TRAP_FLAG)
		return;
	regs->eflags |= TRAP_FLAG;
	tr->forced_tf = true;
	atomic_fetch_or(&t->flags, TF_FULL_REGS);
}

void trace_handler_begins(struct task *t)
{
	struct trace *tr = trace_of(t);

	if (task_traced(t) && steps(tr->mode))
		trace_stop_trap(t, SIGTRAP, 0, PTRACE_SYSCALL_INFO_NONE);
}
