/* The tools of `moat mcp`: programs and files in one sandbox. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/compiler.h"
#include "tools/moat/mcp.h"
#include "tools/moat/result_json.h"

#define READ_MAX (1u << 20)

/* What a tool has found: text for the model, the same as data, and whether it is an error. */
struct answer {
	char *text; /* owned */
	size_t size;
	json_t *data; /* owned; NULL: none */
	bool error;
};

static void say(struct answer *a, bool error, const char *fmt, ...) __printf(3, 4);
static void say(struct answer *a, bool error, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&a->text, fmt, ap);
	va_end(ap);
	if (n < 0)
		a->text = NULL;
	a->size = n < 0 ? 0 : (size_t)n;
	a->error = error;
}

/* --- the sandbox ------------------------------------------------------------------------------ */

static int sandbox_get(struct mcp_session *s, struct moat **out, struct moat_error *err)
{
	int ret = 0;

	pthread_mutex_lock(&s->lock);
	if (s->broken && !s->users) {
		moat_destroy(s->sandbox);
		s->sandbox = NULL;
		s->broken = false;
	}
	if (s->broken) {
		ret = err->number = EAGAIN;
		snprintf(err->text, sizeof(err->text), "the sandbox has ended; call again");
	} else if (!s->sandbox) {
		ret = moat_new(&s->config, &s->sandbox, err);
	}
	if (!ret)
		s->users++;
	*out = s->sandbox;
	pthread_mutex_unlock(&s->lock);
	return ret;
}

/* ret: what the call came to; a sandbox that is gone is not used again. */
static void sandbox_put(struct mcp_session *s, int ret)
{
	pthread_mutex_lock(&s->lock);
	s->users--;
	if (ret == -EPIPE || ret == -EPROTO || ret == -ETIMEDOUT)
		s->broken = true;
	pthread_mutex_unlock(&s->lock);
}

void mcp_session_end(struct mcp_session *s)
{
	moat_destroy(s->sandbox);
	s->sandbox = NULL;
}

/* --- arguments -------------------------------------------------------------------------------- */

/* A text without zeros; NULL with an answer if it is not there. */
static const char *text_argument(const json_t *arguments, const char *name, struct answer *a)
{
	const json_t *j = json_object_get(arguments, name);
	const char *text = json_string_value(j);

	if (!text)
		say(a, true, "the argument '%s' is missing, or no text", name);
	else if (strlen(text) != json_string_length(j))
		say(a, true, "the argument '%s' has a zero in it", name);
	else
		return text;
	return NULL;
}

/* Relative ones are below /w; malloc'd. */
static char *path_argument(const json_t *arguments, const char *fallback, struct answer *a)
{
	const char *text = json_object_get(arguments, "path") || !fallback
				   ? text_argument(arguments, "path", a)
				   : fallback;
	char *path = NULL;

	if (text && asprintf(&path, *text == '/' ? "%s" : "/w/%s", text) < 0)
		path = NULL;
	return path;
}

static uint64_t timeout_argument(const struct mcp_session *s, const json_t *arguments)
{
	double seconds = json_number_value(json_object_get(arguments, "timeout"));

	/* The session's limit is no matter of the model's. */
	if (!(seconds > 0) || seconds * 1e9 >= (double)s->timeout_ns)
		return s->timeout_ns;
	return (uint64_t)(seconds * 1e9);
}

/* --- programs --------------------------------------------------------------------------------- */

static void describe_run(struct answer *a, const struct moat_result *r)
{
	char end[128];

	if (r->status == MOAT_SIGNALLED)
		snprintf(end, sizeof(end), "[ended by signal %d: %s]\n", r->signal,
			 strsignal(r->signal));
	else if (r->status != MOAT_EXITED)
		snprintf(end, sizeof(end), "[ended: %s]\n", moat_status_name(r->status));
	else if (r->exit_code)
		snprintf(end, sizeof(end), "[exit code %d]\n", r->exit_code);
	else
		*end = 0;
	/* Output may have zeros in it. */
	a->text = malloc(r->out_size + r->err_size + 256);
	if (!a->text)
		return;
	memcpy(a->text, r->out, r->out_size);
	a->size = r->out_size;
	if (r->out_truncated)
		a->size += (size_t)sprintf(a->text + a->size, "\n[output was cut here]\n");
	if (r->err_size)
		a->size += (size_t)sprintf(a->text + a->size, "%s[stderr]\n",
					   a->size && a->text[a->size - 1] != '\n' ? "\n" : "");
	memcpy(a->text + a->size, r->err, r->err_size);
	a->size += r->err_size;
	if (r->err_truncated)
		a->size += (size_t)sprintf(a->text + a->size, "\n[output was cut here]\n");
	if (*end && a->size && a->text[a->size - 1] != '\n')
		a->text[a->size++] = '\n';
	memcpy(a->text + a->size, end, strlen(end) + 1);
	a->size += strlen(end);
	a->error = r->status != MOAT_EXITED || r->exit_code;
	a->data = result_to_json(r);
}

