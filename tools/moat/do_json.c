#include "tools/moat/do_json.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/compiler.h"
#include "base/thread.h"
#include "tools/moat/result_json.h"

#define OUTPUT_MAX (16u << 20)

/* Reads both streams while the sandbox runs, on a thread: what comes beyond the maximum is dropped.
 */
struct collector {
	pthread_t thread;
	bool started;
	int readers[2], writers[2];
	char *data[2]; /* owned */
	size_t size[2];
	bool truncated[2];
};

static bool take(struct collector *c, int i)
{
	char buf[65536], *grown;
	ssize_t n = read(c->readers[i], buf, sizeof(buf));
	size_t keep;

	if (n < 0 && errno == EINTR)
		return true;
	if (n <= 0)
		return false;
	keep = MIN((size_t)n, OUTPUT_MAX - c->size[i]);
	grown = keep ? realloc(c->data[i], c->size[i] + keep) : NULL;
	if (grown) {
		memcpy(grown + c->size[i], buf, keep);
		c->data[i] = grown;
		c->size[i] += keep;
	}
	if (keep < (size_t)n || !grown)
		c->truncated[i] = true;
	return true;
}

static void *collect(void *arg)
{
	struct collector *c = arg;

	while (c->readers[0] >= 0 || c->readers[1] >= 0) {
		struct pollfd fds[] = {{.fd = c->readers[0], .events = POLLIN},
				       {.fd = c->readers[1], .events = POLLIN}};

		if (poll(fds, 2, -1) < 0)
			continue;
		for (int i = 0; i < 2; i++)
			if (fds[i].revents && !take(c, i))
				close_fd_ptr(&c->readers[i]);
	}
	return NULL;
}

/* Once the container runs, no process is forked from here any more: now there may be threads. */
static int begin(void *arg)
{
	struct collector *c = arg;
	sigset_t all, old;

	if (c->started)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	c->started = !pthread_create(&c->thread, NULL, collect, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return c->started ? 0 : cli_error("do: --json: no thread to collect the output");
}

static int open_pipes(struct collector *c, struct sandbox_spec *spec)
{
	for (int i = 0; i < 2; i++) {
		int p[2];

		if (pipe2(p, O_CLOEXEC))
			return -errno;
		c->readers[i] = p[0];
		c->writers[i] = spec->stdio[i + 1] = p[1];
	}
	return 0;
}

static json_t *describe(const struct sandbox_report *report, const struct collector *c)
{
	int wait_status = (int)report->wait_status;
	struct moat_result r = {
		.status = report->timed_out	     ? MOAT_WALL_LIMIT
			  : report->out_of_memory    ? MOAT_MEMORY_LIMIT
			  : WIFSIGNALED(wait_status) ? MOAT_SIGNALLED
						     : MOAT_EXITED,
		.exit_code = WEXITSTATUS(wait_status),
		.signal = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0,
		.user_ns = report->user_ns,
		.kernel_ns = report->kernel_ns,
		.wall_ns = report->wall_ns,
		.memory_peak = report->memory_peak,
		.out = c->data[0],
		.err = c->data[1],
		.out_size = c->size[0],
		.err_size = c->size[1],
		.out_truncated = c->truncated[0],
		.err_truncated = c->truncated[1],
	};

	if (!report->ended)
		return json_pack("{s:s, s:s}", "status", "not started", "error", report->text);
	return result_to_json(&r);
}

int do_json(const struct cli_options *options, struct sandbox_spec *spec)
{
	struct collector c = {.readers = {-1, -1}, .writers = {-1, -1}};
	struct sandbox_report report = {.text = "the sandbox did not start"};
	int status, ret = open_pipes(&c, spec);
	char *__free text = NULL;
	json_t *j;

	if (ret) {
		spec_free(spec);
		return cli_error("do: --json: %s", strerror(-ret));
	}
	spec->container.process.terminal = false;
	spec->report = &report;
	spec->started = begin;
	spec->started_arg = &c;
	status = cli_launch(options, spec);
	close_fd_ptr(&c.writers[0]);
	close_fd_ptr(&c.writers[1]);
	if (c.started)
		pthread_join(c.thread, NULL);
	j = describe(&report, &c);
	text = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
	json_decref(j);
	if (!text || printf("%s\n", text) < 0 || fflush(stdout))
		status = cli_error("do: --json: the result cannot be written");
	for (int i = 0; i < 2; i++) {
		close_fd_ptr(&c.readers[i]);
		free(c.data[i]);
	}
	return status;
}
