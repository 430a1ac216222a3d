/* Single steps and breakpoints, through system calls and handlers, also where calls are frequent.
 */
#include <sys/uio.h>

#include "tracer.h"

#define CALL_STOP (SIGTRAP | 0x80)

static struct user_regs_struct regs_of(pid_t pid)
{
	struct user_regs_struct regs;

	memset(&regs, 0, sizeof(regs));
	CHECK_EQ(ptrace(PTRACE_GETREGS, pid, 0, &regs), 0);
	return regs;
}

static int trap_code(pid_t pid)
{
	siginfo_t info;

	return ptrace(PTRACE_GETSIGINFO, pid, 0, &info) ? -1 : info.si_code;
}

extern char steps_begin[], steps_call[], steps_after[], steps_end[];

__attribute__((noinline)) static long steps(long nr)
{
	long ret;

	__asm__ volatile("steps_begin:\n\t"
			 "int3\n\t"
			 "nop\n\t"
			 "mov %1, %%rax\n\t"
			 "pushf\n\t"
			 "pop %%r12\n\t"
			 "steps_call: syscall\n"
			 "steps_after: cmp $-4095, %%rax\n\t"
			 "steps_end: nop\n\t"
			 : "=a"(ret)
			 : "r"(nr)
			 : "rcx", "r11", "r12", "memory", "cc");
	return ret;
}

static void run_steps(void)
{
	_exit(steps(SYS_getppid) == getppid() ? 0 : 1);
}

static void each_instruction(void)
{
	pid_t pid = start_traced(run_steps);
	struct user_regs_struct regs;
	uint64_t ip;

	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGTRAP);
	CHECK_EQ(trap_code(pid), SI_KERNEL);
	ip = regs_of(pid).rip;
	CHECK_EQ(ip, (uint64_t)steps_begin + 1);
	CHECK_EQ(go(PTRACE_SINGLESTEP, pid, 0), SIGTRAP);
	CHECK_EQ(trap_code(pid), TRAP_TRACE);
	CHECK_EQ(regs_of(pid).rip, ip + 1);
	CHECK_EQ(go(PTRACE_SINGLESTEP, pid, 0), SIGTRAP); /* mov */
	CHECK_EQ(go(PTRACE_SINGLESTEP, pid, 0), SIGTRAP); /* pushf */
	CHECK_EQ(go(PTRACE_SINGLESTEP, pid, 0), SIGTRAP); /* pop */
	regs = regs_of(pid);
	CHECK_EQ(regs.rip, (uint64_t)steps_call);
	CHECK_EQ(regs.eflags & 0x100, 0);
	CHECK_EQ(regs.rax, SYS_getppid);
	CHECK_EQ(go(PTRACE_SINGLESTEP, pid, 0), SIGTRAP);
	regs = regs_of(pid);
	CHECK_EQ(regs.rip, (uint64_t)steps_after);
	CHECK_EQ(regs.rax, getpid());
	CHECK_EQ(go(PTRACE_SINGLESTEP, pid, 0), SIGTRAP);
	CHECK_EQ(regs_of(pid).rip, (uint64_t)steps_end);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(0));
}

static volatile int handled;

static void handler(int sig)
{
	handled = 1;
}

static void raise_usr1(void)
{
	signal(SIGUSR1, handler);
	raise(SIGUSR1);
	_exit(handled ? 3 : 4);
}

static void into_a_handler(void)
{
	pid_t pid = start_traced(raise_usr1);
	int stop = 0, n = 0;

	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGUSR1);
	CHECK_EQ(go(PTRACE_SINGLESTEP, pid, SIGUSR1), SIGTRAP);
	CHECK_EQ(regs_of(pid).rip, (uint64_t)handler);
	/* And out of it again. */
	while ((stop = go(PTRACE_SINGLESTEP, pid, 0)) == SIGTRAP && n < 100000)
		n++;
	CHECK_EQ(stop, EXITED(3));
	CHECK(n > 20);
}

static void countdown(void)
{
	for (int i = 0; i < 40; i++)
		if (steps(SYS_getppid) != getppid())
			_exit(1);
	_exit(6);
}

