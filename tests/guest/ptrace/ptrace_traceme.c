/* A child that asks to be traced: its stops, memory, registers, and how it goes on (man 2 ptrace).
 */
#include <elf.h>
#include <fcntl.h>
#include <sys/uio.h>

#include "tracer.h"

static volatile uint64_t words[2] = {0x1122334455667788, 42};
static const uint64_t constant = 0xfeedfacecafebeef;

static void nothing(void)
{
}

static void memory(void)
{
	pid_t pid = start_traced(nothing);
	long word, eight = 8;
	char path[64];
	int fd;

	errno = 0;
	CHECK_EQ(ptrace(PTRACE_PEEKDATA, pid, &words[0], 0), 0x1122334455667788);
	CHECK_EQ(ptrace(PTRACE_POKEDATA, pid, &words[1], 43), 0);
	CHECK_EQ(ptrace(PTRACE_PEEKDATA, pid, &words[1], 0), 43);
	CHECK_EQ(words[1], 42);
	/* What the tracee itself may not write. */
	CHECK_EQ(ptrace(PTRACE_POKETEXT, pid, &constant, 7), 0);
	CHECK_EQ(ptrace(PTRACE_PEEKTEXT, pid, &constant, 0), 7);
	CHECK_EQ(*(const volatile uint64_t *)&constant, 0xfeedfacecafebeef);
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR);
	REQUIRE(fd >= 0);
	CHECK_EQ(pwrite(fd, &eight, sizeof(eight), (off_t)&constant), sizeof(eight));
	CHECK_EQ(pread(fd, &word, sizeof(word), (off_t)&constant), sizeof(word));
	CHECK_EQ(word, 8);
	close(fd);
	CHECK_ERRNO(ptrace(PTRACE_PEEKDATA, pid, 8, 0), EIO);
	CHECK_ERRNO(ptrace(PTRACE_POKEDATA, pid, 8, 0), EIO);
	/* The kernel's call stores the word. */
	CHECK_EQ(syscall(SYS_ptrace, PTRACE_PEEKDATA, pid, &words[1], &word), 0);
	CHECK_EQ(word, 43);
	CHECK_ERRNO(syscall(SYS_ptrace, PTRACE_PEEKDATA, pid, &words[1], 8), EFAULT);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(0));
	CHECK_ERRNO(ptrace(PTRACE_PEEKDATA, pid, &words[0], 0), ESRCH);
}

static void with_registers(void)
{
	register uint64_t r12 __asm__("r12") = 0x1212;
	register uint64_t r15 __asm__("r15") = 0x1515;
	double in = 1.5, out;

	__asm__ volatile("movsd %2, %%xmm5\n\tint3\n\tmovsd %%xmm5, %1\n\t"
			 : "+r"(r12), "=m"(out), "+m"(in), "+r"(r15)
			 :
			 : "xmm5");
	_exit(r12 == 0x777 && r15 == 0x1515 && out == 2.5 ? 7 : 8);
}

static void registers(void)
{
	pid_t pid = start_traced(with_registers);
	struct user_regs_struct regs, same;
	struct iovec iov = {&same, sizeof(same)};
	struct user_fpregs_struct fp, fp2;
	double value = 2.5;
	uint64_t half[4];

	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGTRAP);
	CHECK_EQ(ptrace(PTRACE_GETREGS, pid, 0, &regs), 0);
	CHECK_EQ(regs.r12, 0x1212);
	CHECK_EQ(regs.r15, 0x1515);
	CHECK_EQ((long)regs.orig_rax, -1);
	CHECK_EQ(regs.cs, 0x33);
	CHECK_EQ(regs.ss, 0x2b);
	CHECK_EQ(regs.eflags & 0x302, 0x202);
	CHECK(regs.fs_base != 0);
	/* Behind the breakpoint. */
	CHECK_EQ(ptrace(PTRACE_PEEKTEXT, pid, regs.rip - 1, 0) & 0xff, 0xcc);
	CHECK_EQ(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &iov), 0);
	CHECK_EQ(iov.iov_len, sizeof(regs));
	CHECK(!memcmp(&regs, &same, sizeof(regs)));
	iov = (struct iovec){half, sizeof(half)};
	CHECK_EQ(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &iov), 0);
	CHECK_EQ(iov.iov_len, sizeof(half));
	CHECK_EQ(half[0], 0x1515);
	iov.iov_len = 9;
	CHECK_ERRNO(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &iov), EINVAL);
	CHECK_ERRNO(ptrace(PTRACE_GETREGSET, pid, 0x7777, &iov), EINVAL);
	CHECK_EQ(ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user_regs_struct, r12), 0), 0x1212);
	CHECK_ERRNO(ptrace(PTRACE_PEEKUSER, pid, 1, 0), EIO);
	CHECK_ERRNO(ptrace(PTRACE_PEEKUSER, pid, sizeof(struct user) + 16, 0), EIO);
	CHECK_EQ(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, r12), 0x777), 0);
	CHECK_EQ(ptrace(PTRACE_GETREGS, pid, 0, &regs), 0);
	CHECK_EQ(regs.r12, 0x777);
	same = regs;
	same.fs_base = ~0UL;
	CHECK_ERRNO(ptrace(PTRACE_SETREGS, pid, 0, &same), EIO);
	same = regs;
	same.cs = 0;
	CHECK_ERRNO(ptrace(PTRACE_SETREGS, pid, 0, &same), EIO);
	CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &regs), 0);

	CHECK_EQ(ptrace(PTRACE_GETFPREGS, pid, 0, &fp), 0);
	CHECK(!memcmp((char *)fp.xmm_space + 5 * 16, &(double){1.5}, 8));
	memcpy((char *)fp.xmm_space + 5 * 16, &value, 8);
	CHECK_EQ(ptrace(PTRACE_SETFPREGS, pid, 0, &fp), 0);
	iov = (struct iovec){&fp2, sizeof(fp2)};
	CHECK_EQ(ptrace(PTRACE_GETREGSET, pid, NT_PRFPREG, &iov), 0);
	CHECK_EQ(iov.iov_len, sizeof(fp2));
	CHECK(!memcmp(&fp, &fp2, sizeof(fp)));
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(7));
}

