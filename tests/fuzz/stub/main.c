/*
 * stub_fuzz SEED SECONDS [LINES]
 *
 * Prints "mark" when it has warmed up, "broken: ..." for a finding, and at last "status N"; then it
 * stays until its standard input ends, so that the runner can see what is left in the sandbox.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#define WITNESSES 3
#define MAX_LINES 8
#define STEPS 40 /* a hostile process is killed at one of these, or when its time is over */
#define ROUND_MS 60
#define SLOW_ROUND_MS 1500 /* now and then: until the sentry loses patience by itself */
#define LOOKS_PER_KILL 40  /* of half a millisecond: they take longer where no CPU is free */
#define KILL_LOOKS 2000	   /* SIGKILL ends whatever there is within these */

struct shared *sh;

void broken(const char *what)
{
	if (atomic_exchange(&sh->is_broken, 1))
		return;
	snprintf(sh->broken, sizeof(sh->broken), "%s", what);
	printf("broken: %s\n", what);
	sh->stop = 1;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Whoever is left of a round: hostile processes and their children, which are ours now. */
static int reap_all(unsigned looks)
{
	for (;;) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);

		if (pid < 0)
			return 1;
		if (!pid) {
			if (!looks--)
				return 0;
			usleep(500);
		}
	}
}

/* Says what our children are doing. */
static void print_children(void)
{
	char path[64], line[512];

	for (int pid = 1; pid < 32768; pid++) {
		int from = 0, parent = 0;
		char state = 0;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fgets(line, sizeof(line), f) &&
		    sscanf(line, "%d (%*[^)]) %c %d", &from, &state, &parent) == 3 &&
		    parent == getpid())
			printf("child %d: %c %s", from, state, line);
		fclose(f);
	}
}

/* One hostile process, ended at some step. */
static void run_round(struct round *round, struct rng *rng)
{
	uint64_t seed = rng_next(rng);
	unsigned last = rng_below(rng, STEPS);
	int64_t end = now_ms() + (rng_below(rng, 64) ? ROUND_MS : SLOW_ROUND_MS);
	pid_t pid;

	memset(round, 0, sizeof(*round));
	pid = fork();
	if (!pid) {
		if (setgid(GUEST_USER) || setuid(GUEST_USER))
			_exit(9);
		attack(round, seed);
	}
	if (pid < 0) {
		/* What others have left is still being cleared away. */
		usleep(10000);
		return;
	}
	while (round->steps < last && now_ms() < end)
		if (waitpid(pid, NULL, WNOHANG) == pid)
			break;
		else
			usleep(300);
	/* All that it has started has its user; those who sent themselves away, too. */
	for (unsigned n = 0; !reap_all(LOOKS_PER_KILL); n += LOOKS_PER_KILL) {
		if (n > KILL_LOOKS) {
			broken("SIGKILL does not end a hostile process within a second");
			print_children();
			return;
		}
		if (!fork()) {
			if (setuid(GUEST_USER))
				_exit(9);
			kill(-1, SIGKILL);
			_exit(0);
		}
	}
	atomic_fetch_add(&sh->rounds, 1);
}

static int line(uint64_t seed)
{
	struct rng rng = {seed};
	struct round *round =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	while (!sh->stop)
		run_round(round, &rng);
	return 0;
}

static pid_t start_witness(unsigned id, const char *self)
{
	pid_t pid = fork();
	char number[16];

	if (pid)
		return pid;
	/* One of them has a stub of its own; the others share the listener with the liars. */
	if (id == 0) {
		snprintf(number, sizeof(number), "%u", id);
		execl(self, self, "--witness", number, NULL);
	}
	_exit(witness(id));
}

static void wait_good(pid_t pid, const char *what)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status)
		broken(what);
}

static void share(int fd)
{
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (sh == MAP_FAILED) {
		printf("no shared memory\n");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	pid_t witnesses[WITNESSES], lines[MAX_LINES];
	uint64_t seed;
	unsigned nlines = 2, seconds;
	char c;
	int fd;

	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc == 3 && !strcmp(argv[1], "--witness")) {
		share(3);
		return witness((unsigned)atoi(argv[2]));
	}
	if (argc < 3)
		return 2;
	seed = strtoull(argv[1], NULL, 0);
	seconds = (unsigned)atoi(argv[2]);
	if (argc > 3)
		nlines = (unsigned)atoi(argv[3]) % (MAX_LINES + 1);
	fd = memfd_create("shared", 0);
	if (fd < 0 || dup2(fd, 3) < 0 || ftruncate(3, PAGE))
		return 2;
	share(3);
	attack_init();
	for (unsigned i = 0; i < WITNESSES; i++)
		witnesses[i] = start_witness(i, argv[0]);
	for (unsigned i = 0; i < nlines; i++) {
		lines[i] = fork();
		if (!lines[i])
			_exit(line(seed * MAX_LINES + i));
	}
	for (int64_t start = now_ms(), marked = 0; !sh->stop; usleep(20000)) {
		int64_t passed = now_ms() - start;

		if (!marked && passed >= seconds * 1000 / 4) {
			printf("mark\n");
			marked = 1;
		}
		if (passed >= seconds * 1000)
			sh->stop = 1;
	}
	for (unsigned i = 0; i < nlines; i++)
		wait_good(lines[i], "a line of attacks ended in another way");
	for (unsigned i = 0; i < WITNESSES; i++)
		wait_good(witnesses[i], "an honest process ended in another way");
	printf("seed %llu: %ld rounds, %ld checks\n", (unsigned long long)seed, sh->rounds,
	       sh->checks);
	printf("status %d\n", sh->is_broken);
	while (read(0, &c, 1) > 0)
		;
	return sh->is_broken;
}