static long peek(pid_t pid, void *addr)
{
	errno = 0;
	return ptrace(PTRACE_PEEKTEXT, pid, addr, 0);
}

/* A breakpoint in the program's own text, set, hit and stepped over, as debuggers do. */
static void breakpoint_on_a_call(void)
{
	pid_t pid = start_traced(countdown);
	long word = peek(pid, steps_call), nops = peek(pid, steps_begin);
	struct user_regs_struct regs;
	int n = 0, stop;

	/* The program's own one is taken out. */
	CHECK_EQ(ptrace(PTRACE_POKETEXT, pid, steps_begin, (nops & ~0xffL) | 0x90), 0);
	CHECK_EQ(word & 0xffff, 0x050f);
	CHECK_EQ(ptrace(PTRACE_POKETEXT, pid, steps_call, (word & ~0xffL) | 0xcc), 0);
	while ((stop = go(PTRACE_CONT, pid, 0)) == SIGTRAP) {
		regs = regs_of(pid);
		REQUIRE(regs.rip == (uint64_t)steps_call + 1);
		n++;
		CHECK_EQ(ptrace(PTRACE_POKETEXT, pid, steps_call, word), 0);
		regs.rip--;
		CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &regs), 0);
		REQUIRE(go(PTRACE_SINGLESTEP, pid, 0) == SIGTRAP);
		CHECK_EQ(regs_of(pid).rip, (uint64_t)steps_after);
		CHECK_EQ(regs_of(pid).rax, getpid());
		CHECK_EQ(ptrace(PTRACE_POKETEXT, pid, steps_call, (word & ~0xffL) | 0xcc), 0);
	}
	CHECK_EQ(stop, EXITED(6));
	CHECK_EQ(n, 40);
	/* Its own memory was written, nobody else's. */
	CHECK_EQ(((unsigned char *)steps_call)[0], 0x0f);
}

static int tell[2];

static void often(void)
{
	char c = 0;

	signal(SIGTRAP, SIG_IGN);
	for (;;) {
		for (int i = 0; i < 200; i++)
			syscall(SYS_getppid);
		write(tell[1], &c, 1);
		for (;;)
			syscall(SYS_getpgid, 0);
	}
}

/* The text is the program's, whatever has been done about a call that was made often. */
static void text_of_one_that_runs(void)
{
	static unsigned char page[4096];
	pid_t pid;
	struct user_regs_struct regs;
	struct iovec local = {page, 16}, remote;
	char c;

	pipe(tell);
	pid = fork_bound();
	if (!pid)
		often();
	CHECK_EQ(read(tell[0], &c, 1), 1);
	CHECK_EQ(ptrace(PTRACE_SEIZE, pid, 0, (long)PTRACE_O_TRACESYSGOOD), 0);
	CHECK_EQ(ptrace(PTRACE_INTERRUPT, pid, 0, 0), 0);
	CHECK_EQ(next_stop(pid), EVENT(PTRACE_EVENT_STOP));
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(go(PTRACE_SYSCALL, pid, 0), CALL_STOP);
		regs = regs_of(pid);
		CHECK_EQ(regs.orig_rax, SYS_getpgid);
		CHECK(regs.rip >= (uint64_t)syscall && regs.rip < (uint64_t)syscall + 64);
		remote = (struct iovec){(void *)(regs.rip - 2), 16};
		CHECK_EQ(process_vm_readv(pid, &local, 1, &remote, 1, 0), 16);
		CHECK(!memcmp(page, (void *)(regs.rip - 2), 16));
		CHECK_EQ(peek(pid, (void *)(regs.rip - 2)), *(long *)(regs.rip - 2));
	}
	/* Step by step through that call, and it goes on. */
	for (int i = 0; i < 200; i++)
		REQUIRE(go(PTRACE_SINGLESTEP, pid, 0) == SIGTRAP);
	CHECK_EQ(ptrace(PTRACE_DETACH, pid, 0, 0), 0);
	kill(pid, SIGKILL);
	CHECK_EQ(next_stop(pid), KILLED(SIGKILL));
	close(tell[0]);
	close(tell[1]);
}

/* A program may trace itself: the flag is its own then. */
static volatile int own_traps;

static void on_trap(int sig)
{
	own_traps++;
}

