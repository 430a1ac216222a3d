/*
 * The tests by name, in rounds: Linux and netstack in turn, then medians, ratios and the CPU time
 * of each side and of its peer.
 */
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define IDLE_CONNECTIONS 10000
#define MAX_CLIENTS 8

enum client { CLIENT_CONNECT, CLIENT_HTTP, CLIENT_HOLD };

struct test {
	const char *name, *what, *unit;
	bool less_is_better, ours_only, per_gb; /* per_gb: the unit is Gbit/s */
	int (*run)(const struct plan *p, const struct test *t, bool ours, struct result *r);
	double (*value)(const struct result *r);
	int arg;
};

/* One side's figures of all rounds. */
struct series {
	double value[MAX_ROUNDS], cpu[MAX_ROUNDS], peer_cpu[MAX_ROUNDS];
};

/* ------------------------------------------------------------------------------ the tests */

static int run_loopback(const struct plan *p, const struct test *t, bool ours, struct result *r)
{
	return ours_loopback(p->seconds, r);
}

static int run_bulk(const struct plan *p, const struct test *t, bool ours, struct result *r)
{
	return ours ? ours_bulk(t->arg, p->seconds, r)
		    : linux_bulk(LINUX_ADDR, t->arg, p->seconds, r);
}

static int run_rr(const struct plan *p, const struct test *t, bool ours, struct result *r)
{
	return ours ? ours_rr(p->seconds, r) : linux_rr(p->seconds, r);
}

/* One client process in the peer's namespace; writes its result to out. */
static void client(const struct plan *p, int kind, uint32_t addr, int out, int ready, int go)
{
	struct result r = {0};
	int err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	usleep(100000);
	if (setns(p->peer_ns, CLONE_NEWNET) < 0)
		_exit(1);
	err = kind == CLIENT_CONNECT ? linux_connect_rate(addr, p->seconds, &r)
	      : kind == CLIENT_HTTP  ? linux_http_rate(addr, p->seconds, &r)
				     : linux_hold(addr, IDLE_CONNECTIONS, ready, go);
	if (write(out, &r, sizeof(r)) != sizeof(r))
		err = -1;
	_exit(err != 0);
}

/* Runs n clients, then writes to stop; the sum of their results goes to out. */
static void clients(const struct plan *p, int kind, int n, uint32_t addr, int out, int stop, int go)
{
	struct result sum = {0}, r;
	pid_t pid[MAX_CLIENTS];
	int pipe_fd[2], st, err = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (pipe(pipe_fd) < 0)
		_exit(1);
	for (int i = 0; i < n; i++) {
		pid[i] = fork();
		if (pid[i] == 0)
			client(p, kind, addr, pipe_fd[1], stop, go);
	}
	for (int i = 0; i < n; i++) {
		if (waitpid(pid[i], &st, 0) != pid[i] || st ||
		    read(pipe_fd[0], &r, sizeof(r)) != sizeof(r)) {
			err = 1;
			continue;
		}
		sum.per_second += r.per_second;
		sum.count += r.count;
	}
	if (write(out, &sum, sizeof(sum)) != sizeof(sum) || write(stop, "x", 1) != 1)
		err = 1;
	_exit(err);
}

/* Clients in the peer's namespace against the service here. */
static int served(const struct plan *p, bool ours, int kind, int n, struct result *r)
{
	uint32_t addr = ours ? OUR_ADDR : LINUX_ADDR;
	int stop[2], out[2], go[2], st = 0, err;
	struct result mine = {0};
	pid_t pid;

	if (pipe(stop) || pipe(out) || pipe(go))
		return -1;
	pid = fork();
	if (pid == 0)
		clients(p, kind, n, addr, out[1], stop[1], go[0]);
	err = ours ? ours_serve(stop[0], &mine) : linux_serve(stop[0]);
	if (err)
		kill(pid, SIGKILL);
	if (write(go[1], "x", 1) != 1)
		err = -1;
	waitpid(pid, &st, 0);
	if (st || err || read(out[0], r, sizeof(*r)) != sizeof(*r))
		err = -1;
	if (kind == CLIENT_HOLD) {
		r->count = mine.count;
		r->bytes_each = mine.bytes_each;
	}
	for (int i = 0; i < 2; i++) {
		close(stop[i]);
		close(out[i]);
		close(go[i]);
	}
	return err;
}

