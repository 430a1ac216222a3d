/* A program that runs: its start, its input and output, its end. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "lib/run_internal.h"

#define OUTPUT_MAX_DEFAULT (16u << 20)
#define EXTRA_MAX 200
/* How long the end of a program that was killed, or whose time is up, may take to be told. */
#define GRACE_NS (30 * NSEC_PER_SEC)

/* --- the request ------------------------------------------------------------------------------ */

static const char *const default_env[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/w",
	"LANG=C.UTF-8", NULL};

static size_t count(const char *const *v)
{
	size_t n = 0;

	while (v && v[n])
		n++;
	return n;
}

static void add_rlimit(Moat__ProcessSpec *p, Moat__Rlimit *r, Moat__Rlimit **list, int resource,
		       uint64_t value)
{
	moat__rlimit__init(r);
	r->resource = (uint32_t)resource;
	r->soft = r->hard = value;
	list[p->n_rlimits++] = r;
	p->rlimits = list;
}

/* What was held may run now, if the caller wants it to. */
static int proceed(struct moat_run *run, const struct moat_command *c, struct moat_error *err)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__Proceed proceed = MOAT__PROCEED__INIT;
	struct control_error e;
	char id[] = ROOT_ID;
	int ret;

	proceed.id = id;
	proceed.pid = run->pid;
	proceed.veto = c->before(c->arg, run->pid) != 0;
	request.call_case = MOAT__REQUEST__CALL_PROCEED;
	request.proceed = &proceed;
	ret = control_client_call(run->client, &request, NULL, 0, ANSWER_MS, NULL, &e);
	if (ret)
		return lib_fail(err, ret, "%s", e.text);
	if (!proceed.veto)
		return 0;
	/* Nothing is left of it. */
	run->pid = 0;
	return lib_fail(err, ECANCELED, "the caller does not want it to run");
}

static int execute(struct moat_run *run, const struct moat_command *c, const int *fds,
		   unsigned nfds, struct moat_error *err)
{
	const char *const *envp = c->envp ? c->envp : default_env;
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__Execute execute = MOAT__EXECUTE__INIT;
	Moat__ProcessSpec p = MOAT__PROCESS_SPEC__INIT;
	Moat__RunLimits limits = MOAT__RUN_LIMITS__INIT;
	Moat__Rlimit rlimits[4], *list[4];
	Moat__Response *response;
	struct control_error e;
	char id[] = ROOT_ID;
	int ret;

	p.args = (char **)(uintptr_t)c->argv;
	p.n_args = count(c->argv);
	p.env = (char **)(uintptr_t)envp;
	p.n_env = count(envp);
	p.cwd = (char *)(uintptr_t)(c->cwd ? c->cwd : "/w");
	p.uid = c->uid ? c->uid : NOBODY;
	p.gid = c->gid ? c->gid : NOBODY;
	p.umask = 022;
	p.no_new_privileges = true;
	p.terminal = run->terminal_peer >= 0;
	p.extra_files = c->nextra_fds;
	p.seccomp.data = (uint8_t *)(uintptr_t)c->filter;
	p.seccomp.len = c->nfilter * sizeof(struct sock_filter);
	add_rlimit(&p, &rlimits[0], list, RLIMIT_CORE, 0);
	if (c->file_size)
		add_rlimit(&p, &rlimits[1], list, RLIMIT_FSIZE, c->file_size);
	if (c->open_files)
		add_rlimit(&p, &rlimits[2], list, RLIMIT_NOFILE, c->open_files);
	if (c->stack)
		add_rlimit(&p, &rlimits[3], list, RLIMIT_STACK, c->stack);
	limits.cpu_ns = c->cpu_ns;
	limits.wall_ns = c->wall_ns;
	limits.memory = c->memory;
	limits.processes = c->processes;
	limits.keep = c->keep != 0;
	limits.count_calls = c->count_calls != 0;
	execute.hold = c->before != NULL;
	execute.executable = c->exec_fd > 2;
	execute.id = id;
	execute.process = &p;
	execute.bound = true;
	execute.limits = &limits;
	request.call_case = MOAT__REQUEST__CALL_EXECUTE;
	request.execute = &execute;
	ret = control_client_call(run->client, &request, fds, nfds, ANSWER_MS, &response, &e);
	if (ret)
		return lib_fail(err, ret, "%s", e.text);
	if (response->result_case == MOAT__RESPONSE__RESULT_PROCESS)
		run->pid = response->process->pid;
	else
		ret = lib_fail(err, EPROTO, "the sandbox talks nonsense");
	control_response_free(response);
	return !ret && c->before ? proceed(run, c, err) : ret;
}

