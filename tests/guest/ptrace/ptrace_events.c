/* Events: children, programs, ends of threads and processes (man 2 ptrace, PTRACE_O_*). */
#include <pthread.h>
#include <sched.h>

#include "tracer.h"

static long message_of(pid_t pid)
{
	unsigned long message = 0;

	CHECK_EQ(ptrace(PTRACE_GETEVENTMSG, pid, 0, &message), 0);
	return (long)message;
}

static pid_t start_with(void (*fn)(void), long options)
{
	pid_t pid = start_traced(fn);

	CHECK_EQ(ptrace(PTRACE_SETOPTIONS, pid, 0, options), 0);
	return pid;
}

static void fork_one(void)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(3);
	_exit(waitpid(pid, &status, 0) == pid && status == 3 << 8 ? 4 : 5);
}

static void forks(void)
{
	pid_t pid = start_with(fork_one, PTRACE_O_TRACEFORK), child;
	int tracer = 0;

	CHECK_ERRNO(ptrace(PTRACE_SETOPTIONS, pid, 0, 0x40000000L), EINVAL);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EVENT(PTRACE_EVENT_FORK));
	child = (pid_t)message_of(pid);
	CHECK(child > 0 && child != pid);
	/* It is ours as well, though not our child. */
	CHECK_EQ(next_stop(child), SIGSTOP);
	proc_state(child, &tracer);
	CHECK_EQ(tracer, getpid());
	CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	CHECK_EQ(go(PTRACE_CONT, child, 0), EXITED(3));
	CHECK_EQ(next_stop(pid), SIGCHLD);
	CHECK_EQ(go(PTRACE_CONT, pid, SIGCHLD), EXITED(4));
}

static void forks_of_the_seized(void)
{
	pid_t pid = fork_bound(), child;

	if (!pid) {
		raise(SIGSTOP);
		fork_one();
	}
	CHECK_EQ(waitpid(pid, NULL, WUNTRACED), pid);
	CHECK_EQ(ptrace(PTRACE_SEIZE, pid, 0, (long)PTRACE_O_TRACEFORK), 0);
	CHECK_EQ(next_stop(pid), SIGSTOP | PTRACE_EVENT_STOP << 8);
	kill(pid, SIGCONT);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EVENT(PTRACE_EVENT_STOP));
	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGCONT);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EVENT(PTRACE_EVENT_FORK));
	child = (pid_t)message_of(pid);
	CHECK_EQ(next_stop(child), EVENT(PTRACE_EVENT_STOP));
	CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	CHECK_EQ(go(PTRACE_CONT, child, 0), EXITED(3));
	CHECK_EQ(next_stop(pid), SIGCHLD);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(4));
}

static void vfork_one(void)
{
	pid_t pid = vfork();

	if (!pid)
		_exit(6);
	waitpid(pid, NULL, 0);
}

static void vforks(void)
{
	pid_t pid = start_with(vfork_one, PTRACE_O_TRACEVFORK | PTRACE_O_TRACEVFORKDONE), child;

	CHECK_EQ(go(PTRACE_CONT, pid, 0), EVENT(PTRACE_EVENT_VFORK));
	child = (pid_t)message_of(pid);
	CHECK_EQ(next_stop(child), SIGSTOP);
	CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	CHECK_EQ(go(PTRACE_CONT, child, 0), EXITED(6));
	CHECK_EQ(next_stop(pid), EVENT(PTRACE_EVENT_VFORK_DONE));
	CHECK_EQ(message_of(pid), child);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGCHLD);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(0));
}

static void *leave(void *arg)
{
	return arg;
}

static void thread_one(void)
{
	pthread_t t;

	pthread_create(&t, NULL, leave, NULL);
	pthread_join(t, NULL);
	_exit(7);
}

static void threads(void)
{
	pid_t pid = start_with(thread_one, PTRACE_O_TRACECLONE), tid;

	CHECK_EQ(go(PTRACE_CONT, pid, 0), EVENT(PTRACE_EVENT_CLONE));
	tid = (pid_t)message_of(pid);
	CHECK_EQ(next_stop(tid), SIGSTOP);
	/* A thread that is traced is waited for. The others stand still: their end would be its. */
	CHECK_EQ(go(PTRACE_CONT, tid, 0), EXITED(0));
	CHECK_ERRNO(waitpid(tid, NULL, __WALL), ECHILD);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(7));
}

static void exec_self(void)
{
	execl("/proc/self/exe", "self", "child", NULL);
	_exit(1);
}

