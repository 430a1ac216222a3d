/*
 * Requests of ptrace(2) on a stub's thread. The kernel takes them only from the thread that has
 * attached it, so a tracee has one owner at a time, and changes it parked: it then sits in the
 * stub's text in a pause(2) that nothing of the guest's can end, for whoever attaches it next.
 *
 * Thread ids are numbers that the host gives out again. A leader's is its registered process's.
 * That of another thread is known from the clone that made it; before and after it is attached the
 * host confirms that it is of the process, and while it is attached nobody else can get it. So no
 * request ever reaches a thread of the sentry's (the kernel refuses those anyway) or of another
 * stub.
 */
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sentry/platform/ptrace/ptrace.h"
#include "sentry/platform/shared/zygote.h"

#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL)
#define SEIZE_TRIES 100

/* struct user_regs_struct of the kernel's: struct guest_regs, then ds, es, fs and gs. It also
 * begins what PTRACE_POKEUSER takes offsets of. */
struct all_regs {
	struct guest_regs regs;
	uint64_t selectors[4];
};

static pid_t self_tid(void)
{
	static __thread pid_t tid;

	if (!tid)
		tid = (pid_t)syscall(SYS_gettid);
	return tid;
}

static int request(struct tracee *t, int what, uint64_t addr, uint64_t data)
{
	return syscall(SYS_ptrace, what, t->head.tid, addr, data) < 0 ? -errno : 0;
}

bool tracee_is_mine(const struct tracee *t)
{
	return t->tracer == self_tid();
}

/* --- whose it is -------------------------------------------------------------------------------
 */

static bool in_its_stub(const struct tracee *t)
{
	pid_t pid = tracee_stub(t)->head.pid;

	return t->head.tid == pid || !syscall(SYS_tgkill, pid, t->head.tid, 0);
}

static int seize(struct tracee *t)
{
	const struct timespec pause = {0, 1000000};
	int ret = -ESRCH;

	for (int i = 0; i < SEIZE_TRIES; i++) {
		if (tracee_stub(t)->head.dead || !in_its_stub(t))
			return -ESRCH;
		ret = request(t, PTRACE_SEIZE, 0, OPTIONS);
		if (ret != -EPERM)
			break;
		/* It is dying, or one who took it for another is letting it go. */
		nanosleep(&pause, NULL);
	}
	return ret;
}

/* To a stop of our own making, wherever it was. */
static int interrupt(struct tracee *t)
{
	int stop, ret = request(t, PTRACE_INTERRUPT, 0, 0);

	if (!ret)
		ret = tracee_wait(t, &stop);
	/* A stop that comes in between takes the interruption with it: it is asked for again, in
	 * that stop, where it stays. (The zygote is stopped for its report again and again.) */
	while (!ret && stop >> 8 != PTRACE_EVENT_STOP) {
		ret = request(t, PTRACE_INTERRUPT, 0, 0);
		if (!ret)
			ret = tracee_run(t, PTRACE_CONT, stop_pass_signal(stop), &stop);
	}
	return ret;
}

int tracee_attach(struct tracee *t)
{
	int ret;

	if (tracee_is_mine(t))
		return t->gone ? -ESRCH : 0;
	BUG_ON(t->tracer);
	ret = seize(t);
	if (ret)
		return ret;
	t->tracer = self_tid();
	ret = interrupt(t);
	if (!ret && !in_its_stub(t)) {
		request(t, PTRACE_DETACH, 0, 0);
		t->tracer = 0;
		ret = -ESRCH;
	}
	return ret;
}

void tracee_detach(struct tracee *t)
{
	const struct guest_regs parked = {
		.rip = stub_header()->traced_parked,
		.cs = GUEST_CS,
		.ss = GUEST_SS,
		.eflags = GUEST_EFLAGS_FIXED,
	};

	/* What cannot be parked is dead, or must be: it would go on with the guest's code. */
	if (!t->gone && (tracee_set_regs(t, &parked) || request(t, PTRACE_DETACH, 0, 0))) {
		ptrace_as_kill(t->head.as);
		tracee_reap(t);
	}
	t->tracer = 0;
}

void tracee_reap(struct tracee *t)
{
	siginfo_t info;

	/* A leader is reaped with its process, by stub_unregister(). */
	if (t->gone || !tracee_is_mine(t) || t->head.tid == tracee_stub(t)->head.pid)
		return;
	do {
		if (waitid(P_PID, (id_t)t->head.tid, &info, WEXITED | __WALL | __WNOTHREAD) &&
		    errno != EINTR)
			return;
	} while (info.si_code == CLD_TRAPPED || info.si_code == CLD_STOPPED);
	t->gone = true;
}

/* --- stops -------------------------------------------------------------------------------------
 */

int tracee_wait(struct tracee *t, int *stop)
{
	siginfo_t info;

	/* Not for ends (WEXITED): this would reap the thread, and where it is the process's first
	 * would come only after all others have been reaped. As it is, a dead thread has no stops,
	 * and the answer is ECHILD at once. */
	while (waitid(P_PID, (id_t)t->head.tid, &info, WSTOPPED | __WALL | __WNOTHREAD))
		if (errno != EINTR)
			return -ESRCH;
	*stop = info.si_status;
	return 0;
}

int tracee_run(struct tracee *t, int what, int signo, int *stop)
{
	int ret = request(t, what, 0, (uint64_t)signo);

	return ret ? ret : tracee_wait(t, stop);
}

int stop_pass_signal(int stop)
{
	switch (stop) {
	case KICK_SIGNAL:
	case SIGSTOP:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
	case SIGCONT:
		return 0;
	}
	return stop < NSIG && stop != STOP_SYSCALL ? stop : 0;
}

/* --- registers ---------------------------------------------------------------------------------
 */

int tracee_get_regs(struct tracee *t, struct guest_regs *regs)
{
	struct all_regs all;
	int ret = request(t, PTRACE_GETREGS, 0, (uint64_t)&all);

	if (!ret)
		*regs = all.regs;
	return ret;
}

int tracee_leave_32_bit(struct tracee *t)
{
	return request(t, PTRACE_POKEUSER, offsetof(struct guest_regs, cs), GUEST_CS);
}

int tracee_set_regs(struct tracee *t, const struct guest_regs *regs)
{
	struct guest_regs copy = *regs;
	struct iovec iov = {&copy, offsetof(struct guest_regs, fs_base)};

	copy.orig_rax = ~0ULL;
	return request(t, PTRACE_SETREGSET, NT_PRSTATUS, (uint64_t)&iov);
}

/* The kernel takes no base above user space, where the guest's own instructions can set one: so a
 * base is set only if we know better than the thread. */
static int load_base(struct tracee *t, size_t offset, uint64_t value, uint64_t *loaded)
{
	int ret = 0;

	if (*loaded != value)
		ret = request(t, PTRACE_POKEUSER, offset, value);
	if (!ret)
		*loaded = value;
	return ret;
}

int tracee_load_regs(struct tracee *t)
{
	struct guest_regs *regs = &t->head.regs;
	int ret;

	regs->cs = GUEST_CS;
	regs->ss = GUEST_SS;
	regs->eflags = (regs->eflags & GUEST_EFLAGS_MASK) | GUEST_EFLAGS_FIXED;
	ret = tracee_set_regs(t, regs);
	if (!ret)
		ret = load_base(t, offsetof(struct guest_regs, fs_base), regs->fs_base,
				&t->fs_loaded);
	if (!ret)
		ret = load_base(t, offsetof(struct guest_regs, gs_base), regs->gs_base,
				&t->gs_loaded);
	return ret;
}