static int ask_for_end(struct moat_run *run, struct moat_error *err)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__WaitPid wait = MOAT__WAIT_PID__INIT;
	char id[] = ROOT_ID;
	int ret;

	wait.id = id;
	wait.pid = run->pid;
	request.call_case = MOAT__REQUEST__CALL_WAIT_PID;
	request.wait_pid = &wait;
	ret = control_client_send(run->client, &request, NULL, 0, NULL);
	return ret ? lib_fail(err, ret, "the sandbox is gone") : 0;
}

/* --- descriptors ------------------------------------------------------------------------------ */

static int open_null(int *fd)
{
	*fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return *fd < 0 ? -errno : 0;
}

static int make_pipe(int *reader, int *writer)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC))
		return -errno;
	*reader = p[0];
	*writer = p[1];
	return 0;
}

static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) ? -errno : 0;
}

/* A copy of the input; 0 or -ENOMEM. */
static int keep_input(struct moat_run *run, const struct moat_command *c)
{
	if (!c->input_size)
		return 0;
	run->input = malloc(c->input_size);
	if (!run->input)
		return -ENOMEM;
	memcpy(run->input, c->input, c->input_size);
	run->input_size = c->input_size;
	return 0;
}

static int open_input(struct moat_run *run, const struct moat_command *c, int *fd, int *own)
{
	int ret;

	if (c->input_fd > 2) {
		*fd = c->input_fd;
		return 0;
	}
	if (c->input_fd == MOAT_INHERIT) {
		*fd = 0;
		return 0;
	}
	if (c->input_fd != MOAT_NULL && c->input_fd != 0)
		return -EBADF;
	if (!c->input_size || c->input_fd == MOAT_NULL) {
		ret = open_null(own);
	} else {
		ret = keep_input(run, c);
		if (!ret)
			ret = make_pipe(own, &run->input_fd);
		if (!ret)
			ret = set_nonblocking(run->input_fd);
	}
	*fd = *own;
	return ret;
}

static int open_output(struct moat_run *run, int stream, int wanted, int *fd, int *own)
{
	int ret;

	if (wanted > 2 || wanted == MOAT_INHERIT) {
		*fd = wanted > 2 ? wanted : stream + 1;
		return 0;
	}
	if (wanted == MOAT_NULL)
		ret = open_null(own);
	else if (wanted != 0 && wanted != MOAT_COLLECT)
		return -EBADF;
	else
		ret = make_pipe(&run->streams[stream].fd, own);
	if (!ret && run->streams[stream].fd >= 0)
		ret = set_nonblocking(run->streams[stream].fd);
	*fd = *own;
	return ret;
}

/* What the program has as 0, 1 and 2: how many descriptors are sent, or -errno. */
static int open_stdio(struct moat_run *run, const struct moat_command *c, int *fds, int *own)
{
	int ret;

	if (c->terminal) {
		ret = keep_input(run, c);
		if (!ret)
			ret = terminal_open(run, c);
		fds[0] = own[0] = run->terminal_peer;
		return ret ? ret : 1;
	}
	ret = open_input(run, c, &fds[0], &own[0]);
	if (!ret)
		ret = open_output(run, 0, c->output_fd, &fds[1], &own[1]);
	if (!ret)
		ret = open_output(run, 1, c->error_fd, &fds[2], &own[2]);
	return ret ? ret : 3;
}

