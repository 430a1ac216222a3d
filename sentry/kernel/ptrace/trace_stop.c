/* How a tracee stops, and goes on (man 2 ptrace, "Stopped states"). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "sentry/kernel/ptrace/ptrace_internal.h"
#include "sentry/kernel/signal/signal_upcalls.h"
#include "sentry/kernel/task/lifecycle.h"

/* --- telling the tracer ------------------------------------------------------------------------
 */

void trace_notify(struct task *t, int why, int status)
{
	struct task *tracer = trace_of(t)->tracer;
	struct thread_group *g;
	struct ksigaction *ka;
	struct sighand *sh;
	struct cred *cred;
	guest_siginfo_t info;

	if (!tracer)
		return;
	g = tracer->group;
	cred = task_cred_get(t);
	memset(&info, 0, sizeof(info));
	info.si_signo = SIGCHLD;
	info.si_code = why;
	info.si_pid = pid_nr_ns(t->pid, g->tgid->ns);
	info.si_uid = task_shown_uid(tracer, cred->uid);
	info.si_status = status;
	cred_put(cred);
	sh = lock_sighand(g);
	ka = &sh->action[SIGCHLD - 1];
	if (ka->handler != 1 && (!(ka->flags & SA_NOCLDSTOP) || why == CLD_EXITED ||
				 why == CLD_KILLED || why == CLD_DUMPED))
		send_signal_locked(g, g->leader, SIGCHLD, &info, true, false);
	mutex_unlock(&sh->lock);
	wake_up_all(&g->child_wait, ~0u);
}

/* --- what the tracer asks for ------------------------------------------------------------------
 */

static void answer(struct trace *tr, struct sighand *sh, int ret)
{
	tr->request = NULL;
	tr->answer = ret;
	tr->answered = true;
	mutex_unlock(&sh->lock);
	wake_up_all(&tr->answer_wait, ~0u);
}

static bool has_answer(struct task *t)
{
	struct sighand *sh = lock_sighand(t->group);
	bool has = trace_of(t)->answered;

	mutex_unlock(&sh->lock);
	return has;
}

int trace_ask(struct task *t, int (*fn)(struct task *t, struct trace *tr))
{
	struct trace *tr = trace_of(t);
	struct sighand *sh = trace_lock(t, true);

	if (!sh)
		return -ESRCH;
	/* One from which a tracer that was killed has gone. */
	if (tr->request) {
		mutex_unlock(&sh->lock);
		return -ESRCH;
	}
	tr->request = fn;
	tr->answered = false;
	mutex_unlock(&sh->lock);
	task_wake(t);
	if (wait_event_killable(&tr->answer_wait, has_answer(t), NO_DEADLINE))
		return -EINTR;
	return tr->answer;
}

/* --- stopping ----------------------------------------------------------------------------------
 */

void trace_continue(struct task *t, enum trace_mode mode, int sig)
{
	struct trace *tr = trace_of(t);

	tr->mode = mode;
	tr->inject = sig;
	tr->stopped = tr->listening = false;
	task_wake(t);
}

/* Until it is to go on: sighand->lock is held on return. */
static struct sighand *stand_still(struct task *t, struct trace *tr)
{
	for (;;) {
		struct sighand *sh;
		int (*request)(struct task *, struct trace *);

		wait_prepare();
		sh = lock_sighand(t->group);
		request = tr->request;
		if (!tr->stopped || fatal_signal_pending(t)) {
			tr->stopped = false;
			if (!request)
				return sh;
			answer(tr, sh, -ESRCH);
			continue;
		}
		mutex_unlock(&sh->lock);
		if (request) {
			int ret = request(t, tr);

			answer(tr, lock_sighand(t->group), ret);
			continue;
		}
		wait_block(NO_DEADLINE, false);
	}
}

static void own_siginfo(struct task *t, int sig, int code, guest_siginfo_t *info)
{
	memset(info, 0, sizeof(*info));
	info->si_signo = sig;
	info->si_code = code;
	info->si_pid = task_tid(t);
	info->si_uid = uid_shown(t->cred->user_ns, t->cred->uid);
}

