/* Signals: handlers, masks, queues, frames, alternate stacks, restarts, waiting for them. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "check.h"

static volatile sig_atomic_t count, last;
static siginfo_t last_info;

static void handler(int sig)
{
	count++;
	last = sig;
}

static void info_handler(int sig, siginfo_t *info, void *uc)
{
	count++;
	last = sig;
	last_info = *info;
}

static void install(int sig, void (*fn)(int, siginfo_t *, void *), int flags)
{
	struct sigaction sa = {.sa_sigaction = fn, .sa_flags = flags | SA_SIGINFO};

	REQUIRE(sigaction(sig, &sa, NULL) == 0);
}

static void handlers_run_with_siginfo(void)
{
	count = 0;
	install(SIGUSR1, info_handler, 0);
	CHECK_EQ(kill(getpid(), SIGUSR1), 0);
	CHECK_EQ(count, 1);
	CHECK_EQ(last, SIGUSR1);
	CHECK_EQ(last_info.si_code, SI_USER);
	CHECK_EQ(last_info.si_pid, getpid());
	CHECK_EQ(last_info.si_uid, getuid());
	raise(SIGUSR1);
	CHECK_EQ(count, 2);
	CHECK_EQ(last_info.si_code, SI_TKILL);
}

static void blocked_signals_stay_pending(void)
{
	sigset_t set, old, pending;

	count = 0;
	install(SIGUSR1, info_handler, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old);
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGUSR1);
	CHECK_EQ(count, 0);
	sigpending(&pending);
	CHECK(sigismember(&pending, SIGUSR1));
	sigprocmask(SIG_SETMASK, &old, NULL);
	/* An old signal is queued once. */
	CHECK_EQ(count, 1);
}

static int order[16], norder;

static void order_handler(int sig, siginfo_t *info, void *uc)
{
	if (norder < 16)
		order[norder++] = sig * 100 + info->si_value.sival_int;
}

static void realtime_signals_queue_in_order(void)
{
	sigset_t set, old;
	union sigval v;
	int base = SIGRTMIN;

	install(base, order_handler, 0);
	install(base + 1, order_handler, 0);
	sigemptyset(&set);
	sigaddset(&set, base);
	sigaddset(&set, base + 1);
	sigprocmask(SIG_BLOCK, &set, &old);
	v.sival_int = 1;
	CHECK_EQ(sigqueue(getpid(), base + 1, v), 0);
	v.sival_int = 2;
	CHECK_EQ(sigqueue(getpid(), base, v), 0);
	v.sival_int = 3;
	CHECK_EQ(sigqueue(getpid(), base, v), 0);
	siginfo_t info;
	struct timespec zero = {0};
	CHECK_EQ(sigtimedwait(&set, &info, &zero), base);
	CHECK_EQ(info.si_value.sival_int, 2);
	CHECK_EQ(info.si_code, SI_QUEUE);
	CHECK_EQ(sigtimedwait(&set, &info, &zero), base);
	CHECK_EQ(info.si_value.sival_int, 3);
	CHECK_EQ(sigtimedwait(&set, &info, &zero), base + 1);
	CHECK_ERRNO(sigtimedwait(&set, &info, &zero), EAGAIN);
	sigprocmask(SIG_SETMASK, &old, NULL);
	CHECK_EQ(norder, 0);
}

static void resethand_and_nodefer(void)
{
	struct sigaction sa;

	install(SIGUSR2, info_handler, SA_RESETHAND);
	raise(SIGUSR2);
	sigaction(SIGUSR2, NULL, &sa);
	CHECK(sa.sa_handler == SIG_DFL);
}

static volatile int depth, max_depth, runs;

static void nested(int sig, siginfo_t *info, void *uc)
{
	depth++;
	if (depth > max_depth)
		max_depth = depth;
	if (++runs < 3)
		raise(sig);
	depth--;
}

static void nodefer_nests(void)
{
	install(SIGUSR2, nested, SA_NODEFER);
	raise(SIGUSR2);
	CHECK_EQ(max_depth, 3);
	max_depth = 0;
	/* Without it, what is raised inside comes after the handler. */
	max_depth = runs = 0;
	install(SIGUSR2, nested, 0);
	raise(SIGUSR2);
	CHECK_EQ(max_depth, 1);
	CHECK_EQ(runs, 3);
	CHECK_EQ(depth, 0);
}

static char altstack[65536];
static int on_alt;

static void alt_handler(int sig, siginfo_t *info, void *uc)
{
	char here;
	stack_t st;

	on_alt = &here >= altstack && &here < altstack + sizeof(altstack);
	sigaltstack(NULL, &st);
	CHECK(st.ss_flags & SS_ONSTACK);
	st.ss_flags = SS_DISABLE;
	CHECK_ERRNO(sigaltstack(&st, NULL), EPERM);
}

