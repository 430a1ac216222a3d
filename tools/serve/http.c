/* Requests: which there are, who may ask, and their bodies. */
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve.h"
#include "stream.h"
#include "websocket.h"

#define BODY_MAX (64u << 20)
#define CONNECTIONS_MAX 256
#define IDLE_SECONDS 60

/* What has come of a request's body. */
struct body {
	char *data; /* owned */
	size_t size, room;
	bool too_large;
};

static enum MHD_Result send_bytes(struct MHD_Connection *c, unsigned status, const char *type,
				  const char *data, size_t size)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(size, (void *)(uintptr_t)data,
								 MHD_RESPMEM_MUST_COPY);
	enum MHD_Result ret;

	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	ret = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return ret;
}

/* Consumes it. */
static enum MHD_Result send_json(struct MHD_Connection *c, unsigned status, json_t *j)
{
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	enum MHD_Result ret = MHD_NO;

	json_decref(j);
	if (text)
		ret = send_bytes(c, status, "application/json", text, strlen(text));
	free(text);
	return ret;
}

static enum MHD_Result send_error(struct MHD_Connection *c, unsigned status, const char *text)
{
	return send_json(c, status, json_pack("{s:s}", "error", text));
}

/* In constant time for texts of one length: a peer may measure. */
static bool may_ask(struct MHD_Connection *c)
{
	const char *given =
		MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
	size_t n = settings.token ? strlen(settings.token) : 0;
	unsigned char diff = 0;

	if (!settings.token)
		return true;
	if (!given || strncmp(given, "Bearer ", 7) || strlen(given + 7) != n)
		return false;
	for (size_t i = 0; i < n; i++)
		diff |= (unsigned char)(given[7 + i] ^ settings.token[i]);
	return !diff;
}

/* A page of another origin's may make a browser send a request to us, but not of this type. */
static bool is_json(struct MHD_Connection *c)
{
	const char *type =
		MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);

	return type && !strncmp(type, "application/json", 16);
}

static enum MHD_Result run(struct MHD_Connection *c, const struct body *body)
{
	json_t *request, *results;
	const char *error;

	if (!is_json(c))
		return send_error(c, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE,
				  "the body must be application/json");
	if (body->too_large)
		return send_error(c, 413, "the body is too large");
	request = json_loadb(body->data ? body->data : "", body->size, JSON_ALLOW_NUL, NULL);
	if (!request)
		return send_error(c, MHD_HTTP_BAD_REQUEST, "the body is no JSON");
	results = judge_run(request, &error);
	json_decref(request);
	return results ? send_json(c, MHD_HTTP_OK, results)
		       : send_error(c, MHD_HTTP_BAD_REQUEST, error);
}

static enum MHD_Result file(struct MHD_Connection *c, const char *method, const char *id)
{
	struct stored s;
	enum MHD_Result ret;

	if (!strcmp(method, MHD_HTTP_METHOD_DELETE))
		return store_delete(id) ? send_error(c, MHD_HTTP_NOT_FOUND, "no such file")
					: send_bytes(c, MHD_HTTP_OK, "text/plain", "", 0);
	if (strcmp(method, MHD_HTTP_METHOD_GET))
		return send_error(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET or DELETE");
	if (store_get(id, &s))
		return send_error(c, MHD_HTTP_NOT_FOUND, "no such file");
	ret = send_bytes(c, MHD_HTTP_OK, "application/octet-stream", s.data, s.size);
	stored_free(&s);
	return ret;
}

static enum MHD_Result session(struct MHD_Connection *c, const char *method, const char *rest,
			       const struct body *body)
{
	struct session_answer answer = {0};
	enum MHD_Result ret;
	unsigned status;

	if (!strcmp(method, MHD_HTTP_METHOD_POST) && !is_json(c))
		return send_error(c, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE,
				  "the body must be application/json");
	if (body->too_large)
		return send_error(c, 413, "the body is too large");
	status = session_request(method, rest,
				 MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "path"),
				 body->data ? body->data : "", body->size, &answer);
	if (!answer.bytes)
		return send_json(c, status, answer.json);
	ret = send_bytes(c, status, "application/octet-stream", answer.bytes, answer.size);
	free(answer.bytes);
	return ret;
}

static enum MHD_Result metrics(struct MHD_Connection *c)
{
	struct judge_counts n = judge_counts();
	uint64_t bytes;
	unsigned files, busy, idle;
	char text[512];