/* Starts it where it can be cancelled from. */
static int run(struct mcp_call *call, struct moat *m, const struct moat_command *c,
	       struct moat_result *r, struct moat_error *err)
{
	struct moat_run *one;
	int ret = moat_start(m, c, &one, err);

	if (ret)
		return ret;
	pthread_mutex_lock(&call->lock);
	call->run = one;
	if (call->cancelled)
		moat_cancel(one);
	pthread_mutex_unlock(&call->lock);
	ret = moat_wait(one, r, err);
	pthread_mutex_lock(&call->lock);
	call->run = NULL;
	pthread_mutex_unlock(&call->lock);
	moat_run_free(one);
	return ret;
}

static void run_program(struct mcp_session *s, struct mcp_call *call, const json_t *arguments,
			const char *const *argv, struct answer *a)
{
	const char *input = json_string_value(json_object_get(arguments, "stdin"));
	struct moat_command c = {
		.size = sizeof(c),
		.argv = argv,
		.input = input,
		.input_size = input ? json_string_length(json_object_get(arguments, "stdin")) : 0,
		.wall_ns = timeout_argument(s, arguments),
		.memory = s->memory,
		.processes = 512,
		.output_max = s->output_max,
		.output_limit = s->output_max * 64,
	};
	struct moat_error err = {0};
	struct moat_result r;
	struct moat *m;
	int ret = sandbox_get(s, &m, &err);

	if (ret) {
		say(a, true, "%s", err.text);
		return;
	}
	ret = run(call, m, &c, &r, &err);
	sandbox_put(s, ret);
	if (ret) {
		say(a, true, "%s", err.text);
		return;
	}
	describe_run(a, &r);
	moat_result_free(&r);
}

static void tool_run_python(struct mcp_session *s, struct mcp_call *call, const json_t *arguments,
			    struct answer *a)
{
	const char *code = text_argument(arguments, "code", a);
	const char *const argv[] = {"python3", "-c", code, NULL};

	if (code)
		run_program(s, call, arguments, argv, a);
}

static void tool_run_shell(struct mcp_session *s, struct mcp_call *call, const json_t *arguments,
			   struct answer *a)
{
	const char *command = text_argument(arguments, "command", a);
	const char *const argv[] = {"/bin/sh", "-c", command, NULL};

	if (command)
		run_program(s, call, arguments, argv, a);
}

/* --- files ------------------------------------------------------------------------------------ */

static void read_all(int fd, struct answer *a)
{
	size_t room = READ_MAX;
	ssize_t n = 0;

	a->text = malloc(room + 1);
	while (a->text && a->size < room && (n = read(fd, a->text + a->size, room - a->size)) > 0)
		a->size += (size_t)n;
	if (a->text)
		a->text[a->size] = 0;
}

static void tool_read_file(struct mcp_session *s, struct mcp_call *call, const json_t *arguments,
			   struct answer *a)
{
	char *__free path = path_argument(arguments, NULL, a);
	struct moat_error err = {0};
	struct moat *m;
	int __close_fd fd = -1;

	if (!path)
		return;
	if (sandbox_get(s, &m, &err)) {
		say(a, true, "%s", err.text);
		return;
	}
	fd = moat_open(m, path, READ_MAX, &err);
	sandbox_put(s, fd);
	if (fd < 0)
		say(a, true, "%s", err.text);
	else
		read_all(fd, a);
}

static void tool_write_file(struct mcp_session *s, struct mcp_call *call, const json_t *arguments,
			    struct answer *a)
{
	char *__free path = path_argument(arguments, NULL, a);
	const json_t *content = json_object_get(arguments, "content");
	struct moat_error err = {0};
	struct moat *m;
	int ret;

	if (!path)
		return;
	if (!json_is_string(content)) {
		say(a, true, "the argument 'content' is missing, or no text");
		return;
	}
	ret = sandbox_get(s, &m, &err);
	if (!ret) {
		ret = moat_write(m, path, json_string_value(content), json_string_length(content),
				 0644, &err);
		sandbox_put(s, ret);
	}
	if (ret)
		say(a, true, "%s", err.text);
	else
		say(a, false, "%zu bytes written to %s", json_string_length(content), path);
}

struct listing {
	FILE *text;
	json_t *entries;
};

static int list_entry(void *arg, const struct moat_entry *e)
{
	struct listing *l = arg;
	const char *kind = S_ISDIR(e->mode)   ? "directory"
			   : S_ISREG(e->mode) ? "file"
			   : S_ISLNK(e->mode) ? "link"
					      : "other";
	json_t *name = text_to_json(e->name, strlen(e->name));

	fprintf(l->text, "%s%s\t%llu\n", name ? json_string_value(name) : "?",
		S_ISDIR(e->mode) ? "/" : "", (unsigned long long)e->size);
	json_array_append_new(l->entries, json_pack("{s:o, s:s, s:I}", "name", name, "type", kind,
						    "size", (json_int_t)e->size));
	return 0;
}

