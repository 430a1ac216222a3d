/* The rings of an fd link's queue, for link_uring.c and the test that tries to misuse them. */
#ifndef MOAT_NETSTACK_DEVICE_LINK_URING_INTERNAL_H
#define MOAT_NETSTACK_DEVICE_LINK_URING_INTERNAL_H

#include <liburing.h>

#include "netstack/device/link_fd_internal.h"

#define URING_BUFFERS 32	/* a power of two */
#define URING_BUFFER_SIZE 66048 /* FD_LARGEST and what stands before it */

struct uring_rx {
	struct io_uring ring;
	bool is_tap, armed, closed;
	int wait_fd;   /* the ring's number; after uring_stop an eventfd that is readable */
	unsigned skip; /* unused bytes at the start of a buffer, so that IP headers are aligned */
	struct msghdr msg;
	struct io_uring_buf_ring *buffers;
	void *buffers_mem;
	struct nmem *buf[URING_BUFFERS];
};

struct uring_tx {
	struct io_uring ring;
	int rw_flags;
	bool broken; /* io_uring_enter was refused: not used any more */
	struct msghdr msg[FD_TX_SUBMIT];
	struct iovec iov[FD_TX_SUBMIT][NBUF_FRAGS + 2];
	int result[FD_TX_SUBMIT];
};

#endif