static int begin(struct moat_run *run, const struct moat_command *c, struct moat_error *err)
{
	int own[3] = {-1, -1, -1}, fds[3 + EXTRA_MAX + 1], n, ret;

	if (c->nextra_fds > EXTRA_MAX)
		return lib_fail(err, E2BIG, "more than %d descriptors", EXTRA_MAX);
	if (c->nfilter > BPF_MAXINSNS)
		return lib_fail(err, EINVAL, "a filter of more than %d instructions", BPF_MAXINSNS);
	n = open_stdio(run, c, fds, own);
	if (n < 0) {
		ret = lib_fail(err, n, "standard input and output: %s", strerror(-n));
	} else {
		for (unsigned i = 0; i < c->nextra_fds; i++)
			fds[n++] = c->extra_fds[i];
		if (c->exec_fd > 2)
			fds[n++] = c->exec_fd;
		ret = execute(run, c, fds, (unsigned)n, err);
	}
	run->terminal_peer = -1;
	for (int i = 0; i < 3; i++)
		close_fd_ptr(&own[i]);
	return ret ? ret : ask_for_end(run, err);
}

void moat_run_free(struct moat_run *run)
{
	if (!run)
		return;
	/* What it is bound to ends with the connection. */
	if (run->client)
		connection_return(run->m, run->client, !run->at_end);
	close_fd_ptr(&run->cancel_fd);
	close_fd_ptr(&run->input_fd);
	for (int i = 0; i < 2; i++) {
		close_fd_ptr(&run->streams[i].fd);
		free(run->streams[i].data);
	}
	close_fd_ptr(&run->terminal_fd);
	free(run->calls);
	free(run->input);
	free(run);
}

int moat_start(struct moat *m, const struct moat_command *given, struct moat_run **out,
	       struct moat_error *err)
{
	struct moat_command c = {0};
	struct moat_run *run;
	int ret;

	if (!given->size || given->size > sizeof(c))
		return lib_fail(err, EINVAL, "the command's size is not known");
	memcpy(&c, given, given->size);
	if (!c.argv || !c.argv[0])
		return lib_fail(err, EINVAL, "no program to run");
	run = calloc(1, sizeof(*run));
	if (!run)
		return lib_fail(err, ENOMEM, "no memory");
	run->m = m;
	run->input_fd = run->streams[0].fd = run->streams[1].fd = -1;
	run->terminal_fd = run->terminal_peer = -1;
	run->output_limit = c.output_limit;
	run->output_max = c.output_max ? c.output_max : OUTPUT_MAX_DEFAULT;
	run->output = c.output;
	run->arg = c.arg;
	run->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = run->cancel_fd < 0 ? lib_fail(err, errno, "eventfd: %s", strerror(errno)) : 0;
	if (!ret)
		ret = connection_take(m, &run->client, err);
	if (!ret)
		ret = begin(run, &c, err);
	if (ret) {
		/* Refused: the connection has nothing more to say. */
		run->at_end = !run->pid && ret != -ETIMEDOUT && ret != -EPIPE && ret != -EPROTO;
		moat_run_free(run);
		return ret;
	}
	if (c.wall_ns && c.wall_ns < (uint64_t)INT64_MAX / 4)
		run->give_up = monotonic_ns() + (int64_t)c.wall_ns + GRACE_NS;
	*out = run;
	return 0;
}

int moat_run_pid(const struct moat_run *run)
{
	return run->pid;
}

uint64_t moat_run_calls(const struct moat_run *run, uint64_t *calls, unsigned n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < run->ncalls; i++)
		sum += run->calls[i];
	for (unsigned i = 0; i < n; i++)
		calls[i] = i < run->ncalls ? run->calls[i] : 0;
	return sum;
}

int moat_cancel(struct moat_run *run)
{
	uint64_t one = 1;

	return write(run->cancel_fd, &one, sizeof(one)) == sizeof(one) ? 0 : -errno;
}

/* --- while it runs ---------------------------------------------------------------------------- */

/* Its first process is killed; the sentry kills the others when that has ended. The answer is of no
 * interest: the end is. */
static void kill_run(struct moat_run *run, enum moat_status why)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__SignalProcess sig = MOAT__SIGNAL_PROCESS__INIT;
	char id[] = ROOT_ID;

	if (run->killed_for != MOAT_EXITED)
		return;
	run->killed_for = why;
	run->give_up = monotonic_ns() + GRACE_NS;
	sig.id = id;
	sig.pid = run->pid;
	sig.signal = SIGKILL;
	request.call_case = MOAT__REQUEST__CALL_SIGNAL_PROCESS;
	request.signal_process = &sig;
	control_client_send(run->client, &request, NULL, 0, NULL);
}

