/*
 * A command of POST /run. What a field means is as go-judge documents it: times in nanoseconds,
 * sizes in bytes; files[0] is standard input, the others collect; copyIn puts files into /w,
 * copyOut and copyOutCached fetch them.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve.h"

#define ARGS_MAX 4096
#define COMMANDS_MAX 16

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct judge_counts counts;

struct judge_counts judge_counts(void)
{
	struct judge_counts c;

	pthread_mutex_lock(&lock);
	c = counts;
	pthread_mutex_unlock(&lock);
	return c;
}

/* A command, taken apart; strings are the request's. */
struct work {
	const json_t *cmd;
	const char **argv, **envp; /* owned vectors */
	struct moat_command command;
	uint64_t output_max[3]; /* of the streams */
	const char *names[3];	/* that they have in the answer; NULL: not wanted */
	uint64_t copy_out_max;
	struct stored input; /* owned */
};

uint64_t number(const json_t *object, const char *name, uint64_t otherwise)
{
	const json_t *j = json_object_get(object, name);
	json_int_t n = json_integer_value(j);

	return n > 0 ? (uint64_t)n : otherwise;
}

const char *plain_text(const json_t *j)
{
	const char *text = json_string_value(j);

	return text && strlen(text) == json_string_length(j) ? text : NULL;
}

const char **take_strings(const json_t *array)
{
	size_t n = json_array_size(array);
	const char **v = n <= ARGS_MAX ? calloc(n + 1, sizeof(char *)) : NULL;

	for (size_t i = 0; v && i < n; i++) {
		v[i] = plain_text(json_array_get(array, i));
		if (!v[i]) {
			free(v);
			return NULL;
		}
	}
	return v;
}

/* {"content": text} or {"fileId": id}; a copy. -EINVAL: neither (src is a path of the host's). */
static int take_file(const json_t *j, struct stored *out)
{
	const json_t *content = json_object_get(j, "content");
	const char *id = plain_text(json_object_get(j, "fileId"));

	*out = (struct stored){0};
	if (id)
		return store_get(id, out);
	if (!json_is_string(content))
		return -EINVAL;
	out->size = json_string_length(content);
	out->data = malloc(out->size + 1);
	if (!out->data)
		return -ENOMEM;
	memcpy(out->data, json_string_value(content), out->size + 1);
	return 0;
}

static const char *take_streams(struct work *w)
{
	const json_t *files = json_object_get(w->cmd, "files");

	if (json_array_size(files) > 3)
		return "files: there are 0, 1 and 2";
	for (size_t i = 0; i < 3; i++) {
		const json_t *j = json_array_get(files, i);

		if (!j || json_is_null(j))
			continue;
		if (i == 0) {
			if (take_file(j, &w->input))
				return "files[0]: must have 'content', or a 'fileId' that there is";
			w->command.input = w->input.data;
			w->command.input_size = w->input.size;
			continue;
		}
		w->names[i] = plain_text(json_object_get(j, "name"));
		if (!w->names[i])
			return "files: outputs must have a 'name'";
		w->output_max[i] = number(j, "max", settings.output_max);
	}
	return NULL;
}

/* NULL, or what is wrong. */
static const char *take_command(const json_t *cmd, struct work *w)
{
	struct moat_command *c = &w->command;
	const char *error;

	*w = (struct work){.cmd = cmd, .command = {.size = sizeof(w->command)}};
	w->argv = take_strings(json_object_get(cmd, "args"));
	if (!w->argv || !w->argv[0])
		return "args: must be a list of texts";
	if (json_object_get(cmd, "env")) {
		w->envp = take_strings(json_object_get(cmd, "env"));
		if (!w->envp)
			return "env: must be a list of texts";
	}
	if (json_is_true(json_object_get(cmd, "tty")))
		return "tty: there is none";
	error = take_streams(w);
	if (error)
		return error;
	c->argv = w->argv;
	c->envp = w->envp;
	c->cpu_ns = number(cmd, "cpuLimit", settings.time_default);
	c->wall_ns = number(cmd, "clockLimit", c->cpu_ns < UINT64_MAX / 4 ? c->cpu_ns * 3 : 0);
	c->memory = number(cmd, "memoryLimit", settings.memory_default);
	c->processes = number(cmd, "procLimit", 64);
	c->stack = number(cmd, "stackLimit", 0);
	c->output_max = (size_t)(w->output_max[1] > w->output_max[2] ? w->output_max[1]
								     : w->output_max[2]) +
			1;
	/* Streams are told apart when it has ended: what both may have bounds it meanwhile. */
	c->output_limit = w->output_max[1] + w->output_max[2] + 65536;
	c->output_fd = w->names[1] ? MOAT_COLLECT : MOAT_NULL;
	c->error_fd = w->names[2] ? MOAT_COLLECT : MOAT_NULL;
	w->copy_out_max = number(cmd, "copyOutMax", settings.output_max);
	return NULL;
}

