/* Packet scripts, inside: a run, and segments as scripts write them. */
#ifndef MOAT_TEST_NETSTACK_SCRIPT_H
#define MOAT_TEST_NETSTACK_SCRIPT_H

#include "world.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <unistd.h>

#include "netstack/buffer/nbuf.h"

#define TOLERANCE (5 * MS)
#define OUR_PORT 8080
#define PEER_PORT 40000
#define PEER_ISN 1000000u

struct seg {
	STAILQ_ENTRY(seg) next;
	int64_t at;
	size_t len;
	uint8_t frame[2048];
};

struct pkt {
	uint8_t flags, ecn;
	uint32_t seq, end, len, ack, win, urg;
	bool has_ack, has_win, has_urg, has_opts, has_ecn;
	int mss, wscale; /* -1: absent */
	bool sackok, ts;
	uint32_t tsval, tsecr;
	bool ts_any;
	int nsack;
	uint32_t sack[4][2];
};

struct script {
	char name[80];
	char *text;
	int line;
};

struct run {
	struct net_env env;
	struct net_vclock *clock;
	struct netstack *stack;
	struct net_link *link;
	int64_t start, last;
	STAILQ_HEAD(, seg) out;
	struct net_ep *ep, *listener;
	uint16_t our_port;
	bool isn_known;
	uint32_t our_isn;
	uint32_t last_tsval; /* of our last segment */
	bool ts;	     /* put timestamps on what is injected without options */
	uint32_t peer_ts;
	struct seg last_sent;
	const char *name;
	int line;
};

/* Fails the test, naming script, line and time. */
void script_fail(struct run *r, const char *what, const char *detail);
/* Text to segment, frame to segment, segment to text. */
void script_parse(struct run *r, const char *text, struct pkt *k);
void script_parse_frame(struct run *r, const struct seg *s, struct pkt *k);
void script_show(const struct pkt *k, char *buf, size_t size);
/* Gives the stack a segment, or an ICMP error about the last segment that it sent. */
void script_inject(struct run *r, const struct pkt *k);
void script_inject_icmp(struct run *r, int type, int code, int mtu);
/* The next word of *p, or NULL. */
const char *script_word(const char **p, char *buf, size_t size);

#endif
