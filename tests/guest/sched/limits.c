/* Resource limits, usage, scheduling parameters, names, randomness. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static void rlimits(void)
{
	struct rlimit lim, old;
	int status;

	CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0 && old.rlim_cur <= old.rlim_max);
	CHECK_ERRNO(getrlimit(99, &lim), EINVAL);
	lim = (struct rlimit){20, 10};
	CHECK_ERRNO(setrlimit(RLIMIT_NOFILE, &lim), EINVAL);
	CHECK_ERRNO(prlimit(999999, RLIMIT_NOFILE, NULL, &lim), ESRCH);
	if (!fork()) {
		lim = (struct rlimit){16, 16};
		if (setrlimit(RLIMIT_NOFILE, &lim) || getrlimit(RLIMIT_NOFILE, &lim) ||
		    lim.rlim_cur != 16)
			_exit(1);
		if (geteuid() == 0 && setresuid(65534, 65534, 65534))
			_exit(2);
		lim.rlim_max = 17;
		if (setrlimit(RLIMIT_NOFILE, &lim) != -1 || errno != EPERM)
			_exit(3);
		lim = (struct rlimit){8, 16};
		if (setrlimit(RLIMIT_NOFILE, &lim))
			_exit(4);
		for (int i = 0; i < 20; i++)
			if (dup(0) < 0)
				_exit(errno == EMFILE ? 0 : 5);
		_exit(6);
	}
	CHECK(wait(&status) > 0 && status == 0);
	CHECK(prlimit(getpid(), RLIMIT_NOFILE, NULL, &lim) == 0 && lim.rlim_cur == old.rlim_cur);
}

static void usage(void)
{
	struct rusage before, ru;
	volatile unsigned x = 0;
	char *p;

	CHECK(getrusage(RUSAGE_SELF, &before) == 0);
	CHECK(before.ru_maxrss > 0);
	p = mmap(NULL, 32 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(p, 1, 32 << 20);
	for (unsigned i = 0; i < 100000000; i++)
		x++;
	CHECK(getrusage(RUSAGE_SELF, &ru) == 0);
	CHECK(ru.ru_maxrss >= before.ru_maxrss);
	CHECK(ru.ru_utime.tv_sec + ru.ru_utime.tv_usec + ru.ru_stime.tv_usec > 0);
	CHECK(getrusage(RUSAGE_THREAD, &ru) == 0);
	CHECK_ERRNO(getrusage(42, &ru), EINVAL);
	if (!fork()) {
		for (unsigned i = 0; i < 100000000; i++)
			x++;
		_exit(0);
	}
	wait(NULL);
	CHECK(getrusage(RUSAGE_CHILDREN, &ru) == 0);
	CHECK(ru.ru_utime.tv_sec * 1000000L + ru.ru_utime.tv_usec + ru.ru_stime.tv_usec > 10000);
	munmap(p, 32 << 20);
}

static void scheduling(void)
{
	struct sched_param sp = {0};
	struct timespec ts;
	cpu_set_t set;
	int status;

	CHECK_EQ(sched_getscheduler(0), SCHED_OTHER);
	CHECK_EQ(sched_get_priority_max(SCHED_FIFO), 99);
	CHECK_EQ(sched_get_priority_min(SCHED_RR), 1);
	CHECK_EQ(sched_get_priority_max(SCHED_OTHER), 0);
	CHECK_ERRNO(sched_get_priority_max(42), EINVAL);
	CHECK_ERRNO(sched_setscheduler(0, 42, &sp), EINVAL);
	sp.sched_priority = 5;
	CHECK_ERRNO(sched_setscheduler(0, SCHED_OTHER, &sp), EINVAL);
	CHECK_ERRNO(sched_getscheduler(999999), ESRCH);
	CHECK(sched_rr_get_interval(0, &ts) == 0);
	sp.sched_priority = 0;
	if (!fork()) {
		if (sched_setscheduler(0, SCHED_BATCH, &sp) || sched_getscheduler(0) != SCHED_BATCH)
			_exit(1);
		if (geteuid() == 0 && setresuid(65534, 65534, 65534))
			_exit(2);
		sp.sched_priority = 5;
		if (sched_setscheduler(0, SCHED_FIFO, &sp) != -1 || errno != EPERM)
			_exit(3);
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
	CPU_ZERO(&set);
	CHECK(sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) >= 1);
	CHECK_EQ(sysconf(_SC_NPROCESSORS_ONLN) >= CPU_COUNT(&set), 1);
	CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
	CPU_ZERO(&set);
	CHECK_ERRNO(sched_setaffinity(0, sizeof(set), &set), EINVAL);
	CHECK_ERRNO(syscall(SYS_sched_getaffinity, 0, 1, &set), EINVAL);
	CHECK(sched_yield() == 0);
	CHECK(sched_getcpu() >= 0);
}

static void niceness(void)
{
	int status, now;

	errno = 0;
	now = getpriority(PRIO_PROCESS, 0); /* the test may be run with nice(1) */
	CHECK(now >= -20 && now <= 19 && errno == 0);
	CHECK_ERRNO(getpriority(77, 0), EINVAL);
	CHECK_ERRNO(setpriority(PRIO_PROCESS, 999999, 1), ESRCH);
	if (!fork()) {
		if (setpriority(PRIO_PROCESS, 0, 5) || getpriority(PRIO_PROCESS, 0) != 5)
			_exit(1);
		if (geteuid() == 0 && setresuid(65534, 65534, 65534))
			_exit(2);
		if (setpriority(PRIO_PROCESS, 0, 1) != -1 || errno != EACCES)
			_exit(3);
		errno = 0;
		if (nice(2) != 7)
			_exit(4);
		if (!fork())
			_exit(getpriority(PRIO_PROCESS, 0) == 7 ? 0 : 1);
		wait(&status);
		_exit(status ? 5 : 0);
	}
	CHECK(wait(&status) > 0 && status == 0);
}

