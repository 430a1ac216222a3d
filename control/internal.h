/* Between the files of control/. */
#ifndef MOAT_CONTROL_INTERNAL_H
#define MOAT_CONTROL_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/lock.h"
#include "base/refcount.h"
#include "control/frame.h"
#include "control/server.h"

#define CONTROL_PENDING_MAX 256
#define CONTROL_OUTPUT_MAX (8u << 20)
#define CONTROL_FRAME_NS (30 * 1000000000LL)

/* What an epoll event is about. */
enum watch_kind { WATCH_LISTENER, WATCH_CONNECTION, WATCH_OTHER, WATCH_STOP };
struct watch {
	enum watch_kind kind;
	int fd;
	bool (*fn)(void *arg); /* WATCH_OTHER */
	void *arg;
	bool abstract; /* WATCH_LISTENER */
	LIST_ENTRY(watch) link;
};

struct output {
	STAILQ_ENTRY(output) link;
	unsigned char *data; /* owned */
	size_t size, sent;
};

struct connection {
	struct watch watch; /* first: epoll's pointer */
	struct refcount refs;
	struct control_server *server;
	uint64_t id;
	bool greeted;		    /* its Hello was good; loop only */
	bool needs_token;	    /* came by the abstract name */
	bool owner;		    /* ends the sandbox when it ends; loop only */
	struct frame_reader reader; /* loop only */
	int64_t since; /* when the frame under way, or the wait for Hello, began; 0: none */
	LIST_ENTRY(connection) link; /* server->connections; loop only */

	struct mutex lock; /* a leaf */
	int fd;		   /* -1: closed */
	bool want_write;   /* EPOLLOUT is asked for */
	bool broken;	   /* output failed or is too much: the loop closes it */
	STAILQ_HEAD(, output) outputs;
	size_t queued;			       /* bytes */
	uint64_t pending[CONTROL_PENDING_MAX]; /* ids of requests under way */
	unsigned npending;
};

struct control_call {
	struct connection *connection; /* counted */
	Moat__Frame *frame;	       /* owned: the request */
	const Moat__Request *request;
	int fds[CONTROL_FDS_MAX]; /* owned */
	unsigned nfds;
	const struct service_method *method;
	STAILQ_ENTRY(control_call) link; /* the workers' queue */
};

/* workers.c: a queue and threads that are made when needed. */
struct workers {
	struct mutex lock;
	pthread_cond_t more, fewer;
	STAILQ_HEAD(, control_call) queue;
	unsigned threads, idle;
	bool ending;
};
void workers_init(struct workers *w);
/* Runs call_run(call) soon on a worker; on this thread if none can be made. */
void workers_add(struct workers *w, struct control_call *call);
/* No more calls: threads end as they become idle. Waits a moment for them; true if none is left. */
bool workers_end(struct workers *w);

struct control_server {
	const struct control_backend *backend;
	void *ctx;
	uid_t uid;
	unsigned char token[CONTROL_TOKEN_SIZE];
	int epoll;
	struct watch listeners[2], stop;
	LIST_HEAD(, watch) watches;
	LIST_HEAD(, connection) connections;
	unsigned nconnections;
	uint64_t last_id;
	bool stopping;
	bool deaf; /* the listeners are not polled: no descriptors were left */
	struct workers workers;
};

/* connection.c */
/* Consumes fd. NULL: no memory. The list has the reference. */
struct connection *connection_new(struct control_server *s, int fd);
void connection_get(struct connection *c);
void connection_put(struct connection *c);
/* Reads frames and dispatches them. False: the connection is to be closed. Loop only. */
bool connection_input(struct connection *c);
/* Sends what is queued. False likewise. */
bool connection_output(struct connection *c);
/* Any thread. Consumes data. */
void connection_send(struct connection *c, unsigned char *data, size_t size);
/* No more output; the loop closes it when it comes by. Any thread. */
void connection_break(struct connection *c);
/* Loop only; the loop's reference goes later, by the caller. */
void connection_close(struct connection *c);

/* dispatch.c */
typedef int (*service_fn)(struct control_call *call, const Moat__Request *request,
			  struct control_error *err);
struct service_method {
	const char *name;
	service_fn run;	  /* 0: has answered or will; -errno: err is the answer */
	bool slow;	  /* on a worker */
	unsigned fds_max; /* descriptors that may come with it */
};
/* Indexed by the number of the request's field; from the service files. */
extern const struct service_method container_methods[], debug_methods[];
#define CONTAINER_METHODS_END 36
/* service_files.c */
int files_read(struct control_call *call, const Moat__Request *request, struct control_error *err);
int files_write(struct control_call *call, const Moat__Request *request, struct control_error *err);
int files_delete(struct control_call *call, const Moat__Request *request,
		 struct control_error *err);
int files_list(struct control_call *call, const Moat__Request *request, struct control_error *err);
/* server.c: one connection more, over a socket that a client has sent. Consumes fd. 0 or -errno;
 * loop only. */
int server_attach(struct control_server *s, int fd);
/* service_network.c */
int network_create_links(struct control_call *call, const Moat__Request *request,
			 struct control_error *err);
/* service_egress.c */
int network_set_egress(struct control_call *call, const Moat__Request *request,
		       struct control_error *err);
int network_get_egress(struct control_call *call, const Moat__Request *request,
		       struct control_error *err);
const struct service_method *dispatch_find(Moat__Request__CallCase kind);
/* Takes the frame and the descriptors. */
void dispatch_request(struct connection *c, Moat__Frame *frame, int *fds, unsigned nfds);
void call_run(struct control_call *call);
/* Answers and frees the call. The response's id is filled in here. */
void call_reply(struct control_call *call, Moat__Response *response);
void call_reply_empty(struct control_call *call);
const struct control_backend *call_backend(const struct control_call *call);
void *call_ctx(const struct control_call *call);

#endif
