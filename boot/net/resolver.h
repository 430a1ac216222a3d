/*
 * Docker's name server at 127.0.0.11 answers inside the container's network namespace only: its
 * socket and its NAT rules belong to the host's stack there. A process in that namespace asks it on
 * behalf of the sandbox: messages over a SOCK_SEQPACKET pair, each a struct resolver_header and one
 * DNS message, the same both ways. A question that is not answered gets no message.
 */
#ifndef MOAT_BOOT_NET_RESOLVER_H
#define MOAT_BOOT_NET_RESOLVER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RESOLVER_ADDRESS 0x7f00000b /* 127.0.0.11 */
#define RESOLVER_PORT 53

struct resolver_header {
	uint32_t id;  /* the sandbox's; an answer has its question's */
	uint32_t tcp; /* 1: to be asked, or answered, over TCP */
};
#define RESOLVER_MESSAGE_MAX 65535 /* of DNS */

/* Forks the process into the namespace; it ends with the other end of the pair, *sock. Its pid, or
 * -errno with a message. */
pid_t resolver_start(int ns, int user_ns, int *sock, char *err, size_t errlen);

#endif
