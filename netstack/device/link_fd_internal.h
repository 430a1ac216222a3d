/*
 * Inside of fd links, for link_fd.c (life, polling, queues), link_vnet.c (virtio-net headers),
 * link_mmsg.c (recvmmsg and sendmmsg, readv and writev) and link_uring.c (io_uring).
 *
 * Locks. A queue has one for each direction: rx_lock around receiving from the fd, tx_lock around
 * the frames that wait to be sent. Input is processed with neither held. net_link_remove takes
 * both in turn and sets `gone`; from then on nobody touches the fd, which is its owner's again.
 */
#ifndef MOAT_NETSTACK_DEVICE_LINK_FD_INTERNAL_H
#define MOAT_NETSTACK_DEVICE_LINK_FD_INTERNAL_H

#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <sys/socket.h>

#include "netstack/link/link.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif
#define FD_RX_BATCH 32
#define FD_RX_BYTES (512u << 10) /* about so much is received before somebody may read it */
#define FD_TX_BATCH 64		 /* frames that may wait in a queue */
#define FD_TX_SUBMIT 16		 /* of them are given to the kernel at once */
#define FD_SMALL 16384		 /* what is larger keeps the memory that it was received into */
#define FD_LARGEST 65553u	 /* bytes of a frame: 65535 of IP, Ethernet header, one VLAN tag */
#define FD_VNET_LEN 10
#define FD_CONTROL CMSG_SPACE(sizeof(struct tpacket_auxdata))

/*
 * A place to receive a frame into, filled with buffers between polls: a small linear part for
 * headers and short frames, and a large piece that only long frames take away.
 */
struct rx_slot {
	struct virtio_net_hdr vnet;
	struct nbuf *b;
	struct nmem *large;
	struct iovec iov[3];
	uint8_t control[FD_CONTROL] __attribute__((aligned(8)));
};

struct fd_queue {
	struct net_link *link; /* not counted: the queue is the link's */
	int fd;
	struct mutex rx_lock;
	unsigned rx_batch;	 /* frames to ask for at once, under rx_lock */
	atomic_uint spin_failed; /* times in a row that net_link_fd_spin has spun in vain */
	atomic_uint spin_pause;	 /* calls of it that do not spin */
	struct rx_slot slot[FD_RX_BATCH];
	struct mmsghdr rx[FD_RX_BATCH];
	struct mutex tx_lock;
	bool gone;	     /* under both locks: the fd is not ours any more */
	bool retry_armed;    /* under tx_lock */
	atomic_bool tx_kept; /* frames wait because the fd would not take them */
	unsigned ntx;
	struct nbuf *tx[FD_TX_BATCH];
	struct virtio_net_hdr tx_vnet[FD_TX_BATCH];
	struct net_timer retry; /* tries again to send; holds a reference to the link when armed */
	struct uring_rx *uring_rx; /* under rx_lock; NULL: system calls on the fd */
	struct uring_tx *uring_tx; /* under tx_lock; the same */
};

struct fd_link {
	struct netstack *stack; /* not counted: the link is */
	bool is_tap, vnet_hdr, ether;
	bool sends_by_ring, receives_by_ring; /* all queues do */
	int uring_error; /* why rings are not used though they are wanted: -errno, or 0 */
	unsigned nqueues;
	int wait_fd[NET_FD_MAX_QUEUES]; /* what net_link_fd_wait_fd answers */
	struct fd_queue *queue[NET_FD_MAX_QUEUES];
};

/* What the virtio-net header or the packet socket's control message says of b. (link_vnet.c) */
void vnet_to_nbuf(struct nbuf *b, const struct virtio_net_hdr *v);
void auxdata_to_nbuf(struct nbuf *b, const struct tpacket_auxdata *aux);
/* The header for sending b. */
void vnet_from_nbuf(struct virtio_net_hdr *v, const struct nbuf *b);

/*
 * Receives up to max frames from the fd into *out. Returns the number of frames read, of which
 * malformed ones are not in *out; 0 for none; -ENOBUFS, or the fd's error. rx_lock held.
 * (link_mmsg.c)
 */
int mmsg_receive(struct fd_link *f, struct fd_queue *q, int max, struct nbuf_queue *out);
/*
 * Sends the first frames of q->tx and takes them out; those that the fd refuses for good are
 * counted. False when the fd would block. tx_lock held.
 */
bool mmsg_send(struct fd_link *f, struct fd_queue *q);
/* Takes the first n frames out of q->tx. tx_lock held. (link_fd.c) */
void fd_tx_done(struct fd_queue *q, unsigned n);
/* The pieces of the i-th waiting frame, its virtio-net header first. Returns their number. */
int fd_tx_iov(struct fd_link *f, struct fd_queue *q, unsigned i, struct iovec iov[NBUF_FRAGS + 2]);
/* Counts a frame that the fd refused for good, or a received one that is malformed. */
void fd_count_error(struct net_link *l, bool tx);

/*
 * The same by io_uring (link_uring.c). uring_open makes a queue's ring for one direction; -errno
 * when the kernel refuses it or lacks an operation.
 */
int uring_open(struct fd_link *f, struct fd_queue *q, bool receive);
int uring_receive(struct fd_link *f, struct fd_queue *q, int max, struct nbuf_queue *out);
bool uring_send(struct fd_link *f, struct fd_queue *q);
/* The fd that is readable when uring_receive has work; its number is valid until uring_close. */
int uring_wait_fd(struct fd_queue *q);
/* Ends all requests and lets go of the queue's fd. Both locks held, or nobody else there. */
void uring_stop(struct fd_link *f, struct fd_queue *q);
void uring_close(struct fd_link *f, struct fd_queue *q);

#endif
