/* Frames coming in: link statistics, taps, bridge, VLAN, hand-over to ARP, IPv4, IPv6. */
#include <linux/if_packet.h>

#include "netstack/link/link_internal.h"
#include "netstack/link/link_upcalls.h"
#include "netstack/policy/policy.h"

#ifndef ETH_P_8021Q
#define ETH_P_8021Q 0x8100
#endif

static void drop(struct net_link *l, struct nbuf *b, bool error)
{
	atomic_fetch_add_explicit(error ? &l->stats.rx_errors : &l->stats.rx_dropped, 1,
				  memory_order_relaxed);
	nbuf_put(b);
}

/* PACKET_HOST, _BROADCAST, _MULTICAST, _OTHERHOST by the destination address. */
static uint8_t classify(const struct net_link *l, const uint8_t *dst)
{
	static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	if (dst[0] & 1)
		return memcmp(dst, broadcast, 6) ? PACKET_MULTICAST : PACKET_BROADCAST;
	return memcmp(dst, l->addr, 6) ? PACKET_OTHERHOST : PACKET_HOST;
}

static void deliver(struct net_link *l, struct nbuf *b)
{
	switch (b->protocol) {
	case ETHERTYPE_IP:
		ip4_input(l, b);
		break;
	case ETHERTYPE_IPV6:
		ip6_input(l, b);
		break;
	case ETHERTYPE_ARP:
		arp_input(l, b);
		break;
	default:
		drop(l, b, false);
	}
}

/* Takes the Ethernet header and one VLAN tag off. False: malformed. */
static bool parse_ether(struct net_link *l, struct nbuf *b)
{
	const struct ether_header *eh;

	if (!nbuf_linear(b, sizeof(*eh)))
		return false;
	b->mac = b->data;
	b->has_mac = 1;
	eh = (const struct ether_header *)b->data;
	b->protocol = ntohs(eh->ether_type);
	b->pkt_type = classify(l, eh->ether_dhost);
	nbuf_pull(b, sizeof(*eh));
	if (b->protocol == ETH_P_8021Q) {
		uint16_t tag[2];

		if (!nbuf_linear(b, 4))
			return false;
		memcpy(tag, b->data, 4);
		b->vlan_tci = ntohs(tag[0]);
		b->has_vlan = 1;
		b->protocol = ntohs(tag[1]);
		nbuf_pull(b, 4);
	}
	return true;
}

static bool parse_raw_ip(struct nbuf *b)
{
	if (!nbuf_linear(b, 1))
		return false;
	b->protocol = b->data[0] >> 4 == 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP;
	b->pkt_type = PACKET_HOST;
	return true;
}

/* What has come from outside, the policy has to know of. Our own that loops back has not. */
static void note_input(struct net_link *l, struct nbuf *b)
{
	struct egress_frame f = {.b = b, .protocol = b->protocol};

	if (!b->looped && !b->has_vlan &&
	    (b->protocol == ETHERTYPE_IP || b->protocol == ETHERTYPE_IPV6))
		egress_input(l->stack, &f);
}

static void input(struct net_link *l, struct nbuf *b)
{
	struct net_link *master;

	nbuf_set_link(b, l);
	atomic_fetch_add_explicit(&l->stats.rx_packets, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&l->stats.rx_bytes, b->len, memory_order_relaxed);
	if (atomic_load_explicit(&l->capturing, memory_order_relaxed))
		link_capture_frame(l, b);
	if (b->csum == NBUF_CSUM_PARTIAL && !(l->features & NET_F_TRUSTED) &&
	    (nbuf_unshare(b, 0) < 0 || nbuf_finish_csum(b) < 0)) {
		drop(l, b, true);
		return;
	}
	if (link_has_ether(l) ? !parse_ether(l, b) : !parse_raw_ip(b)) {
		drop(l, b, true);
		return;
	}
	if (link_leads_out(l))
		note_input(l, b);
	if (b->pkt_type == PACKET_MULTICAST)
		atomic_fetch_add_explicit(&l->stats.multicast, 1, memory_order_relaxed);
	if (atomic_load_explicit(&l->stack->n_packets, memory_order_relaxed))
		packet_tap(l, b, false);
	if (l->kind == NET_LINK_LOOPBACK)
		b->pkt_type = b->pkt_type == PACKET_OTHERHOST ? PACKET_HOST : b->pkt_type;
	master = link_master_get(l);
	if (master && bridge_input(master, l, b)) {
		net_link_put(master);
		return;
	}
	net_link_put(master);
	/* A priority tag (VLAN 0) is no VLAN: IEEE 802.1Q §9.6. */
	if (b->has_vlan && (b->vlan_tci & 0xfff) && !(l->features & NET_F_VLAN)) {
		drop(l, b, false);
		return;
	}
	if (b->protocol == ETH_P_8021Q || b->protocol == ETH_P_8021AD) {
		drop(l, b, false);
		return;
	}
	if (b->pkt_type == PACKET_OTHERHOST) {
		drop(l, b, false);
		return;
	}
	if (nbuf_align(b) < 0) {
		drop(l, b, false);
		return;
	}
	deliver(l, b);
}

void net_link_input(struct net_link *l, struct nbuf *b)
{
	NET_CONTEXT();
	if (!link_is_up(l)) {
		drop(l, b, false);
		return;
	}
	input(l, b);
}

int net_link_input_mem(struct net_link *l, const void *frame, size_t len)
{
	struct nbuf *b;

	if (len > 65536 + 64)
		return -EMSGSIZE;
	b = nbuf_alloc(l->stack->pool, 2, len);
	if (!b)
		return -ENOBUFS;
	memcpy(nbuf_append(b, len), frame, len);
	net_link_input(l, b);
	return 0;
}