	store_usage(&bytes, &files);
	sandboxes_usage(&busy, &idle);
	snprintf(
		text, sizeof(text),
		"moat_runs_total %llu\nmoat_runs_accepted_total %llu\nmoat_runs_failed_total %llu\n"
		"moat_files %u\nmoat_file_bytes %llu\nmoat_sessions %u\n"
		"moat_sandboxes_busy %u\nmoat_sandboxes_idle %u\n",
		(unsigned long long)n.runs, (unsigned long long)n.accepted,
		(unsigned long long)n.failed, files, (unsigned long long)bytes, sessions_count(),
		busy, idle);
	return send_bytes(c, MHD_HTTP_OK, "text/plain; version=0.0.4", text, strlen(text));
}

static enum MHD_Result config(struct MHD_Connection *c)
{
	return send_json(c, MHD_HTTP_OK,
			 json_pack("{s:s, s:i, s:i, s:I, s:I, s:I}", "sandbox", "moat",
				   "parallelism", (int)settings.parallel, "sessions",
				   (int)settings.sessions, "timeLimit",
				   (json_int_t)settings.time_default, "memoryLimit",
				   (json_int_t)settings.memory_default, "outputLimit",
				   (json_int_t)settings.output_max));
}

/* --- streams ---------------------------------------------------------------------------------- */