struct stop {
	int code, why; /* code 0: of its group, or of the tracer's own (PTRACE_EVENT_STOP) */
	uint64_t message;
	const guest_siginfo_t *info;
	int inject; /* with what it goes on if nobody has seen it stop */
};

/* What its group does now: only with sighand->lock held that stays so, so that a tracer who is told
 * of a stop is told of its end. */
static void fill_group_stop(struct task *t, struct trace *tr)
{
	struct thread_group *g = t->group;
	int sig = g->stopped || g->group_stop_count ? g->stop_signal : 0;

	if (!tr->seized) {
		tr->code = sig ? sig : SIGSTOP;
		tr->has_info = false;
		return;
	}
	sig = sig ? sig : SIGTRAP;
	tr->code = sig | PTRACE_EVENT_STOP << 8;
	own_siginfo(t, sig, tr->code, &tr->info);
	tr->has_info = true;
}

/* sighand->lock held. */
static void fill_stop(struct task *t, struct trace *tr, const struct stop *s)
{
	tr->code = s->code;
	tr->inject = s->inject;
	tr->why = s->why;
	tr->message = s->message;
	tr->has_info = s->info;
	if (s->info)
		tr->info = *s->info;
	if (!s->code)
		fill_group_stop(t, tr);
	tr->listening = false;
	tr->stopped = true;
	t->jobctl &= ~(uint32_t)(s->code ? JOBCTL_TRAP_STOP : JOBCTL_TRAPS);
	recalc_sigpending(t);
	atomic_store(&t->state, TASK_TRACED);
}

/* The signal to go on with, or -1: it is not traced, or is being killed, and has not stopped. */
static int stop(struct task *t, const struct stop *s)
{
	struct trace *tr = trace_of(t);
	struct sighand *sh;
	int sig;

	platform_expose(t->ctx);
	atomic_fetch_or(&t->flags, TF_FULL_REGS);
	sh = lock_sighand(t->group);
	if (!task_traced(t) || fatal_signal_pending(t)) {
		mutex_unlock(&sh->lock);
		return -1;
	}
	fill_stop(t, tr, s);
	sig = tr->code & 0x7f;
	mutex_unlock(&sh->lock);
	read_lock(&kernel.tasklist_lock);
	trace_notify(t, s->why, sig);
	read_unlock(&kernel.tasklist_lock);
	sh = stand_still(t, tr);
	sig = fatal_signal_pending(t) ? 0 : tr->inject;
	tr->code = 0;
	tr->has_info = false;
	tr->call = PTRACE_SYSCALL_INFO_NONE;
	atomic_store(&t->state, TASK_RUNNING);
	recalc_sigpending(t);
	mutex_unlock(&sh->lock);
	trace_apply_mode(t);
	return sig;
}

int trace_stop_trap(struct task *t, int code, uint64_t message, uint8_t call)
{
	guest_siginfo_t info;

	own_siginfo(t, SIGTRAP, code, &info);
	trace_of(t)->call = call;
	return MAX(0, stop(t, &(struct stop){
				      .code = code,
				      .why = CLD_TRAPPED,
				      .message = message,
				      .info = &info,
			      }));
}

/* --- signals -----------------------------------------------------------------------------------
 */

static int inject(struct task *t, int sig, int was, guest_siginfo_t *info)
{
	struct trace *tr = trace_of(t);
	struct sighand *sh = lock_sighand(t->group);
	struct task *tracer = tr->tracer;

	*info = tr->info;
	if (sig != was) {
		struct cred *cred = tracer ? task_cred_get(tracer) : NULL;

		memset(info, 0, sizeof(*info));
		info->si_signo = sig;
		info->si_code = SI_USER;
		if (tracer) {
			info->si_pid = pid_nr_ns(tracer->pid, task_pid_ns(t));
			info->si_uid = uid_shown(t->cred->user_ns, cred->uid);
			cred_put(cred);
		}
	}
	if (t->blocked & SIG_BIT(sig)) {
		send_signal_locked(t->group, t, sig, info, false, true);
		sig = 0;
	}
	mutex_unlock(&sh->lock);
	return sig;
}

