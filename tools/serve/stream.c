/*
 * What go-judge's clients speak over /stream, and ours over /sandbox/ID/stream: messages whose
 *first byte says what they are.
 *
 *	from the client					from us
 *	1, JSON: the request, once and first		1, JSON: the answer, the last
 *	2, JSON: the terminal's size			2, index and descriptor, bytes: output
 *	3, index and descriptor, bytes: input
 *	4: cancel
 *
 * Index and descriptor are 4 bits each; the index is 0. No bytes of input are its end.
 *
 * A thread waits for the program, this one for everything else: poll(2) tells of input to be passed
 *on, of output, and, by an eventfd, of the end.
 */
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "judge_internal.h"
#include "websocket.h"

#define INPUT_MAX (1u << 20) /* bytes that wait for the program */

enum { FROM_REQUEST = 1, FROM_RESIZE = 2, FROM_INPUT = 3, FROM_CANCEL = 4 };
enum { TO_ANSWER = 1, TO_OUTPUT = 2 };

struct stream {
	struct stream *next; /* streams; lock */
	struct websocket ws;
	int wake;	      /* an eventfd: the program has ended, or all streams are to end */
	bool stop, ended;     /* lock */
	struct moat_run *run; /* NULL: not started yet */
	struct moat_result r;
	struct moat_error err;
	int ret; /* of moat_wait() */
	pthread_t waiter;
	int in, out[3]; /* the program's streams; -1: none, or closed. out[1] is a terminal's, too
			 */
	bool in_is_out; /* a terminal: in is not closed by itself */
	bool no_more_input;
	char *input; /* owned: what is still to be passed on */
	size_t input_size;
	uint64_t output, output_limit; /* bytes; 0: none */
	bool over;		       /* the limit was passed */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t fewer = PTHREAD_COND_INITIALIZER;
static struct stream *streams;
static bool ending;

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* --- the program ------------------------------------------------------------------------------ */

static void *wait_main(void *arg)
{
	struct stream *s = arg;

	s->ret = moat_wait(s->run, &s->r, &s->err);
	pthread_mutex_lock(&lock);
	s->ended = true;
	pthread_mutex_unlock(&lock);
	eventfd_write(s->wake, 1);
	return NULL;
}

static void set_nonblocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* Pipes to the streams of a command that want one; theirs[] are passed and then closed. */
static int open_pipes(struct stream *s, struct moat_command *c, const bool *wanted, int *theirs)
{
	int ret = 0;

	if (wanted[0])
		ret = make_pipe(&theirs[0], &s->in);
	for (int i = 1; i < 3 && !ret; i++)
		if (wanted[i])
			ret = make_pipe(&s->out[i], &theirs[i]);
	if (ret)
		return ret;
	if (wanted[0])
		c->input_fd = theirs[0];
	if (wanted[1])
		c->output_fd = theirs[1];
	if (wanted[2])
		c->error_fd = theirs[2];
	return 0;
}

static int begin_program(struct stream *s, struct moat *m, struct moat_command *c,
			 const bool *wanted)
{
	int theirs[3] = {-1, -1, -1}, ret;

	ret = c->terminal ? 0 : open_pipes(s, c, wanted, theirs);
	if (!ret)
		ret = moat_start(m, c, &s->run, &s->err);
	for (int i = 0; i < 3; i++)
		close_fd(&theirs[i]);
	if (!ret && c->terminal) {
		s->out[1] = moat_attach(s->run, &s->err);
		s->in = s->out[1] < 0 ? -1 : fcntl(s->out[1], F_DUPFD_CLOEXEC, 3);
		s->in_is_out = true;
	}
	if (ret && !s->err.number)
		s->err = (struct moat_error){.number = -ret, .text = "no descriptors are left"};
	if (ret)
		return ret;
	if (s->in >= 0)
		set_nonblocking(s->in);
	for (int i = 1; i < 3; i++)
		if (s->out[i] >= 0)
			set_nonblocking(s->out[i]);
	ret = pthread_create(&s->waiter, NULL, wait_main, s);
	if (ret) {
		moat_run_free(s->run);
		s->run = NULL;
	}
	return -ret;
}

/* --- what the client says --------------------------------------------------------------------- */

static void resize(struct stream *s, const unsigned char *data, size_t size)
{
	json_t *j = json_loadb((const char *)data, size, 0, NULL);
	uint64_t rows = number(j, "rows", 0), columns = number(j, "cols", 0);

	if (rows && rows < 65536 && columns && columns < 65536)
		moat_resize(s->run, (unsigned short)rows, (unsigned short)columns, NULL);
	json_decref(j);
}

static int add_input(struct stream *s, const unsigned char *data, size_t size)
{
	char *grown;

	if (!size) {
		/* A terminal's end of input is a character. */
		if (!s->in_is_out)
			s->no_more_input = true;
		else
			return add_input(s, (const unsigned char *)"\004", 1);
		return 0;
	}
	if (s->in < 0 || s->no_more_input)
		return 0;
	grown = realloc(s->input, s->input_size + size);
	if (!grown)
		return -ENOMEM;
	memcpy(grown + s->input_size, data, size);
	s->input = grown;
	s->input_size += size;
	return 0;
}

static int handle(struct stream *s, const unsigned char *message, size_t size)
{
	switch (size ? message[0] : 0) {
	case FROM_RESIZE:
		resize(s, message + 1, size - 1);
		return 0;
	case FROM_INPUT:
		return size < 2 || message[1] ? -EPROTO : add_input(s, message + 2, size - 2);
	case FROM_CANCEL:
		moat_cancel(s->run);
		return 0;
	default:
		return -EPROTO;
	}
}

/* All messages that are whole; 0, or -errno: the client has gone, or talks nonsense. */
static int hear(struct stream *s)
{
	unsigned char *message;
	size_t size;
	int ret = websocket_read(&s->ws);

	if (ret && ret != -EAGAIN)
		return ret;
	while ((ret = websocket_next(&s->ws, &message, &size)) > 0) {
		ret = handle(s, message, size);
		free(message);
		if (ret)
			return ret;
	}
	return ret;
}

/* --- what the program says -------------------------------------------------------------------- */

static void feed(struct stream *s)
{
	ssize_t n = s->input_size ? write(s->in, s->input, s->input_size) : 0;

	if (n > 0) {
		memmove(s->input, s->input + n, s->input_size - (size_t)n);
		s->input_size -= (size_t)n;
	} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
		/* It has closed it. */
		s->input_size = 0;
		close_fd(&s->in);
	}
	if (!s->input_size && s->no_more_input)
		close_fd(&s->in);
}

