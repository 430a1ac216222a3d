/*
 * A hostile guest: makes every system call number through libc's syscall(), then jumps at every
 * syscall instruction in the stub's own text with registers of its choosing. Each attempt in a
 * process of its own, for it may not survive. What the host executed meanwhile is for
 * host_syscalls.sh to say; this program only has to come to its end.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LAST_NUMBER 460
/* sentry/platform/shared/layout.h: where the stub's text is. */
#define STUB_TEXT ((const unsigned char *)0x7ff000000000)
#define STUB_TEXT_SIZE 0x10000

/* Runs f(a, b) in a child; gives it a moment, then kills it. */
static void attempt(void (*f)(long, const void *), long a, const void *b)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		alarm(1);
		f(a, b);
		_exit(0);
	}
	if (pid < 0) {
		perror("fork");
		exit(1);
	}
	for (int i = 0; i < 200; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return;
		usleep(i < 20 ? 500 : 10000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

static void by_libc(long nr, const void *unused)
{
	pid_t self = getpid();
	long ret;

	/* These would make other processes of ours misbehave, which is not the question. */
	if (nr == SYS_kill || nr == SYS_tkill || nr == SYS_tgkill)
		ret = syscall(nr, self, self, 0);
	else if (nr == SYS_vfork || nr == SYS_clone || nr == SYS_fork)
		ret = syscall(SYS_fork);
	else
		ret = syscall(nr, -1L, 8L, 16L, 0L, -1L, 0L);
	(void)ret;
	if (getpid() != self)
		_exit(0);
}

struct registers {
	long nr, arg[6];
};

static void by_jump(long site, const void *registers)
{
	const struct registers *r = registers;
	register long r10 __asm__("r10") = r->arg[3];
	register long r8 __asm__("r8") = r->arg[4];
	register long r9 __asm__("r9") = r->arg[5];
	long ret;

	signal(SIGSEGV, SIG_DFL);
	/* The instruction is followed by code of the stub: it does not come back here. */
	__asm__ volatile("jmp *%[site]"
			 : "=a"(ret)
			 : "a"(r->nr), "D"(r->arg[0]), "S"(r->arg[1]), "d"(r->arg[2]), "r"(r10),
			   "r"(r8), "r"(r9), [site] "b"(site)
			 : "rcx", "r11", "memory");
}

static sigjmp_buf unreadable;

static void on_fault(int sig)
{
	siglongjmp(unreadable, 1);
}

int main(void)
{
	static const char path[] = "/etc/hostname";
	static char *const argv[] = {"/bin/true", NULL};
	const struct registers tries[] = {
		{SYS_getppid, {0}},
		{SYS_open, {(long)path, 0}},
		{SYS_openat, {-100, (long)path, 0}},
		{SYS_execve, {(long)argv[0], (long)argv, 0}},
		{SYS_socket, {2, 1, 0}},
		{SYS_ptrace, {0}},
		{SYS_fork, {0}},
		{SYS_vfork, {0}},
		{SYS_kill, {-1, 9}},
		{SYS_read, {0, (long)&unreadable, 1}},
		{SYS_write, {1, (long)path, 1}},
		{SYS_close, {3}},
		{SYS_dup2, {0, 5}},
		{SYS_ioctl, {0, 0x5413, (long)&unreadable}},
		{SYS_mmap, {0x10000000, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, 5, 0}},
		{SYS_mmap, {0x10000000, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0}},
		{SYS_munmap, {(long)STUB_TEXT, 4096}},
		{SYS_mprotect, {(long)STUB_TEXT, 4096, 7}},
		{SYS_mremap, {(long)STUB_TEXT, 4096, 4096, 3, 0x10000000}},
		{SYS_madvise, {(long)STUB_TEXT, 4096, 4}},
		{SYS_clone, {SIGCHLD}},
		{SYS_clone, {0x7c020000}},
		{SYS_clone3, {(long)&unreadable, 88}},
		{SYS_futex, {(long)&unreadable, 0, 0}},
		{SYS_seccomp, {1, 0, 0}},
		{SYS_prctl, {PR_SET_DUMPABLE, 0}},
		{SYS_arch_prctl, {0x1002, 0}},
		{SYS_sigaltstack, {0, 0}},
		{SYS_process_vm_writev, {1, 0, 0, 0, 0, 0}},
		{SYS_memfd_create, {(long)path, 0}},
		{SYS_io_uring_setup, {1, 0}},
		{SYS_exit_group, {3}},
		{SYS_getppid, {0}}, /* the doorbell */
		{1023, {0}},
		{0x40000000 | SYS_getppid, {0}},
	};
	volatile unsigned sites = 0;

	for (long nr = 0; nr < LAST_NUMBER; nr++)
		attempt(by_libc, nr, NULL);
	signal(SIGSEGV, on_fault);
	if (sigsetjmp(unreadable, 1)) {
		printf("the stub's text cannot be read\n");
	} else {
		for (long i = 0; i + 1 < STUB_TEXT_SIZE; i++) {
			if (STUB_TEXT[i] != 0x0f || STUB_TEXT[i + 1] != 0x05)
				continue;
			sites++;
			for (unsigned t = 0; t < sizeof(tries) / sizeof(tries[0]); t++)
				attempt(by_jump, (long)(STUB_TEXT + i), &tries[t]);
		}
	}
	printf("tried %d numbers and %u syscall instructions\n", LAST_NUMBER, sites);
	return 0;
}