int trace_signal(struct task *t, int sig, guest_siginfo_t *info)
{
	struct trace *tr = trace_of(t);
	int with = stop(t, &(struct stop){
				   .code = sig,
				   .why = CLD_TRAPPED,
				   .message = tr->message,
				   .info = info,
				   .inject = sig,
			   });

	if (with < 0)
		return fatal_signal_pending(t) ? 0 : sig;
	return with && !fatal_signal_pending(t) ? inject(t, with, sig, info) : 0;
}

/* --- group stops, and the tracer's own ---------------------------------------------------------
 */

void trace_trap(struct task *t)
{
	stop(t, &(struct stop){.why = CLD_STOPPED});
}

void trace_changed_group_stop(struct task *t)
{
	struct trace *tr = trace_of(t);

	t->jobctl |= JOBCTL_TRAP_NOTIFY;
	if (tr->stopped && tr->listening)
		trace_continue(t, tr->mode, 0);
	signal_wake(t);
}

/* --- events ------------------------------------------------------------------------------------
 */

static bool wants(struct task *t, uint32_t option)
{
	return task_traced(t) && (trace_of(t)->options & option);
}

static void stop_event(struct task *t, int event, uint64_t message)
{
	trace_stop_trap(t, SIGTRAP | event << 8, message, PTRACE_SYSCALL_INFO_NONE);
}

/* The number as the tracer knows it; 0: it does not. */
static uint64_t number_for_tracer(struct task *t, struct pid *pid)
{
	struct sighand *sh = lock_sighand(t->group);
	struct task *tracer = trace_of(t)->tracer;
	pid_t nr = tracer ? pid_nr_ns(pid, tracer->group->tgid->ns) : 0;

	mutex_unlock(&sh->lock);
	return (uint64_t)nr;
}

void trace_event_clone(struct task *parent, uint64_t flags, struct pid *child)
{
	int event = flags & CLONE_VFORK		   ? PTRACE_EVENT_VFORK
		    : (flags & CSIGNAL) == SIGCHLD ? PTRACE_EVENT_FORK
						   : PTRACE_EVENT_CLONE;

	if (!(flags & CLONE_UNTRACED) && wants(parent, 1U << event))
		stop_event(parent, event, number_for_tracer(parent, child));
}

void trace_event_vfork_done(struct task *parent, struct pid *child)
{
	if (wants(parent, PTRACE_O_TRACEVFORKDONE))
		stop_event(parent, PTRACE_EVENT_VFORK_DONE, number_for_tracer(parent, child));
}

void trace_exec(struct task *t, struct pid *old)
{
	memset(trace_of(t)->debug, 0, sizeof(trace_of(t)->debug));
	if (wants(t, PTRACE_O_TRACEEXEC)) {
		stop_event(t, PTRACE_EVENT_EXEC, number_for_tracer(t, old));
	} else if (task_traced(t) && !trace_of(t)->seized) {
		guest_siginfo_t info;

		own_siginfo(t, SIGTRAP, SI_USER, &info);
		task_send_signal(t, SIGTRAP, &info);
	}
}

bool trace_seccomp(struct task *t, uint32_t data)
{
	if (!wants(t, PTRACE_O_TRACESECCOMP))
		return false;
	trace_of(t)->seccomp_data = data;
	trace_stop_trap(t, SIGTRAP | PTRACE_EVENT_SECCOMP << 8, data, PTRACE_SYSCALL_INFO_SECCOMP);
	return true;
}

/*
 * A group that is being killed from outside goes without a word: its threads must not be held up.
 * One that ends by its own will is, as the others of it, still to be seen.
 */
void trace_exits(struct task *t, int status)
{
	uint32_t killed = atomic_load(&t->flags) & TF_KILLED;
	struct sighand *sh;

	if (!wants(t, PTRACE_O_TRACEEXIT) || status == SIGKILL)
		return;
	if (killed) {
		sh = lock_sighand(t->group);
		if (t->group->exiting)
			atomic_fetch_and(&t->flags, ~(uint32_t)TF_KILLED);
		mutex_unlock(&sh->lock);
	}
	stop_event(t, PTRACE_EVENT_EXIT, (uint64_t)status);
	atomic_fetch_or(&t->flags, killed);
}