static void own_flag(void)
{
	signal(SIGTRAP, on_trap);
	__asm__ volatile("pushf\n\t"
			 "orl $0x100, (%%rsp)\n\t"
			 "popf\n\t"
			 "nop\n\t"
			 "nop\n\t"
			 "pushf\n\t"
			 "andl $~0x100, (%%rsp)\n\t"
			 "popf\n\t" ::
				 : "memory", "cc");
	CHECK_EQ(own_traps, 5);
}

#define DEBUG_REG(i) offsetof(struct user, u_debugreg[i])

static void debug_registers_begin_empty(void)
{
	pid_t pid = start_traced(run_steps);

	errno = 0;
	for (int i = 0; i < 4; i++)
		CHECK_EQ(ptrace(PTRACE_PEEKUSER, pid, DEBUG_REG(i), 0), 0);
	CHECK_EQ(ptrace(PTRACE_PEEKUSER, pid, DEBUG_REG(7), 0), 0);
	CHECK_EQ(ptrace(PTRACE_POKEUSER, pid, DEBUG_REG(7), 0), 0);
	CHECK_ERRNO(ptrace(PTRACE_POKEUSER, pid, DEBUG_REG(0), ~0UL), EINVAL);
	CHECK_ERRNO(ptrace(PTRACE_POKEUSER, pid, DEBUG_REG(4), 0), EIO);
	end_tracee(pid);
}

static volatile uint32_t watched[2];

static void write_it(void)
{
	for (int i = 0; i < 300; i++)
		watched[1] = watched[1] + 1;
	syscall(SYS_getppid);
	watched[0] = 5;
	watched[0] = 6;
	_exit((int)watched[0]);
}

static void writes_are_watched(void)
{
	/* Register 1, locally enabled, four bytes, on writes. */
	const unsigned long control = 1UL << 2 | 0xdUL << 20;
	pid_t pid = start_traced(write_it);
	siginfo_t info;
	uint32_t value;

	if (ptrace(PTRACE_POKEUSER, pid, DEBUG_REG(1), &watched[0]) ||
	    ptrace(PTRACE_POKEUSER, pid, DEBUG_REG(7), control)) {
		/* Not every machine has such registers to give away. */
		end_tracee(pid);
		return;
	}
	CHECK_EQ(ptrace(PTRACE_PEEKUSER, pid, DEBUG_REG(7), 0) & 0xff, 1 << 2);
	for (uint32_t i = 5; i <= 6; i++) {
		CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGTRAP);
		CHECK_EQ(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), 0);
		CHECK_EQ(info.si_code, 4); /* TRAP_HWBKPT */
		CHECK_EQ(ptrace(PTRACE_PEEKUSER, pid, DEBUG_REG(6), 0) & 0xf, 2);
		value = (uint32_t)ptrace(PTRACE_PEEKDATA, pid, &watched[0], 0);
		CHECK_EQ(value, i);
		CHECK_EQ(ptrace(PTRACE_POKEUSER, pid, DEBUG_REG(6), 0), 0);
	}
	CHECK_EQ(ptrace(PTRACE_POKEUSER, pid, DEBUG_REG(7), 0), 0);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(6));
}

static void execution_is_watched(void)
{
	pid_t pid = start_traced(write_it);

	if (ptrace(PTRACE_POKEUSER, pid, DEBUG_REG(0), write_it) ||
	    ptrace(PTRACE_POKEUSER, pid, DEBUG_REG(7), 1UL)) {
		end_tracee(pid);
		return;
	}
	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGTRAP);
	CHECK_EQ(regs_of(pid).rip, (uint64_t)write_it);
	CHECK_EQ(ptrace(PTRACE_PEEKUSER, pid, DEBUG_REG(6), 0) & 0xf, 1);
	CHECK_EQ(ptrace(PTRACE_POKEUSER, pid, DEBUG_REG(7), 0), 0);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(6));
}

int main(void)
{
	each_instruction();
	into_a_handler();
	breakpoint_on_a_call();
	text_of_one_that_runs();
	own_flag();
	debug_registers_begin_empty();
	writes_are_watched();
	execution_is_watched();
	CHECK_DONE();
}
