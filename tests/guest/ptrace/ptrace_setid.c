/* Nobody gets at another's powers by tracing a set-user-ID program (man 2 execve, man 2 ptrace). */
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "tmpdir.h"
#include "tracer.h"

#define NOBODY 65534

static char program[PATH_MAX + 16];
static pid_t maker;

static void leave(void)
{
	if (getpid() == maker)
		tmpdir_leave();
}

static void copy_self(void)
{
	struct stat st;
	int in = open("/proc/self/exe", O_RDONLY), out;

	snprintf(program, sizeof(program), "%s/program", tmpdir_path);
	out = open(program, O_WRONLY | O_CREAT | O_EXCL, 0755);
	REQUIRE(in >= 0 && out >= 0 && !fstat(in, &st));
	while (st.st_size > 0) {
		ssize_t n = sendfile(out, in, NULL, (size_t)st.st_size);

		REQUIRE(n > 0);
		st.st_size -= n;
	}
	close(in);
	close(out);
	REQUIRE(!chmod(program, 04755));
}

static void become_nobody(void)
{
	if (setgid(NOBODY) || setuid(NOBODY))
		_exit(99);
}

static int run(void (*before)(void))
{
	int status;
	pid_t pid = fork_bound();

	if (!pid) {
		before();
		execl(program, "program", "euid", NULL);
		_exit(98);
	}
	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status))
		ptrace(PTRACE_CONT, pid, 0, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}

static void traced_by_root(void)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	become_nobody();
}

static void ask_to_be_traced(void)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
}

/* As nobody, whose children are: the program's euid when it is traced by nobody, and what a
 * privileged program hears that wants its unprivileged parent to trace it. */
static void as_nobody(void)
{
	become_nobody();
	_exit(run(ask_to_be_traced));
}

static void program_asks(void)
{
	int status;
	pid_t pid = fork_bound();

	if (!pid) {
		become_nobody();
		pid = fork_bound();
		if (!pid) {
			execl(program, "program", "traceme", NULL);
			_exit(98);
		}
		waitpid(pid, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 97);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, EPERM << 8);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "euid"))
		return geteuid() == 0 ? 1 : geteuid() == NOBODY ? 2 : 3;
	if (argc > 1)
		return ptrace(PTRACE_TRACEME, 0, 0, 0) ? errno : 0;
	if (getuid())
		return 0;
	maker = getpid();
	atexit(leave);
	tmpdir_enter("/tmp");
	copy_self();
	/* Where set-user-ID bits do nothing there is nothing to see. */
	if (run(become_nobody) == 1) {
		int status;
		pid_t pid = fork_bound();

		if (!pid)
			as_nobody();
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK_EQ(status, 2 << 8);
		CHECK_EQ(run(traced_by_root), 1);
		program_asks();
	}
	CHECK_DONE();
}
