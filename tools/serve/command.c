/*
 * A command of a request. What a field means is as go-judge documents it: times in nanoseconds,
 * sizes in bytes; files[N] is what the program has as descriptor N.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "judge_internal.h"

#define ARGS_MAX 4096

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

int take_file(const json_t *j, struct stored *out)
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

/* NULL, or what is wrong. */
static const char *take_one(const json_t *j, size_t number_of, bool stream, struct cmd_file *f)
{
	if (!j || json_is_null(j))
		return NULL;
	if (json_is_true(json_object_get(j, "streamIn")) ||
	    json_is_true(json_object_get(j, "streamOut"))) {
		f->kind = FILE_STREAM;
		if (!stream)
			return "files: only /stream has streams";
		return number_of < 3 && !json_object_get(j, "streamOut") == !number_of
			       ? NULL
			       : "files: 0 can be streamed in, 1 and 2 out";
	}
	if (json_object_get(j, "name")) {
		f->kind = FILE_COLLECT;
		f->name = plain_text(json_object_get(j, "name"));
		f->max = number(j, "max", settings.output_max);
		return f->name && number_of ? NULL : "files: outputs must have a 'name'";
	}
	f->kind = FILE_INPUT;
	if (number_of == 1 || number_of == 2)
		return "files: outputs must have a 'name'";
	return take_file(j, &f->data) ? "files: must have 'content', or a 'fileId' that there is"
				      : NULL;
}

static const char *take_streams(struct work *w, bool stream)
{
	const json_t *files = json_object_get(w->cmd, "files");
	const char *error = NULL;

	if (files && !json_is_array(files))
		return "files: must be a list";
	if (json_array_size(files) > FILES_MAX)
		return "files: too many";
	w->nfiles = json_array_size(files);
	for (size_t i = 0; i < w->nfiles && !error; i++)
		error = take_one(json_array_get(files, i), i, stream, &w->files[i]);
	/* One for all three. */
	if (!error && w->tty && (w->files[2].kind != FILE_NULL || w->nfiles > 3))
		error = "tty: there are files 0 and 1";
	return error;
}

static void take_limits(struct work *w)
{
	struct moat_command *c = &w->command;
	const json_t *cmd = w->cmd;

	c->cpu_ns = number(cmd, "cpuLimit", settings.time_default);
	c->wall_ns = number(cmd, "clockLimit", c->cpu_ns < UINT64_MAX / 4 ? c->cpu_ns * 3 : 0);
	c->memory = number(cmd, "memoryLimit", settings.memory_default);
	c->processes = number(cmd, "procLimit", 64);
	c->stack = number(cmd, "stackLimit", 0);
	for (int i = 1; i < 3; i++)
		if (w->files[i].max >= c->output_max)
			c->output_max = (size_t)w->files[i].max + 1;
	/* Streams are told apart when it has ended: what both may have bounds it meanwhile. */
	c->output_limit = w->files[1].max + w->files[2].max + 65536;
	w->copy_out_max = number(cmd, "copyOutMax", settings.output_max);
}

const char *take_command(const json_t *cmd, bool stream, struct work *w)
{
	const char *error;

	*w = (struct work){.cmd = cmd, .command = {.size = sizeof(w->command)}};
	for (size_t i = 0; i < FILES_MAX; i++)
		w->files[i].fd = -1;
	w->argv = take_strings(json_object_get(cmd, "args"));
	if (!w->argv || !w->argv[0])
		return "args: must be a list of texts";
	if (json_object_get(cmd, "env")) {
		w->envp = take_strings(json_object_get(cmd, "env"));
		if (!w->envp)
			return "env: must be a list of texts";
	}
	w->tty = json_is_true(json_object_get(cmd, "tty"));
	error = take_streams(w, stream);
	if (error)
		return error;
	w->command.argv = w->argv;
	w->command.envp = w->envp;
	take_limits(w);
	return NULL;
}

void work_free(struct work *w)
{
	work_close(w);
	for (size_t i = 0; i < FILES_MAX; i++) {
		char *data = NULL;
		size_t size;
		bool over;

		if (w->files[i].mover)
			mover_end(w->files[i].mover, &data, &size, &over);
		free(data);
		stored_free(&w->files[i].data);
	}
	free(w->argv);
	free(w->envp);
}

/* --- descriptors ------------------------------------------------------------------------------ */

/* A file that can be read and not written; above 2, or -errno. */
static int file_with(const struct stored *s)
{
	int fd = memfd_create("file", MFD_CLOEXEC), reader;
	size_t done = 0;
	char path[32];

	while (fd >= 0 && done < s->size) {
		ssize_t n = write(fd, s->data + done, s->size - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (fd < 0 || done < s->size) {
		if (fd >= 0)
			close(fd);
		return -ENOMEM;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	reader = open(path, O_RDONLY | O_CLOEXEC);
	close(fd);
	return reader < 0 ? -errno : reader;
}

/* A descriptor from 3 on. */
static int open_extra(struct cmd_file *f)
{
	int reader, ret;

	switch (f->kind) {
	case FILE_INPUT:
		f->fd = file_with(&f->data);
		return f->fd < 0 ? f->fd : 0;
	case FILE_COLLECT:
		ret = make_pipe(&reader, &f->fd);
		if (ret)
			return ret;
		f->mover = mover_start(reader, -1, f->max);
		return f->mover ? 0 : -ENOMEM;
	case FILE_PIPE:
		return 0;
	default:
		f->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		return f->fd < 0 ? -errno : 0;
	}
}

static int output_of(const struct cmd_file *f)
{
	return f->fd > 2 ? f->fd : f->kind == FILE_COLLECT ? MOAT_COLLECT : MOAT_NULL;
}

int work_open(struct work *w)
{
	struct moat_command *c = &w->command;
	int ret = 0;

	if (w->files[0].kind == FILE_INPUT) {
		c->input = w->files[0].data.data;
		c->input_size = w->files[0].data.size;
	}
	c->terminal = w->tty;
	if (!w->tty) {
		c->input_fd = w->files[0].fd > 2 ? w->files[0].fd : 0;
		c->output_fd = output_of(&w->files[1]);
		c->error_fd = output_of(&w->files[2]);
	}
	for (size_t i = 3; i < w->nfiles && !ret; i++) {
		ret = open_extra(&w->files[i]);
		w->extra[c->nextra_fds++] = w->files[i].fd;
	}
	c->extra_fds = w->extra;
	return ret;
}

void work_close(struct work *w)
{
	for (size_t i = 0; i < FILES_MAX; i++) {
		if (w->files[i].fd > 2)
			close(w->files[i].fd);
		w->files[i].fd = -1;
	}
}
