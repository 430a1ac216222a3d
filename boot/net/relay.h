/* Bringing the guest's questions to the resolver's process, in the sandbox. */
#ifndef MOAT_BOOT_NET_RELAY_H
#define MOAT_BOOT_NET_RELAY_H

struct netstack;

/* Starts to answer at 127.0.0.11 port 53 of the stack with what comes over the socket
 * (boot/net/resolver.h), which is the relay's when it returns 0; for as long as the process is
 * there. Once per sandbox. 0 or -errno. */
int relay_start(struct netstack *s, int sock);

#endif
