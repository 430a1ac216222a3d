/*
 * Frames of the control protocol: see README.md. A frame is read bit by bit from a socket that may
 * be non-blocking, and written with as few calls as the socket allows. Everything that comes in is
 * hostile.
 */
#ifndef MOAT_CONTROL_FRAME_H
#define MOAT_CONTROL_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/moat.pb-c.h"

#define CONTROL_VERSION 1
#define CONTROL_FRAME_MAX (4u << 20)
#define CONTROL_FDS_MAX 253 /* of one message: SCM_MAX_FD */
#define CONTROL_UNPACK_MAX (64u << 20)

struct frame_reader {
	unsigned char header[4];
	unsigned have_header;
	unsigned char *payload; /* owned; grows as bytes come, never to what was only announced */
	uint32_t size, have, room;
	int fds[CONTROL_FDS_MAX]; /* owned */
	unsigned nfds;
	bool refuse_fds; /* descriptors are never welcome: a client's reader */
};

void frame_reader_init(struct frame_reader *r, bool refuse_fds);
/* Closes the descriptors and frees what was read. The reader is as new. */
void frame_reader_reset(struct frame_reader *r);
/* Reads what is there: 1 when a frame is complete, -EAGAIN, -EPIPE at a clean end, -EPROTO for what
 * breaks the rules (an end within a frame among them), or -errno. */
int frame_reader_read(struct frame_reader *r, int sock);
/* Is a frame begun and not complete? */
bool frame_reader_partial(const struct frame_reader *r);
/* Unpacks the complete frame; the caller frees it with frame_free(). NULL: no Frame, or too large
 * in memory. Its descriptors stay in the reader. */
Moat__Frame *frame_unpack(const void *data, size_t size);
void frame_free(Moat__Frame *frame);

/* The bytes of a frame, header included; malloc'd. NULL: no memory, or above CONTROL_FRAME_MAX. */
unsigned char *frame_pack(const Moat__Frame *frame, size_t *size);
/* Sends n bytes, the descriptors with the first of them. Bytes sent (0 when none could be), or
 * -errno; never raises SIGPIPE. */
ssize_t frame_send(int sock, const void *data, size_t n, const int *fds, unsigned nfds);

void close_fds(int *fds, unsigned n);

#endif
