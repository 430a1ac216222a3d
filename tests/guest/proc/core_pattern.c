/* /proc/sys/kernel/core_pattern and core_uses_pid (man 5 core). Natively they are the whole
 * machine's, so that only what cannot change anything is tried there. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "tmpdir.h"

#define PATTERN "/proc/sys/kernel/core_pattern"
#define USES_PID "/proc/sys/kernel/core_uses_pid"

static long put(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY), saved;
	long n = fd < 0 ? -1 : write(fd, text, strlen(text));

	saved = errno;
	close(fd);
	errno = saved;
	return n;
}

static void get(const char *file, char *buf, size_t size)
{
	int fd = open(file, O_RDONLY);
	long n = read(fd, buf, size - 1);

	buf[n < 0 ? 0 : n] = 0;
	close(fd);
}

static pid_t crash(void)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_NAME, "a/b");
		abort();
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	return WCOREDUMP(status) ? pid : -1;
}

/* The pattern makes this name, with the process's number in it twice at most. */
static void expect(const char *pattern, const char *format)
{
	char name[512];
	pid_t pid;

	CHECK_EQ(put(PATTERN, pattern), strlen(pattern));
	pid = crash();
	CHECK(pid > 0);
	snprintf(name, sizeof(name), format, pid, pid);
	CHECK_EQ(unlink(name), 0);
}

static void names(void)
{
	char format[512];
	struct utsname u;

	uname(&u);
	expect("core\n", "core");
	expect("c.%p.%i", "c.%d.%d");
	expect("%s_%e_%d", "6_a!b_1");
	expect("%f", "core_pattern");
	expect("%u.%g.%%.%", "0.0.%%.");
	snprintf(format, sizeof(format), "x%%d.%s", u.nodename);
	expect("x%p.%h", format);
	CHECK_EQ(mkdir("cores", 0700), 0);
	expect("cores/%c", "cores/18446744073709551615");
	CHECK_EQ(put(PATTERN, "missing/core"), 12);
	CHECK_EQ(crash(), -1);
	CHECK_EQ(put(USES_PID, "1"), 1);
	expect("core", "core.%d");
	expect("%p", "%d");
	CHECK_EQ(put(USES_PID, "0"), 1);
}

static void as_nobody(void)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		REQUIRE(setgid(65534) == 0 && setuid(65534) == 0);
		CHECK_ERRNO(put(PATTERN, "mine"), EACCES);
		CHECK_ERRNO(put(USES_PID, "1"), EACCES);
		_exit(check_failures);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

int main(void)
{
	struct rlimit rl = {RLIM_INFINITY, RLIM_INFINITY};
	char before[256], after[256];
	struct utsname u;
	struct stat st;

	get(PATTERN, before, sizeof(before));
	CHECK_EQ(stat(PATTERN, &st), 0);
	CHECK_EQ(st.st_mode, S_IFREG | 0644);
	if (!geteuid())
		as_nobody();
	uname(&u);
	if (geteuid() || !strstr(u.release, "moat"))
		CHECK_DONE();
	setrlimit(RLIMIT_CORE, &rl);
	tmpdir_enter("/tmp");
	names();
	/* There is no process of the kernel's that could run a program, or talk to a socket. */
	put(PATTERN, before);
	CHECK_ERRNO(put(PATTERN, "|/bin/cat"), EINVAL);
	CHECK_ERRNO(put(PATTERN, "@socket"), EINVAL);
	get(PATTERN, after, sizeof(after));
	CHECK(!strcmp(before, after));
	tmpdir_leave();
	CHECK_DONE();
}
