/* System call stops: what a tracer sees of calls, and how it changes them (man 2 ptrace). */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/syscall.h>

#include "tracer.h"

#define ptrace_syscall_info __ptrace_syscall_info
#ifndef PTRACE_EVENTMSG_SYSCALL_ENTRY
#define PTRACE_EVENTMSG_SYSCALL_ENTRY 1
#endif
#define CALL_STOP (SIGTRAP | 0x80)

static void with_good(pid_t pid)
{
	CHECK_EQ(ptrace(PTRACE_SETOPTIONS, pid, 0, (long)PTRACE_O_TRACESYSGOOD), 0);
}

static struct user_regs_struct regs_of(pid_t pid)
{
	struct user_regs_struct regs;

	memset(&regs, 0, sizeof(regs));
	CHECK_EQ(ptrace(PTRACE_GETREGS, pid, 0, &regs), 0);
	return regs;
}

static long info_of(pid_t pid, struct ptrace_syscall_info *info)
{
	memset(info, 0x5a, sizeof(*info));
	return syscall(SYS_ptrace, PTRACE_GET_SYSCALL_INFO, pid, sizeof(*info), info);
}

/* To the entry of call nr, over others. */
static void to_entry(pid_t pid, long nr)
{
	for (;;) {
		REQUIRE(go(PTRACE_SYSCALL, pid, 0) == CALL_STOP);
		if ((long)regs_of(pid).orig_rax == nr)
			return;
		REQUIRE(go(PTRACE_SYSCALL, pid, 0) == CALL_STOP);
	}
}

static void ask_gid(void)
{
	_exit((int)syscall(SYS_getpgid, 0, 1, 2, 3, 4, 5) == getpgrp() ? 1 : 2);
}

static void entry_and_exit(void)
{
	pid_t pid = start_traced(ask_gid);
	struct ptrace_syscall_info info;
	struct user_regs_struct regs;
	unsigned long message;

	CHECK_EQ(info_of(pid, &info), 24);
	CHECK_EQ(info.op, PTRACE_SYSCALL_INFO_NONE);
	CHECK_EQ(info.arch, AUDIT_ARCH_X86_64);
	with_good(pid);
	to_entry(pid, SYS_getpgid);
	regs = regs_of(pid);
	CHECK_EQ(regs.rax, -ENOSYS);
	CHECK_EQ(info_of(pid, &info), 80);
	CHECK_EQ(info.op, PTRACE_SYSCALL_INFO_ENTRY);
	CHECK_EQ(info.entry.nr, SYS_getpgid);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(info.entry.args[i], i);
	CHECK_EQ(info.instruction_pointer, regs.rip);
	CHECK_EQ(info.stack_pointer, regs.rsp);
	/* Behind the instruction itself, whatever the kernel makes of it. */
	CHECK_EQ(ptrace(PTRACE_PEEKTEXT, pid, regs.rip - 2, 0) & 0xffff, 0x050f);
	CHECK_EQ(ptrace(PTRACE_GETEVENTMSG, pid, 0, &message), 0);
	CHECK_EQ(message, PTRACE_EVENTMSG_SYSCALL_ENTRY);
	CHECK_EQ(go(PTRACE_SYSCALL, pid, 0), CALL_STOP);
	CHECK_EQ(info_of(pid, &info), 33);
	CHECK_EQ(info.op, PTRACE_SYSCALL_INFO_EXIT);
	CHECK_EQ(info.exit.rval, getpgrp());
	CHECK_EQ(info.exit.is_error, 0);
	CHECK_EQ(regs_of(pid).rax, getpgrp());
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(1));
}

static void without_sysgood(void)
{
	pid_t pid = start_traced(ask_gid);
	siginfo_t info;

	CHECK_EQ(go(PTRACE_SYSCALL, pid, 0), SIGTRAP);
	CHECK_EQ(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), 0);
	CHECK_EQ(info.si_signo, SIGTRAP);
	CHECK_EQ(info.si_code, SIGTRAP);
	with_good(pid);
	CHECK_EQ(go(PTRACE_SYSCALL, pid, 0), CALL_STOP);
	CHECK_EQ(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), 0);
	CHECK_EQ(info.si_code, CALL_STOP);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(1));
}

static void ask_uid(void)
{
	_exit((int)syscall(SYS_getpgid, 0));
}

