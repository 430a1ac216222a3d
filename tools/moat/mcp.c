/*
 * moat mcp: the Model Context Protocol over standard input and output. One JSON-RPC message a line;
 * each call of a tool has a thread, so that others can be answered, and it be cancelled, meanwhile.
 */
#include "tools/moat/mcp.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/compiler.h"
#include "tools/moat/cli.h"

#define CALLS_MAX 16
#define MESSAGE_MAX (64u << 20)

/* JSON-RPC 2.0 */
#define PARSE_ERROR (-32700)
#define INVALID_REQUEST (-32600)
#define METHOD_NOT_FOUND (-32601)
#define INVALID_PARAMS (-32602)
#define INTERNAL_ERROR (-32603)

/* The newest first. */
static const char *const versions[] = {"2025-06-18", "2025-03-26", "2024-11-05"};

/* A tool that runs. */
struct pending {
	LIST_ENTRY(pending) link; /* server->calls */
	struct server *server;
	struct mcp_call call;
	json_t *id, *params; /* owned */
};

struct server {
	struct mcp_session session;
	pthread_mutex_t lock; /* calls, output */
	pthread_cond_t fewer;
	LIST_HEAD(, pending) calls;
	unsigned ncalls;
	bool initialized;
};

/* --- messages --------------------------------------------------------------------------------- */

