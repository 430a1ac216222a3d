#include "websocket.h"

#include <errno.h>
#include <poll.h>
#include <sha1.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "serve.h"

#define MESSAGE_MAX (64u << 20) /* bytes */
#define SEND_MS 60000

enum { OP_MORE = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

bool websocket_accept(const char *key, char *accept)
{
	static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 §1.3 */
	unsigned char digest[SHA1_DIGEST_LENGTH];
	const char *text;
	SHA1_CTX sha;
	json_t *j;

	if (strlen(key) != 24)
		return false;
	SHA1Init(&sha);
	SHA1Update(&sha, (const uint8_t *)key, 24);
	SHA1Update(&sha, (const uint8_t *)magic, sizeof(magic) - 1);
	SHA1Final(digest, &sha);
	j = base64_json(digest, sizeof(digest));
	text = json_string_value(j);
	if (text)
		strcpy(accept, text); /* 28 */
	json_decref(j);
	return text != NULL;
}

void websocket_free(struct websocket *ws)
{
	free(ws->data);
	free(ws->message);
}

int websocket_add(struct websocket *ws, const void *data, size_t size)
{
	if (ws->size + size > MESSAGE_MAX + 65536)
		return -EMSGSIZE;
	if (ws->size + size > ws->room) {
		size_t room = (ws->size + size) * 2;
		unsigned char *grown = realloc(ws->data, room);

		if (!grown)
			return -ENOMEM;
		ws->data = grown;
		ws->room = room;
	}
	if (size)
		memcpy(ws->data + ws->size, data, size);
	ws->size += size;
	return 0;
}

int websocket_read(struct websocket *ws)
{
	char buf[65536];
	ssize_t n = recv(ws->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n > 0)
		return websocket_add(ws, buf, (size_t)n);
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? -EAGAIN : -ECONNRESET;
}

/* --- sending ---------------------------------------------------------------------------------- */

static int send_all(int fd, const void *data, size_t size)
{
	const char *p = data;

	while (size) {
		struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
		ssize_t n = send(fd, p, size, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			p += n;
			size -= (size_t)n;
		} else if (errno != EAGAIN && errno != EINTR) {
			return -ECONNRESET;
		} else if (errno == EAGAIN && !poll(&poll_fd, 1, SEND_MS)) {
			return -ETIMEDOUT;
		}
	}
	return 0;
}

static int send_frame(struct websocket *ws, unsigned op, const void *head, size_t head_size,
		      const void *data, size_t size)
{
	unsigned char frame[10] = {(unsigned char)(0x80 | op)};
	uint64_t length = head_size + size;
	size_t n = 2;
	int ret;

	if (length < 126) {
		frame[1] = (unsigned char)length;
	} else {
		size_t bytes = length < 65536 ? 2 : 8;

		frame[1] = bytes == 2 ? 126 : 127;
		for (size_t i = 0; i < bytes; i++)
			frame[n++] = (unsigned char)(length >> (8 * (bytes - 1 - i)));
	}
	ret = send_all(ws->fd, frame, n);
	if (!ret)
		ret = send_all(ws->fd, head, head_size);
	return ret ? ret : send_all(ws->fd, data, size);
}

int websocket_send(struct websocket *ws, const void *head, size_t head_size, const void *data,
		   size_t size)
{
	return ws->closed ? -ECONNRESET : send_frame(ws, OP_BINARY, head, head_size, data, size);
}

void websocket_close(struct websocket *ws, unsigned status)
{
	unsigned char code[] = {(unsigned char)(status >> 8), (unsigned char)status};

	if (!ws->closed)
		send_frame(ws, OP_CLOSE, code, sizeof(code), NULL, 0);
	ws->closed = true;
}

/* --- receiving -------------------------------------------------------------------------------- */

struct frame {
	bool last;
	unsigned op;
	unsigned char *data;
	size_t size, whole; /* of its payload; with its head */
};

/* 1: the first frame that has come, unmasked in place; 0: it is not whole. */
static int take_frame(struct websocket *ws, struct frame *f)
{
	const unsigned char *d = ws->data;
	size_t head = 2, extra;
	uint64_t length;

	if (ws->size < 2)
		return 0;
	/* Reserved bits are of extensions, of which there are none; clients mask. */
	if (d[0] & 0x70 || !(d[1] & 0x80))
		return -EPROTO;
	length = d[1] & 0x7f;
	extra = length == 126 ? 2 : length == 127 ? 8 : 0;
	if (ws->size < head + extra + 4)
		return 0;
	if (extra)
		length = 0;
	for (size_t i = 0; i < extra; i++)
		length = length << 8 | d[head++];
	f->last = d[0] & 0x80;
	f->op = d[0] & 15;
	if (length > MESSAGE_MAX || (f->op >= OP_CLOSE && (!f->last || length > 125)))
		return -EPROTO;
	head += 4;
	if (ws->size < head + length)
		return 0;
	f->data = ws->data + head;
	f->size = (size_t)length;
	f->whole = head + f->size;
	for (size_t i = 0; i < f->size; i++)
		f->data[i] ^= ws->data[head - 4 + i % 4];
	return 1;
}

static int add_fragment(struct websocket *ws, const struct frame *f)
{
	unsigned char *grown;

	if ((f->op == OP_MORE) != ws->fragmented || ws->message_size + f->size > MESSAGE_MAX)
		return -EPROTO;
	grown = realloc(ws->message, ws->message_size + f->size + 1);
	if (!grown)
		return -ENOMEM;
	ws->message = grown;
	if (f->size)
		memcpy(grown + ws->message_size, f->data, f->size);
	ws->message_size += f->size;
	grown[ws->message_size] = 0;
	ws->fragmented = !f->last;
	return 0;
}

static int handle(struct websocket *ws, const struct frame *f)
{
	switch (f->op) {
	case OP_MORE:
	case OP_TEXT:
	case OP_BINARY:
		return add_fragment(ws, f);
	case OP_PING:
		return send_frame(ws, OP_PONG, f->data, f->size, NULL, 0);
	case OP_PONG:
		return 0;
	case OP_CLOSE:
		websocket_close(ws, 1000);
		return -ECONNRESET;
	default:
		return -EPROTO;
	}
}

int websocket_next(struct websocket *ws, unsigned char **message, size_t *size)
{
	struct frame f = {0};
	int ret;

	while ((ret = take_frame(ws, &f)) > 0) {
		ret = handle(ws, &f);
		memmove(ws->data, ws->data + f.whole, ws->size - f.whole);
		ws->size -= f.whole;
		if (ret)
			return ret;
		if (f.op > OP_BINARY || ws->fragmented)
			continue;
		*message = ws->message;
		*size = ws->message_size;
		ws->message = NULL;
		ws->message_size = 0;
		return 1;
	}
	return ret;
}
