/* Between the files of lib/. */
#ifndef MOAT_LIB_INTERNAL_H
#define MOAT_LIB_INTERNAL_H

#include <pthread.h>
#include <sys/queue.h>

#include "base/compiler.h"
#include "control/client.h"
#include "lib/launch.h"
#include "lib/libmoat.h"

#define ROOT_ID "root" /* SANDBOX_DEFAULT_ID */
#define NOBODY 65534
/* An answer that comes later than this does not come: nothing of it waits for a guest. */
#define ANSWER_MS 60000

struct moat {
	pid_t helper; /* `moat sandbox`, a child; 0: the pool's */
	pthread_mutex_t lock;
	struct control_client *owner; /* lock: the connection that the sandbox ends with */
	/* Connections that nobody uses now; lock. */
	struct control_client *idle[16];
	unsigned nidle;
};

struct moat_error;
/* Fills *err, if there is one, and returns -number. */
int lib_fail(struct moat_error *err, int number, const char *fmt, ...) __printf(3, 4);
/* One call over a connection of the caller's own; as control_client_call(). */
int lib_call(struct moat *m, Moat__Request *request, Moat__Response **response,
	     struct moat_error *err);

/* A connection for the caller alone, and back; one that is broken is freed. */
int connection_take(struct moat *m, struct control_client **out, struct moat_error *err);
void connection_return(struct moat *m, struct control_client *c, bool broken);

/* spawn.c: one that waits in the pool; *sock is the connection that owns it. */
int sandbox_from_pool(const char *path, int *sock, struct moat_error *err);

#endif