/* What a child starts with is its default from then on. */
static void timer_slack_is_inherited(void)
{
	int status;

	CHECK_EQ(prctl(PR_SET_TIMERSLACK, 70000), 0);
	if (!fork()) {
		prctl(PR_SET_TIMERSLACK, 1);
		if (prctl(PR_GET_TIMERSLACK) != 1)
			_exit(1);
		prctl(PR_SET_TIMERSLACK, 0);
		_exit(prctl(PR_GET_TIMERSLACK) == 70000 ? 0 : 2);
	}
	CHECK(wait(&status) > 0 && status == 0);
	CHECK_EQ(prctl(PR_SET_TIMERSLACK, 0), 0);
	CHECK_EQ(prctl(PR_GET_TIMERSLACK), 50000);
	CHECK_ERRNO(prctl(PR_GET_THP_DISABLE, 1, 0, 0, 0), EINVAL);
}

static void names(void)
{
	struct utsname un;
	struct sysinfo si;
	char host[256];

	CHECK(uname(&un) == 0);
	CHECK(strcmp(un.sysname, "Linux") == 0 && strcmp(un.machine, "x86_64") == 0);
	CHECK(un.release[0] >= '3');
	CHECK(gethostname(host, sizeof(host)) == 0 && strcmp(host, un.nodename) == 0);
	CHECK_ERRNO(syscall(SYS_uname, 1), EFAULT);
	CHECK_ERRNO(sethostname(host, 65), geteuid() ? EPERM : EINVAL);
	CHECK(sysinfo(&si) == 0 && si.totalram > 0 && si.freeram <= si.totalram && si.procs > 0);
	CHECK(si.uptime >= 0);
}

static void randomness(void)
{
	unsigned char a[64] = {0}, b[64] = {0}, big[100000];
	int zeros = 0;

	CHECK_EQ(getrandom(a, sizeof(a), 0), 64);
	CHECK_EQ(getrandom(b, sizeof(b), GRND_NONBLOCK), 64);
	CHECK(memcmp(a, b, sizeof(a)));
	CHECK_EQ(getrandom(big, sizeof(big), 0), sizeof(big));
	for (unsigned i = 0; i < sizeof(big); i++)
		zeros += !big[i];
	CHECK(zeros > 200 && zeros < 700);
	CHECK_ERRNO(getrandom(a, 1, 0x100), EINVAL);
	CHECK_ERRNO(syscall(SYS_getrandom, 1, 10, 0), EFAULT);
}

static void other_processes_memory(void)
{
	static char secret[] = "text of the parent";
	char buf[64] = "";
	struct iovec local = {buf, sizeof(secret)}, remote = {secret, sizeof(secret)};
	pid_t pid;
	int fds[2];

	REQUIRE(pipe(fds) == 0);
	pid = fork();
	if (!pid) {
		char c;

		strcpy(secret, "text of the child!");
		write(fds[1], "x", 1);
		close(fds[1]);
		pause();
		read(fds[0], &c, 1);
		_exit(0);
	}
	read(fds[0], buf, 1);
	CHECK_EQ(process_vm_readv(pid, &local, 1, &remote, 1, 0), sizeof(secret));
	CHECK(strcmp(buf, "text of the child!") == 0);
	remote.iov_base = (void *)16;
	CHECK_ERRNO(process_vm_readv(pid, &local, 1, &remote, 1, 0), EFAULT);
	CHECK_ERRNO(process_vm_readv(pid, &local, 1, &remote, 1, 5), EINVAL);
	CHECK_ERRNO(process_vm_readv(999999, &local, 1, &remote, 1, 0), ESRCH);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void barriers(void)
{
	long mask = syscall(SYS_membarrier, 0, 0, 0);

	CHECK(mask >= 0);
	CHECK_ERRNO(syscall(SYS_membarrier, 1 << 30, 0, 0), EINVAL);
	if (mask & 8) { /* PRIVATE_EXPEDITED */
		CHECK_ERRNO(syscall(SYS_membarrier, 8, 0, 0), EPERM);
		CHECK_EQ(syscall(SYS_membarrier, 16, 0, 0), 0);
		CHECK_EQ(syscall(SYS_membarrier, 8, 0, 0), 0);
	}
}

int main(void)
{
	rlimits();
	usage();
	scheduling();
	niceness();
	timer_slack_is_inherited();
	names();
	randomness();
	other_processes_memory();
	barriers();
	CHECK_DONE();
}
