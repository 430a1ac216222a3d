/*
 * What a program that uses libmoat waits for: a sandbox of its own, from the pool or started; a
 *program in it, from the request to the result; a reset. Beside it fork+exec+wait of the same
 *program.
 *
 *	embed [RUNS [POOL-SOCKET]]
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include <libmoat.h>

extern char **environ;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void report(const char *what, double *ms, int n)
{
	qsort(ms, (size_t)n, sizeof(*ms), compare);
	printf("%-36s p10 %7.3f ms   median %7.3f ms   p99 %7.3f ms   n %d\n", what, ms[n / 10],
	       ms[n / 2], ms[n * 99 / 100], n);
}

static void die(const struct moat_error *err)
{
	fprintf(stderr, "embed: %s\n", err->text);
	exit(1);
}

static void run_true(struct moat *m)
{
	const char *argv[] = {"/bin/true", NULL};
	struct moat_command c = {.size = sizeof(c), .argv = argv, .wall_ns = 10000000000};
	struct moat_error err;
	struct moat_result r;

	if (moat_execve(m, &c, &r, &err))
		die(&err);
	if (r.status != MOAT_EXITED || r.exit_code)
		exit(1);
	moat_result_free(&r);
}

static void spawn_true(void)
{
	char *argv[] = {"/bin/true", NULL};
	pid_t pid;

	if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) || waitpid(pid, NULL, 0) != pid)
		exit(1);
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 300;
	struct moat_config config = {.size = sizeof(config), .memory = 256 << 20};
	double *ms = calloc((size_t)(n > 20 ? n : 20), sizeof(*ms)), start;
	struct moat_error err;
	struct moat *m = NULL;

	for (int i = 0; i < 20; i++) {
		moat_destroy(m);
		start = now();
		if (moat_new(&config, &m, &err))
			die(&err);
		ms[i] = now() - start;
	}
	report("a sandbox, started", ms, 20);
	if (argc > 2) {
		config.pool = argv[2];
		for (int i = 0; i < 20; i++) {
			struct timespec pause = {.tv_nsec = 200000000};

			moat_destroy(m);
			nanosleep(&pause, NULL);
			start = now();
			if (moat_new(&config, &m, &err))
				die(&err);
			ms[i] = now() - start;
		}
		report("a sandbox, from the pool", ms, 20);
	}
	run_true(m);
	for (int i = 0; i < n; i++) {
		start = now();
		run_true(m);
		ms[i] = now() - start;
	}
	report("execve of /bin/true to its result", ms, n);
	for (int i = 0; i < n; i++) {
		run_true(m);
		start = now();
		if (moat_reset(m, &err))
			die(&err);
		ms[i] = now() - start;
	}
	report("reset", ms, n);
	for (int i = 0; i < n; i++) {
		start = now();
		spawn_true();
		ms[i] = now() - start;
	}
	report("natively: posix_spawn and wait", ms, n);
	moat_destroy(m);
	free(ms);
	return 0;
}
