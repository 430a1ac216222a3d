/*
 * The control server: one event loop for all connections, in the thread that calls
 * control_server_run(), and worker threads for calls that may take long. See README.md for the
 * rules and limits, backend.h for what the calls do.
 */
#ifndef MOAT_CONTROL_SERVER_H
#define MOAT_CONTROL_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/backend.h"

#define CONTROL_TOKEN_SIZE 32
#define CONTROL_CONNECTIONS_MAX 1000

struct control_server;

struct control_server_config {
	const struct control_backend *backend;
	void *ctx;
	/* Listening sockets, -1: none; owned by the server from here on. Peers of both must be
	 * `uid`; who comes by the abstract name also needs the token. */
	int path_listener, abstract_listener;
	uid_t uid;
	unsigned char token[CONTROL_TOKEN_SIZE];
	/* A connected socket: the owner's; -1: none. Owned. Its peer is not checked. */
	int owner;
};

/* 0 or -errno; then the descriptors are closed. */
int control_server_new(const struct control_server_config *config, struct control_server **out);
/* Calls fn(arg) on the loop's thread whenever fd is readable or hung up, until fn returns false. fd
 * stays the caller's. Before control_server_run(), or on its thread. */
int control_server_watch(struct control_server *s, int fd, bool (*fn)(void *arg), void *arg);
/* Serves until control_server_stop(). May be called again. */
void control_server_run(struct control_server *s);
/* Any thread; the loop ends soon. */
void control_server_stop(struct control_server *s);
/* Sends what answers are left, as far as the clients take them within a second; closes all
 * connections. Calls that workers are still busy with are answered into the void. The memory stays
 * while they are. */
void control_server_free(struct control_server *s);

/* --- calls, for the backend ------------------------------------------------------------------- */

/* Which connection a call came by: never 0, never used again. */
uint64_t control_call_connection(const struct control_call *call);
/* Answers; any thread; the call is consumed. */
void control_reply_exit(struct control_call *call, const struct control_exit *how);
void control_reply_error(struct control_call *call, int number, const char *text);

#endif