static void alternate_stack(void)
{
	stack_t st = {.ss_sp = altstack, .ss_size = sizeof(altstack)}, old;

	CHECK_EQ(sigaltstack(&st, NULL), 0);
	install(SIGUSR1, alt_handler, SA_ONSTACK);
	raise(SIGUSR1);
	CHECK(on_alt);
	sigaltstack(NULL, &old);
	CHECK_EQ(old.ss_flags, 0);
	CHECK(old.ss_sp == altstack);
	st.ss_size = 100;
	CHECK_ERRNO(sigaltstack(&st, NULL), ENOMEM);
	st.ss_flags = SS_DISABLE;
	CHECK_EQ(sigaltstack(&st, NULL), 0);
}

static sigjmp_buf env;

static void fault_handler(int sig, siginfo_t *info, void *uc)
{
	last = sig;
	last_info = *info;
	siglongjmp(env, 1);
}

static void faults_are_signals(void)
{
	volatile int zero = 0;

	install(SIGSEGV, fault_handler, 0);
	install(SIGFPE, fault_handler, 0);
	install(SIGILL, fault_handler, 0);
	install(SIGTRAP, fault_handler, 0);
	if (!sigsetjmp(env, 1))
		*(volatile int *)0x10 = 1;
	CHECK_EQ(last, SIGSEGV);
	CHECK_EQ(last_info.si_code, SEGV_MAPERR);
	CHECK_EQ((uintptr_t)last_info.si_addr, 0x10);
	if (!sigsetjmp(env, 1))
		*(volatile int *)(uintptr_t)faults_are_signals = 1;
	CHECK_EQ(last_info.si_code, SEGV_ACCERR);
	if (!sigsetjmp(env, 1))
		zero = 1000 / zero;
	CHECK_EQ(last, SIGFPE);
	CHECK_EQ(last_info.si_code, FPE_INTDIV);
	if (!sigsetjmp(env, 1))
		__asm__ volatile("ud2");
	CHECK_EQ(last, SIGILL);
	if (!sigsetjmp(env, 1))
		__asm__ volatile("int3");
	CHECK_EQ(last, SIGTRAP);
	signal(SIGSEGV, SIG_DFL);
	signal(SIGFPE, SIG_DFL);
	signal(SIGILL, SIG_DFL);
	signal(SIGTRAP, SIG_DFL);
}

static void skip_ud2(int sig, siginfo_t *info, void *ctx)
{
	ucontext_t *uc = ctx;

	uc->uc_mcontext.gregs[REG_RIP] += 2;
	uc->uc_mcontext.gregs[REG_RBX] = 0x1234;
	CHECK(uc->uc_mcontext.fpregs != NULL);
	uc->uc_mcontext.fpregs->_xmm[7].element[0] = 42;
}

static void handlers_change_the_context(void)
{
	uint64_t rbx = 1, xmm = 7;

	install(SIGILL, skip_ud2, 0);
	__asm__ volatile("movq %1, %%xmm7\n\tmov $1, %%ebx\n\tud2\n\tmov %%rbx, %0\n\t"
			 "movq %%xmm7, %1"
			 : "=r"(rbx), "+r"(xmm)
			 :
			 : "rbx", "xmm7");
	CHECK_EQ(rbx, 0x1234);
	CHECK_EQ((uint32_t)xmm, 42);
	signal(SIGILL, SIG_DFL);
}

static void clobber_fpu(int sig, siginfo_t *info, void *uc)
{
	__asm__ volatile("pxor %%xmm3, %%xmm3" ::: "xmm3");
}

static void fpu_state_survives_handlers(void)
{
	uint64_t in = 0x1122334455667788, out;

	install(SIGUSR1, clobber_fpu, 0);
	__asm__ volatile("movq %1, %%xmm3\n\tsyscall\n\tmovq %%xmm3, %0"
			 : "=r"(out)
			 : "r"(in), "a"(SYS_tgkill), "D"(getpid()), "S"(gettid()), "d"(SIGUSR1)
			 : "rcx", "r11", "memory", "xmm3");
	CHECK_EQ(out, in);
}

static void red_zone_is_kept(void)
{
	uint64_t out;

	install(SIGUSR1, clobber_fpu, 0);
	__asm__ volatile("movq $0x5a5a, -120(%%rsp)\n\tsyscall\n\tmovq -120(%%rsp), %0"
			 : "=r"(out)
			 : "a"(SYS_tgkill), "D"(getpid()), "S"(gettid()), "d"(SIGUSR1)
			 : "rcx", "r11", "memory");
	CHECK_EQ(out, 0x5a5a);
}

