/* Signals of a tracee: the tracer sees each before it is delivered, and decides (man 2 ptrace). */
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "tracer.h"

static volatile sig_atomic_t got, got_value;

static void handler(int sig, siginfo_t *info, void *uc)
{
	got = sig;
	got_value = info->si_value.sival_int;
}

static void catch_them(void)
{
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};

	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	sigaction(SIGRTMIN + 3, &sa, NULL);
}

static void raise_usr1(void)
{
	catch_them();
	raise(SIGUSR1);
	_exit(got);
}

static void raise_term(void)
{
	raise(SIGTERM);
}

static void delivered_suppressed_replaced(void)
{
	pid_t pid = start_traced(raise_usr1);
	siginfo_t info;

	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGUSR1);
	CHECK_EQ(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), 0);
	CHECK_EQ(info.si_signo, SIGUSR1);
	CHECK_EQ(info.si_code, SI_TKILL);
	CHECK_EQ(info.si_pid, pid);
	CHECK_EQ(go(PTRACE_CONT, pid, SIGUSR1), EXITED(SIGUSR1));

	pid = start_traced(raise_usr1);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGUSR1);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(0));

	pid = start_traced(raise_usr1);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGUSR1);
	CHECK_EQ(go(PTRACE_CONT, pid, SIGUSR2), EXITED(SIGUSR2));

	/* What would end it does not, unless the tracer says so. */
	pid = start_traced(raise_term);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGTERM);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(0));
	pid = start_traced(raise_term);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGTERM);
	CHECK_EQ(go(PTRACE_CONT, pid, SIGKILL), KILLED(SIGKILL));
}

static void queue_value(void)
{
	catch_them();
	sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 11});
	_exit(got_value);
}

static void siginfo_can_be_changed(void)
{
	pid_t pid = start_traced(queue_value);
	siginfo_t info;

	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGRTMIN + 3);
	CHECK_EQ(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), 0);
	CHECK_EQ(info.si_code, SI_QUEUE);
	CHECK_EQ(info.si_value.sival_int, 11);
	info.si_value.sival_int = 22;
	CHECK_EQ(ptrace(PTRACE_SETSIGINFO, pid, 0, &info), 0);
	CHECK_EQ(go(PTRACE_CONT, pid, SIGRTMIN + 3), EXITED(22));
}

static void ignore_and_raise(void)
{
	signal(SIGUSR1, SIG_IGN);
	raise(SIGUSR1);
	raise(SIGWINCH);
	raise(SIGCONT);
}

static void ignored_signals_are_seen(void)
{
	pid_t pid = start_traced(ignore_and_raise);

	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGUSR1);
	CHECK_EQ(go(PTRACE_CONT, pid, SIGUSR1), SIGWINCH);
	CHECK_EQ(go(PTRACE_CONT, pid, SIGWINCH), SIGCONT);
	CHECK_EQ(go(PTRACE_CONT, pid, SIGCONT), EXITED(0));
}

static void stop_again(void)
{
	raise(SIGSTOP);
}

static void mask(void)
{
	pid_t pid = start_traced(raise_usr1);
	struct {
		uint64_t off;
		uint32_t flags;
		int32_t nr;
	} args = {.nr = 4};
	uint64_t set = 0;
	siginfo_t infos[4];

	CHECK_EQ(syscall(SYS_ptrace, PTRACE_GETSIGMASK, pid, 8, &set), 0);
	CHECK_EQ(set, 0);
	set = 1UL << (SIGUSR1 - 1) | 1UL << (SIGKILL - 1);
	CHECK_ERRNO(syscall(SYS_ptrace, PTRACE_SETSIGMASK, pid, 4, &set), EINVAL);
	CHECK_EQ(syscall(SYS_ptrace, PTRACE_SETSIGMASK, pid, 8, &set), 0);
	CHECK_EQ(syscall(SYS_ptrace, PTRACE_GETSIGMASK, pid, 8, &set), 0);
	CHECK_EQ(set, 1UL << (SIGUSR1 - 1));
	CHECK_EQ(syscall(SYS_ptrace, PTRACE_PEEKSIGINFO, pid, &args, infos), 0);
	syscall(SYS_tgkill, pid, pid, SIGUSR1);
	CHECK_EQ(syscall(SYS_ptrace, PTRACE_PEEKSIGINFO, pid, &args, infos), 1);
	CHECK_EQ(infos[0].si_signo, SIGUSR1);
	CHECK_EQ(infos[0].si_pid, getpid());
	args.flags = 1; /* PTRACE_PEEKSIGINFO_SHARED */
	CHECK_EQ(syscall(SYS_ptrace, PTRACE_PEEKSIGINFO, pid, &args, infos), 0);
	args.flags = 2;
	CHECK_ERRNO(syscall(SYS_ptrace, PTRACE_PEEKSIGINFO, pid, &args, infos), EINVAL);
	/* Blocked: raise() blocks and unblocks all, and leaves the mask as it was. */
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(0));
}

