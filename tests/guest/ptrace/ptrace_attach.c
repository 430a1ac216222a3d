/* Tracers that come later: PTRACE_ATTACH, SEIZE, INTERRUPT, LISTEN, group stops, and what is left
 * when they go (man 2 ptrace). */
#include <sched.h>

#include "tracer.h"

#define CALL_STOP (SIGTRAP | 0x80)

static int pipes[2];

/* Reads a byte, and exits with it. */
static pid_t start_reader(void)
{
	pid_t pid;

	REQUIRE(!pipe(pipes));
	pid = fork_bound();
	if (!pid) {
		char c;

		/* Where Yama is, relatives of other kinds may not otherwise. */
		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
		close(pipes[1]);
		_exit(read(pipes[0], &c, 1) == 1 ? c : 1);
	}
	await_state(pid, 'S');
	return pid;
}

static void let_read(int value)
{
	char c = (char)value;

	write(pipes[1], &c, 1);
	close(pipes[0]);
	close(pipes[1]);
}

static int end_of(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid ? status : -errno;
}

static void attach_interrupts_a_call(void)
{
	pid_t pid = start_reader();
	struct user_regs_struct regs;

	CHECK_ERRNO(ptrace(PTRACE_CONT, pid, 0, 0), ESRCH);
	CHECK_EQ(ptrace(PTRACE_ATTACH, pid, 0, 0), 0);
	CHECK_ERRNO(ptrace(PTRACE_ATTACH, pid, 0, 0), EPERM);
	CHECK_EQ(next_stop(pid), SIGSTOP);
	CHECK_EQ(ptrace(PTRACE_GETREGS, pid, 0, &regs), 0);
	CHECK_EQ(regs.rax, -512);
	CHECK_EQ(ptrace(PTRACE_DETACH, pid, 0, 0), 0);
	let_read(3);
	CHECK_EQ(end_of(pid), 3 << 8);
	CHECK_ERRNO(ptrace(PTRACE_ATTACH, pid, 0, 0), ESRCH);
	CHECK_ERRNO(ptrace(PTRACE_ATTACH, getpid(), 0, 0), EPERM);
}

static void attach_to_a_spinning(void)
{
	pid_t pid = fork_bound();
	struct user_regs_struct regs;

	if (!pid)
		for (;;)
			;
	CHECK_EQ(ptrace(PTRACE_ATTACH, pid, 0, 0), 0);
	CHECK_EQ(next_stop(pid), SIGSTOP);
	CHECK_EQ(ptrace(PTRACE_GETREGS, pid, 0, &regs), 0);
	CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	CHECK_ERRNO(ptrace(PTRACE_GETREGS, pid, 0, &regs), ESRCH);
	kill(pid, SIGUSR1);
	CHECK_EQ(next_stop(pid), SIGUSR1);
	end_tracee(pid);
}

static void attach_to_a_stopped(void)
{
	pid_t pid = start_reader();
	int status;

	kill(pid, SIGSTOP);
	CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
	await_state(pid, 'T');
	CHECK_EQ(ptrace(PTRACE_ATTACH, pid, 0, 0), 0);
	CHECK_EQ(next_stop(pid), SIGSTOP);
	await_state(pid, 't');
	/* Let go with the signal it goes on to be stopped. */
	CHECK_EQ(ptrace(PTRACE_DETACH, pid, 0, SIGSTOP), 0);
	await_state(pid, 'T');
	kill(pid, SIGCONT);
	let_read(4);
	CHECK_EQ(end_of(pid), 4 << 8);
}

static void seize_leaves_it_running(void)
{
	pid_t pid = start_reader();
	siginfo_t info;
	int status;

	CHECK_ERRNO(ptrace(PTRACE_SEIZE, pid, 1, 0), EIO);
	CHECK_ERRNO(ptrace(PTRACE_SEIZE, pid, 0, 0x10000000L), EIO);
	CHECK_EQ(ptrace(PTRACE_SEIZE, pid, 0, (long)PTRACE_O_TRACESYSGOOD), 0);
	CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
	CHECK_ERRNO(ptrace(PTRACE_LISTEN, pid, 0, 0), ESRCH);
	CHECK_EQ(ptrace(PTRACE_INTERRUPT, pid, 0, 0), 0);
	CHECK_EQ(next_stop(pid), EVENT(PTRACE_EVENT_STOP));
	CHECK_EQ(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), 0);
	CHECK_EQ(info.si_code, EVENT(PTRACE_EVENT_STOP));
	/* The read begins again. */
	CHECK_EQ(go(PTRACE_SYSCALL, pid, 0), CALL_STOP);
	CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	let_read(5);
	CHECK_EQ(next_stop(pid), EXITED(5));
}