static void calls_can_be_changed(void)
{
	pid_t pid = start_traced(ask_uid);
	struct user_regs_struct regs;

	/* Another result. */
	with_good(pid);
	to_entry(pid, SYS_getpgid);
	CHECK_EQ(go(PTRACE_SYSCALL, pid, 0), CALL_STOP);
	regs = regs_of(pid);
	regs.rax = 77;
	CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &regs), 0);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(77));

	/* Another call, other arguments. */
	pid = start_traced(ask_uid);
	with_good(pid);
	to_entry(pid, SYS_getpgid);
	regs = regs_of(pid);
	regs.orig_rax = SYS_dup2;
	regs.rdi = 1;
	regs.rsi = 55;
	CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &regs), 0);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(55));

	/* None at all. */
	pid = start_traced(ask_uid);
	with_good(pid);
	to_entry(pid, SYS_getpgid);
	CHECK_EQ(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, orig_rax), -1L), 0);
	CHECK_EQ(go(PTRACE_SYSCALL, pid, 0), CALL_STOP);
	CHECK_EQ(regs_of(pid).rax, -ENOSYS);
	CHECK_EQ(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, rax), 66), 0);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(66));
}

static void emulated(void)
{
	pid_t pid = start_traced(ask_uid);

	with_good(pid);
	for (;;) {
		REQUIRE(go(PTRACE_SYSEMU, pid, 0) == CALL_STOP);
		if ((long)regs_of(pid).orig_rax == SYS_getpgid)
			break;
		ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, rax), 0L);
	}
	CHECK_EQ(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, rax), 33L), 0);
	/* The next stop is the next call's. */
	REQUIRE(go(PTRACE_SYSEMU, pid, 0) == CALL_STOP);
	CHECK_EQ(regs_of(pid).orig_rax, SYS_exit_group);
	CHECK_EQ(regs_of(pid).rdi, 33);
	end_tracee(pid);
}

static void nop(int sig)
{
}

static int pipes[2];

static void block_in_read(void)
{
	struct sigaction sa = {.sa_handler = nop, .sa_flags = SA_RESTART};
	char c;

	sigaction(SIGUSR1, &sa, NULL);
	_exit(read(pipes[0], &c, 1) == 1 ? c : 1);
}

static void restarts_are_seen(void)
{
	pid_t pid;
	char c = 9;

	pipe(pipes);
	pid = start_traced(block_in_read);
	with_good(pid);
	to_entry(pid, SYS_read);
	CHECK_EQ(ptrace(PTRACE_SYSCALL, pid, 0, 0), 0);
	await_state(pid, 'S');
	syscall(SYS_tgkill, pid, pid, SIGUSR1);
	CHECK_EQ(next_stop(pid), CALL_STOP);
	CHECK_EQ(regs_of(pid).rax, -512); /* ERESTARTSYS */
	CHECK_EQ(go(PTRACE_SYSCALL, pid, 0), SIGUSR1);
	CHECK_EQ(regs_of(pid).rax, -512);
	CHECK_EQ(regs_of(pid).orig_rax, SYS_read);
	/* The handler's return is a call, then comes the read once more. */
	CHECK_EQ(go(PTRACE_SYSCALL, pid, SIGUSR1), CALL_STOP);
	CHECK_EQ(regs_of(pid).orig_rax, SYS_rt_sigreturn);
	CHECK_EQ(go(PTRACE_SYSCALL, pid, 0), CALL_STOP);
	CHECK_EQ(go(PTRACE_SYSCALL, pid, 0), CALL_STOP);
	CHECK_EQ(regs_of(pid).orig_rax, SYS_read);
	write(pipes[1], &c, 1);
	CHECK_EQ(go(PTRACE_SYSCALL, pid, 0), CALL_STOP);
	CHECK_EQ(regs_of(pid).rax, 1);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(9));
	close(pipes[0]);
	close(pipes[1]);
}

static uint32_t word;

static void futexes(void)
{
	struct timespec ms = {0, 1000000};

	/* Often enough for what is done about calls that come often. */
	for (int i = 0; i < 20; i++) {
		syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
		syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
		syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &ms, NULL, 0);
		syscall(SYS_getpid);
		syscall(SYS_getuid);
	}
}