static void work_free(struct work *w)
{
	free(w->argv);
	free(w->envp);
	stored_free(&w->input);
}

/* --- files ------------------------------------------------------------------------------------ */

/* Below /w, unless it is absolute; malloc'd. */
static char *path_of(const char *name)
{
	char *path;

	return asprintf(&path, *name == '/' ? "%s" : "/w/%s", name) < 0 ? NULL : path;
}

static int copy_in(struct moat *m, const json_t *cmd, struct moat_error *err)
{
	const char *name;
	json_t *value;

	json_object_foreach(json_object_get(cmd, "copyIn"), name, value)
	{
		char *path = path_of(name);
		struct stored file;
		int ret = take_file(value, &file);

		if (ret || !path) {
			snprintf(err->text, sizeof(err->text),
				 "copyIn %s: must have 'content', or a 'fileId' that there is",
				 name);
			free(path);
			return ret ? ret : -ENOMEM;
		}
		ret = moat_write(m, path, file.data, file.size, 0755, err);
		stored_free(&file);
		free(path);
		if (ret)
			return ret;
	}
	return 0;
}

/* The whole file; malloc'd. */
static char *fetch(struct moat *m, const char *name, uint64_t max, size_t *size,
		   struct moat_error *err)
{
	char *path = path_of(name), *data = NULL;
	int fd = path ? moat_open(m, path, max, err) : -ENOMEM;
	off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;

	free(path);
	if (end >= 0)
		data = malloc((size_t)end + 1);
	if (data && pread(fd, data, (size_t)end, 0) != end) {
		free(data);
		data = NULL;
	}
	*size = end >= 0 ? (size_t)end : 0;
	if (fd >= 0)
		close(fd);
	return data;
}

static void add_file_error(json_t *result, const char *name, const char *type, const char *text)
{
	json_t *errors = json_object_get(result, "fileError");

	if (!errors) {
		errors = json_array();
		json_object_set_new(result, "fileError", errors);
	}
	json_array_append_new(
		errors, json_pack("{s:s, s:s, s:s}", "name", name, "type", type, "message", text));
}

/* JSON has text only: bytes that are none become one that stands for them, as go-judge does. */
static json_t *as_text(const char *data, size_t size)
{
	json_t *j = json_stringn(data, size);
	char *clean;

	if (j)
		return j;
	clean = malloc(size + 1);
	if (!clean)
		return json_string("");
	for (size_t i = 0; i < size; i++)
		clean[i] = (unsigned char)data[i] < 0x80 ? data[i] : '?';
	j = json_stringn(clean, size);
	free(clean);
	return j;
}

static void keep_one(struct moat *m, const struct work *w, const char *given, bool cached,
		     json_t *result)
{
	size_t n = strlen(given), size;
	bool optional = n && given[n - 1] == '?';
	char *name = strndup(given, optional ? n - 1 : n), id[33], *data;
	struct moat_error err = {.text = "no memory"};

	/* Streams are in the answer already. */
	if (!name || (w->names[1] && !strcmp(name, w->names[1])) ||
	    (w->names[2] && !strcmp(name, w->names[2]))) {
		free(name);
		return;
	}
	data = fetch(m, name, w->copy_out_max, &size, &err);
	if (!data && !(optional && err.number == ENOENT))
		add_file_error(result, name,
			       err.number == EFBIG ? "CopyOutSizeExceeded" : "CopyOutOpen",
			       err.text);
	else if (data && !cached)
		json_object_set_new(json_object_get(result, "files"), name, as_text(data, size));
	else if (data && store_put(name, data, size, id))
		add_file_error(result, name, "CopyOutCreate", "there is no room");
	else if (data)
		json_object_set_new(json_object_get(result, "fileIds"), name, json_string(id));
	free(data);
	free(name);
}

