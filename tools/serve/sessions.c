/*
 * Sandboxes that a client holds: programs that run in one find what earlier ones have left, until
 * it is reset or given back. Who holds one knows its id, which is random. One that nobody has asked
 * for during IDLE_NS ends when its place is wanted.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "serve.h"

#define IDLE_NS (600LL * 1000000000)
#define FILE_MAX (64u << 20)

struct session {
	TAILQ_ENTRY(session) link;
	char id[33];
	struct moat *m;
	unsigned refs; /* lock: the list's, and those of requests under way */
	int64_t asked; /* lock: when the last request ended, monotonic */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static TAILQ_HEAD(, session) sessions = TAILQ_HEAD_INITIALIZER(sessions);
static unsigned nsessions; /* in the list, and those that start */

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

unsigned sessions_count(void)
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = nsessions;
	pthread_mutex_unlock(&lock);
	return n;
}

static void session_put(struct session *s)
{
	bool last;

	pthread_mutex_lock(&lock);
	s->asked = now();
	last = !--s->refs;
	pthread_mutex_unlock(&lock);
	if (!last)
		return;
	moat_destroy(s->m);
	free(s);
}

/* Of the list; lock held. The list's reference becomes the caller's. */
static void take_out(struct session *s)
{
	TAILQ_REMOVE(&sessions, s, link);
	nsessions--;
}

static struct session *session_get(const char *id, size_t length)
{
	struct session *s;

	pthread_mutex_lock(&lock);
	TAILQ_FOREACH (s, &sessions, link)
		if (length == strlen(s->id) && !memcmp(s->id, id, length))
			break;
	if (s)
		s->refs++;
	pthread_mutex_unlock(&lock);
	return s;
}

struct moat *session_take(const char *id, size_t length, struct session **session)
{
	*session = session_get(id, length);
	return *session ? (*session)->m : NULL;
}

void session_give_back(struct session *session)
{
	session_put(session);
}

/* A place for one more; false: all are in use. */
static bool take_place(void)
{
	struct session *s, *forgotten = NULL;
	bool ok;

	pthread_mutex_lock(&lock);
	TAILQ_FOREACH (s, &sessions, link)
		if (s->refs == 1 && now() - s->asked > IDLE_NS)
			forgotten = s;
	if (nsessions >= settings.sessions && forgotten)
		take_out(forgotten);
	else
		forgotten = NULL;
	ok = nsessions < settings.sessions;
	if (ok)
		nsessions++;
	pthread_mutex_unlock(&lock);
	if (forgotten)
		session_put(forgotten);
	return ok;
}

void sessions_end(void)
{
	struct session *s;

	while ((s = TAILQ_FIRST(&sessions))) {
		take_out(s);
		session_put(s);
	}
}

/* --- answers ---------------------------------------------------------------------------------- */

static unsigned refuse(struct session_answer *a, unsigned status, int number, const char *text)
{
	a->json = json_pack("{s:s, s:s}", "error", text, "code", strerrorname_np(number) ?: "EIO");
	return status;
}

static unsigned failed(struct session_answer *a, const struct moat_error *err)
{
	static const struct {
		int number;
		unsigned status;
	} known[] = {{ENOENT, 404}, {EACCES, 403}, {EPERM, 403}, {EFBIG, 413}, {EPIPE, 410}};
	unsigned status = 400;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].number == err->number)
			status = known[i].status;
	return refuse(a, status, err->number, err->text);
}

static unsigned done(struct session_answer *a)
{
	a->json = json_object();
	return 200;
}

/* --- what is asked ---------------------------------------------------------------------------- */

