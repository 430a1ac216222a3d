#include "control/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <fcntl.h>
#include "base/clock.h"
#include "control/frame.h"
#include "control/server.h"

struct control_client {
	int sock;
	uint64_t last_id;
	bool greeted;
	struct frame_reader reader;
};

static int wait_for(int sock, short events, int64_t deadline)
{
	for (;;) {
		struct pollfd p = {.fd = sock, .events = events};
		int64_t left = deadline < 0 ? -1 : (deadline - monotonic_ns() + 999999) / 1000000;
		int n;

		if (deadline >= 0 && left <= 0)
			return -ETIMEDOUT;
		n = poll(&p, 1, left > 1000000 ? 1000000 : (int)left);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int send_all(struct control_client *c, Moat__Frame *frame, const int *fds, unsigned nfds)
{
	unsigned char *__free data = NULL;
	size_t size, sent = 0;

	data = frame_pack(frame, &size);
	if (!data)
		return -E2BIG;
	while (sent < size) {
		ssize_t n = frame_send(c->sock, data + sent, size - sent, fds, nfds);

		if (n < 0)
			return (int)n;
		if (n > 0)
			nfds = 0;
		sent += (size_t)n;
		if (n == 0) {
			int ret = wait_for(c->sock, POLLOUT, -1);

			if (ret)
				return ret;
		}
	}
	return 0;
}

int control_client_new(int sock, const unsigned char *token, struct control_client **out)
{
	struct control_client *c = calloc(1, sizeof(*c));
	Moat__Frame frame = MOAT__FRAME__INIT;
	Moat__Hello hello = MOAT__HELLO__INIT;
	int flags = fcntl(sock, F_GETFL), ret;

	if (!c) {
		close(sock);
		return -ENOMEM;
	}
	c->sock = sock;
	frame_reader_init(&c->reader, true);
	hello.version = CONTROL_VERSION;
	if (token) {
		hello.token.data = (uint8_t *)(uintptr_t)token;
		hello.token.len = CONTROL_TOKEN_SIZE;
	}
	frame.kind_case = MOAT__FRAME__KIND_HELLO;
	frame.hello = &hello;
	ret = flags < 0 || fcntl(sock, F_SETFL, flags | O_NONBLOCK) ? -errno : 0;
	if (!ret)
		ret = send_all(c, &frame, NULL, 0);
	if (ret)
		control_client_free(c);
	else
		*out = c;
	return ret;
}

int control_client_connect(const char *path, struct control_client **out)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int __close_fd sock = -1;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return -errno;
	if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)))
		return -errno;
	return control_client_new(steal_fd(&sock), NULL, out);
}

void control_client_free(struct control_client *c)
{
	if (!c)
		return;
	frame_reader_reset(&c->reader);
	close(c->sock);
	free(c);
}

int control_client_fd(const struct control_client *c)
{
	return c->sock;
}

int control_client_send(struct control_client *c, Moat__Request *request, const int *fds,
			unsigned nfds, uint64_t *id)
{
	Moat__Frame frame = MOAT__FRAME__INIT;

	request->id = ++c->last_id;
	request->descriptors = nfds;
	frame.kind_case = MOAT__FRAME__KIND_REQUEST;
	frame.request = request;
	if (id)
		*id = request->id;
	return send_all(c, &frame, fds, nfds);
}

/* --- answers ---------------------------------------------------------------------------------- */

static void clean_text(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

/* Takes what is of use out of a frame: 0 with *response, 1 when there is nothing for the caller in
 * it, -EPROTO. */
static int look_at(struct control_client *c, Moat__Frame *frame, Moat__Response **response)
{
	if (!c->greeted) {
		if (frame->kind_case != MOAT__FRAME__KIND_HELLO ||
		    frame->hello->version != CONTROL_VERSION)
			return -EPROTO;
		c->greeted = true;
		return 1;
	}
	if (frame->kind_case != MOAT__FRAME__KIND_RESPONSE || !frame->response->id)
		return -EPROTO;
	if (frame->response->error) {
		if (frame->response->error->number <= 0 || frame->response->error->number > 4095)
			return -EPROTO;
		clean_text(frame->response->error->message);
	}
	*response = frame->response;
	frame->response = NULL;
	frame->kind_case = MOAT__FRAME__KIND__NOT_SET;
	return 0;
}

int control_client_receive(struct control_client *c, int timeout_ms, Moat__Response **response)
{
	int64_t deadline = timeout_ms < 0 ? -1 : monotonic_ns() + timeout_ms * 1000000LL;

	for (;;) {
		int ret = frame_reader_read(&c->reader, c->sock);

		if (ret == 1) {
			Moat__Frame *frame = frame_unpack(c->reader.payload, c->reader.size);

			frame_reader_reset(&c->reader);
			ret = frame ? look_at(c, frame, response) : -EPROTO;
			frame_free(frame);
			if (ret != 1)
				return ret;
			continue;
		}
		if (ret != -EAGAIN || timeout_ms == 0)
			return ret;
		ret = wait_for(c->sock, POLLIN, deadline);
		if (ret)
			return ret;
	}
}

void control_response_free(Moat__Response *response)
{
	if (response)
		moat__response__free_unpacked(response, NULL);
}

static int connection_error(int ret, struct control_error *err)
{
	const char *why = ret == -EPIPE	       ? "the sandbox is gone"
			  : ret == -EPROTO     ? "the sandbox talks nonsense"
			  : ret == -ETIMEDOUT  ? "the sandbox does not answer"
			  : ret == -ECONNRESET ? "the sandbox is gone"
					       : strerror(-ret);

	return control_fail(err, -ret, "%s", why);
}

int control_client_call(struct control_client *c, Moat__Request *request, const int *fds,
			unsigned nfds, int timeout_ms, Moat__Response **response,
			struct control_error *err)
{
	Moat__Response *got = NULL;
	uint64_t id;
	int ret = control_client_send(c, request, fds, nfds, &id);

	while (!ret) {
		ret = control_client_receive(c, timeout_ms, &got);
		if (ret || got->id == id)
			break;
		control_response_free(got);
	}
	if (ret)
		return connection_error(ret, err);
	if (got->error) {
		ret = control_fail(err, got->error->number, "%s", got->error->message);
		control_response_free(got);
		return ret;
	}
	if (response)
		*response = got;
	else
		control_response_free(got);
	return 0;
}
