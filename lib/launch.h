/* Starting `moat sandbox`: for libmoat itself and for the pool. */
#ifndef MOAT_LIB_LAUNCH_H
#define MOAT_LIB_LAUNCH_H

#include <sys/types.h>

#include "lib/libmoat.h"

/* Waits until the sandbox can be driven. *sock: the connection that owns it; *helper: a child,
 * which ends when that is closed, and is the caller's to wait for. config->pool is not looked at.
 * 0, or -errno with *err. */
int sandbox_launch(const struct moat_config *config, int *sock, pid_t *helper,
		   struct moat_error *err);

#endif