/* 1: more may be there; 0; -errno: the client is gone. */
static int pass_output(struct stream *s, int number_of)
{
	unsigned char head[] = {TO_OUTPUT, (unsigned char)number_of};
	char buf[32768];
	ssize_t n = s->out[number_of] < 0 ? 0 : read(s->out[number_of], buf, sizeof(buf));
	int ret;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		close_fd(&s->out[number_of]);
		return 0;
	}
	s->output += (uint64_t)n;
	if (s->output_limit && s->output > s->output_limit) {
		if (!s->over)
			moat_cancel(s->run);
		s->over = true;
		return 1;
	}
	ret = websocket_send(&s->ws, head, sizeof(head), buf, (size_t)n);
	return ret ? ret : 1;
}

/* --- the loop --------------------------------------------------------------------------------- */

static bool is_over(struct stream *s, bool *stop)
{
	bool over;

	pthread_mutex_lock(&lock);
	over = s->ended;
	*stop = s->stop;
	pthread_mutex_unlock(&lock);
	return over;
}

static void poll_all(struct stream *s, struct pollfd *p, bool gone)
{
	/* Who sends more than is taken waits. */
	bool full = s->input_size >= INPUT_MAX;
	bool feeding = s->input_size || s->no_more_input;

	p[0] = (struct pollfd){.fd = s->wake, .events = POLLIN};
	p[1] = (struct pollfd){.fd = gone || full ? -1 : s->ws.fd, .events = POLLIN};
	p[2] = (struct pollfd){.fd = feeding ? s->in : -1, .events = POLLOUT};
	p[3] = (struct pollfd){.fd = s->out[1], .events = POLLIN};
	p[4] = (struct pollfd){.fd = s->out[2], .events = POLLIN};
	poll(p, 5, -1);
}