static void frequent_calls_are_all_seen(void)
{
	pid_t pid = start_traced(futexes);
	int waits = 0, again = 0, wakes = 0, late = 0, pids = 0, uids = 0, stop;

	with_good(pid);
	for (;;) {
		struct user_regs_struct in, out;

		stop = go(PTRACE_SYSCALL, pid, 0);
		if (stop != CALL_STOP)
			break;
		in = regs_of(pid);
		if (in.orig_rax == SYS_exit_group)
			break;
		REQUIRE(go(PTRACE_SYSCALL, pid, 0) == CALL_STOP);
		out = regs_of(pid);
		CHECK_EQ(out.orig_rax, in.orig_rax);
		CHECK_EQ(out.rip, in.rip);
		pids += in.orig_rax == SYS_getpid && (pid_t)out.rax == pid;
		uids += in.orig_rax == SYS_getuid && out.rax == getuid();
		if (in.orig_rax != SYS_futex)
			continue;
		wakes += (int)in.rsi == FUTEX_WAKE_PRIVATE && out.rax == 0;
		waits += (int)in.rsi == FUTEX_WAIT_PRIVATE;
		again += (long)out.rax == -EAGAIN;
		late += (long)out.rax == -ETIMEDOUT;
	}
	CHECK_EQ(wakes, 20);
	CHECK_EQ(waits, 40);
	CHECK_EQ(again, 20);
	CHECK_EQ(late, 20);
	CHECK_EQ(pids, 20);
	CHECK_EQ(uids, 20);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(0));
}

static void filter_getpgid(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | 123),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {4, code};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
	errno = 0;
	_exit(syscall(SYS_getpgid, 0) > 0 ? 1 : errno);
}

static void seccomp_asks_the_tracer(void)
{
	pid_t pid = start_traced(filter_getpgid);
	struct ptrace_syscall_info info;
	unsigned long message;

	/* Nobody wants to be asked. */
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(ENOSYS));

	pid = start_traced(filter_getpgid);
	CHECK_EQ(ptrace(PTRACE_SETOPTIONS, pid, 0, (long)PTRACE_O_TRACESECCOMP), 0);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EVENT(PTRACE_EVENT_SECCOMP));
	CHECK_EQ(ptrace(PTRACE_GETEVENTMSG, pid, 0, &message), 0);
	CHECK_EQ(message, 123);
	CHECK(info_of(pid, &info) >= 84);
	CHECK_EQ(info.op, PTRACE_SYSCALL_INFO_SECCOMP);
	CHECK_EQ(info.seccomp.nr, SYS_getpgid);
	CHECK_EQ(info.seccomp.ret_data, 123);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(1));

	pid = start_traced(filter_getpgid);
	CHECK_EQ(ptrace(PTRACE_SETOPTIONS, pid, 0, (long)PTRACE_O_TRACESECCOMP), 0);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EVENT(PTRACE_EVENT_SECCOMP));
	CHECK_EQ(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, orig_rax), -1L), 0);
	CHECK_EQ(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, rax), -(long)EXDEV),
		 0);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(EXDEV));
}

static void sleep_in_poll(void)
{
	_exit(poll(NULL, 0, 10) == 0 ? 4 : 1);
}

/* What a debugger does to call a function: -1 keeps the kernel from restarting. */
static void restart_can_be_called_off(void)
{
	pid_t pid;
	struct user_regs_struct saved, regs;

	pipe(pipes);
	pid = start_traced(block_in_read);
	CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	await_state(pid, 'S');
	syscall(SYS_tgkill, pid, pid, SIGUSR2);
	CHECK_EQ(next_stop(pid), SIGUSR2);
	saved = regs = regs_of(pid);
	CHECK_EQ(regs.rax, -512);
	regs.orig_rax = -1;
	regs.rip = (uint64_t)sleep_in_poll;
	regs.rsp = ((regs.rsp - 1024) & ~15UL) - 8;
	CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &regs), 0);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(4));

	/* And with everything as it was before it is as it would have been. */
	pid = start_traced(block_in_read);
	CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	await_state(pid, 'S');
	syscall(SYS_tgkill, pid, pid, SIGUSR2);
	CHECK_EQ(next_stop(pid), SIGUSR2);
	saved = regs = regs_of(pid);
	regs.orig_rax = -1;
	CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &regs), 0);
	CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &saved), 0);
	write(pipes[1], "\5", 1);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(5));
	close(pipes[0]);
	close(pipes[1]);
}

int main(void)
{
	entry_and_exit();
	without_sysgood();
	calls_can_be_changed();
	emulated();
	restarts_are_seen();
	frequent_calls_are_all_seen();
	seccomp_asks_the_tracer();
	restart_can_be_called_off();
	CHECK_DONE();
}