static void exec_of_a_process(void)
{
	pid_t pid = start_with(exec_self, PTRACE_O_TRACEEXEC);

	CHECK_EQ(go(PTRACE_CONT, pid, 0), EVENT(PTRACE_EVENT_EXEC));
	CHECK_EQ(message_of(pid), pid);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(5));
}

static void *exec_in_thread(void *arg)
{
	exec_self();
	return NULL;
}

static void wait_forever(void)
{
	pthread_t t;

	pthread_create(&t, NULL, exec_in_thread, NULL);
	for (;;)
		pause();
}

/* The thread takes the place of the first, whose end nobody sees. */
static void exec_of_a_thread(void)
{
	pid_t pid = start_with(wait_forever, PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE), tid;

	CHECK_EQ(go(PTRACE_CONT, pid, 0), EVENT(PTRACE_EVENT_CLONE));
	tid = (pid_t)message_of(pid);
	CHECK_EQ(next_stop(tid), SIGSTOP);
	CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	CHECK_EQ(ptrace(PTRACE_CONT, tid, 0, 0), 0);
	CHECK_EQ(next_stop(pid), EVENT(PTRACE_EVENT_EXEC));
	CHECK_EQ(message_of(pid), tid);
	CHECK_ERRNO(ptrace(PTRACE_CONT, tid, 0, 0), ESRCH);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(5));
}

/* One that stands in a stop does not hold up another's execve. */
static void exec_while_others_stand(void)
{
	pid_t pid = start_with(wait_forever, PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE), tid;

	CHECK_EQ(go(PTRACE_CONT, pid, 0), EVENT(PTRACE_EVENT_CLONE));
	tid = (pid_t)message_of(pid);
	CHECK_EQ(next_stop(tid), SIGSTOP);
	CHECK_EQ(ptrace(PTRACE_CONT, tid, 0, 0), 0);
	CHECK_EQ(next_stop(pid), EVENT(PTRACE_EVENT_EXEC));
	CHECK_EQ(message_of(pid), tid);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(5));
}

static void exit_nine(void)
{
	_exit(9);
}

static void exits(void)
{
	pid_t pid = start_with(exit_nine, PTRACE_O_TRACEEXIT);
	struct user_regs_struct regs;

	CHECK_EQ(go(PTRACE_CONT, pid, 0), EVENT(PTRACE_EVENT_EXIT));
	CHECK_EQ(message_of(pid), 9 << 8);
	CHECK_EQ(ptrace(PTRACE_GETREGS, pid, 0, &regs), 0);
	CHECK_EQ(regs.orig_rax, SYS_exit_group);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(9));
}

static void die(void)
{
	raise(SIGTERM);
}

static void exit_by_signal(void)
{
	pid_t pid = start_with(die, PTRACE_O_TRACEEXIT);

	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGTERM);
	CHECK_EQ(go(PTRACE_CONT, pid, SIGTERM), EVENT(PTRACE_EVENT_EXIT));
	CHECK_EQ(message_of(pid), SIGTERM);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), KILLED(SIGTERM));
}

/* Nobody asks: children are not traced, nor are those whose maker says so. */
static void untraced_children(void)
{
	pid_t pid = start_traced(fork_one);

	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGCHLD);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(4));
}

static void clone_untraced(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0);

	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
}

static void who_says_so_is_not_traced(void)
{
	pid_t pid = start_with(clone_untraced, PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE);

	CHECK_EQ(go(PTRACE_CONT, pid, 0), SIGCHLD);
	CHECK_EQ(go(PTRACE_CONT, pid, 0), EXITED(0));
}

static void *exit_the_group(void *arg)
{
	_exit(11);
}

static void leader_exits_last(void)
{
	pthread_t t;

	pthread_create(&t, NULL, exit_the_group, NULL);
	for (;;)
		pause();
}

static void the_end_of_a_process_is_told_after_its_threads(void)
{
	pid_t pid = start_with(leader_exits_last, PTRACE_O_TRACECLONE), tid;

	CHECK_EQ(go(PTRACE_CONT, pid, 0), EVENT(PTRACE_EVENT_CLONE));
	tid = (pid_t)message_of(pid);
	CHECK_EQ(next_stop(tid), SIGSTOP);
	CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	CHECK_EQ(go(PTRACE_CONT, tid, 0), EXITED(11));
	CHECK_EQ(next_stop(pid), EXITED(11));
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return 5;
	forks();
	forks_of_the_seized();
	vforks();
	threads();
	exec_of_a_process();
	exec_of_a_thread();
	exec_while_others_stand();
	exits();
	exit_by_signal();
	untraced_children();
	who_says_so_is_not_traced();
	the_end_of_a_process_is_told_after_its_threads();
	CHECK_DONE();
}