/* One round; -errno: the client has gone, or talks nonsense. */
static int serve_round(struct stream *s, bool gone)
{
	struct pollfd p[5];
	eventfd_t n;
	int ret = 0;

	poll_all(s, p, gone);
	if (p[0].revents)
		eventfd_read(s->wake, &n);
	if (p[1].revents)
		ret = hear(s);
	if (p[2].revents)
		feed(s);
	for (int i = 1; i < 3 && ret >= 0; i++)
		if (p[2 + i].revents)
			ret = pass_output(s, i);
	return ret < 0 ? ret : 0;
}

/* Until the program has ended. False: there is nobody to tell. */
static bool serve_program(struct stream *s)
{
	bool gone = false, stop = false;
	/* Messages may have come along with the request. */
	int ret = hear(s);

	while (!is_over(s, &stop)) {
		if ((ret || stop) && !gone) {
			gone = true;
			moat_cancel(s->run);
			/* Nobody is to wait for room in them. */
			close_fd(&s->out[1]);
			close_fd(&s->out[2]);
		}
		ret = serve_round(s, gone);
	}
	pthread_join(s->waiter, NULL);
	/* What it has written; what is still being killed and writes for ever is not waited for. */
	for (int i = 1; i < 3 && !gone; i++)
		for (int k = 0; k < 64 && pass_output(s, i) > 0; k++)
			;
	if (s->over && !s->ret)
		s->r.status = MOAT_OUTPUT_LIMIT;
	return !gone;
}

static void send_answer(struct stream *s, json_t *answer)
{
	unsigned char type = TO_ANSWER;
	char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;

	if (text)
		websocket_send(&s->ws, &type, 1, text, strlen(text));
	free(text);
}

/* --- requests --------------------------------------------------------------------------------- */

static json_t *refuse(const char *code, const char *text)
{
	return json_pack("{s:s, s:s}", "error", text, "code", code);
}

/* A session's: POST run's fields, and "terminal": {"rows", "cols"}. */
static json_t *of_session(struct stream *s, struct moat *m, const json_t *request)
{
	const json_t *terminal = json_object_get(request, "terminal");
	struct session_command c;
	const char *wrong = session_take_command(request, &c);
	bool all[3] = {true, true, true};
	json_t *answer;

	c.command.terminal = json_is_object(terminal);
	c.command.rows = (unsigned short)number(terminal, "rows", 0);
	c.command.columns = (unsigned short)number(terminal, "cols", 0);
	s->output_limit = c.command.output_limit;
	/* What there is at the start is but the first that is streamed. */
	if (!wrong && c.command.input_size) {
		s->input = malloc(c.command.input_size);
		if (s->input)
			memcpy(s->input, c.command.input, c.command.input_size);
		s->input_size = s->input ? c.command.input_size : 0;
	}
	c.command.input_size = 0;
	if (wrong) {
		answer = refuse("EINVAL", wrong);
	} else if (begin_program(s, m, &c.command, all)) {
		answer = refuse(strerrorname_np(s->err.number) ?: "EIO", s->err.text);
	} else {
		bool told = serve_program(s);

		answer = !told	  ? NULL
			 : s->ret ? refuse(strerrorname_np(s->err.number) ?: "EIO", s->err.text)
				  : session_result(&s->r);
		if (!s->ret)
			moat_result_free(&s->r);
	}
	session_command_free(&c);
	return answer;
}

static json_t *of_judge(struct stream *s, struct work *w, struct moat *m, bool *broken)
{
	bool wanted[3] = {0};
	json_t *answer = judge_prepare(m, w);
	int ret = answer ? 0 : work_open(w);

	for (int i = 0; i < 3; i++)
		wanted[i] = w->files[i].kind == FILE_STREAM;
	s->output_limit = w->command.output_limit;
	if (wanted[1] || wanted[2] || w->tty)
		s->output_limit += settings.output_max;
	if (!answer && !ret)
		ret = begin_program(s, m, &w->command, wanted);
	work_close(w);
	if (answer)
		return answer;
	if (ret)
		return internal_error(s->err.number ? s->err.text : strerror(-ret));
	serve_program(s);
	*broken = s->ret == -EPIPE || s->ret == -EPROTO || s->ret == -ETIMEDOUT;
	return judge_finish(m, w, s->ret, &s->r, &s->err);
}