static void feed(struct moat_run *run)
{
	ssize_t n = -1;

	if (run->input_done < run->input_size) {
		/* The program may have closed it: that is no signal for the caller. */
		sigset_t pipe_only, old;
		struct timespec now = {0};

		sigemptyset(&pipe_only);
		sigaddset(&pipe_only, SIGPIPE);
		pthread_sigmask(SIG_BLOCK, &pipe_only, &old);
		n = write(run->input_fd, run->input + run->input_done,
			  run->input_size - run->input_done);
		if (n < 0 && errno == EPIPE && !sigismember(&old, SIGPIPE))
			sigtimedwait(&pipe_only, NULL, &now);
		else if (n < 0 && (errno == EAGAIN || errno == EINTR))
			n = 0;
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		if (n > 0)
			run->input_done += (size_t)n;
	}
	if (n < 0 || run->input_done == run->input_size)
		close_fd_ptr(&run->input_fd);
}

static int keep(struct stream *s, const char *data, size_t size, size_t max)
{
	if (s->size + size > max) {
		s->truncated = 1;
		size = max - s->size;
	}
	if (s->size + size + 1 > s->room) {
		size_t room = (s->size + size + 1) * 2;
		char *grown = realloc(s->data, room);

		if (!grown)
			return -ENOMEM;
		s->data = grown;
		s->room = room;
	}
	memcpy(s->data + s->size, data, size);
	s->size += size;
	s->data[s->size] = 0;
	return 0;
}

/* Reads what is there. A writer that never ends is the poll loop's to limit: false when there is
 * nothing more now. */
static bool collect(struct moat_run *run, int i)
{
	struct stream *s = &run->streams[i];
	char buf[65536];
	ssize_t n = s->fd < 0 ? 0 : read(s->fd, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		close_fd_ptr(&s->fd);
		return false;
	}
	run->collected += (uint64_t)n;
	if (run->output_limit && run->collected > run->output_limit) {
		size_t over = (size_t)MIN(run->collected - run->output_limit, (uint64_t)n);

		run->collected = run->output_limit + 1;
		n -= (ssize_t)over;
		s->truncated = 1;
		kill_run(run, MOAT_OUTPUT_LIMIT);
	}
	if (n && run->output)
		run->output(run->arg, i + 1, buf, (size_t)n);
	if (keep(s, buf, (size_t)n, run->output_max))
		s->truncated = 1;
	return true;
}

static enum moat_status status_of(const struct moat_run *run, const Moat__ExitStatus *e)
{
	/* Whoever was first: the sandbox knows of its own reasons only. */
	switch (e->reason) {
	case MOAT__EXIT_STATUS__REASON__CPU_LIMIT:
		return MOAT_CPU_LIMIT;
	case MOAT__EXIT_STATUS__REASON__WALL_LIMIT:
		return MOAT_WALL_LIMIT;
	case MOAT__EXIT_STATUS__REASON__MEMORY_LIMIT:
		return MOAT_MEMORY_LIMIT;
	default:
		break;
	}
	if (run->killed_for != MOAT_EXITED && WIFSIGNALED((int)e->wait_status))
		return run->killed_for;
	return WIFSIGNALED((int)e->wait_status) ? MOAT_SIGNALLED : MOAT_EXITED;
}

static void fill(struct moat_run *run, const Moat__ExitStatus *e, struct moat_result *r)
{
	int wait_status = (int)e->wait_status;

	if (e->n_calls && !run->calls && (run->calls = calloc(e->n_calls, sizeof(uint64_t)))) {
		run->ncalls = e->n_calls;
		memcpy(run->calls, e->calls, e->n_calls * sizeof(uint64_t));
	}

	r->status = status_of(run, e);
	r->exit_code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 0;
	r->signal = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
	r->user_ns = e->user_ns;
	r->kernel_ns = e->kernel_ns;
	r->wall_ns = e->wall_ns;
	r->memory_peak = e->memory_peak;
}

/* What the connection has: 1 when the end has come, 0, or -errno. */
static int hear(struct moat_run *run, struct moat_result *r, struct moat_error *err)
{
	Moat__Response *response;
	int ret = control_client_receive(run->client, 0, &response);

	if (ret == -EAGAIN)
		return 0;
	if (ret)
		return lib_fail(err, ret == -ECONNRESET ? EPIPE : ret, "the sandbox is gone");
	if (response->result_case == MOAT__RESPONSE__RESULT_EXIT_STATUS) {
		fill(run, response->exit_status, r);
		ret = 1;
	} else if (response->error && response->error->number != ESRCH) {
		ret = lib_fail(err, response->error->number, "%s", response->error->message);
	}
	control_response_free(response);
	return ret;
}