static void copy_out(struct moat *m, const struct work *w, const char *list, bool cached,
		     json_t *result)
{
	const json_t *names = json_object_get(w->cmd, list);

	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = plain_text(json_array_get(names, i));

		if (name)
			keep_one(m, w, name, cached, result);
	}
}

/* --- the program ------------------------------------------------------------------------------ */

static const char *verdict(const struct moat_result *r)
{
	switch (r->status) {
	case MOAT_EXITED:
		return r->exit_code ? "Nonzero Exit Status" : "Accepted";
	case MOAT_CPU_LIMIT:
	case MOAT_WALL_LIMIT:
		return "Time Limit Exceeded";
	case MOAT_MEMORY_LIMIT:
		return "Memory Limit Exceeded";
	case MOAT_OUTPUT_LIMIT:
		return "Output Limit Exceeded";
	default:
		return "Signalled";
	}
}

static json_t *internal_error(const char *text)
{
	return json_pack("{s:s, s:i, s:s, s:i, s:i, s:i}", "status", "Internal Error", "exitStatus",
			 0, "error", text, "time", 0, "memory", 0, "runTime", 0);
}

static json_t *describe(struct moat *m, const struct work *w, struct moat_result *r)
{
	bool too_much = (w->names[1] && r->out_size > w->output_max[1]) ||
			(w->names[2] && r->err_size > w->output_max[2]);
	json_t *result;

	if (too_much && r->status == MOAT_EXITED)
		r->status = MOAT_OUTPUT_LIMIT;
	result = json_pack("{s:s, s:i, s:I, s:I, s:I, s:{}, s:{}}", "status", verdict(r),
			   "exitStatus", r->signal ? r->signal : r->exit_code, "time",
			   (json_int_t)(r->user_ns + r->kernel_ns), "memory",
			   (json_int_t)r->memory_peak, "runTime", (json_int_t)r->wall_ns, "files",
			   "fileIds");
	for (int i = 1; i < 3; i++) {
		size_t size = i == 1 ? r->out_size : r->err_size;

		if (w->names[i])
			json_object_set_new(
				json_object_get(result, "files"), w->names[i],
				as_text(i == 1 ? r->out : r->err,
					size > w->output_max[i] ? w->output_max[i] : size));
	}
	copy_out(m, w, "copyOut", false, result);
	copy_out(m, w, "copyOutCached", true, result);
	if (json_object_get(result, "fileError") && r->status == MOAT_EXITED && !r->exit_code)
		json_object_set_new(result, "status", json_string("File Error"));
	return result;
}

static json_t *run_one(const struct work *w)
{
	struct moat_error err = {0};
	struct moat_result r;
	struct moat *m = sandbox_take(&err);
	json_t *result;
	int ret;

	if (!m)
		return internal_error(err.text);
	ret = copy_in(m, w->cmd, &err);
	if (!ret)
		ret = moat_execve(m, &w->command, &r, &err);
	if (ret) {
		result = internal_error(err.text);
	} else {
		result = describe(m, w, &r);
		moat_result_free(&r);
	}
	sandbox_give_back(m, ret == -EPIPE || ret == -EPROTO || ret == -ETIMEDOUT);
	pthread_mutex_lock(&lock);
	counts.runs++;
	counts.accepted +=
		!strcmp(json_string_value(json_object_get(result, "status")), "Accepted");
	counts.failed += ret != 0;
	pthread_mutex_unlock(&lock);
	return result;
}

json_t *judge_run(const json_t *request, const char **error)
{
	const json_t *cmds = json_object_get(request, "cmd");
	size_t n = json_array_size(cmds);
	json_t *results;

	*error = !n || n > COMMANDS_MAX ? "cmd: must be a list of 1 to 16 commands"
		 : json_array_size(json_object_get(request, "pipeMapping"))
			 ? "pipeMapping: there is none"
			 : NULL;
	if (*error)
		return NULL;
	results = json_array();
	for (size_t i = 0; i < n; i++) {
		struct work w;

		*error = take_command(json_array_get(cmds, i), &w);
		if (!*error)
			json_array_append_new(results, run_one(&w));
		work_free(&w);
		if (*error) {
			json_decref(results);
			return NULL;
		}
	}
	return results;
}