struct upgrade {
	struct MHD_UpgradeResponseHandle *handle;
	MHD_socket fd;
	void *first; /* owned: what came behind the request */
	size_t size;
	char id[64]; /* of a session */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t fewer = PTHREAD_COND_INITIALIZER;
static unsigned upgrades; /* connections that are no longer the daemon's */

static void upgrade_end(struct upgrade *u)
{
	MHD_upgrade_action(u->handle, MHD_UPGRADE_ACTION_CLOSE);
	free(u->first);
	free(u);
	pthread_mutex_lock(&lock);
	upgrades--;
	pthread_cond_signal(&fewer);
	pthread_mutex_unlock(&lock);
}

static void *upgrade_main(void *arg)
{
	struct upgrade *u = arg;

	stream_serve(u->fd, u->first, u->size, u->id);
	upgrade_end(u);
	return NULL;
}

static void upgraded(void *arg, struct MHD_Connection *c, void *unused, const char *first,
		     size_t size, MHD_socket fd, struct MHD_UpgradeResponseHandle *handle)
{
	struct upgrade *u = arg;
	pthread_t thread;

	pthread_mutex_lock(&lock);
	upgrades++;
	pthread_mutex_unlock(&lock);
	u->handle = handle;
	u->fd = fd;
	u->first = malloc(size + 1);
	if (u->first) {
		memcpy(u->first, first, size);
		u->size = size;
		if (!pthread_create(&thread, NULL, upgrade_main, u)) {
			pthread_detach(thread);
			return;
		}
	}
	upgrade_end(u);
}

static const char *header(struct MHD_Connection *c, const char *name)
{
	return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

/* Browsers let pages of any origin open a WebSocket to anybody, and say which page it is. */
static bool is_same_origin(struct MHD_Connection *c)
{
	const char *origin = header(c, "Origin"), *host = header(c, "Host");

	return !origin || (host && !strncmp(origin, "http://", 7) && !strcmp(origin + 7, host));
}

/* id: a session's, as long as that is; length 0: none. */
static enum MHD_Result stream(struct MHD_Connection *c, const char *id, size_t length)
{
	const char *wanted = header(c, "Upgrade"), *key = header(c, "Sec-WebSocket-Key");
	const char *version = header(c, "Sec-WebSocket-Version");
	struct MHD_Response *r;
	struct upgrade *u;
	enum MHD_Result ret;
	char accept[29];

	if (!is_same_origin(c))
		return send_error(c, MHD_HTTP_FORBIDDEN, "of another origin");
	if (!wanted || strcasecmp(wanted, "websocket") || !key || !version ||
	    strcmp(version, "13") || !websocket_accept(key, accept))
		return send_error(c, MHD_HTTP_BAD_REQUEST, "a WebSocket of version 13 is wanted");
	if (length >= sizeof(u->id))
		return send_error(c, MHD_HTTP_NOT_FOUND, "no such path");
	u = calloc(1, sizeof(*u));
	r = u ? MHD_create_response_for_upgrade(upgraded, u) : NULL;
	if (!r) {
		free(u);
		return MHD_NO;
	}
	memcpy(u->id, id, length);
	MHD_add_response_header(r, MHD_HTTP_HEADER_UPGRADE, "websocket");
	MHD_add_response_header(r, "Sec-WebSocket-Accept", accept);
	ret = MHD_queue_response(c, MHD_HTTP_SWITCHING_PROTOCOLS, r);
	MHD_destroy_response(r);
	if (ret == MHD_NO)
		free(u);
	return ret;
}

/* "/ID/stream": the id's length; 0: it is something else. */
static size_t stream_of(const char *rest)
{
	const char *end = *rest ? strchr(rest + 1, '/') : NULL;

	return end && !strcmp(end, "/stream") ? (size_t)(end - rest - 1) : 0;
}

/* It has nothing that is a secret: what it shows it asks for, with a token if there is one. No
 * other page may frame it, and nothing is loaded from elsewhere. */
static enum MHD_Result send_page(struct MHD_Connection *c)
{
	size_t size;
	const char *text = page(&size);
	struct MHD_Response *r = MHD_create_response_from_buffer(size, (void *)(uintptr_t)text,
								 MHD_RESPMEM_PERSISTENT);
	enum MHD_Result ret;

	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "text/html; charset=utf-8");
	MHD_add_response_header(r, "Content-Security-Policy",
				"default-src 'none'; style-src 'unsafe-inline'; script-src "
				"'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'");
	ret = MHD_queue_response(c, MHD_HTTP_OK, r);
	MHD_destroy_response(r);
	return ret;
}

static enum MHD_Result dispatch(struct MHD_Connection *c, const char *url, const char *method,
				const struct body *body)
{
	bool get = !strcmp(method, MHD_HTTP_METHOD_GET);

	if (get && !strcmp(url, "/"))
		return send_page(c);
	if (!may_ask(c))
		return send_error(c, MHD_HTTP_UNAUTHORIZED, "the token is missing or wrong");
	if (!strcmp(url, "/run"))
		return strcmp(method, MHD_HTTP_METHOD_POST)
			       ? send_error(c, MHD_HTTP_METHOD_NOT_ALLOWED, "POST")
			       : run(c, body);
	if (!strncmp(url, "/file/", 6))
		return file(c, method, url + 6);
	if (!strncmp(url, "/sandbox", 8) && (!url[8] || url[8] == '/'))
		return get && stream_of(url + 8) ? stream(c, url + 9, stream_of(url + 8))
						 : session(c, method, url + 8, body);
	if (!get)
		return send_error(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET");
	if (!strcmp(url, "/stream"))
		return stream(c, "", 0);
	if (!strcmp(url, "/file"))
		return send_json(c, MHD_HTTP_OK, store_list());
	if (!strcmp(url, "/version"))
		return send_json(c, MHD_HTTP_OK,
				 json_pack("{s:s, s:s}", "buildVersion", "moat " MOAT_VERSION,
					   "platform", "linux/amd64"));
	if (!strcmp(url, "/config"))
		return config(c);
	if (!strcmp(url, "/metrics"))
		return metrics(c);
	return send_error(c, MHD_HTTP_NOT_FOUND, "no such path");
}

static void add(struct body *b, const char *data, size_t size)
{
	if (b->size + size > BODY_MAX) {
		b->too_large = true;
		return;
	}
	if (b->size + size > b->room) {
		size_t room = (b->size + size) * 2;
		char *grown = realloc(b->data, room);

		if (!grown) {
			b->too_large = true;
			return;
		}
		b->data = grown;
		b->room = room;
	}
	memcpy(b->data + b->size, data, size);
	b->size += size;
}

static enum MHD_Result serve(void *unused, struct MHD_Connection *c, const char *url,
			     const char *method, const char *version, const char *data,
			     size_t *size, void **request)
{
	struct body *body = *request;

	if (!body) {
		*request = calloc(1, sizeof(*body));
		return *request ? MHD_YES : MHD_NO;
	}
	if (*size) {
		/* Nothing of a stranger's is kept. */
		if (may_ask(c))
			add(body, data, *size);
		*size = 0;
		return MHD_YES;
	}
	return dispatch(c, url, method, body);
}

static void completed(void *unused, struct MHD_Connection *c, void **request,
		      enum MHD_RequestTerminationCode why)
{
	struct body *body = *request;

	if (body)
		free(body->data);
	free(body);
	*request = NULL;
}

struct MHD_Daemon *http_start(int listener)
{
	/* A connection has a thread: a run occupies it until it ends. */
	return MHD_start_daemon(MHD_ALLOW_UPGRADE | MHD_USE_THREAD_PER_CONNECTION |
					MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL,
				0, NULL, NULL, serve, NULL, MHD_OPTION_LISTEN_SOCKET, listener,
				MHD_OPTION_NOTIFY_COMPLETED, completed, NULL,
				MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
				MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
				MHD_OPTION_END);
}

void http_stop(struct MHD_Daemon *daemon)
{
	int listener = MHD_quiesce_daemon(daemon);

	if (listener >= 0)
		close(listener);
	/* The daemon wants to end after those that it has handed out. */
	pthread_mutex_lock(&lock);
	while (upgrades)
		pthread_cond_wait(&fewer, &lock);
	pthread_mutex_unlock(&lock);
	MHD_stop_daemon(daemon);
}
