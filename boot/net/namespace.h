/* The container's network namespace, seen from the host. */
#ifndef MOAT_BOOT_NET_NAMESPACE_H
#define MOAT_BOOT_NET_NAMESPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "control/frame.h"

struct network_place {
	const char *path; /* of a namespace; NULL: that of the process */
	pid_t sandbox;
};

/* What was taken out of a namespace. */
struct network_found {
	Moat__Frame *frame;		   /* owned */
	Moat__CreateLinksAndRoutes *links; /* in frame */
	int fds[CONTROL_FDS_MAX];	   /* owned: one for each channel */
	unsigned nfds;
};

/* Opens it. A descriptor, or -errno with a message; -EBUSY when it is the caller's own, or other
 * processes live in it, whose addresses are not to be taken away. */
int network_open(const struct network_place *place, char *err, size_t errlen);
/* Reads the namespace and takes its links over, as README.md says. user_ns: a process whose user
 * namespace is to be entered first (rootless), or -1. 0, or -errno with a message. */
int network_take(int ns, int user_ns, struct network_found *out, char *err, size_t errlen);
void network_found_free(struct network_found *found);

#endif
