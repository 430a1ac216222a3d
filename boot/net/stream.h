/* A link over a stream socket to a user-mode network (passt): each frame behind four bytes of its
 * length, big endian, as QEMU has it. */
#ifndef MOAT_BOOT_NET_STREAM_H
#define MOAT_BOOT_NET_STREAM_H

#include "netstack/netstack.h"

/* Adds the link and starts the thread that receives. The socket is the link's when it returns 0; at
 * its end the link goes down. 0 or -errno. */
int stream_link_add(struct netstack *s, const struct net_link_config *config, int fd,
		    struct net_link **out);

#endif
