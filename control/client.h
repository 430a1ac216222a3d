/*
 * The client's side of a control connection. What a sandbox answers is hostile: sizes are bounded,
 * descriptors are refused, texts have their control characters replaced, and a call can be given a
 * time limit. Not for several threads at once.
 */
#ifndef MOAT_CONTROL_CLIENT_H
#define MOAT_CONTROL_CLIENT_H

#include <stdint.h>
#include <sys/types.h>

#include "control/backend.h"

struct control_client;

/* Over a connected socket, which the client owns from here on, error or not. token: NULL, or
 * CONTROL_TOKEN_SIZE bytes for the abstract name. Hello is sent; the server's is looked at with the
 * first answer. 0 or -errno. */
int control_client_new(int sock, const unsigned char *token, struct control_client **out);
/* Connects to a socket at a path. */
int control_client_connect(const char *path, struct control_client **out);
void control_client_free(struct control_client *c);
/* For poll: readable when control_client_receive() has something to do. */
int control_client_fd(const struct control_client *c);

/* Sends a request with descriptors, which stay the caller's; its id is filled in and put into *id
 * (may be NULL). Waits while the server does not take it. 0 or -errno. */
int control_client_send(struct control_client *c, Moat__Request *request, const int *fds,
			unsigned nfds, uint64_t *id);
/* The next response, whichever request it is for: 0 with *response, to be freed by
 * control_response_free(). -EAGAIN: nothing whole is there (timeout_ms 0 does not wait, -1 waits
 * for ever; -ETIMEDOUT otherwise). -EPIPE: the sandbox is gone; -EPROTO: it talks nonsense. */
int control_client_receive(struct control_client *c, int timeout_ms, Moat__Response **response);
void control_response_free(Moat__Response *response);

/* Sends, and waits for the answer to this request; answers to others that come meanwhile are lost.
 * 0: *response is there and has no error in it (NULL: not wanted). Otherwise -errno, the server's
 * or one from above, with *err filled. */
int control_client_call(struct control_client *c, Moat__Request *request, const int *fds,
			unsigned nfds, int timeout_ms, Moat__Response **response,
			struct control_error *err);

#endif