/* Consumes it. A client that is gone is seen at the end of its input. */
static void send_message(struct server *s, json_t *message)
{
	char *__free text =
		message ? json_dumps(message, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;

	json_decref(message);
	if (!text)
		return;
	pthread_mutex_lock(&s->lock);
	if (printf("%s\n", text) > 0)
		fflush(stdout);
	pthread_mutex_unlock(&s->lock);
}

/* id is not consumed, result is. */
static void send_result(struct server *s, json_t *id, json_t *result)
{
	send_message(s, json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", id, "result", result));
}

static void send_error(struct server *s, json_t *id, int code, const char *text)
{
	send_message(s, json_pack("{s:s, s:o, s:{s:i, s:s}}", "jsonrpc", "2.0", "id",
				  id ? json_incref(id) : json_null(), "error", "code", code,
				  "message", text));
}

/* --- tools/call ------------------------------------------------------------------------------- */

static void pending_free(struct pending *p)
{
	pthread_mutex_destroy(&p->call.lock);
	json_decref(p->id);
	json_decref(p->params);
	free(p);
}

static void *call_main(void *arg)
{
	struct pending *p = arg;
	struct server *s = p->server;
	const char *name = json_string_value(json_object_get(p->params, "name"));
	json_t *result =
		mcp_call_tool(&s->session, &p->call, name, json_object_get(p->params, "arguments"));
	bool cancelled;

	pthread_mutex_lock(&s->lock);
	LIST_REMOVE(p, link);
	cancelled = p->call.cancelled;
	pthread_mutex_unlock(&s->lock);
	/* Nobody waits for an answer to what has been cancelled. */
	if (cancelled)
		json_decref(result);
	else if (result)
		send_result(s, p->id, result);
	else
		send_error(s, p->id, INVALID_PARAMS, "no such tool");
	pending_free(p);
	pthread_mutex_lock(&s->lock);
	s->ncalls--;
	pthread_cond_broadcast(&s->fewer);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static int start_thread(struct pending *p)
{
	pthread_attr_t attr;
	pthread_t thread;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	ret = pthread_create(&thread, &attr, call_main, p);
	pthread_attr_destroy(&attr);
	return -ret;
}

static void begin_call(struct server *s, json_t *id, json_t *params)
{
	struct pending *p;

	if (!json_is_string(json_object_get(params, "name"))) {
		send_error(s, id, INVALID_PARAMS, "tools/call: 'name' is missing");
		return;
	}
	p = calloc(1, sizeof(*p));
	if (!p) {
		send_error(s, id, INTERNAL_ERROR, "no memory");
		return;
	}
	p->server = s;
	p->id = json_incref(id);
	p->params = json_deep_copy(params);
	pthread_mutex_init(&p->call.lock, NULL);
	pthread_mutex_lock(&s->lock);
	while (s->ncalls == CALLS_MAX)
		pthread_cond_wait(&s->fewer, &s->lock);
	s->ncalls++;
	LIST_INSERT_HEAD(&s->calls, p, link);
	pthread_mutex_unlock(&s->lock);
	if (!start_thread(p))
		return;
	pthread_mutex_lock(&s->lock);
	LIST_REMOVE(p, link);
	s->ncalls--;
	pthread_mutex_unlock(&s->lock);
	send_error(s, id, INTERNAL_ERROR, "no thread for the call");
	pending_free(p);
}

/* Lock held: the call is in the list, so it is not freed. */
static void cancel_call(struct pending *p)
{
	pthread_mutex_lock(&p->call.lock);
	p->call.cancelled = true;
	if (p->call.run)
		moat_cancel(p->call.run);
	pthread_mutex_unlock(&p->call.lock);
}

/* id NULL: all of them. */
static void cancel(struct server *s, json_t *id)
{
	struct pending *p;

	pthread_mutex_lock(&s->lock);
	LIST_FOREACH (p, &s->calls, link)
		if (!id || json_equal(p->id, id))
			cancel_call(p);
	pthread_mutex_unlock(&s->lock);
}

/* --- the rest of the protocol ----------------------------------------------------------------- */

static void initialize(struct server *s, json_t *id, json_t *params)
{
	const char *wanted = json_string_value(json_object_get(params, "protocolVersion"));
	const char *version = versions[0];

	for (size_t i = 0; wanted && i < ARRAY_SIZE(versions); i++)
		if (!strcmp(wanted, versions[i]))
			version = versions[i];
	s->session.structured = version == versions[0];
	s->initialized = true;
	send_result(s, id,
		    json_pack("{s:s, s:{s:{}}, s:{s:s, s:s}, s:s}", "protocolVersion", version,
			      "capabilities", "tools", "serverInfo", "name", "moat", "version",
			      MOAT_VERSION, "instructions",
			      "Runs programs in a sandbox of their own, without a network. /w and "
			      "/tmp can be written; what is there stays until reset."));
}

static void serve_request(struct server *s, json_t *id, const char *method, json_t *params)
{
	if (!strcmp(method, "initialize"))
		initialize(s, id, params);
	else if (!strcmp(method, "ping"))
		send_result(s, id, json_object());
	else if (!s->initialized)
		send_error(s, id, INVALID_REQUEST, "the session has not been initialized");
	else if (!strcmp(method, "tools/list"))
		send_result(s, id, mcp_list_tools());
	else if (!strcmp(method, "tools/call"))
		begin_call(s, id, params);
	else
		send_error(s, id, METHOD_NOT_FOUND, "no such method");
}

static void serve_message(struct server *s, json_t *message)
{
	json_t *id = json_object_get(message, "id"), *params = json_object_get(message, "params");
	const char *method = json_string_value(json_object_get(message, "method"));
	const char *rpc = json_string_value(json_object_get(message, "jsonrpc"));

	if (!rpc || strcmp(rpc, "2.0") || (id && !json_is_string(id) && !json_is_integer(id))) {
		send_error(s, NULL, INVALID_REQUEST, "no message of JSON-RPC 2.0");
		return;
	}
	if (method && id) {
		serve_request(s, id, method, params);
	} else if (method && !strcmp(method, "notifications/cancelled")) {
		json_t *which = json_object_get(params, "requestId");

		if (which)
			cancel(s, which);
	} else if (!method && !json_object_get(message, "result") &&
		   !json_object_get(message, "error")) {
		send_error(s, id, INVALID_REQUEST, "neither a request nor an answer");
	}
	/* Other notifications, and answers to what was never asked, are nothing to us. */
}

static void serve_line(struct server *s, const char *line, size_t size)
{
	json_t *message;

	if (strspn(line, " \t\r\n") == size)
		return;
	message = size > MESSAGE_MAX
			  ? NULL
			  : json_loadb(line, size, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
	if (!message)
		send_error(s, NULL, PARSE_ERROR, "this is no JSON");
	else if (json_is_object(message))
		serve_message(s, message);
	/* 2025-03-26 alone knows batches; each of their messages is answered on its own. */
	else if (json_is_array(message) && json_array_size(message))
		for (size_t i = 0; i < json_array_size(message); i++)
			serve_message(s, json_array_get(message, i));
	else
		send_error(s, NULL, INVALID_REQUEST, "no message of JSON-RPC 2.0");
	json_decref(message);
}

static void serve(struct server *s)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	while ((n = getline(&line, &room, stdin)) > 0)
		serve_line(s, line, (size_t)n);
	free(line);
	cancel(s, NULL);
	pthread_mutex_lock(&s->lock);
	while (s->ncalls)
		pthread_cond_wait(&s->fewer, &s->lock);
	pthread_mutex_unlock(&s->lock);
	mcp_session_end(&s->session);
}

/* --- the command ------------------------------------------------------------------------------ */

enum {
	FLAG_MEMORY = 1000,
	FLAG_TIMEOUT,
	FLAG_DISK,
	FLAG_ROOTFS,
	FLAG_VOLUME,
	FLAG_POOL,
	FLAG_OUTPUT
};

static const struct option flags[] = {
	{"memory", required_argument, NULL, FLAG_MEMORY},
	{"timeout", required_argument, NULL, FLAG_TIMEOUT},
	{"disk", required_argument, NULL, FLAG_DISK},
	{"rootfs", required_argument, NULL, FLAG_ROOTFS},
	{"volume", required_argument, NULL, FLAG_VOLUME},
	{"pool", required_argument, NULL, FLAG_POOL},
	{"output", required_argument, NULL, FLAG_OUTPUT},
	{0},
};

static int take_flag(struct mcp_session *s, char ***volumes, int flag, const char *value)
{
	int64_t ns;

	switch (flag) {
	case FLAG_MEMORY:
		if (!parse_size(value, &s->memory) || s->memory < 16 << 20)
			return cli_error("mcp: --memory must be a size of at least 16M: %s", value);
		return 0;
	case FLAG_TIMEOUT:
		if (!parse_duration(value, &ns) || ns <= 0)
			return cli_error("mcp: --timeout must be a duration, as 90s: %s", value);
		s->timeout_ns = (uint64_t)ns;
		return 0;
	case FLAG_DISK:
		if (!parse_size(value, &s->config.disk) || s->config.disk < 1 << 16)
			return cli_error("mcp: --disk must be a size of at least 64K: %s", value);
		return 0;
	case FLAG_ROOTFS:
		s->config.rootfs = value;
		return 0;
	case FLAG_VOLUME:
		return strv_append(volumes, value) ? 0 : cli_error("mcp: no memory");
	case FLAG_POOL:
		s->config.pool = value;
		return 0;
	case FLAG_OUTPUT:
		if (!parse_size(value, &s->output_max) || !s->output_max)
			return cli_error("mcp: --output must be a size: %s", value);
		return 0;
	}
	return cli_error("mcp: flag %d", flag);
}

static int run_mcp(const struct cli_options *options, int argc, char **argv)
{
	struct server s = {
		.session = {.config = {.size = sizeof(s.session.config),
				       .program = "/proc/self/exe"},
			    .memory = 1ULL << 30,
			    .timeout_ns = 60 * 1000000000ULL,
			    .output_max = 256 << 10},
		.calls = LIST_HEAD_INITIALIZER(s.calls),
	};
	char **volumes = NULL;
	int c, ret = 0;

	while (!ret && (c = getopt_long(argc, argv, "+:", flags, NULL)) != -1)
		ret = c == '?' || c == ':' ? cli_bad_flag("mcp", argv, c)
					   : take_flag(&s.session, &volumes, c, optarg);
	if (!ret && optind != argc)
		ret = cli_error("mcp: takes no arguments (see 'moat help mcp')");
	if (!ret) {
		signal(SIGPIPE, SIG_IGN);
		pthread_mutex_init(&s.lock, NULL);
		pthread_mutex_init(&s.session.lock, NULL);
		pthread_cond_init(&s.fewer, NULL);
		/* The calls together; each has s.memory. */
		s.session.config.memory = s.session.memory * 2;
		s.session.config.volumes = (const char *const *)volumes;
		serve(&s);
	}
	for (char **v = volumes; v && *v; v++)
		free(*v);
	free(volumes);
	return ret;
}

const struct cli_command cli_mcp = {
	.name = "mcp",
	.usage = "[flags]",
	.summary = "Serve a sandbox to an AI agent (Model Context Protocol, stdio)",
	.flags =
		"  --timeout DURATION      the longest that a call may take (default 60s)\n"
		"  --memory SIZE           what a call may use (default 1G)\n"
		"  --disk SIZE             of /w and of /tmp, each, in memory (default 512M)\n"
		"  --output SIZE           what is kept of a call's output (default 256K)\n"
		"  --rootfs DIR            an image's directory, shown read-only; default: the "
		"host's\n"
		"                          programs and libraries\n"
		"  --volume SRC:DST[:rw]   show the host's SRC at DST, read-only unless rw\n"
		"  --pool SOCKET           take the sandbox from this pool\n"
		"\n"
		"Tools: run_python, run_shell, read_file, write_file, list_files, reset. A session "
		"has one\n"
		"sandbox, without a network, which ends with it.\n",
	.run = run_mcp,
};
