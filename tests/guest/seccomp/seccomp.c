/* Seccomp (man 2 seccomp): strict mode, filters, what they can answer, who gets them. */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "check.h"

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(v) BPF_STMT(BPF_RET | BPF_K, (v))
#define N(a) (sizeof(a) / sizeof((a)[0]))

static int seccomp(unsigned op, unsigned flags, void *arg)
{
	return (int)syscall(SYS_seccomp, op, flags, arg);
}

static int install(struct sock_filter *f, size_t n, unsigned flags)
{
	struct sock_fprog prog = {.len = (unsigned short)n, .filter = f};

	return seccomp(SECCOMP_SET_MODE_FILTER, flags, &prog);
}

/* A filter that answers `value` to call nr, and allows all others. */
static int answer_flags(unsigned nr, uint32_t value, unsigned flags)
{
	struct sock_filter f[] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		RETURN(value),
		RETURN(SECCOMP_RET_ALLOW),
	};

	return install(f, N(f), flags);
}

static int answer(unsigned nr, uint32_t value)
{
	return answer_flags(nr, value, 0);
}

static void no_new_privs(void)
{
	REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
}

/* The wait status of a child that runs fn; -1 when its checks failed. */
static int in_child(void (*fn)(void))
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		check_failures = 0;
		fn();
		fflush(stdout);
		_exit(check_failures ? 1 : 0);
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	return status & ~0x80; /* a core or not is the host's business */
}

static void errno_is_answered(void)
{
	no_new_privs();
	CHECK_EQ(prctl(PR_GET_SECCOMP), 0);
	CHECK_EQ(answer(SYS_getppid, SECCOMP_RET_ERRNO | EXDEV), 0);
	CHECK_EQ(prctl(PR_GET_SECCOMP), 2);
	CHECK_ERRNO(syscall(SYS_getppid), EXDEV);
	CHECK(getpid() > 0);
	/* The strictest of all filters counts, an older one's answer before an equal newer one's.
	 */
	CHECK_EQ(answer(SYS_getppid, SECCOMP_RET_ALLOW), 0);
	CHECK_ERRNO(syscall(SYS_getppid), EXDEV);
	CHECK_EQ(answer(SYS_getuid, SECCOMP_RET_ERRNO | 0), 0);
	CHECK_EQ(syscall(SYS_getuid), 0);
	CHECK_EQ(answer(SYS_getgid, SECCOMP_RET_ERRNO | 0xffff), 0);
	CHECK_ERRNO(syscall(SYS_getgid), 4095);
	CHECK_EQ(answer(SYS_getegid, SECCOMP_RET_TRACE), 0);
	CHECK_ERRNO(syscall(SYS_getegid), ENOSYS);
	/* Children have them, too; also when called often. */
	if (fork() == 0) {
		for (int i = 0; i < 100; i++)
			if (syscall(SYS_getppid) != -1 || errno != EXDEV ||
			    syscall(SYS_gettid) <= 0)
				_exit(1);
		_exit(0);
	}
	int status;
	wait(&status);
	CHECK_EQ(status, 0);
}

static void arguments_are_judged(void)
{
	struct sock_filter f[] = {
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_dup2, 0, 9),
		LOAD(args[1]),
		BPF_STMT(BPF_ST, 3),
		BPF_STMT(BPF_LDX | BPF_W | BPF_LEN, 0),
		BPF_STMT(BPF_LD | BPF_MEM, 3),
		BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0), /* args[1] + 64 */
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xffff),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 64 + 500, 0, 2),
		BPF_STMT(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO),
		BPF_STMT(BPF_RET | BPF_A, 0),
		RETURN(SECCOMP_RET_ALLOW),
	};

	no_new_privs();
	CHECK_EQ(install(f, N(f), 0), 0);
	CHECK_EQ(dup2(1, 400), 400);
	CHECK_ERRNO(dup2(1, 600), 664);
	CHECK_ERRNO(dup2(1, 501), 565);
	CHECK_EQ(dup2(1, 500), 500);
}

static volatile sig_atomic_t trapped;
static siginfo_t trap_info;

static void on_sys(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	trapped++;
	trap_info = *info;
	CHECK_EQ(uc->uc_mcontext.gregs[REG_RAX], SYS_getppid);
	uc->uc_mcontext.gregs[REG_RAX] = 4242;
}