static void interrupt_is_for_the_seized(void)
{
	pid_t pid = start_reader();

	CHECK_EQ(ptrace(PTRACE_ATTACH, pid, 0, 0), 0);
	CHECK_EQ(next_stop(pid), SIGSTOP);
	CHECK_ERRNO(ptrace(PTRACE_INTERRUPT, pid, 0, 0), EIO);
	CHECK_ERRNO(ptrace(PTRACE_LISTEN, pid, 0, 0), EIO);
	end_tracee(pid);
	let_read(1);
}

static void group_stops_of_the_seized(void)
{
	pid_t pid = start_reader();

	CHECK_EQ(ptrace(PTRACE_SEIZE, pid, 0, 0), 0);
	kill(pid, SIGSTOP);
	CHECK_EQ(next_stop(pid), SIGSTOP);
	CHECK_EQ(go(PTRACE_CONT, pid, SIGSTOP), SIGSTOP | PTRACE_EVENT_STOP << 8);
	CHECK_EQ(ptrace(PTRACE_LISTEN, pid, 0, 0), 0);
	CHECK_ERRNO(ptrace(PTRACE_CONT, pid, 0, 0), ESRCH);
	kill(pid, SIGCONT);
	CHECK_EQ(next_stop(pid), EVENT(PTRACE_EVENT_STOP));
	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGCONT);
	/* While it listens the tracer can stop it again. */
	kill(pid, SIGTSTP);
	CHECK_EQ(go(PTRACE_CONT, pid, SIGCONT), SIGTSTP);
	CHECK_EQ(go(PTRACE_CONT, pid, SIGSTOP), SIGSTOP | PTRACE_EVENT_STOP << 8);
	CHECK_EQ(ptrace(PTRACE_LISTEN, pid, 0, 0), 0);
	CHECK_EQ(ptrace(PTRACE_INTERRUPT, pid, 0, 0), 0);
	CHECK_EQ(next_stop(pid), SIGSTOP | PTRACE_EVENT_STOP << 8);
	/* Let go, it stays stopped. */
	CHECK_EQ(ptrace(PTRACE_DETACH, pid, 0, 0), 0);
	await_state(pid, 'T');
	kill(pid, SIGCONT);
	let_read(6);
	CHECK_EQ(end_of(pid), 6 << 8);
}

/* A tracer of its own, which says when it has attached, and ends when told. */
static pid_t start_tracer(pid_t tracee, long options, int ready[2], int over[2])
{
	pid_t pid = fork_bound();
	char c;

	if (pid)
		return pid;
	if (ptrace(PTRACE_SEIZE, tracee, 0, options))
		_exit(1);
	ptrace(PTRACE_INTERRUPT, tracee, 0, 0);
	if (next_stop(tracee) != EVENT(PTRACE_EVENT_STOP))
		_exit(2);
	write(ready[1], "", 1);
	read(over[0], &c, 1);
	_exit(0);
}

static int after_its_tracer(long options, char state_before)
{
	int ready[2], over[2], tracer_pid = 0;
	pid_t pid = start_reader(), tracer;
	char c;

	pipe(ready);
	pipe(over);
	tracer = start_tracer(pid, options, ready, over);
	CHECK_EQ(read(ready[0], &c, 1), 1);
	CHECK_EQ(proc_state(pid, &tracer_pid), 't');
	CHECK_EQ(tracer_pid, tracer);
	/* One tracer is enough. */
	CHECK_ERRNO(ptrace(PTRACE_SEIZE, pid, 0, 0), EPERM);
	write(over[1], "", 1);
	CHECK_EQ(end_of(tracer), 0);
	if (state_before)
		await_state(pid, state_before);
	let_read(7);
	close(ready[0]);
	close(ready[1]);
	close(over[0]);
	close(over[1]);
	return end_of(pid);
}

