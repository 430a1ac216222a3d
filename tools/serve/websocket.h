/* WebSocket (RFC 6455), the server's side: messages over a socket that has been upgraded. */
#ifndef MOAT_TOOLS_SERVE_WEBSOCKET_H
#define MOAT_TOOLS_SERVE_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>

struct websocket {
	int fd;		     /* not owned; non-blocking */
	unsigned char *data; /* owned: what has come and is not taken yet */
	size_t size, room;
	unsigned char *message; /* owned: fragments of the message under way */
	size_t message_size;
	bool fragmented, closed; /* closed: the peer has said so, or we have */
};

/* Sec-WebSocket-Accept for a client's key; accept has room for 29. False: it is no key. */
bool websocket_accept(const char *key, char *accept);
void websocket_free(struct websocket *ws);
/* Bytes that have come. -EMSGSIZE: more than a message may have; -ENOMEM. */
int websocket_add(struct websocket *ws, const void *data, size_t size);
/* Reads what is there; -EAGAIN: nothing now; -ECONNRESET: the peer is gone. */
int websocket_read(struct websocket *ws);
/* The next message: 1, malloc'd in *message; 0: none yet; -EPROTO, -ENOMEM; -ECONNRESET: the peer
 * has closed it. Answers pings. */
int websocket_next(struct websocket *ws, unsigned char **message, size_t *size);
/* A binary message of two parts. Waits for room, a minute at most: -ETIMEDOUT. */
int websocket_send(struct websocket *ws, const void *head, size_t head_size, const void *data,
		   size_t size);
/* Says that it is over, and why (RFC 6455 §7.4). */
void websocket_close(struct websocket *ws, unsigned status);

#endif