static void traps_are_signals(void)
{
	struct sigaction sa = {.sa_sigaction = on_sys, .sa_flags = SA_SIGINFO};

	no_new_privs();
	sigaction(SIGSYS, &sa, NULL);
	CHECK_EQ(answer(SYS_getppid, SECCOMP_RET_TRAP | 77), 0);
	for (int i = 1; i <= 50; i++) {
		CHECK_EQ(syscall(SYS_getppid), 4242);
		CHECK_EQ(trapped, i);
	}
	CHECK_EQ(trap_info.si_signo, SIGSYS);
	CHECK_EQ(trap_info.si_code, 1);
	CHECK_EQ(trap_info.si_errno, 77);
	CHECK_EQ(trap_info.si_syscall, SYS_getppid);
	CHECK_EQ(trap_info.si_arch, AUDIT_ARCH_X86_64);
	CHECK(trap_info.si_call_addr != NULL);
	/* Blocked, it kills. */
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fflush(stdout);
	if (!check_failures)
		syscall(SYS_getppid);
}

static void kill_process(void)
{
	no_new_privs();
	answer(SYS_getppid, SECCOMP_RET_KILL_PROCESS);
	syscall(SYS_getppid);
}

static void kill_lonely_thread(void)
{
	no_new_privs();
	answer(SYS_getppid, SECCOMP_RET_KILL_THREAD);
	syscall(SYS_getppid);
}

static void *asks(void *arg)
{
	syscall(SYS_getppid);
	*(int *)arg = 1;
	return NULL;
}

static void kill_one_thread(void)
{
	int survived = 0;
	pthread_t th;

	no_new_privs();
	CHECK_EQ(answer(SYS_getppid, SECCOMP_RET_KILL_THREAD), 0);
	REQUIRE(pthread_create(&th, NULL, asks, &survived) == 0);
	pthread_join(th, NULL);
	CHECK_EQ(survived, 0);
}

static void strict_allows_few(void)
{
	CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT), 0);
	if (write(1, "", 0) != 0)
		syscall(SYS_exit, 2);
	syscall(SYS_exit, 5);
}

static void strict_kills(void)
{
	CHECK_EQ(seccomp(SECCOMP_SET_MODE_STRICT, 0, NULL), 0);
	getpid();
	syscall(SYS_getpid);
}

static pthread_barrier_t barrier;

static void *waits_for_a_filter(void *arg)
{
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	CHECK_ERRNO(syscall(SYS_getppid), EXDEV);
	return NULL;
}

static void threads_are_synchronized(void)
{
	pthread_t th;

	no_new_privs();
	pthread_barrier_init(&barrier, NULL, 2);
	REQUIRE(pthread_create(&th, NULL, waits_for_a_filter, NULL) == 0);
	pthread_barrier_wait(&barrier);
	CHECK_EQ(answer_flags(SYS_getppid, SECCOMP_RET_ERRNO | EXDEV, SECCOMP_FILTER_FLAG_TSYNC),
		 0);
	pthread_barrier_wait(&barrier);
	pthread_join(th, NULL);
}

static void *own_filter(void *arg)
{
	CHECK_EQ(answer(SYS_getuid, SECCOMP_RET_ERRNO | ENOTTY), 0);
	*(pid_t *)arg = (pid_t)syscall(SYS_gettid);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	CHECK(syscall(SYS_getppid) > 0);
	return NULL;
}

static void threads_with_filters_do_not_follow(void)
{
	pid_t tid = 0;
	pthread_t th;

	no_new_privs();
	pthread_barrier_init(&barrier, NULL, 2);
	REQUIRE(pthread_create(&th, NULL, own_filter, &tid) == 0);
	pthread_barrier_wait(&barrier);
	CHECK_EQ(answer_flags(SYS_getppid, SECCOMP_RET_ERRNO | EXDEV, SECCOMP_FILTER_FLAG_TSYNC),
		 tid);
	CHECK_ERRNO(answer_flags(SYS_getppid, SECCOMP_RET_ERRNO | EXDEV,
				 SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH),
		    ESRCH);
	CHECK(syscall(SYS_getppid) > 0);
	pthread_barrier_wait(&barrier);
	pthread_join(th, NULL);
}