static void tracers_die(void)
{
	CHECK_EQ(after_its_tracer(0, 'S'), 7 << 8);
	CHECK_EQ(after_its_tracer(PTRACE_O_EXITKILL, 0), SIGKILL);
}

/* The parent hears of the end when the tracer has heard of it. */
static void zombies_are_the_tracers_first(void)
{
	int ready[2], over[2];
	pid_t pid = start_reader(), tracer;
	siginfo_t info;
	char c;

	pipe(ready);
	pipe(over);
	tracer = fork_bound();
	if (!tracer) {
		if (ptrace(PTRACE_SEIZE, pid, 0, 0))
			_exit(1);
		write(ready[1], "", 1);
		waitid(P_PID, pid, &info, WEXITED | WNOWAIT);
		write(ready[1], "", 1);
		read(over[0], &c, 1);
		_exit(next_stop(pid) == EXITED(8) ? 0 : 1);
	}
	CHECK_EQ(read(ready[0], &c, 1), 1);
	let_read(8);
	CHECK_EQ(read(ready[0], &c, 1), 1);
	memset(&info, 0, sizeof(info));
	CHECK_EQ(waitid(P_PID, pid, &info, WEXITED | WNOHANG), 0);
	CHECK_EQ(info.si_pid, 0);
	write(over[1], "", 1);
	CHECK_EQ(end_of(pid), 8 << 8);
	CHECK_EQ(end_of(tracer), 0);
}

/* Only the thread that traces may ask, though all of its process may wait. */
static char stack[65536];
static pid_t its_tracee;
static int other_says;

static int other_thread(void *arg)
{
	other_says = ptrace(PTRACE_CONT, its_tracee, 0, 0) == -1 ? errno : 0;
	return 0;
}

static void tracer_is_a_thread(void)
{
	pid_t pid = start_reader(), tid;
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
		    CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
	static volatile pid_t alive = 1;

	CHECK_EQ(ptrace(PTRACE_ATTACH, pid, 0, 0), 0);
	CHECK_EQ(next_stop(pid), SIGSTOP);
	its_tracee = pid;
	tid = clone(other_thread, stack + sizeof(stack), flags, NULL, NULL, NULL, &alive);
	REQUIRE(tid > 0);
	while (alive)
		usleep(1000);
	CHECK_EQ(other_says, ESRCH);
	CHECK_EQ(ptrace(PTRACE_DETACH, pid, 0, 0), 0);
	let_read(9);
	CHECK_EQ(end_of(pid), 9 << 8);
}

static void others_may_not(void)
{
	pid_t pid, child;

	if (getuid())
		return;
	pid = start_reader();
	child = fork_bound();
	if (!child) {
		if (setgid(65534) || setuid(65534))
			_exit(2);
		_exit(ptrace(PTRACE_ATTACH, pid, 0, 0) == -1 && errno == EPERM ? 0 : 1);
	}
	CHECK_EQ(end_of(child), 0);
	let_read(2);
	CHECK_EQ(end_of(pid), 2 << 8);
}

static void seize_and_interrupt_a_spinning(void)
{
	pid_t pid = fork_bound();

	if (!pid)
		for (;;)
			;
	CHECK_EQ(ptrace(PTRACE_SEIZE, pid, 0, 0), 0);
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(ptrace(PTRACE_INTERRUPT, pid, 0, 0), 0);
		CHECK_EQ(next_stop(pid), EVENT(PTRACE_EVENT_STOP));
		CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	}
	kill(pid, SIGKILL);
	CHECK_EQ(next_stop(pid), KILLED(SIGKILL));
}

int main(void)
{
	attach_interrupts_a_call();
	attach_to_a_spinning();
	attach_to_a_stopped();
	seize_leaves_it_running();
	interrupt_is_for_the_seized();
	group_stops_of_the_seized();
	tracers_die();
	zombies_are_the_tracers_first();
	tracer_is_a_thread();
	others_may_not();
	seize_and_interrupt_a_spinning();
	CHECK_DONE();
}
