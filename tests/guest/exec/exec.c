/* execve, execveat: scripts, errors, what a new program keeps and loses. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static char self[4096];
static char dir[] = "/tmp/exec-test-XXXXXX";

static char *in_dir(const char *name)
{
	static char buf[4][4200];
	static int n;
	char *p = buf[n++ % 4];

	snprintf(p, sizeof(buf[0]), "%s/%s", dir, name);
	return p;
}

static void make(const char *name, const char *text, mode_t mode)
{
	int fd = open(in_dir(name), O_CREAT | O_TRUNC | O_WRONLY, 0700);

	REQUIRE(fd >= 0);
	REQUIRE(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	fchmod(fd, mode);
	close(fd);
}

/* Runs it in a child: the exit status, or 1000 + errno of the failed execve. */
static int run(const char *path, char *const argv[], char *const envp[])
{
	int status, p[2], err = 0;
	pid_t pid;

	REQUIRE(pipe2(p, O_CLOEXEC) == 0);
	pid = fork();
	if (pid == 0) {
		execve(path, argv, envp);
		err = errno;
		write(p[1], &err, sizeof(err));
		_exit(0);
	}
	close(p[1]);
	read(p[0], &err, sizeof(err));
	close(p[0]);
	waitpid(pid, &status, 0);
	if (err)
		return 1000 + err;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 500 + WTERMSIG(status);
}

#define ARGV(...) ((char *const[]){__VA_ARGS__, NULL})
static char *const no_env[] = {NULL};

/* --- what the program does when it is run by a test: argv[1] says ------------------------------
 */

static int mode_args(int argc, char **argv, char **envp)
{
	/* args a "b c" "" with X=1 */
	return argc == 5 && !strcmp(argv[2], "a") && !strcmp(argv[3], "b c") && !argv[4][0] &&
			       envp[0] && !strcmp(envp[0], "X=1") && !envp[1]
		       ? 0
		       : 1;
}

static int mode_auxv(void)
{
	const unsigned char *random = (void *)getauxval(AT_RANDOM);
	int zero = 1;

	for (int i = 0; i < 16; i++)
		zero = zero && !random[i];
	if (zero || getauxval(AT_PAGESZ) != 4096 || getauxval(AT_UID) != getuid() ||
	    getauxval(AT_EGID) != getegid() || getauxval(AT_SECURE) || !getauxval(AT_PHDR) ||
	    !getauxval(AT_ENTRY) || getauxval(AT_CLKTCK) != 100)
		return 1;
	if (strcmp((char *)getauxval(AT_EXECFN), self) ||
	    strcmp((char *)getauxval(AT_PLATFORM), "x86_64"))
		return 2;
	return 0;
}

static int mode_state(void)
{
	struct sigaction sa;
	sigset_t set;
	stack_t st;
	char name[16];

	sigaction(SIGUSR1, NULL, &sa);
	if (sa.sa_handler != SIG_DFL)
		return 1;
	sigaction(SIGUSR2, NULL, &sa);
	if (sa.sa_handler != SIG_IGN)
		return 2;
	sigprocmask(SIG_SETMASK, NULL, &set);
	if (!sigismember(&set, SIGHUP) || sigismember(&set, SIGINT))
		return 3;
	sigpending(&set);
	if (!sigismember(&set, SIGHUP))
		return 4;
	sigaltstack(NULL, &st);
	if (st.ss_flags != SS_DISABLE)
		return 5;
	if (fcntl(100, F_GETFD) != -1 || fcntl(101, F_GETFD) != 0)
		return 6;
	prctl(PR_GET_NAME, name);
	if (strcmp(name, "exec"))
		return 7;
	return 0;
}

static int mode(int argc, char **argv, char **envp)
{
	if (!strcmp(argv[1], "args"))
		return mode_args(argc, argv, envp);
	if (!strcmp(argv[1], "auxv"))
		return mode_auxv();
	if (!strcmp(argv[1], "state"))
		return mode_state();
	if (!strcmp(argv[1], "pid"))
		return getpid() == atoi(argv[2]) && gettid() == getpid() ? 0 : 1;
	if (!strcmp(argv[1], "argc"))
		return argc;
	if (!strcmp(argv[1], "ids"))
		return geteuid() == (uid_t)atoi(argv[2]) && getuid() == (uid_t)atoi(argv[3]) &&
				       getauxval(AT_SECURE) == (unsigned long)atoi(argv[4])
			       ? 0
			       : 1;
	return 99;
}

/* --- the tests ---------------------------------------------------------------------------------
 */

