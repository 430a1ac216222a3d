# For the tests with gdb (sourced): makes ./prog, and defines g, gdb's output without what differs from run to run.
command -v gdb >/dev/null || exit 77
cat >prog.c <<'END'
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
int depth(int n)
{
	if (n == 0)
		return 1;
	return depth(n - 1) + 1;
}
volatile int counter;
int halves;
double half(double x)
{
	return x / 2;
}
static pthread_barrier_t barrier;
void *worker(void *arg)
{
	pthread_barrier_wait(&barrier);
	__atomic_fetch_add(&counter, 1, __ATOMIC_SEQ_CST);
	return arg;
}
void threads_are_there(void)
{
}
void in_child(void)
{
}
int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	if (!strcmp(what, "threads")) {
		pthread_t t[3];
		pthread_barrier_init(&barrier, NULL, 4);
		for (int i = 0; i < 3; i++)
			pthread_create(&t[i], NULL, worker, NULL);
		threads_are_there();
		pthread_barrier_wait(&barrier);
		for (int i = 0; i < 3; i++)
			pthread_join(t[i], NULL);
		printf("counter %d\n", counter);
	} else if (!strcmp(what, "fork")) {
		int status;
		pid_t pid = fork();
		if (!pid) {
			in_child();
			_exit(12);
		}
		waitpid(pid, &status, 0);
		printf("child %d\n", WEXITSTATUS(status));
	} else if (!strcmp(what, "crash")) {
		raise(SIGSEGV);
	} else if (!strcmp(what, "wait")) {
		while (!counter)
			usleep(10000);
		return counter;
	} else {
		for (int i = 0; i < 300; i++)
			halves += i;
		counter = 5;
		counter += 3;
		printf("depth %d, half %g\n", depth(3), half(5));
	}
	return 0;
}
END
gcc -g -O0 -pthread -o prog prog.c || exit 77
plain() { sed -E 's/0x[0-9a-f]+/ADDR/g; s/(LWP|process|Thread) [0-9]+/\1 N/g; s/^\[New Thread.*/[New Thread]/; /^\[Thread .* exited\]/d; /libthread_db/d; /No such file or directory/d; /^warning:/d; /^[0-9]+\t(in )?\.\.\//d; /\.\.\/sysdeps/d'; }
g() { timeout 60 gdb -nx -batch -iex 'set debuginfod enabled off' -iex 'set style enabled off' "$@" 2>&1 | plain; }