static int poll_all(struct moat_run *run)
{
	int64_t left = run->give_up ? (run->give_up - monotonic_ns()) / 1000000 + 1 : -1;

	run->polls[0] = (struct pollfd){.fd = control_client_fd(run->client), .events = POLLIN};
	run->polls[1] = (struct pollfd){.fd = run->cancel_fd, .events = POLLIN};
	run->polls[2] = (struct pollfd){.fd = run->input_fd, .events = POLLOUT};
	for (int i = 0; i < 2; i++)
		run->polls[3 + i] = (struct pollfd){.fd = run->streams[i].fd, .events = POLLIN};
	if (run->give_up && left <= 0)
		return -ETIMEDOUT;
	if (poll(run->polls, ARRAY_SIZE(run->polls), left > 1000000 ? 1000000 : (int)left) < 0)
		return errno == EINTR ? 0 : -errno;
	return 0;
}

static int run_to_end(struct moat_run *run, struct moat_result *r, struct moat_error *err)
{
	for (;;) {
		int ret = poll_all(run);
		uint64_t n;

		if (ret)
			return lib_fail(err, ret, "the sandbox does not say how the program ended");
		for (int i = 0; i < 2; i++)
			if (run->polls[3 + i].revents)
				collect(run, i);
		if (run->polls[2].revents)
			feed(run);
		if (run->polls[1].revents && read(run->cancel_fd, &n, sizeof(n)) > 0)
			kill_run(run, MOAT_CANCELLED);
		ret = run->polls[0].revents ? hear(run, r, err) : 0;
		if (ret)
			return ret < 0 ? ret : 0;
	}
}

/* What was written before the end is in the pipes; what a process that is being killed still
 * writes, for ever, is not waited for. */
static void collect_rest(struct moat_run *run)
{
	for (int i = 0; i < 2; i++)
		for (int n = 0; n < 64 && collect(run, i); n++)
			;
}

int moat_wait(struct moat_run *run, struct moat_result *result, struct moat_error *err)
{
	int ret;

	memset(result, 0, sizeof(*result));
	ret = run_to_end(run, result, err);
	if (!ret) {
		collect_rest(run);
		/* Also if it ended before it could be killed: the same program, the same status. */
		if (run->output_limit && run->collected > run->output_limit)
			result->status = MOAT_OUTPUT_LIMIT;
		result->out = run->streams[0].data;
		result->out_size = run->streams[0].size;
		result->out_truncated = run->streams[0].truncated;
		result->err = run->streams[1].data;
		result->err_size = run->streams[1].size;
		result->err_truncated = run->streams[1].truncated;
		run->streams[0].data = run->streams[1].data = NULL;
		if (!result->out)
			result->out = strdup("");
		if (!result->err)
			result->err = strdup("");
	}
	/* After a kill its answer may be on the way, and the connection is not used again. */
	run->at_end = !ret && run->killed_for == MOAT_EXITED;
	return ret;
}

int moat_execve(struct moat *m, const struct moat_command *command, struct moat_result *result,
		struct moat_error *err)
{
	struct moat_run *run;
	int ret = moat_start(m, command, &run, err);

	if (ret)
		return ret;
	ret = moat_wait(run, result, err);
	moat_run_free(run);
	return ret;
}

void moat_result_free(struct moat_result *result)
{
	free(result->out);
	free(result->err);
	result->out = result->err = NULL;
}

const char *moat_status_name(enum moat_status status)
{
	static const char *const names[] = {
		[MOAT_EXITED] = "exited",
		[MOAT_SIGNALLED] = "signalled",
		[MOAT_CPU_LIMIT] = "cpu limit",
		[MOAT_WALL_LIMIT] = "wall limit",
		[MOAT_MEMORY_LIMIT] = "memory limit",
		[MOAT_OUTPUT_LIMIT] = "output limit",
		[MOAT_CANCELLED] = "cancelled",
	};

	return (unsigned)status < ARRAY_SIZE(names) ? names[status] : "unknown";
}
