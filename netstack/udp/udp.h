/* UDP endpoints, for who makes them. Packets and errors come by the upcalls of ip/ and icmp/. */
#ifndef MOAT_NETSTACK_UDP_UDP_H
#define MOAT_NETSTACK_UDP_UDP_H

#include "netstack/socket/socket.h"

extern const struct ep_proto udp_proto;

#endif
