/*
 * netstack_loss_bench: what TCP gets through a link that loses packets. Three network namespaces
 * in a row, the middle one relays frames by hand: drops, a rate with a bounded queue, a delay.
 */
#ifndef MOAT_BENCH_LOSS_H
#define MOAT_BENCH_LOSS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define LOSS_OUR_ADDR 0x0a0a0001u   /* 10.10.0.1: netstack */
#define LOSS_PEER_ADDR 0x0a0a0002u  /* 10.10.0.2: Linux, the far end */
#define LOSS_LINUX_ADDR 0x0a0a0003u /* 10.10.0.3: Linux, the near end */
#define LOSS_PORT_SINK 7001	    /* the peer reads */
#define LOSS_PORT_SOURCE 7002	    /* the peer writes */

/* What the link does, each way. */
struct loss_profile {
	const char *name;
	unsigned drop_ppm;  /* TCP segments lost, of a million */
	unsigned burst;	    /* mean length of a run of losses, 1: independent */
	unsigned delay_us;  /* one way */
	unsigned rate_mbit; /* 10^6 bits a second, of Ethernet frames without preamble */
	unsigned queue_kb;  /* frames beyond this wait in vain */
};

/* Shared with the relay's process. */
struct loss_link {
	struct loss_profile profile;
	uint32_t seed;
	atomic_uint generation; /* raised to start over with the profile and the seed */
	atomic_uint running;	/* the generation that the relay works on */
	/* Of this generation, by direction: 0 from the near end. */
	atomic_ulong frames[2], lost[2], overflowed[2];
};

/* Relays between the interfaces ra (near) and rb (far) of this namespace. Never returns. */
void loss_relay(struct loss_link *l);

/* Bytes a flow delivered and how long that took. */
struct loss_flow {
	double seconds;
	uint64_t bytes; /* acknowledged by the peer, or read here */
	uint64_t retransmitted;
	double rtt_ms; /* smoothed, at the end */
};

/* One netstack connection to the peer. The packet socket belongs to the stack from then on. */
int loss_ours_open(int packet_fd, int pcap_fd);
int loss_ours_flow(bool send, double seconds, struct loss_flow *f);
void loss_ours_close(void);
double loss_now(void);

#endif
