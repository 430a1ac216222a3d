/* Pipes between commands, and threads that move what comes through them. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "judge_internal.h"

struct mover {
	pthread_t thread;
	int in, out; /* owned; out: -1: none, or nobody reads any more */
	int stop;    /* an eventfd: nobody will write any more */
	char *data;
	size_t size, room;
	uint64_t max;
	bool over;
};

int make_pipe(int *reader, int *writer)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC))
		return -errno;
	/* 0 to 2 mean other things to libmoat. */
	*reader = fcntl(p[0], F_DUPFD_CLOEXEC, 3);
	*writer = fcntl(p[1], F_DUPFD_CLOEXEC, 3);
	close(p[0]);
	close(p[1]);
	return *reader < 0 || *writer < 0 ? -EMFILE : 0;
}

static void keep(struct mover *m, const char *data, size_t size)
{
	if (m->size + size > m->max) {
		m->over = true;
		size = m->max - m->size;
	}
	if (m->size + size > m->room) {
		size_t room = (m->size + size) * 2;
		char *grown = realloc(m->data, room);

		if (!grown) {
			m->over = true;
			return;
		}
		m->data = grown;
		m->room = room;
	}
	if (size)
		memcpy(m->data + m->size, data, size);
	m->size += size;
}

/* Until all is written, nobody reads, or it is over. */
static void pass_on(struct mover *m, const char *data, size_t size)
{
	while (size && m->out >= 0) {
		struct pollfd p[] = {{.fd = m->out, .events = POLLOUT},
				     {.fd = m->stop, .events = POLLIN}};
		ssize_t n;

		poll(p, 2, -1);
		n = write(m->out, data, size);
		if (n > 0) {
			data += n;
			size -= (size_t)n;
		} else if ((errno != EAGAIN && errno != EINTR) || p[1].revents) {
			close(m->out);
			m->out = -1;
		}
	}
}

static void *mover_main(void *arg)
{
	struct mover *m = arg;
	char buf[65536];

	for (;;) {
		struct pollfd p[] = {{.fd = m->in, .events = POLLIN},
				     {.fd = m->stop, .events = POLLIN}};
		ssize_t n;

		poll(p, 2, -1);
		n = read(m->in, buf, sizeof(buf));
		if (n > 0) {
			keep(m, buf, (size_t)n);
			pass_on(m, buf, (size_t)n);
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR) || p[1].revents) {
			break;
		}
	}
	/* Its reader is to see the end now, its writer that nobody reads. */
	if (m->out >= 0)
		close(m->out);
	close(m->in);
	return NULL;
}

struct mover *mover_start(int in, int out, uint64_t max)
{
	struct mover *m = calloc(1, sizeof(*m));

	if (m) {
		*m = (struct mover){.in = in, .out = out, .max = max};
		m->stop = eventfd(0, EFD_CLOEXEC);
		fcntl(in, F_SETFL, fcntl(in, F_GETFL) | O_NONBLOCK);
		if (out >= 0)
			fcntl(out, F_SETFL, fcntl(out, F_GETFL) | O_NONBLOCK);
		if (m->stop >= 0 && !pthread_create(&m->thread, NULL, mover_main, m))
			return m;
		if (m->stop >= 0)
			close(m->stop);
	}
	close(in);
	if (out >= 0)
		close(out);
	free(m);
	return NULL;
}

void mover_end(struct mover *m, char **data, size_t *size, bool *over)
{
	eventfd_write(m->stop, 1);
	pthread_join(m->thread, NULL);
	close(m->stop);
	*data = m->data;
	*size = m->size;
	*over = m->over;
	free(m);
}

/* --- mappings --------------------------------------------------------------------------------- */

/* {"index": command, "fd": descriptor}, which nothing else is said of. */
static struct cmd_file *end_of(const json_t *j, struct work *works, size_t n, unsigned *index)
{
	json_int_t i = json_integer_value(json_object_get(j, "index"));
	json_int_t fd = json_integer_value(json_object_get(j, "fd"));
	struct work *w;

	if (!json_is_object(j) || i < 0 || i >= (json_int_t)n || fd < 0 || fd >= FILES_MAX)
		return NULL;
	w = &works[i];
	if (w->files[fd].kind != FILE_NULL || w->tty)
		return NULL;
	if (w->nfiles <= (size_t)fd)
		w->nfiles = (size_t)fd + 1;
	w->files[fd].kind = FILE_PIPE;
	*index = (unsigned)i;
	return &w->files[fd];
}

static const char *map_one(const json_t *j, struct work *works, size_t n, struct proxy *proxy)
{
	unsigned from, to;
	struct cmd_file *in = end_of(json_object_get(j, "in"), works, n, &from);
	struct cmd_file *out = in ? end_of(json_object_get(j, "out"), works, n, &to) : NULL;
	int reader, writer;

	if (!out)
		return "pipeMapping: 'in' and 'out' must have 'index' and 'fd', of files that are "
		       "null";
	if (make_pipe(&out->fd, &in->fd))
		return "pipeMapping: too many";
	if (!json_is_true(json_object_get(j, "proxy")))
		return NULL;
	/* Two pipes, with us in the middle. */
	reader = out->fd;
	out->fd = -1;
	if (make_pipe(&out->fd, &writer)) {
		close(reader);
		return "pipeMapping: too many";
	}
	proxy->name = plain_text(json_object_get(j, "name"));
	proxy->index = from;
	proxy->mover = mover_start(reader, writer,
				   proxy->name ? number(j, "max", settings.output_max) : 0);
	return proxy->mover ? NULL : "pipeMapping: too many";
}

const char *map_pipes(const json_t *mapping, struct work *works, size_t n, struct proxy **proxies)
{
	size_t count = json_array_size(mapping);
	const char *error = NULL;

	*proxies = NULL;
	if (count > COMMANDS_MAX * 2)
		return "pipeMapping: too many";
	*proxies = calloc(count + 1, sizeof(struct proxy));
	if (!*proxies)
		return "no memory";
	for (size_t i = 0; i < count && !error; i++)
		error = map_one(json_array_get(mapping, i), works, n, &(*proxies)[i]);
	return error;
}