static void group_stop_of_an_attached(void)
{
	pid_t pid = start_traced(stop_again);
	siginfo_t info;

	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGSTOP);
	CHECK_EQ(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), 0);
	/* Delivered: now it stops as a group, and there is no signal to tell of. */
	CHECK_EQ(go(PTRACE_CONT, pid, SIGSTOP), SIGSTOP);
	CHECK_ERRNO(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), EINVAL);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(0));
}

static void waitid_and_proc(void)
{
	pid_t pid = fork_bound();
	siginfo_t info;
	int tracer = -1, status;

	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGUSR2);
		_exit(3);
	}
	memset(&info, 0, sizeof(info));
	CHECK_EQ(waitid(P_PID, pid, &info, WSTOPPED | WNOWAIT), 0);
	CHECK_EQ(info.si_signo, SIGCHLD);
	CHECK_EQ(info.si_code, CLD_TRAPPED);
	CHECK_EQ(info.si_status, SIGUSR2);
	CHECK_EQ(info.si_pid, pid);
	CHECK_EQ(waitid(P_PID, pid, &info, WSTOPPED), 0);
	CHECK_EQ(info.si_code, CLD_TRAPPED);
	/* Told, and still standing. */
	memset(&info, 0, sizeof(info));
	CHECK_EQ(waitid(P_PID, pid, &info, WSTOPPED | WNOHANG), 0);
	CHECK_EQ(info.si_pid, 0);
	CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
	CHECK_EQ(proc_state(pid, &tracer), 't');
	CHECK_EQ(tracer, getpid());
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(3));
}

static volatile sig_atomic_t told, told_code, told_status;

static void on_child(int sig, siginfo_t *info, void *uc)
{
	told = info->si_pid;
	told_code = info->si_code;
	told_status = info->si_status;
}

static void tracer_gets_sigchld(void)
{
	struct sigaction sa = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART};
	pid_t pid;

	sigaction(SIGCHLD, &sa, NULL);
	pid = start_traced(raise_usr1);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGUSR1);
	while (told_status != SIGUSR1)
		sched_yield();
	CHECK_EQ(told, pid);
	CHECK_EQ(told_code, CLD_TRAPPED);
	CHECK_EQ(go(PTRACE_CONT, pid, SIGUSR1), EXITED(SIGUSR1));
	while (told_code != CLD_EXITED)
		sched_yield();
	signal(SIGCHLD, SIG_DFL);
}

static void die_of_fault(void)
{
	*(volatile int *)16 = 1;
}

static void faults_have_addresses(void)
{
	pid_t pid = start_traced(die_of_fault);
	siginfo_t info;

	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGSEGV);
	CHECK_EQ(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), 0);
	CHECK_EQ(info.si_code, SEGV_MAPERR);
	CHECK_EQ((long)info.si_addr, 16);
	/* The same instruction again. */
	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGSEGV);
	CHECK_EQ(go(PTRACE_CONT, pid, SIGSEGV) & ~0x80, KILLED(SIGSEGV) & ~0x80);
}

static void burn_and_raise(void)
{
	struct rusage ru;

	do
		getrusage(RUSAGE_SELF, &ru);
	while (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec < 20000);
	raise(SIGUSR1);
}

static void usage_of_one_that_lives(void)
{
	pid_t pid = start_traced(burn_and_raise);
	struct rusage ru;
	int status;

	CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	memset(&ru, 0, sizeof(ru));
	CHECK_EQ(wait4(pid, &status, 0, &ru), pid);
	CHECK_EQ(status, SIGUSR1 << 8 | 0x7f);
	CHECK(ru.ru_utime.tv_sec || ru.ru_utime.tv_usec + ru.ru_stime.tv_usec >= 19000);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(0));
}

int main(void)
{
	delivered_suppressed_replaced();
	siginfo_can_be_changed();
	ignored_signals_are_seen();
	mask();
	group_stop_of_an_attached();
	waitid_and_proc();
	tracer_gets_sigchld();
	faults_have_addresses();
	usage_of_one_that_lives();
	CHECK_DONE();
}