static json_t *serve_judge(struct stream *s, const json_t *request)
{
	const json_t *cmds = json_object_get(request, "cmd");
	struct work *w = calloc(1, sizeof(*w));
	struct moat_error err = {0};
	struct moat *m;
	bool broken = false;
	const char *wrong;
	json_t *answer;

	if (!w)
		return refuse("ENOMEM", "no memory");
	wrong = take_command(json_array_get(cmds, 0), true, w);
	if (json_array_size(cmds) != 1)
		wrong = "cmd: must be a list of one command";
	if (wrong) {
		answer = refuse("EINVAL", wrong);
	} else if (sandboxes_take(&m, 1, &err)) {
		answer = internal_error(err.text);
	} else {
		answer = of_judge(s, w, m, &broken);
		moat_run_free(s->run);
		s->run = NULL;
		sandbox_give_back(m, broken);
	}
	work_free(w);
	free(w);
	return wrong ? answer : json_pack("{s:[o]}", "results", answer);
}

/* The first message, which must be a request; NULL: there is none. */
static json_t *read_request(struct stream *s)
{
	unsigned char *message = NULL;
	json_t *j = NULL;
	size_t size;
	bool stop = false;
	int ret;

	while (!(ret = websocket_next(&s->ws, &message, &size)) && !is_over(s, &stop) && !stop) {
		struct pollfd p[] = {{.fd = s->ws.fd, .events = POLLIN},
				     {.fd = s->wake, .events = POLLIN}};

		poll(p, 2, -1);
		ret = p[0].revents ? websocket_read(&s->ws) : 0;
		if (ret && ret != -EAGAIN)
			return NULL;
	}
	if (ret > 0 && size && message[0] == FROM_REQUEST)
		j = json_loadb((const char *)message + 1, size - 1, JSON_ALLOW_NUL, NULL);
	if (ret > 0)
		free(message);
	return j;
}

static void serve_request(struct stream *s, const char *id)
{
	json_t *request = read_request(s), *answer;
	struct session *session = NULL;

	if (!request) {
		websocket_close(&s->ws, 1002);
		return;
	}
	if (!*id) {
		answer = serve_judge(s, request);
	} else {
		struct moat *m = session_take(id, strlen(id), &session);

		answer =
			m ? of_session(s, m, request) : refuse("EPIPE", "there is no such sandbox");
		moat_run_free(s->run);
		if (session)
			session_give_back(session);
	}
	send_answer(s, answer);
	json_decref(answer);
	json_decref(request);
	websocket_close(&s->ws, 1000);
}

/* --- life ------------------------------------------------------------------------------------- */

static bool enter(struct stream *s)
{
	bool ok;

	pthread_mutex_lock(&lock);
	ok = !ending;
	if (ok) {
		s->next = streams;
		streams = s;
	}
	pthread_mutex_unlock(&lock);
	return ok;
}

static void leave(struct stream *s)
{
	struct stream **at;

	pthread_mutex_lock(&lock);
	for (at = &streams; *at != s; at = &(*at)->next)
		;
	*at = s->next;
	pthread_cond_broadcast(&fewer);
	pthread_mutex_unlock(&lock);
}

void stream_serve(int fd, const void *first, size_t size, const char *id)
{
	struct stream s = {
		.ws = {.fd = fd}, .wake = eventfd(0, EFD_CLOEXEC), .in = -1, .out = {-1, -1, -1}};

	if (s.wake >= 0 && enter(&s)) {
		if (!websocket_add(&s.ws, first, size))
			serve_request(&s, id);
		leave(&s);
	}
	close_fd(&s.in);
	close_fd(&s.out[1]);
	close_fd(&s.out[2]);
	close_fd(&s.wake);
	free(s.input);
	websocket_free(&s.ws);
}

void streams_end(void)
{
	struct stream *s;

	pthread_mutex_lock(&lock);
	ending = true;
	for (s = streams; s; s = s->next) {
		s->stop = true;
		eventfd_write(s->wake, 1);
	}
	while (streams)
		pthread_cond_wait(&fewer, &lock);
	pthread_mutex_unlock(&lock);
}