static void bad_programs(void)
{
	struct sock_filter ret = RETURN(SECCOMP_RET_ALLOW), no_ret = LOAD(nr);
	struct sock_filter unaligned[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), ret};
	struct sock_filter outside[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), ret};
	struct sock_filter byte[] = {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), ret};
	struct sock_filter far[] = {BPF_STMT(BPF_JMP | BPF_JA, 1), ret};
	struct sock_filter far_if[] = {BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1), ret};
	struct sock_filter by_zero[] = {BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), ret};
	struct sock_filter unwritten[] = {BPF_STMT(BPF_LD | BPF_MEM, 1), ret};
	struct sock_filter one_way[] = {
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_STMT(BPF_ST, 1),
		BPF_STMT(BPF_LD | BPF_MEM, 1),
		ret,
	};
	struct sock_filter modulo[] = {BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 3), ret};
	struct sock_filter ret_x[] = {BPF_STMT(BPF_RET | BPF_X, 0)};
	static struct sock_filter longest[4097];
	uint32_t action = SECCOMP_RET_ERRNO;
	int big = 0;

	no_new_privs();
	CHECK_ERRNO(install(&ret, 0, 0), EINVAL);
	CHECK_ERRNO(install(NULL, 1, 0), EINVAL);
	CHECK_ERRNO(install((struct sock_filter *)8, 1, 0), EFAULT);
	CHECK_ERRNO(seccomp(SECCOMP_SET_MODE_FILTER, 0, NULL), EFAULT);
	CHECK_ERRNO(install(&ret, 1, 1U << 30), EINVAL);
	CHECK_ERRNO(seccomp(77, 0, NULL), EINVAL);
	CHECK_ERRNO(seccomp(SECCOMP_SET_MODE_STRICT, 1, NULL), EINVAL);
	CHECK_ERRNO(install(&no_ret, 1, 0), EINVAL);
	CHECK_ERRNO(install(unaligned, 2, 0), EINVAL);
	CHECK_ERRNO(install(outside, 2, 0), EINVAL);
	CHECK_ERRNO(install(byte, 2, 0), EINVAL);
	CHECK_ERRNO(install(far, 2, 0), EINVAL);
	CHECK_ERRNO(install(far_if, 2, 0), EINVAL);
	CHECK_ERRNO(install(by_zero, 2, 0), EINVAL);
	CHECK_ERRNO(install(unwritten, 2, 0), EINVAL);
	CHECK_ERRNO(install(one_way, 4, 0), EINVAL);
	CHECK_ERRNO(install(modulo, 2, 0), EINVAL);
	CHECK_ERRNO(install(ret_x, 1, 0), EINVAL);
	CHECK_ERRNO(prctl(PR_SET_SECCOMP, 3, 0, 0, 0), EINVAL);
	for (size_t i = 0; i < N(longest); i++)
		longest[i] = ret;
	CHECK_ERRNO(install(longest, 4097, 0), EINVAL);
	CHECK_EQ(seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &action), 0);
	action = 0x12340000;
	CHECK_ERRNO(seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &action), EOPNOTSUPP);
	CHECK_EQ(prctl(PR_GET_SECCOMP), 0);
	/* All filters of a task together have a limit. */
	while (big < 100 && install(longest, 4096, 0) == 0)
		big++;
	CHECK_EQ(errno, ENOMEM);
	CHECK(big >= 1 && big <= 7); /* Linux counts what it compiles them to */
	CHECK_EQ(prctl(PR_GET_SECCOMP), 2);
	CHECK_ERRNO(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT), EINVAL);
}

static void users_need_no_new_privs(void)
{
	if (geteuid() == 0)
		REQUIRE(setresuid(1000, 1000, 1000) == 0);
	CHECK_ERRNO(answer(SYS_getppid, SECCOMP_RET_ERRNO | EXDEV), EACCES);
	no_new_privs();
	CHECK_EQ(answer(SYS_getppid, SECCOMP_RET_ERRNO | EXDEV), 0);
}

static void status_shows_it(void)
{
	char line[256];
	int mode = -1, filters = -1;
	FILE *f;

	no_new_privs();
	answer(SYS_getppid, SECCOMP_RET_ALLOW);
	answer(SYS_getppid, SECCOMP_RET_ALLOW);
	f = fopen("/proc/self/status", "r");
	REQUIRE(f);
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "Seccomp: %d", &mode);
		sscanf(line, "Seccomp_filters: %d", &filters);
	}
	fclose(f);
	CHECK_EQ(mode, 2);
	CHECK_EQ(filters, 2);
}

int main(void)
{
	CHECK_EQ(in_child(errno_is_answered), 0);
	CHECK_EQ(in_child(arguments_are_judged), 0);
	CHECK_EQ(in_child(traps_are_signals), SIGSYS);
	CHECK_EQ(in_child(kill_process), SIGSYS);
	CHECK_EQ(in_child(kill_lonely_thread), SIGSYS);
	CHECK_EQ(in_child(kill_one_thread), 0);
	CHECK_EQ(in_child(strict_allows_few), 5 << 8);
	CHECK_EQ(in_child(strict_kills), SIGKILL);
	CHECK_EQ(in_child(threads_are_synchronized), 0);
	CHECK_EQ(in_child(threads_with_filters_do_not_follow), 0);
	CHECK_EQ(in_child(bad_programs), 0);
	CHECK_EQ(in_child(users_need_no_new_privs), 0);
	CHECK_EQ(in_child(status_shows_it), 0);
	CHECK_DONE();
}
