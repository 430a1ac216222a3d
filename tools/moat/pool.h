/* The pool of sandboxes: pool.c has the command, pool_server.c the daemon. */
#ifndef MOAT_TOOLS_POOL_H
#define MOAT_TOOLS_POOL_H

#include "lib/libmoat.h"

#define POOL_SIZE_MAX 10000

struct pool_settings {
	struct moat_config config; /* of its sandboxes */
	const char *socket;
	unsigned size; /* how many wait */
	unsigned max;  /* how many there are, those that clients have included */
};

/* Serves until SIGTERM or SIGINT. The CLI's exit status. */
int pool_serve(const struct pool_settings *settings);

#endif