static void arguments_and_environment(void)
{
	CHECK_EQ(run(self, ARGV("exec", "args", "a", "b c", ""), ARGV("X=1")), 0);
	CHECK_EQ(run(self, ARGV("exec", "auxv"), no_env), 0);
}

static void scripts(void)
{
	char text[4200];

	make("s1", "#!/bin/sh\nexit $#\n", 0755);
	CHECK_EQ(run(in_dir("s1"), ARGV("x", "1", "2", "3"), no_env), 3);
	make("s2", "#! /bin/sh -e  \nfalse\nexit 0\n", 0755);
	CHECK_EQ(run(in_dir("s2"), ARGV("x"), no_env), 1);
	/* One argument, blanks inside it kept: argv is self "argc b" script x. */
	snprintf(text, sizeof(text), "#!%s argc\n", self);
	make("s3", text, 0755);
	CHECK_EQ(run(in_dir("s3"), ARGV("zero", "x"), no_env), 4);
	snprintf(text, sizeof(text), "#!%s\n", in_dir("s3"));
	make("s4", text, 0755);
	/* self argc s3 s4 x */
	CHECK_EQ(run(in_dir("s4"), ARGV("zero", "x"), no_env), 5);
	snprintf(text, sizeof(text), "#!%s\n", in_dir("loop"));
	make("loop", text, 0755);
	CHECK_EQ(run(in_dir("loop"), ARGV("x"), no_env), 1000 + ELOOP);
	make("s5", "#!/nonexistent/interpreter\n", 0755);
	CHECK_EQ(run(in_dir("s5"), ARGV("x"), no_env), 1000 + ENOENT);
	make("s6", "#!\n", 0755);
	CHECK_EQ(run(in_dir("s6"), ARGV("x"), no_env), 1000 + ENOEXEC);
}

static void copy_of_self(const char *name, mode_t mode)
{
	static char buf[65536];
	int in = open(self, O_RDONLY), out = open(in_dir(name), O_CREAT | O_WRONLY, 0700);
	ssize_t n;

	REQUIRE(in >= 0 && out >= 0);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		REQUIRE(write(out, buf, n) == n);
	close(in);
	if (geteuid() == 0)
		REQUIRE(fchown(out, 65534, 65534) == 0);
	fchmod(out, mode);
	close(out);
}

static void errors(void)
{
	char *big = malloc(300000), **many = calloc(200001, sizeof(char *));

	make("garbage", "this is no program", 0755);
	CHECK_EQ(run(in_dir("garbage"), ARGV("x"), no_env), 1000 + ENOEXEC);
	make("empty", "", 0755);
	CHECK_EQ(run(in_dir("empty"), ARGV("x"), no_env), 1000 + ENOEXEC);
	make("noexec", "#!/bin/sh\n", 0644);
	CHECK_EQ(run(in_dir("noexec"), ARGV("x"), no_env), 1000 + EACCES);
	CHECK_EQ(run(dir, ARGV("x"), no_env), 1000 + EACCES);
	CHECK_EQ(run(in_dir("missing"), ARGV("x"), no_env), 1000 + ENOENT);
	CHECK_EQ(run("", ARGV("x"), no_env), 1000 + ENOENT);
	CHECK_EQ(run("/dev/null", ARGV("x"), no_env), 1000 + EACCES);
	make("elf32", "\177ELF\1\1\1", 0755);
	CHECK_EQ(run(in_dir("elf32"), ARGV("x"), no_env), 1000 + ENOEXEC);
	make("short", "\177ELF\2\1\1", 0755);
	CHECK_EQ(run(in_dir("short"), ARGV("x"), no_env), 1000 + ENOEXEC);
	memset(big, 'x', 299999);
	big[299999] = 0;
	CHECK_EQ(run(self, ARGV("exec", big), no_env), 1000 + E2BIG);
	for (int i = 0; i < 200000; i++)
		many[i] = (char *)"0123456789012345678901234567890123456789";
	CHECK_EQ(run(self, many, no_env), 1000 + E2BIG);
	CHECK_EQ(run((char *)16, ARGV("x"), no_env), 1000 + EFAULT);
	char *const *volatile bad = (char *const *)16;
	CHECK_EQ(run(self, bad, no_env), 1000 + EFAULT);
	free(big);
	free(many);
	/* A program that somebody writes to is busy, and so is one that runs, for writers. */
	copy_of_self("running", 0755);
	int fd = open(in_dir("running"), O_WRONLY);
	CHECK_EQ(run(in_dir("running"), ARGV("x", "argc"), no_env), 1000 + ETXTBSY);
	close(fd);
	CHECK_EQ(run(in_dir("running"), ARGV("x", "argc"), no_env), 2);
	fd = open(in_dir("running"), O_WRONLY);
	CHECK(fd >= 0);
	close(fd);
}