static int run_connect(const struct plan *p, const struct test *t, bool ours, struct result *r)
{
	return served(p, ours, CLIENT_CONNECT, t->arg, r);
}

static int run_http(const struct plan *p, const struct test *t, bool ours, struct result *r)
{
	return served(p, ours, CLIENT_HTTP, t->arg, r);
}

static int run_idle(const struct plan *p, const struct test *t, bool ours, struct result *r)
{
	return served(p, ours, CLIENT_HOLD, 1, r);
}

/* The other direction: a server in the peer's namespace, one client here. */
static int run_dial(const struct plan *p, const struct test *t, bool ours, struct result *r)
{
	int stop[2], err;
	pid_t pid;

	if (pipe(stop))
		return -1;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(setns(p->peer_ns, CLONE_NEWNET) < 0 || linux_serve(stop[0]) < 0);
	}
	usleep(100000);
	err = ours ? ours_dial(p->seconds, r) : linux_connect_rate(PEER_ADDR, p->seconds, r);
	if (write(stop[1], "x", 1) != 1)
		err = -1;
	waitpid(pid, NULL, 0);
	close(stop[0]);
	close(stop[1]);
	return err;
}

static double gbit(const struct result *r)
{
	return r->gbit;
}
static double mean_us(const struct result *r)
{
	return r->mean_us;
}
static double per_second(const struct result *r)
{
	return r->per_second;
}
static double bytes_each(const struct result *r)
{
	return r->bytes_each;
}

static const struct test tests[] = {
	{.name = "loopback",
	 .what = "two endpoints over netstack's loopback, two threads",
	 .unit = "Gbit/s",
	 .ours_only = true,
	 .per_gb = true,
	 .run = run_loopback,
	 .value = gbit},
	{.name = "send",
	 .what = "bulk send, one connection",
	 .unit = "Gbit/s",
	 .per_gb = true,
	 .run = run_bulk,
	 .value = gbit,
	 .arg = true},
	{.name = "receive",
	 .what = "bulk receive, one connection",
	 .unit = "Gbit/s",
	 .per_gb = true,
	 .run = run_bulk,
	 .value = gbit,
	 .arg = false},
	{.name = "rr",
	 .what = "64-byte request/response",
	 .unit = "us",
	 .less_is_better = true,
	 .run = run_rr,
	 .value = mean_us},
	{.name = "connect",
	 .what = "connections accepted, one client in sequence",
	 .unit = "/s",
	 .run = run_connect,
	 .value = per_second,
	 .arg = 1},
	{.name = "connect4",
	 .what = "connections accepted, four clients",
	 .unit = "/s",
	 .run = run_connect,
	 .value = per_second,
	 .arg = 4},
	{.name = "dial",
	 .what = "connections opened, one after the other",
	 .unit = "/s",
	 .run = run_dial,
	 .value = per_second},
	{.name = "http",
	 .what = "HTTP/1.0 server, 4 KiB, one client",
	 .unit = "/s",
	 .run = run_http,
	 .value = per_second,
	 .arg = 1},
	{.name = "idle",
	 .what = "10,000 idle connections, each",
	 .unit = "bytes",
	 .less_is_better = true,
	 .ours_only = true,
	 .run = run_idle,
	 .value = bytes_each},
};

/* ------------------------------------------------------------------------------ measuring */

static double seconds_of(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) < 0)
		return 0;
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static double children_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_CHILDREN, &u);
	return u.ru_utime.tv_sec + u.ru_stime.tv_sec +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* CPU time goes per GB of data, or per operation in microseconds. */