static void alarm_in(int ms)
{
	struct itimerval it = {.it_value = {.tv_usec = ms * 1000}};

	setitimer(ITIMER_REAL, &it, NULL);
}

/* Again and again: on a busy machine the first may come before the call that it is to interrupt. */
static void alarms_every(int ms)
{
	struct itimerval it = {.it_value = {.tv_usec = ms * 1000},
			       .it_interval = {.tv_usec = ms * 1000}};

	setitimer(ITIMER_REAL, &it, NULL);
}

static void restart_or_eintr(void)
{
	int p[2];
	char c;

	REQUIRE(pipe(p) == 0);
	install(SIGALRM, info_handler, 0);
	alarms_every(30);
	CHECK_ERRNO(read(p[0], &c, 1), EINTR);
	alarms_every(0);
	/* With SA_RESTART the read goes on; a child writes. */
	install(SIGALRM, info_handler, SA_RESTART);
	count = 0;
	pid_t child = fork();
	if (child == 0) {
		usleep(300000);
		write(p[1], "x", 1);
		_exit(0);
	}
	alarm_in(30);
	CHECK_EQ(read(p[0], &c, 1), 1);
	CHECK_EQ(count, 1);
	CHECK_EQ(waitpid(child, NULL, 0), child);
	/* nanosleep: EINTR with the rest, whatever the flags. */
	struct timespec ts = {.tv_sec = 30}, rem = {0};
	alarms_every(30);
	CHECK_ERRNO(nanosleep(&ts, &rem), EINTR);
	alarms_every(0);
	CHECK(rem.tv_sec > 0 && rem.tv_sec < 30);
	close(p[0]);
	close(p[1]);
}

static void suspend_waits(void)
{
	sigset_t set, old;

	install(SIGALRM, info_handler, 0);
	count = 0;
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, &old);
	alarm_in(20);
	usleep(50000);
	CHECK_EQ(count, 0);
	CHECK_ERRNO(sigsuspend(&old), EINTR);
	CHECK_EQ(count, 1);
	sigprocmask(SIG_SETMASK, NULL, &set);
	CHECK(sigismember(&set, SIGALRM));
	sigprocmask(SIG_SETMASK, &old, NULL);
	alarms_every(20);
	CHECK_ERRNO(pause(), EINTR);
	alarms_every(0);
}

static void ignored_signals_vanish(void)
{
	sigset_t set, pending;

	signal(SIGUSR1, SIG_IGN);
	CHECK_EQ(raise(SIGUSR1), 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR1);
	sigpending(&pending);
	CHECK(sigismember(&pending, SIGUSR1));
	/* Setting SIG_IGN again discards it. */
	signal(SIGUSR1, SIG_IGN);
	sigpending(&pending);
	CHECK(!sigismember(&pending, SIGUSR1));
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	signal(SIGUSR1, SIG_DFL);
}

