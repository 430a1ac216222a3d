/*
 * Raw, ping and packet endpoints, for who makes them. Packets and errors come by the upcalls of
 * link/, ip/ and icmp/.
 */
#ifndef MOAT_NETSTACK_RAW_RAW_H
#define MOAT_NETSTACK_RAW_RAW_H

#include "netstack/socket/socket.h"

extern const struct ep_proto raw_proto, ping_proto, packet_proto;

#endif