static unsigned begin(struct session_answer *a)
{
	struct session *s = calloc(1, sizeof(*s));
	struct moat_error err = {.number = ENOMEM, .text = "no memory"};
	unsigned char random[16];

	if (!take_place()) {
		free(s);
		return refuse(a, 503, EBUSY, "all sandboxes are in use");
	}
	if (!s || getrandom(random, sizeof(random), 0) != sizeof(random) ||
	    moat_new(&settings.sandbox, &s->m, &err)) {
		free(s);
		pthread_mutex_lock(&lock);
		nsessions--;
		pthread_mutex_unlock(&lock);
		return refuse(a, 503, err.number, err.text);
	}
	for (size_t i = 0; i < sizeof(random); i++)
		sprintf(s->id + 2 * i, "%02x", random[i]);
	s->refs = 1;
	s->asked = now();
	a->json = json_pack("{s:s}", "id", s->id);
	pthread_mutex_lock(&lock);
	TAILQ_INSERT_TAIL(&sessions, s, link);
	pthread_mutex_unlock(&lock);
	return 200;
}

static unsigned end(struct session *s, struct session_answer *a)
{
	struct session *other;

	pthread_mutex_lock(&lock);
	TAILQ_FOREACH (other, &sessions, link)
		if (other == s)
			break;
	if (other)
		take_out(other);
	pthread_mutex_unlock(&lock);
	if (other)
		session_put(other);
	return done(a);
}

void session_command_free(struct session_command *c)
{
	free(c->argv);
	free(c->envp);
	free(c->input);
}

const char *session_take_command(const json_t *j, struct session_command *out)
{
	struct moat_command *c = &out->command;

	*out = (struct session_command){.command = {.size = sizeof(*c)}};
	c->argv = out->argv = take_strings(json_object_get(j, "args"));
	if (!out->argv || !out->argv[0])
		return "args: must be a list of texts";
	if (json_object_get(j, "env")) {
		c->envp = out->envp = take_strings(json_object_get(j, "env"));
		if (!out->envp)
			return "env: must be a list of texts";
	}
	c->cwd = plain_text(json_object_get(j, "cwd"));
	if (json_object_get(j, "cwd") && !c->cwd)
		return "cwd: must be a text";
	if (json_object_get(j, "input")) {
		const char *text = plain_text(json_object_get(j, "input"));

		c->input = out->input = text ? base64_decode(text, &c->input_size) : NULL;
		if (!out->input)
			return "input: must be base64";
	}
	c->cpu_ns = number(j, "cpu", 0);
	c->wall_ns = number(j, "timeout", 0);
	c->memory = number(j, "memory", 0);
	c->processes = number(j, "processes", 0);
	c->output_limit = number(j, "output", 0);
	c->file_size = number(j, "fileSize", 0);
	c->open_files = number(j, "openFiles", 0);
	c->stack = number(j, "stack", 0);
	c->output_max = settings.output_max;
	c->keep = json_is_true(json_object_get(j, "keep"));
	return NULL;
}

json_t *session_result(const struct moat_result *r)
{
	return json_pack("{s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:b, s:b}", "status",
			 moat_status_name(r->status), "exitCode",
			 r->status == MOAT_EXITED ? json_integer(r->exit_code) : json_null(),
			 "signal", r->signal ? json_integer(r->signal) : json_null(), "userTime",
			 (json_int_t)r->user_ns, "systemTime", (json_int_t)r->kernel_ns, "wallTime",
			 (json_int_t)r->wall_ns, "memoryPeak", (json_int_t)r->memory_peak, "stdout",
			 base64_json(r->out, r->out_size), "stderr",
			 base64_json(r->err, r->err_size), "stdoutTruncated", r->out_truncated,
			 "stderrTruncated", r->err_truncated);
}

static unsigned run(struct session *s, const char *body, size_t size, struct session_answer *a)
{
	json_t *j = json_loadb(body, size, JSON_ALLOW_NUL, NULL);
	struct session_command c;
	struct moat_error err = {0};
	struct moat_result r;
	const char *wrong;
	unsigned status = 200;

	if (!j)
		return refuse(a, 400, EINVAL, "the body is no JSON");
	wrong = session_take_command(j, &c);
	if (wrong) {
		status = refuse(a, 400, EINVAL, wrong);
	} else if (moat_execve(s->m, &c.command, &r, &err)) {
		status = failed(a, &err);
	} else {
		a->json = session_result(&r);
		moat_result_free(&r);
	}
	session_command_free(&c);
	json_decref(j);
	return status;
}

