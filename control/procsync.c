#include "control/procsync.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/compiler.h"

static const char *const type_names[] = {
	[PROCSYNC_PID] = "execPid",	  [PROCSYNC_PID_DONE] = "execPidDone",
	[PROCSYNC_STATUS] = "execStatus", [PROCSYNC_STATUS_DONE] = "execStatusDone",
	[PROCSYNC_ERROR] = "error",
};

/* --- ends ------------------------------------------------------------------------------------- */

void procsync_init(struct procsync *p, const char *name, int fd)
{
	memset(p, 0, sizeof(*p));
	p->fd = fd;
	snprintf(p->name, sizeof(p->name), "%s", name);
}

int procsync_pair(const char *name, struct procsync *parent, struct procsync *child)
{
	char text[sizeof(parent->name)];
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return -errno;
	snprintf(text, sizeof(text), "%.28s-p", name);
	procsync_init(parent, text, fds[0]);
	snprintf(text, sizeof(text), "%.28s-c", name);
	procsync_init(child, text, fds[1]);
	return 0;
}

int procsync_from_env(struct procsync *p)
{
	const char *value = getenv(PROCSYNC_ENV);
	struct stat st;
	char *end;
	long fd;

	procsync_init(p, "procsync", -1);
	if (!value)
		return -ENOENT;
	errno = 0;
	fd = strtol(value, &end, 10);
	if (errno || !isdigit((unsigned char)*value) || *end || fd < 3 || fd > INT_MAX ||
	    fstat((int)fd, &st) || !S_ISSOCK(st.st_mode) || fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0)
		return -EBADF;
	unsetenv(PROCSYNC_ENV);
	p->fd = (int)fd;
	return 0;
}

void procsync_close(struct procsync *p)
{
	close_fd_ptr(&p->fd);
	free(p->buf);
	p->buf = NULL;
	p->len = 0;
}

/* --- messages --------------------------------------------------------------------------------- */

static json_t *to_json(const struct procsync_message *m)
{
	const char *type = type_names[m->type];

	switch (m->type) {
	case PROCSYNC_PID:
		return json_pack("{s:s, s:i}", "type", type, "pid", (int)m->pid);
	case PROCSYNC_STATUS:
		return json_pack("{s:s, s:b, s:i}", "type", type, "exited", m->exited,
				 "exited_status", m->exited_status);
	case PROCSYNC_ERROR:
		return json_pack("{s:s, s:s}", "type", type, "message", m->message);
	default:
		return json_pack("{s:s}", "type", type);
	}
}

static int send_all(int fd, const char *text, size_t n)
{
	while (n) {
		ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == ECONNRESET ? -EPIPE : -errno;
		text += sent;
		n -= (size_t)sent;
	}
	return 0;
}