static void state_of_the_new_program(void)
{
	static char stack[65536];
	stack_t st = {.ss_sp = stack, .ss_size = sizeof(stack)};
	sigset_t set;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGUSR1, (void (*)(int))1234);
		signal(SIGUSR2, SIG_IGN);
		sigemptyset(&set);
		sigaddset(&set, SIGHUP);
		sigprocmask(SIG_SETMASK, &set, NULL);
		raise(SIGHUP);
		sigaltstack(&st, NULL);
		fcntl(0, F_DUPFD_CLOEXEC, 100);
		fcntl(0, F_DUPFD, 101);
		prctl(PR_SET_NAME, "other");
		execl(self, "exec", "state", NULL);
		_exit(98);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
}

static void *exec_here(void *arg)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	execl(self, "exec", "pid", pid, NULL);
	_exit(97);
	return NULL;
}

static void *sleeper(void *arg)
{
	for (;;)
		pause();
	return NULL;
}

static void a_thread_becomes_the_process(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		pthread_t th;

		for (int i = 0; i < 5; i++)
			pthread_create(&th, NULL, sleeper, NULL);
		pthread_create(&th, NULL, exec_here, NULL);
		sleeper(NULL);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
}

static void by_descriptor(void)
{
	int fd = open(self, O_RDONLY | O_CLOEXEC), status, script;
	pid_t pid = fork();

	if (pid == 0) {
		syscall(SYS_execveat, fd, "", ARGV("exec", "argc", "x"), no_env, AT_EMPTY_PATH);
		_exit(96);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(WEXITSTATUS(status), 3);
	CHECK_ERRNO(syscall(SYS_execveat, fd, "", ARGV("x"), no_env, 0), ENOENT);
	CHECK_ERRNO(syscall(SYS_execveat, fd, "x", ARGV("x"), no_env, 0x8000), EINVAL);
	CHECK_ERRNO(syscall(SYS_execveat, 99, "x", ARGV("x"), no_env, 0), EBADF);
	close(fd);
	/* A script's name would be /dev/fd/N, which is gone when the interpreter looks. */
	script = open(in_dir("s1"), O_RDONLY | O_CLOEXEC);
	CHECK_ERRNO(syscall(SYS_execveat, script, "", ARGV("x"), no_env, AT_EMPTY_PATH), ENOENT);
	close(script);
	symlink(self, in_dir("link"));
	CHECK_ERRNO(syscall(SYS_execveat, AT_FDCWD, in_dir("link"), ARGV("x"), no_env,
			    AT_SYMLINK_NOFOLLOW),
		    ELOOP);
	CHECK_EQ(run(in_dir("link"), ARGV("exec", "argc"), no_env), 2);
}

static void failed_exec_keeps_the_program(void)
{
	static int value = 5;

	CHECK_ERRNO(execl(in_dir("garbage"), "x", NULL), ENOEXEC);
	CHECK_EQ(value, 5);
}

static void vfork_and_exec(void)
{
	int status;
	volatile int shared = 1;
	pid_t pid = vfork();

	if (pid == 0) {
		shared = 2;
		execl(self, "exec", "argc", "x", "y", NULL);
		_exit(95);
	}
	CHECK_EQ(shared, 2);
	waitpid(pid, &status, 0);
	CHECK_EQ(WEXITSTATUS(status), 4);
}

static int run_as_1000(const char *path, int no_new_privs, char *const argv[])
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (setgid(1000) || setuid(1000))
			_exit(94);
		if (no_new_privs)
			prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		execv(path, argv);
		_exit(93);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static void set_user_id(void)
{
	if (geteuid())
		return;
	chmod(dir, 0755);
	copy_of_self("suid", 04755);
	CHECK_EQ(run_as_1000(in_dir("suid"), 0, ARGV("exec", "ids", "65534", "1000", "1")), 0);
	CHECK_EQ(run_as_1000(in_dir("suid"), 1, ARGV("exec", "ids", "1000", "1000", "0")), 0);
}

static void cleanup(void)
{
	char cmd[100];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	system(cmd);
}

int main(int argc, char **argv, char **envp)
{
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	REQUIRE(n > 0);
	if (argc > 1)
		return mode(argc, argv, envp);
	REQUIRE(mkdtemp(dir) != NULL);
	arguments_and_environment();
	scripts();
	errors();
	state_of_the_new_program();
	a_thread_becomes_the_process();
	by_descriptor();
	failed_exec_keeps_the_program();
	vfork_and_exec();
	set_user_id();
	cleanup();
	CHECK_DONE();
}