static int measure(const struct plan *p, const struct test *t, bool ours, struct series *s, int i)
{
	clockid_t peer_clock;
	struct result r = {0};
	double cpu, peer, work;
	int err;

	if (clock_getcpuclockid(p->peer, &peer_clock))
		return -1;
	cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
	peer = seconds_of(peer_clock) + children_seconds();
	err = t->run(p, t, ours, &r);
	if (err) {
		fprintf(stderr, "netstack_bench: %s: %s failed\n", t->name,
			ours ? "netstack" : "Linux");
		return err;
	}
	work = t->per_gb ? r.gbit * p->seconds / 8 : r.count / 1e6;
	s->value[i] = t->value(&r);
	s->cpu[i] = work > 0 ? (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) / work : 0;
	s->peer_cpu[i] = work > 0 ? (seconds_of(peer_clock) + children_seconds() - peer) / work : 0;
	return 0;
}

static double median(const double *v, int n)
{
	double copy[MAX_ROUNDS];

	memcpy(copy, v, n * sizeof(*v));
	qsort(copy, n, sizeof(*copy), cmp_double);
	return n % 2 ? copy[n / 2] : (copy[n / 2 - 1] + copy[n / 2]) / 2;
}

static void print_alone(const struct plan *p, const struct test *t, const struct series *o)
{
	int n = p->rounds;

	if (p->markdown)
		printf("| %s | %.1f %s | | | %.2f |\n", t->what, median(o->value, n), t->unit,
		       median(o->cpu, n));
	else
		printf("%-9s netstack %9.2f %s (CPU %.2f)\n", t->name, median(o->value, n), t->unit,
		       median(o->cpu, n));
}

static void print_both(const struct plan *p, const struct test *t, const struct series *o,
		       const struct series *l)
{
	double ratio[MAX_ROUNDS] = {0}, lo, hi;
	int n = p->rounds;

	for (int i = 0; i < n; i++)
		ratio[i] = l->value[i] > 0 ? o->value[i] / l->value[i] : 0;
	lo = hi = ratio[0];
	for (int i = 1; i < n; i++) {
		lo = ratio[i] < lo ? ratio[i] : lo;
		hi = ratio[i] > hi ? ratio[i] : hi;
	}
	if (p->markdown)
		printf("| %s | %.1f %s | %.1f %s | %.2f (%.2f to %.2f) | %.2f + %.2f / %.2f + %.2f "
		       "|\n",
		       t->what, median(o->value, n), t->unit, median(l->value, n), t->unit,
		       median(ratio, n), lo, hi, median(o->cpu, n), median(o->peer_cpu, n),
		       median(l->cpu, n), median(l->peer_cpu, n));
	else
		printf("%-9s netstack %9.2f (CPU %.2f, peer %.2f)  Linux %9.2f (CPU %.2f, peer "
		       "%.2f)  %s, CPU %s  ratio %.2f (%.2f to %.2f)\n",
		       t->name, median(o->value, n), median(o->cpu, n), median(o->peer_cpu, n),
		       median(l->value, n), median(l->cpu, n), median(l->peer_cpu, n), t->unit,
		       t->per_gb ? "s/GB" : "us each", median(ratio, n), lo, hi);
}

static int run_test(const struct plan *p, const struct test *t)
{
	static struct series o, l;
	bool both = !t->ours_only && !p->only_ours;

	for (int i = 0; i < p->rounds; i++) {
		/* Who begins changes, so that neither always finds the caches of the other. */
		for (int k = 0; k < 2; k++) {
			bool ours = (i + k) % 2;

			if (!ours && !both)
				continue;
			if (measure(p, t, ours, ours ? &o : &l, i) < 0)
				return 1;
		}
	}
	if (both)
		print_both(p, t, &o, &l);
	else
		print_alone(p, t, &o);
	return 0;
}

int run_plan(const struct plan *p)
{
	int failed = 0;

	if (p->markdown)
		printf("| | netstack | Linux | ratio: median (range) of %d rounds | CPU s/GB or us "
		       "each: netstack + peer / Linux + peer |\n|---|---|---|---|---|\n",
		       p->rounds);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		bool wanted = !p->tests[0];

		for (char **name = p->tests; *name; name++)
			wanted |= !strcmp(*name, tests[i].name);
		if (wanted)
			failed |= run_test(p, &tests[i]);
	}
	return failed;
}