int procsync_write(struct procsync *p, const struct procsync_message *m)
{
	json_t *j = to_json(m);
	char *__free text = j ? json_dumps(j, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

	json_decref(j);
	/* A message that is no UTF-8 is no JSON. */
	if (!text)
		return -EINVAL;
	return send_all(p->fd, text, strlen(text));
}

/* The length of the object that text begins with, leading space included; 0: its end is not there.
 * That it is JSON is for others to say: brackets in pairs, outside of strings, are enough here. */
static int object_length(const char *text, size_t len, size_t *out)
{
	bool in_string = false;
	size_t depth = 0, i = 0;

	while (i < len && isspace((unsigned char)text[i]))
		i++;
	if (i < len && text[i] != '{')
		return -EPROTO;
	for (; i < len; i++) {
		char c = text[i];

		if (in_string && c == '\\') {
			i++;
		} else if (c == '"') {
			in_string = !in_string;
		} else if (!in_string && (c == '{' || c == '[')) {
			depth++;
		} else if (!in_string && (c == '}' || c == ']') && --depth == 0) {
			*out = i + 1;
			return 1;
		}
	}
	return 0;
}

static void take_message(const char *s, struct procsync_message *m)
{
	snprintf(m->message, sizeof(m->message), "%s", s);
	for (char *c = m->message; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

static bool from_json(json_t *j, struct procsync_message *m)
{
	const char *type = json_string_value(json_object_get(j, "type"));
	json_t *pid = json_object_get(j, "pid"), *exited = json_object_get(j, "exited");
	json_t *status = json_object_get(j, "exited_status");
	const char *message = json_string_value(json_object_get(j, "message"));
	unsigned i = 0;

	while (type && i < ARRAY_SIZE(type_names) && strcmp(type, type_names[i]))
		i++;
	if (!type || i == ARRAY_SIZE(type_names))
		return false;
	memset(m, 0, sizeof(*m));
	m->type = (enum procsync_type)i;
	switch (m->type) {
	case PROCSYNC_PID:
		m->pid = (pid_t)json_integer_value(pid);
		return json_is_integer(pid) && json_integer_value(pid) > 0 &&
		       json_integer_value(pid) <= INT_MAX;
	case PROCSYNC_STATUS:
		m->exited = json_is_true(exited);
		m->exited_status = (int)json_integer_value(status);
		return json_is_boolean(exited) && json_is_integer(status) &&
		       json_integer_value(status) >= 0 && json_integer_value(status) <= 255;
	case PROCSYNC_ERROR:
		take_message(message ? message : "", m);
		return message != NULL;
	default:
		return true;
	}
}

int procsync_parse(const char *text, size_t len, struct procsync_message *m, size_t *used)
{
	int ret = object_length(text, len, used);
	json_t *j;
	bool good;

	if (ret != 1)
		return ret;
	j = json_loadb(text, *used, JSON_REJECT_DUPLICATES, NULL);
	good = json_is_object(j) && from_json(j, m);
	json_decref(j);
	return good ? 1 : -EPROTO;
}

/* More of what the other side sends. */
static int receive(struct procsync *p)
{
	ssize_t n;

	if (p->len == PROCSYNC_MESSAGE_MAX)
		return -EPROTO;
	if (!p->buf && !(p->buf = malloc(PROCSYNC_MESSAGE_MAX)))
		return -ENOMEM;
	do {
		n = read(p->fd, p->buf + p->len, PROCSYNC_MESSAGE_MAX - p->len);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	p->len += (size_t)n;
	return n ? 0 : -EPIPE;
}

int procsync_read(struct procsync *p, struct procsync_message *m)
{
	size_t used;
	int ret;

	while (!(ret = procsync_parse(p->buf, p->len, m, &used))) {
		size_t had = p->len;

		ret = receive(p);
		/* An end within an object. */
		if (ret)
			return ret == -EPIPE && had ? -EPROTO : ret;
	}
	if (ret < 0)
		return ret;
	p->len -= used;
	memmove(p->buf, p->buf + used, p->len);
	return 0;
}

int procsync_expect(struct procsync *p, enum procsync_type type, struct procsync_message *m)
{
	int ret = procsync_read(p, m);

	if (ret || m->type == type)
		return ret;
	return m->type == PROCSYNC_ERROR ? -EREMOTEIO : -EPROTO;
}

int procsync_loop(struct procsync *p, int (*fn)(void *arg, const struct procsync_message *m),
		  void *arg)
{
	struct procsync_message m;
	int ret;

	while (!(ret = procsync_read(p, &m))) {
		ret = fn(arg, &m);
		if (ret)
			return ret;
	}
	return ret == -EPIPE ? 0 : ret;
}

/* --- PID files -------------------------------------------------------------------------------- */

/* Has nobody the file open for writing? A read lease is to be had then only (man 2 fcntl); where
 * there are none, as on another user's file, a file that does not change has to do. */
static bool is_being_written(int fd)
{
	if (fcntl(fd, F_SETLEASE, F_RDLCK))
		return errno == EAGAIN;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return false;
}

int procsync_read_pid_file(const char *path, pid_t *pid)
{
	int __close_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat before, after;
	char text[32], *end;
	ssize_t n;
	long nr;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &before) || !S_ISREG(before.st_mode))
		return -EINVAL;
	if (is_being_written(fd))
		return -EAGAIN;
	n = pread(fd, text, sizeof(text) - 1, 0);
	if (n < 0 || fstat(fd, &after))
		return -errno;
	if (n == 0 || after.st_size != before.st_size ||
	    after.st_mtim.tv_nsec != before.st_mtim.tv_nsec ||
	    after.st_mtim.tv_sec != before.st_mtim.tv_sec)
		return -EAGAIN;
	text[n] = 0;
	nr = strtol(text, &end, 10);
	if (!isdigit((unsigned char)*text) || nr <= 0 || nr > INT_MAX ||
	    (*end && strcmp(end, "\n")))
		return -EINVAL;
	*pid = (pid_t)nr;
	return 0;
}
