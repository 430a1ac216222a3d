/* A backend without a kernel behind it, and a server with it that runs on a thread of the test. */
#ifndef MOAT_TESTS_FAKE_BACKEND_H
#define MOAT_TESTS_FAKE_BACKEND_H

#include <pthread.h>
#include <stdatomic.h>

#include "control/client.h"
#include "control/server.h"

struct fake {
	struct control_server *server;
	pthread_t thread;
	int owner; /* the client's end of the connection that owns the server */
	char path[108];
	_Atomic int signals, last_signal, disconnects, abandoned, created_fds, linked, files;
	_Atomic(struct control_call *) waiting; /* the call that waits, answered by fake_exit() */
	atomic_bool block_start;		/* start does not return while this is set */
};

/* Starts it; unlinks the path again at the end. */
void fake_start(struct fake *f);
void fake_stop(struct fake *f);
/* Answers the Wait that is there; waits until one is. */
void fake_exit(struct fake *f, uint32_t status);
/* A new client over the path. */
struct control_client *fake_client(struct fake *f);
/* Descriptors that this process has open. */
int count_fds(void);

#endif
