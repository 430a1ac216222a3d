/* Capture of a link's frames in pcap format, nanosecond variant. */
#include <unistd.h>

#include "netstack/link/link_internal.h"

#define PCAP_MAGIC_NS 0xa1b23c4d
#define LINKTYPE_ETHERNET 1
#define LINKTYPE_RAW 101
#define SNAP_DEFAULT 262144

struct pcap_file_header {
	uint32_t magic;
	uint16_t major, minor;
	int32_t zone;
	uint32_t sigfigs, snaplen, linktype;
};

struct pcap_record_header {
	uint32_t sec, nsec, caplen, len;
};

int net_link_capture(struct net_link *l, int fd, unsigned snaplen)
{
	struct pcap_file_header h = {.magic = PCAP_MAGIC_NS,
				     .major = 2,
				     .minor = 4,
				     .snaplen = snaplen ? snaplen : SNAP_DEFAULT,
				     .linktype =
					     link_has_ether(l) ? LINKTYPE_ETHERNET : LINKTYPE_RAW};

	if (fd >= 0 && write(fd, &h, sizeof(h)) != (ssize_t)sizeof(h))
		return -EIO;
	mutex_lock(&l->tx_lock);
	l->capture_fd = fd;
	l->capture_snap = h.snaplen;
	atomic_store(&l->capturing, fd >= 0);
	mutex_unlock(&l->tx_lock);
	return 0;
}

/* Tells the byte sequence of a frame, with a checksum that offload has left open filled in. */
void link_capture_frame(struct net_link *l, struct nbuf *b)
{
	int64_t t = l->stack->env.wall(l->stack->env.ctx);
	struct pcap_record_header h = {
		.sec = t / NSEC_PER_SEC, .nsec = t % NSEC_PER_SEC, .len = b->len};
	struct iovec iov[NBUF_FRAGS + 2];
	struct nbuf *done = NULL;
	size_t left;
	ssize_t want;
	int n;

	if (b->csum == NBUF_CSUM_PARTIAL && (done = nbuf_copy(b, 0)) && !nbuf_finish_csum(done))
		b = done;
	n = nbuf_iov(b, iov + 1, NBUF_FRAGS + 1) + 1;
	mutex_lock(&l->tx_lock);
	h.caplen = MIN(h.len, l->capture_snap);
	left = h.caplen;
	iov[0] = (struct iovec){&h, sizeof(h)};
	for (int i = 1; i < n; i++) {
		iov[i].iov_len = MIN(iov[i].iov_len, left);
		left -= iov[i].iov_len;
	}
	want = sizeof(h) + h.caplen;
	if (l->capture_fd >= 0 && writev(l->capture_fd, iov, n) != want) {
		log_warn("netstack: capture on %s ended: write failed", l->name);
		l->capture_fd = -1;
		atomic_store(&l->capturing, false);
	}
	mutex_unlock(&l->tx_lock);
	nbuf_put(done);
}