static unsigned read_file(struct session *s, const char *path, struct session_answer *a)
{
	struct moat_error err = {0};
	int fd = moat_open(s->m, path, FILE_MAX, &err);
	struct stat st;

	if (fd < 0)
		return failed(a, &err);
	if (!fstat(fd, &st) && (a->bytes = malloc((size_t)st.st_size + 1)))
		a->size = (size_t)st.st_size;
	if (a->bytes && pread(fd, a->bytes, a->size, 0) != (ssize_t)a->size) {
		free(a->bytes);
		a->bytes = NULL;
	}
	close(fd);
	return a->bytes ? 200 : refuse(a, 500, ENOMEM, "no memory");
}

static int add_entry(void *arg, const struct moat_entry *e)
{
	/* A name is bytes; what is no text is not shown as something else. */
	return json_array_append_new(arg,
				     json_pack("{s:o, s:o, s:I, s:I, s:I}", "name",
					       json_string(e->name) ?: json_null(), "bytes",
					       base64_json(e->name, strlen(e->name)), "mode",
					       (json_int_t)e->mode, "size", (json_int_t)e->size,
					       "modified", (json_int_t)e->modified_ns));
}

static unsigned list(struct session *s, const char *path, struct session_answer *a)
{
	struct moat_error err = {.number = ENOMEM, .text = "no memory"};
	json_t *entries = json_array();

	if (moat_list(s->m, path, add_entry, entries, &err)) {
		json_decref(entries);
		return failed(a, &err);
	}
	a->json = entries;
	return 200;
}

static unsigned file(struct session *s, const char *method, const char *path, const char *body,
		     size_t size, struct session_answer *a)
{
	struct moat_error err = {0};
	int ret;

	if (!strcmp(method, "GET"))
		return read_file(s, path, a);
	if (!strcmp(method, "PUT"))
		ret = moat_write(s->m, path, body, size, 0644, &err);
	else if (!strcmp(method, "DELETE"))
		ret = moat_delete(s->m, path, 0, &err);
	else
		return refuse(a, 405, EINVAL, "GET, PUT or DELETE");
	return ret ? failed(a, &err) : done(a);
}

static unsigned of_session(struct session *s, const char *method, const char *what,
			   const char *path, const char *body, size_t size,
			   struct session_answer *a)
{
	struct moat_error err = {0};
	bool post = !strcmp(method, "POST");

	if (!*what)
		return strcmp(method, "DELETE") ? refuse(a, 405, EINVAL, "DELETE") : end(s, a);
	if (!strcmp(what, "/run"))
		return post ? run(s, body, size, a) : refuse(a, 405, EINVAL, "POST");
	if (!strcmp(what, "/reset")) {
		if (!post)
			return refuse(a, 405, EINVAL, "POST");
		return moat_reset(s->m, &err) ? failed(a, &err) : done(a);
	}
	if (!strcmp(what, "/file"))
		return path ? file(s, method, path, body, size, a)
			    : refuse(a, 400, EINVAL, "path: is missing");
	if (!strcmp(what, "/tree")) {
		if (!strcmp(method, "GET"))
			return list(s, path ?: "/w", a);
		if (strcmp(method, "DELETE") || !path)
			return refuse(a, 405, EINVAL, "GET, or DELETE with a path");
		return moat_delete(s->m, path, 1, &err) ? failed(a, &err) : done(a);
	}
	return refuse(a, 404, ENOENT, "no such path");
}

unsigned session_request(const char *method, const char *rest, const char *path, const char *body,
			 size_t size, struct session_answer *a)
{
	const char *what;
	struct session *s;
	unsigned status;

	if (!*rest)
		return strcmp(method, "POST") ? refuse(a, 405, EINVAL, "POST") : begin(a);
	rest++;
	what = strchrnul(rest, '/');
	s = session_get(rest, (size_t)(what - rest));
	if (!s)
		return refuse(a, 410, EPIPE, "there is no such sandbox");
	status = of_session(s, method, what, path, body, size, a);
	session_put(s);
	return status;
}
