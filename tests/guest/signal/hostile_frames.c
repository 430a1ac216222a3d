/* Signal frames that a program has filled with nonsense: it dies of SIGSEGV or goes on, no more. */
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "check.h"

static int what;
static unsigned seed;

static unsigned next(void)
{
	seed = seed * 1103515245 + 12345;
	return seed >> 16;
}

static void spoil(int sig, siginfo_t *info, void *ctx)
{
	ucontext_t *uc = ctx;
	greg_t *r = uc->uc_mcontext.gregs;
	uint8_t *p;

	switch (what) {
	case 0:
		r[REG_RIP] = (greg_t)0xdead000000000000;
		break;
	case 1:
		r[REG_RIP] = -4096;
		break;
	case 2:
		r[REG_RSP] = (greg_t)0x8000000000000000;
		break;
	case 3:
		r[REG_EFL] = -1 & ~0x100L;
		break;
	case 4:
		r[REG_CSGSFS] = -1;
		break;
	case 5:
		uc->uc_mcontext.fpregs = (void *)-64;
		break;
	case 6:
		uc->uc_mcontext.fpregs = (void *)1;
		break;
	case 7:
		memset(uc->uc_mcontext.fpregs, 0xff, 512);
		break;
	case 8:
		memset((char *)uc->uc_mcontext.fpregs + 512, 0xff, 64);
		break;
	case 9:
		uc->uc_stack.ss_sp = (void *)-1;
		uc->uc_stack.ss_size = -1;
		uc->uc_stack.ss_flags = 0x1234;
		break;
	case 10:
		memset(&uc->uc_sigmask, 0xff, 8);
		break;
	case 11:
		r[REG_RIP] = 0x7ff000000000; /* what may be the kernel's own place */
		break;
	default:
		/* Anything. */
		p = (uint8_t *)uc;
		for (int i = 0; i < 20; i++)
			p[next() % 300] = next();
		break;
	}
}

/* The wait status of a child that returns from a spoilt frame. */
static int run(int n)
{
	struct sigaction sa = {.sa_sigaction = spoil, .sa_flags = SA_SIGINFO};
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		what = n;
		seed = n * 7919;
		sigaction(SIGUSR1, &sa, NULL);
		alarm(40);
		syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1);
		syscall(SYS_exit_group, 0);
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	return status;
}

static void return_without_a_frame(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		__asm__ volatile("mov $64, %%rsp\n\tmov $15, %%eax\n\tsyscall\n\thlt" ::: "memory");
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void no_stack_for_the_frame(void)
{
	int status;
	struct sigaction sa = {.sa_sigaction = spoil, .sa_flags = SA_SIGINFO};
	pid_t pid = fork();

	if (pid == 0) {
		long self = getpid(), tid = gettid();

		sigaction(SIGUSR1, &sa, NULL);
		sigaction(SIGSEGV, &sa, NULL);
		__asm__ volatile("mov $64, %%rsp\n\tsyscall\n\thlt" ::"a"(SYS_tgkill), "D"(self),
				 "S"(tid), "d"(SIGUSR1)
				 : "memory");
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

int main(void)
{
	static const int must_die[] = {0, 1, 5, 6};

	for (size_t i = 0; i < sizeof(must_die) / sizeof(must_die[0]); i++) {
		int status = run(must_die[i]);

		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV) {
			printf("frame %d: status %#x\n", must_die[i], status);
			check_failures++;
		}
	}
	/* By which signal is the machine's business, or the sandbox's. */
	CHECK(WIFSIGNALED(run(2)));
	CHECK(WIFSIGNALED(run(11)));
	for (int n = 0; n < 150; n++)
		run(n);
	return_without_a_frame();
	no_stack_for_the_frame();
	CHECK_DONE();
}