static void with_ymm(void)
{
	double in = 3.25, out;

	__asm__ volatile("movsd %1, %%xmm3\n\tint3\n\tmovsd %%xmm3, %0\n\t"
			 : "=m"(out)
			 : "m"(in)
			 : "xmm3");
	_exit(out == 9.75 ? 0 : 1);
}

static void xstate(void)
{
	static char area[16384] __attribute__((aligned(64)));
	pid_t pid = start_traced(with_ymm);
	struct iovec iov = {area, sizeof(area)};
	double value;
	size_t size;
	uint64_t features;

	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGTRAP);
	if (ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &iov)) {
		CHECK_EQ(errno, ENODEV);
		end_tracee(pid);
		return;
	}
	size = iov.iov_len;
	CHECK(size >= 576 && size < sizeof(area));
	/* What the processor has enabled stands in the bytes that are the software's. */
	memcpy(&features, area + 464, sizeof(features));
	CHECK_EQ(features & 3, 3);
	memcpy(&value, area + 160 + 3 * 16, sizeof(value));
	CHECK(value == 3.25);
	value = 9.75;
	memcpy(area + 160 + 3 * 16, &value, sizeof(value));
	CHECK_EQ(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &iov), 0);
	iov.iov_len = size - 8;
	CHECK_ERRNO(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &iov), EFAULT);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(0));
}

static void exec_self(void)
{
	execl("/proc/self/exe", "self", "child", NULL);
}

static void exec_is_a_trap(void)
{
	pid_t pid = start_traced(exec_self);
	siginfo_t info;

	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGTRAP);
	CHECK_EQ(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), 0);
	CHECK_EQ(info.si_signo, SIGTRAP);
	CHECK_EQ(info.si_code, SI_USER);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(5));
}

static void ways_to_go_on(void)
{
	pid_t pid = start_traced(nothing);
	int status;

	CHECK_ERRNO(ptrace(PTRACE_CONT, pid, 0, 99), EIO);
	CHECK_ERRNO(ptrace(PTRACE_DETACH, pid, 0, 99), EIO);
	CHECK_ERRNO(ptrace(9999, pid, 0, 0), EIO);
	CHECK_ERRNO(ptrace(PTRACE_CONT, 0x3fffffff, 0, 0), ESRCH);
	CHECK_EQ(ptrace(PTRACE_KILL, pid, 0, 0), 0);
	CHECK_EQ(next_stop(pid), KILLED(SIGKILL));

	pid = start_traced(nothing);
	CHECK_EQ(ptrace(PTRACE_DETACH, pid, 0, 0), 0);
	CHECK_ERRNO(ptrace(PTRACE_CONT, pid, 0, 0), ESRCH);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);

	pid = start_traced(nothing);
	CHECK_EQ(ptrace(PTRACE_DETACH, pid, 0, SIGTERM), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, SIGTERM);
}

static void twice(void)
{
	_exit(ptrace(PTRACE_TRACEME, 0, 0, 0) == -1 && errno == EPERM ? 0 : 1);
}

static void no_second_time(void)
{
	pid_t pid = start_traced(twice);

	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(0));
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return 5;
	memory();
	registers();
	xstate();
	exec_is_a_trap();
	ways_to_go_on();
	no_second_time();
	CHECK_DONE();
}
