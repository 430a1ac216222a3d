/* POST /run: files in, the programs, files out; copyIn puts files into /w, copyOut and
 * copyOutCached fetch them. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "judge_internal.h"

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

static bool is_output(const struct work *w, const char *name)
{
	for (size_t i = 0; i < w->nfiles; i++)
		if (w->files[i].kind == FILE_COLLECT && !strcmp(w->files[i].name, name))
			return true;
	return false;
}

static void keep_one(struct moat *m, const struct work *w, const char *given, bool cached,
		     json_t *result)
{
	size_t n = strlen(given), size;
	bool optional = n && given[n - 1] == '?';
	char *name = strndup(given, optional ? n - 1 : n), id[33], *data;
	struct moat_error err = {.text = "no memory"};

	/* Streams are in the answer already. */
	if (!name || is_output(w, name)) {
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

json_t *internal_error(const char *text)
{
	return json_pack("{s:s, s:i, s:s, s:i, s:i, s:i}", "status", "Internal Error", "exitStatus",
			 0, "error", text, "time", 0, "memory", 0, "runTime", 0);
}

/* What was collected of a descriptor, into the answer; true: it was too much. */
static bool add_output(json_t *result, struct cmd_file *f, const char *data, size_t size)
{
	char *moved = NULL;
	bool over = false;

	if (f->kind != FILE_COLLECT)
		return false;
	if (f->mover) {
		mover_end(f->mover, &moved, &size, &over);
		f->mover = NULL;
		data = moved;
	}
	over = over || size > f->max;
	json_object_set_new(json_object_get(result, "files"), f->name,
			    as_text(data ? data : "", size > f->max ? f->max : size));
	free(moved);
	return over;
}

static json_t *describe(struct moat *m, struct work *w, struct moat_result *r)
{
	bool too_much = false;
	json_t *result = json_pack("{s:s, s:i, s:I, s:I, s:I, s:{}, s:{}}", "status", "",
				   "exitStatus", r->signal ? r->signal : r->exit_code, "time",
				   (json_int_t)(r->user_ns + r->kernel_ns), "memory",
				   (json_int_t)r->memory_peak, "runTime", (json_int_t)r->wall_ns,
				   "files", "fileIds");

	for (size_t i = 1; i < w->nfiles; i++) {
		const char *data = i == 1 ? r->out : r->err;
		size_t size = i == 1 ? r->out_size : r->err_size;

		if (add_output(result, &w->files[i], data, size))
			too_much = true;
	}
	if (too_much && r->status == MOAT_EXITED)
		r->status = MOAT_OUTPUT_LIMIT;
	json_object_set_new(result, "status", json_string(verdict(r)));
	copy_out(m, w, "copyOut", false, result);
	copy_out(m, w, "copyOutCached", true, result);
	if (json_object_get(result, "fileError") && r->status == MOAT_EXITED && !r->exit_code)
		json_object_set_new(result, "status", json_string("File Error"));
	return result;
}

json_t *judge_prepare(struct moat *m, const struct work *w)
{
	struct moat_error err = {0};

	return copy_in(m, w->cmd, &err) ? internal_error(err.text) : NULL;
}

json_t *judge_finish(struct moat *m, struct work *w, int ret, struct moat_result *r,
		     const struct moat_error *err)
{
	json_t *result = ret ? internal_error(err->text) : describe(m, w, r);

	if (!ret)
		moat_result_free(r);
	pthread_mutex_lock(&lock);
	counts.runs++;
	counts.accepted +=
		!strcmp(json_string_value(json_object_get(result, "status")), "Accepted");
	counts.failed += ret != 0;
	pthread_mutex_unlock(&lock);
	return result;
}

/* --- several at once -------------------------------------------------------------------------- */

/* One of a group of commands that run at the same time, each in a sandbox of its own. */
struct member {
	struct work *w;
	struct moat *m;
	struct moat_run *run; /* NULL: it was not started */
	struct moat_error err;
	struct moat_result r;
	int ret;
	pthread_t thread;
	bool waiting; /* the thread is to be joined */
};

static void *wait_main(void *arg)
{
	struct member *g = arg;

	g->ret = moat_wait(g->run, &g->r, &g->err);
	return NULL;
}

/* Its files and its program. */
static void member_start(struct member *g, json_t **answer)
{
	*answer = judge_prepare(g->m, g->w);
	g->ret = *answer ? -EINVAL : work_open(g->w);
	if (!*answer && g->ret)
		snprintf(g->err.text, sizeof(g->err.text), "files: %s", strerror(-g->ret));
	else if (!*answer)
		g->ret = moat_start(g->m, &g->w->command, &g->run, &g->err);
	/* Who reads is to see the end when who writes has ended. */
	work_close(g->w);
}

static void run_members(struct member *g, size_t n, json_t **answers)
{
	for (size_t i = 0; i < n; i++)
		member_start(&g[i], &answers[i]);
	for (size_t i = 0; i < n; i++) {
		if (!g[i].run)
			continue;
		g[i].waiting = n > 1 && !pthread_create(&g[i].thread, NULL, wait_main, &g[i]);
		if (!g[i].waiting)
			wait_main(&g[i]);
	}
	for (size_t i = 0; i < n; i++)
		if (g[i].waiting)
			pthread_join(g[i].thread, NULL);
	for (size_t i = 0; i < n; i++)
		if (!answers[i])
			answers[i] = judge_finish(g[i].m, g[i].w, g[i].ret, &g[i].r, &g[i].err);
}

/* Commands at the same time; answers[] are filled. */
static void run_group(struct work *works, size_t n, json_t **answers)
{
	struct member group[COMMANDS_MAX] = {0};
	struct moat *sandboxes[COMMANDS_MAX];
	struct moat_error err = {0};

	if (sandboxes_take(sandboxes, (unsigned)n, &err)) {
		for (size_t i = 0; i < n; i++)
			answers[i] = internal_error(err.text);
		return;
	}
	for (size_t i = 0; i < n; i++)
		group[i] = (struct member){.w = &works[i], .m = sandboxes[i]};
	run_members(group, n, answers);
	for (size_t i = 0; i < n; i++) {
		int ret = group[i].ret;

		moat_run_free(group[i].run);
		sandbox_give_back(sandboxes[i],
				  ret == -EPIPE || ret == -EPROTO || ret == -ETIMEDOUT);
	}
}

static void end_proxies(struct proxy *proxies, size_t n, json_t **answers)
{
	for (size_t i = 0; proxies && i < n; i++) {
		struct proxy *p = &proxies[i];
		char *data;
		size_t size;
		bool over;

		if (!p->mover)
			continue;
		mover_end(p->mover, &data, &size, &over);
		if (p->name && answers && json_object_get(answers[p->index], "files"))
			json_object_set_new(json_object_get(answers[p->index], "files"), p->name,
					    as_text(data ? data : "", size));
		free(data);
	}
	free(proxies);
}

static const char *run_all(const json_t *request, struct work *works, size_t n, json_t **answers)
{
	const json_t *mapping = json_object_get(request, "pipeMapping");
	struct proxy *proxies = NULL;
	const char *error = NULL;

	if (json_array_size(mapping)) {
		if (n > settings.parallel)
			return "pipeMapping: there are fewer sandboxes than commands";
		error = map_pipes(mapping, works, n, &proxies);
		if (!error)
			run_group(works, n, answers);
		end_proxies(proxies, json_array_size(mapping), error ? NULL : answers);
	} else {
		for (size_t i = 0; i < n; i++)
			run_group(&works[i], 1, &answers[i]);
	}
	return error;
}

json_t *judge_run(const json_t *request, const char **error)
{
	const json_t *cmds = json_object_get(request, "cmd");
	json_t *answers[COMMANDS_MAX] = {0}, *results;
	size_t n = json_array_size(cmds), taken = 0;
	struct work *works;

	*error = !n || n > COMMANDS_MAX ? "cmd: must be a list of 1 to 16 commands" : NULL;
	works = *error ? NULL : calloc(n, sizeof(*works));
	if (!works)
		return NULL;
	while (taken < n && !*error) {
		*error = take_command(json_array_get(cmds, taken), false, &works[taken]);
		taken++;
	}
	if (!*error)
		*error = run_all(request, works, n, answers);
	for (size_t i = 0; i < taken; i++)
		work_free(&works[i]);
	free(works);
	if (*error)
		return NULL;
	results = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(results, answers[i]);
	return results;
}
