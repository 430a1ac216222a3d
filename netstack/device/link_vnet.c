/*
 * What comes beside a frame of an fd link: virtio-net headers, which carry checksum and
 * segmentation work across the boundary (virtio 1.2 §5.1.6), and packet(7)'s PACKET_AUXDATA.
 */
#include <netinet/in.h>

#include "netstack/device/link_fd_internal.h"

/* Offset of the checksum field in the transport header that a kind of GSO packet has. */
static unsigned csum_field(enum nbuf_gso gso)
{
	return gso == NBUF_GSO_UDP ? 6 : 16;
}

static bool set_partial(struct nbuf *b, uint16_t start, uint16_t offset)
{
	if ((uint32_t)start + offset + 2 > b->len || !nbuf_linear(b, start + offset + 2u))
		return false;
	b->csum = NBUF_CSUM_PARTIAL;
	b->csum_start = start;
	b->csum_offset = offset;
	return true;
}

/* Checked like what a stranger says: the host is trusted, but a bug is a bug. */
void vnet_to_nbuf(struct nbuf *b, const struct virtio_net_hdr *v)
{
	enum nbuf_gso gso = NBUF_GSO_NONE;

	if (v->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		(void)set_partial(b, v->csum_start, v->csum_offset);
	else if (v->flags & VIRTIO_NET_HDR_F_DATA_VALID)
		b->csum = NBUF_CSUM_OK;
	switch (v->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		gso = NBUF_GSO_TCP4;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		gso = NBUF_GSO_TCP6;
		break;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		gso = NBUF_GSO_UDP;
		break;
	}
	if (!gso || !v->gso_size)
		return;
	/* Who sends it on relies on finding the transport header where csum_start says. */
	if (b->csum == NBUF_CSUM_PARTIAL && b->csum_offset != csum_field(gso))
		return;
	b->gso = gso;
	b->gso_size = v->gso_size;
}

/*
 * A packet of this host's whose checksum has not been computed, without a virtio-net header to
 * say where it belongs: find out. Plain TCP and UDP only.
 */
static void find_csum(struct nbuf *b)
{
	const uint8_t *p = b->data;
	unsigned type, at = 14, proto;

	if (!nbuf_linear(b, MIN(b->len, 64u)) || b->lin < 34)
		return;
	p = b->data;
	type = p[12] << 8 | p[13];
	if (type == ETHERTYPE_IP) {
		proto = p[at + 9];
		at += (p[at] & 15) * 4u;
	} else if (type == ETHERTYPE_IPV6 && b->lin >= 54) {
		proto = p[at + 6];
		at += 40;
	} else {
		return;
	}
	if (proto == IPPROTO_TCP)
		(void)set_partial(b, at, 16);
	else if (proto == IPPROTO_UDP)
		(void)set_partial(b, at, 6);
}

void auxdata_to_nbuf(struct nbuf *b, const struct tpacket_auxdata *aux)
{
	/* The kernel takes VLAN tags out of the frame and tells of them here. */
	if (aux->tp_status & TP_STATUS_VLAN_VALID) {
		b->has_vlan = 1;
		b->vlan_tci = aux->tp_vlan_tci;
	}
	if (b->csum != NBUF_CSUM_NONE)
		return;
	if (aux->tp_status & TP_STATUS_CSUMNOTREADY)
		find_csum(b);
	else if (aux->tp_status & TP_STATUS_CSUM_VALID)
		b->csum = NBUF_CSUM_OK;
}

void vnet_from_nbuf(struct virtio_net_hdr *v, const struct nbuf *b)
{
	static const uint8_t type[] = {
		[NBUF_GSO_NONE] = VIRTIO_NET_HDR_GSO_NONE,
		[NBUF_GSO_TCP4] = VIRTIO_NET_HDR_GSO_TCPV4,
		[NBUF_GSO_TCP6] = VIRTIO_NET_HDR_GSO_TCPV6,
		[NBUF_GSO_UDP] = VIRTIO_NET_HDR_GSO_UDP_L4,
	};
	const uint8_t *th = b->data + b->csum_start;

	memset(v, 0, sizeof(*v));
	if (b->csum != NBUF_CSUM_PARTIAL)
		return; /* link_xmit has cut those that are too large */
	v->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	v->csum_start = b->csum_start;
	v->csum_offset = b->csum_offset;
	if (!b->gso)
		return;
	v->gso_type = type[b->gso];
	v->gso_size = b->gso_size;
	v->hdr_len = b->csum_start + 8;
	if (b->gso == NBUF_GSO_UDP || b->csum_start + 14u > b->lin)
		return;
	v->hdr_len = b->csum_start + (th[12] >> 4) * 4;
	/* CWR on the first segment only: RFC 3168 with TSO. */
	if (th[13] & 0x80)
		v->gso_type |= VIRTIO_NET_HDR_GSO_ECN;
}
