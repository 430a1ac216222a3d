/* A user-mode network: passt (passt.top), a process of the caller's that has the host's sockets and
 * speaks Ethernet with the sandbox. No privilege, no interface, no rule of the host's is needed. */
#ifndef MOAT_BOOT_NET_PASST_H
#define MOAT_BOOT_NET_PASST_H

#include <stddef.h>
#include <sys/types.h>

#include "control/client.h"

/* Is it a port to publish: [ADDRESS:]HOST:GUEST[/tcp|/udp]? */
bool passt_publish_valid(const char *publish);
/* Starts passt, and gives the sandbox a link to it. publish: a NULL-terminated list, or NULL. The
 * process ends with the sandbox. Its pid, or -errno with a message. */
pid_t passt_start(char *const *publish, struct control_client *client, char *err, size_t errlen);

#endif