static void default_actions(void)
{
	static const int fatal[] = {SIGTERM, SIGKILL, SIGSEGV, SIGUSR1, SIGALRM, SIGPIPE};
	int status;

	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
		pid_t pid = fork();

		if (pid == 0) {
			signal(fatal[i], SIG_DFL);
			kill(getpid(), fatal[i]);
			_exit(1);
		}
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK(WIFSIGNALED(status));
		CHECK_EQ(WTERMSIG(status), fatal[i]);
	}
	pid_t pid = fork();
	if (pid == 0) {
		kill(getpid(), SIGCHLD);
		kill(getpid(), SIGURG);
		kill(getpid(), SIGWINCH);
		_exit(7);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void sigpipe_on_write(void)
{
	int p[2];

	REQUIRE(pipe(p) == 0);
	close(p[0]);
	install(SIGPIPE, info_handler, 0);
	count = 0;
	CHECK_ERRNO(write(p[1], "x", 1), EPIPE);
	CHECK_EQ(count, 1);
	close(p[1]);
	signal(SIGPIPE, SIG_DFL);
}

static volatile pthread_t got_it;

static void thread_handler(int sig)
{
	got_it = pthread_self();
}

static void *waiter(void *arg)
{
	while (!got_it)
		usleep(1000);
	return NULL;
}

static void threads_take_what_they_do_not_block(void)
{
	pthread_t th;
	sigset_t set;

	signal(SIGUSR1, thread_handler);
	REQUIRE(pthread_create(&th, NULL, waiter, NULL) == 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	kill(getpid(), SIGUSR1);
	pthread_join(th, NULL);
	CHECK(got_it == th);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	signal(SIGUSR1, SIG_DFL);
}

static _Atomic pid_t other_tid;
static _Atomic int other_may_end;

static void *other_thread(void *arg)
{
	other_tid = (pid_t)syscall(SYS_gettid);
	while (!other_may_end)
		usleep(1000);
	return NULL;
}

/* kill takes the number of any thread, and signals its process. */
static void kill_by_thread_number(void)
{
	siginfo_t info = {.si_code = SI_QUEUE};
	pthread_t th;

	install(SIGUSR1, info_handler, 0);
	REQUIRE(pthread_create(&th, NULL, other_thread, NULL) == 0);
	while (!other_tid)
		usleep(1000);
	count = 0;
	CHECK_EQ(kill(other_tid, 0), 0);
	CHECK_EQ(kill(other_tid, SIGUSR1), 0);
	while (count < 1)
		usleep(1000);
	CHECK_EQ(syscall(SYS_rt_sigqueueinfo, other_tid, SIGUSR1, &info), 0);
	while (count < 2)
		usleep(1000);
	CHECK_EQ(last_info.si_code, SI_QUEUE);
	other_may_end = 1;
	pthread_join(th, NULL);
}

static void bad_arguments(void)
{
	struct sigaction sa = {.sa_handler = handler};

	CHECK_ERRNO(kill(getpid(), 65), EINVAL);
	CHECK_ERRNO(kill(getpid(), -1), EINVAL);
	CHECK_ERRNO(kill(30000, 0), ESRCH);
	CHECK_EQ(kill(getpid(), 0), 0);
	CHECK_ERRNO(sigaction(SIGKILL, &sa, NULL), EINVAL);
	CHECK_ERRNO(sigaction(SIGSTOP, &sa, NULL), EINVAL);
	CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4), EINVAL);
	CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, 16, NULL, 8), EFAULT);
	CHECK_ERRNO(syscall(SYS_rt_sigprocmask, 77, 16, NULL, 8), EFAULT);
	CHECK_ERRNO(syscall(SYS_tgkill, getpid(), 0, SIGUSR1), EINVAL);
	CHECK_ERRNO(syscall(SYS_tgkill, 1 << 20, gettid(), SIGUSR1), ESRCH);
	siginfo_t info = {.si_code = SI_USER, .si_signo = SIGUSR1};
	pid_t pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	CHECK_ERRNO(syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, &info), EPERM);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static struct {
	uint64_t xmm7[2];
	uint32_t mxcsr;
	uint16_t fcw;
} seen;

static void note_fpu(int sig)
{
	__asm__ volatile("movdqu %%xmm7, %0\n\tstmxcsr %1\n\tfnstcw %2"
			 : "=m"(seen.xmm7), "=m"(seen.mxcsr), "=m"(seen.fcw));
}

static void handlers_begin_with_a_fresh_fpu(void)
{
	uint64_t xmm7[2] = {0x1234, 0x5678}, after[2];
	uint32_t mxcsr = 0, mxcsr_after, fresh_mxcsr = 0x1f80;
	uint16_t fcw = 0xf7f, fcw_after, fresh_fcw = 0x37f;
	long ret;

	signal(SIGUSR1, note_fpu);
	__asm__ volatile("movdqu %4, %%xmm7\n\tldmxcsr %5\n\tfldcw %6\n\tsyscall\n\t"
			 "movdqu %%xmm7, %1\n\tstmxcsr %2\n\tfnstcw %3"
			 : "=a"(ret), "=m"(after), "=m"(mxcsr_after), "=m"(fcw_after)
			 : "m"(xmm7), "m"(mxcsr), "m"(fcw), "a"(SYS_kill), "D"(getpid()),
			   "S"(SIGUSR1)
			 : "rcx", "r11", "xmm7", "memory");
	__asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(fresh_mxcsr), "m"(fresh_fcw));
	CHECK_EQ(ret, 0);
	CHECK_EQ(seen.xmm7[0], 0);
	CHECK_EQ(seen.mxcsr, 0x1f80);
	CHECK_EQ(seen.fcw, 0x37f);
	CHECK(!memcmp(after, xmm7, sizeof(after)));
	CHECK_EQ(mxcsr_after, mxcsr);
	CHECK_EQ(fcw_after, fcw);
}

int main(void)
{
	handlers_run_with_siginfo();
	handlers_begin_with_a_fresh_fpu();
	blocked_signals_stay_pending();
	realtime_signals_queue_in_order();
	resethand_and_nodefer();
	nodefer_nests();
	alternate_stack();
	faults_are_signals();
	handlers_change_the_context();
	fpu_state_survives_handlers();
	red_zone_is_kept();
	restart_or_eintr();
	suspend_waits();
	ignored_signals_vanish();
	default_actions();
	sigpipe_on_write();
	threads_take_what_they_do_not_block();
	kill_by_thread_number();
	bad_arguments();
	CHECK_DONE();
}