static void tool_list_files(struct mcp_session *s, struct mcp_call *call, const json_t *arguments,
			    struct answer *a)
{
	char *__free path = path_argument(arguments, "/w", a);
	struct listing l = {.entries = json_array()};
	struct moat_error err = {0};
	struct moat *m;
	int ret;

	l.text = path ? open_memstream(&a->text, &a->size) : NULL;
	if (!l.text || !l.entries) {
		json_decref(l.entries);
		return;
	}
	ret = sandbox_get(s, &m, &err);
	if (!ret) {
		ret = moat_list(m, path, list_entry, &l, &err);
		sandbox_put(s, ret);
	}
	fclose(l.text);
	if (ret) {
		free(a->text);
		say(a, true, "%s", err.text);
		json_decref(l.entries);
		return;
	}
	a->data = json_pack("{s:o}", "entries", l.entries);
}

static void tool_reset(struct mcp_session *s, struct mcp_call *call, const json_t *arguments,
		       struct answer *a)
{
	struct moat_error err = {0};
	struct moat *m;
	int ret = sandbox_get(s, &m, &err);

	if (!ret) {
		ret = moat_reset(m, &err);
		sandbox_put(s, ret);
	}
	if (ret)
		say(a, true, "%s", err.text);
	else
		say(a, false, "all programs have ended; /w and /tmp are empty");
}

/* --- the list --------------------------------------------------------------------------------- */

#define TIMEOUT_PROPERTY                                                                           \
	"\"timeout\":{\"type\":\"number\",\"exclusiveMinimum\":0,"                                 \
	"\"description\":\"Seconds after which it is ended\"},"                                    \
	"\"stdin\":{\"type\":\"string\",\"description\":\"Its standard input\"}"
#define PATH_PROPERTY                                                                              \
	"\"path\":{\"type\":\"string\",\"description\":\"Absolute, or relative to /w\"}"
#define SCHEMA(properties, required)                                                               \
	"{\"type\":\"object\",\"properties\":{" properties "},\"required\":[" required "]}"

static const struct {
	const char *name, *description, *schema;
	void (*run)(struct mcp_session *s, struct mcp_call *call, const json_t *arguments,
		    struct answer *a);
	bool read_only;
} tools[] = {
	{"run_python",
	 "Runs Python code in the sandbox, as a script of its own, with /w as its directory. What "
	 "it "
	 "prints is the result; files that it writes to /w stay for later calls. There is no "
	 "network.",
	 SCHEMA("\"code\":{\"type\":\"string\",\"description\":\"Python 3 "
		"source\"}," TIMEOUT_PROPERTY,
		"\"code\""),
	 tool_run_python, false},
	{"run_shell",
	 "Runs a command line with sh in the sandbox, with /w as its directory. There is no "
	 "network.",
	 SCHEMA("\"command\":{\"type\":\"string\",\"description\":\"A command line for sh "
		"-c\"}," TIMEOUT_PROPERTY,
		"\"command\""),
	 tool_run_shell, false},
	{"read_file", "Reads a file of the sandbox (at most 1 MiB of text).",
	 SCHEMA(PATH_PROPERTY, "\"path\""), tool_read_file, true},
	{"write_file", "Writes a file in the sandbox; missing directories are made.",
	 SCHEMA(PATH_PROPERTY ",\"content\":{\"type\":\"string\"}", "\"path\",\"content\""),
	 tool_write_file, false},
	{"list_files", "Lists a directory of the sandbox (default /w), with sizes.",
	 SCHEMA(PATH_PROPERTY, ""), tool_list_files, true},
	{"reset", "Ends all programs in the sandbox and empties /w and /tmp.", SCHEMA("", ""),
	 tool_reset, false},
};

json_t *mcp_list_tools(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(tools); i++)
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:o, s:{s:b, s:b}}", "name", tools[i].name,
					"description", tools[i].description, "inputSchema",
					json_loads(tools[i].schema, 0, NULL), "annotations",
					"readOnlyHint", tools[i].read_only, "openWorldHint", 0));
	return json_pack("{s:o}", "tools", list);
}

json_t *mcp_call_tool(struct mcp_session *s, struct mcp_call *call, const char *name,
		      const json_t *arguments)
{
	struct answer a = {0};
	json_t *result;
	size_t i = 0;

	while (i < ARRAY_SIZE(tools) && strcmp(tools[i].name, name))
		i++;
	if (i == ARRAY_SIZE(tools))
		return NULL;
	tools[i].run(s, call, arguments, &a);
	if (!a.text)
		say(&a, true, "no memory");
	result = json_pack("{s:[{s:s, s:o}], s:b}", "content", "type", "text", "text",
			   text_to_json(a.text ? a.text : "", a.size), "isError", a.error);
	if (a.data && s->structured)
		json_object_set(result, "structuredContent", a.data);
	json_decref(a.data);
	free(a.text);
	return result;
}
