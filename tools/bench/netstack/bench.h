/*
 * netstack_bench: netstack on a veth in a network namespace of its own, with Linux as the peer in
 * another, and Linux against Linux on the same veth for comparison.
 */
#ifndef MOAT_BENCH_NETSTACK_H
#define MOAT_BENCH_NETSTACK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "netstack/netstack.h"

#define OUR_ADDR 0x0a090001u   /* 10.9.0.1: netstack */
#define PEER_ADDR 0x0a090002u  /* 10.9.0.2: Linux, other namespace */
#define LINUX_ADDR 0x0a090003u /* 10.9.0.3: Linux, our namespace */

/* Ports of the peer's services. */
#define PORT_SINK 7001	 /* reads all */
#define PORT_SOURCE 7002 /* writes for as long as the connection lives */
#define PORT_ECHO 7003	 /* echoes 64-byte messages */
/* Ports of the service under test, netstack or Linux. */
#define PORT_ACCEPT 7010 /* accepts and closes when the peer does */
#define PORT_HTTP 7011	 /* HTTP/1.0: one 4 KiB file */

struct result {
	double gbit;		/* bulk */
	double mean_us, p99_us; /* request/response */
	double per_second;	/* connections, HTTP requests */
	double bytes_each;	/* idle connection */
	unsigned long count;
};

#define MAX_ROUNDS 99

/* What to run, and how (plan.c). */
struct plan {
	double seconds; /* of each test, per side and round */
	int rounds;
	bool markdown, only_ours;
	char **tests; /* names, NULL at the end; none: all */
	int peer;     /* pid of linux_peer */
	int peer_ns;  /* its network namespace */
};
/* Runs and prints. Returns main's status. */
int run_plan(const struct plan *p);

/* Netstack's side (ours.c). The link fd is an AF_PACKET socket in our namespace or
 * a TAP. */
int ours_open(int packet_fd, int pcap_fd, unsigned mtu, enum net_fd_mode mode, bool tap);
extern unsigned ours_spin_us; /* how long to look for frames before sleeping */
int ours_bulk(bool send, double seconds, struct result *r);
int ours_rr(double seconds, struct result *r);
/* Opens connections to PORT_ACCEPT at the peer, one after the other. */
int ours_dial(double seconds, struct result *r);
/* Serves PORT_ACCEPT and PORT_HTTP until stop_fd is readable. -1: could not begin. */
int ours_serve(int stop_fd, struct result *r);
void ours_close(void);
int ours_loopback(double seconds, struct result *r);
void ours_counters(FILE *f);

/* Linux's side (linux.c), with kernel sockets, in whatever namespace the process is. */
extern const char *linux_congestion; /* their congestion control */
void linux_peer(void);		     /* never returns */
int linux_bulk(uint32_t from, bool send, double seconds, struct result *r);
int linux_rr(double seconds, struct result *r);
int linux_serve(int stop_fd);
/* The client of the service under test at addr. */
int linux_connect_rate(uint32_t addr, double seconds, struct result *r);
int linux_http_rate(uint32_t addr, double seconds, struct result *r);
int linux_hold(uint32_t addr, unsigned n, int ready_fd, int go_fd);

double now_seconds(void);
int cmp_double(const void *a, const void *b);

#endif
