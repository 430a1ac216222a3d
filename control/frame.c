#include "control/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/compiler.h"

/* The first piece of a payload's buffer; it doubles from there. */
#define FIRST_ROOM 4096

void close_fds(int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close_fd_ptr(&fds[i]);
}

void frame_reader_init(struct frame_reader *r, bool refuse_fds)
{
	memset(r, 0, sizeof(*r));
	r->refuse_fds = refuse_fds;
}

void frame_reader_reset(struct frame_reader *r)
{
	close_fds(r->fds, r->nfds);
	free(r->payload);
	frame_reader_init(r, r->refuse_fds);
}

bool frame_reader_partial(const struct frame_reader *r)
{
	return r->have_header > 0 && (r->have_header < 4 || r->have < r->size);
}

/* --- reading ---------------------------------------------------------------------------------- */

union fd_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(CONTROL_FDS_MAX * sizeof(int))];
};

/* Takes over the descriptors of a message. False: they may not be there. */
static bool take_fds(struct frame_reader *r, struct msghdr *msg, bool first)
{
	bool ok = !(msg->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		unsigned n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (unsigned i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (first && !r->refuse_fds && r->nfds < CONTROL_FDS_MAX) {
				r->fds[r->nfds++] = fd;
			} else {
				close(fd);
				ok = false;
			}
		}
	}
	return ok;
}

/* One recvmsg into buf: bytes, or as frame_reader_read(). `first`: descriptors may come now. */
static ssize_t receive(struct frame_reader *r, int sock, void *buf, size_t n, bool first)
{
	union fd_control control;
	struct iovec iov = {buf, n};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t got;

	do {
		got = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	if (!take_fds(r, &msg, first))
		return -EPROTO;
	if (got == 0)
		return r->have_header ? -EPROTO : -EPIPE;
	return got;
}

static int read_header(struct frame_reader *r, int sock)
{
	while (r->have_header < 4) {
		ssize_t n = receive(r, sock, r->header + r->have_header, 4 - r->have_header,
				    r->have_header == 0);

		if (n < 0)
			return (int)n;
		r->have_header += (unsigned)n;
	}
	r->size = (uint32_t)r->header[0] | (uint32_t)r->header[1] << 8 |
		  (uint32_t)r->header[2] << 16 | (uint32_t)r->header[3] << 24;
	return r->size > CONTROL_FRAME_MAX ? -EPROTO : 0;
}

static int make_room(struct frame_reader *r)
{
	uint32_t room = r->room ? r->room * 2 : FIRST_ROOM;
	unsigned char *grown;

	if (r->have < r->room)
		return 0;
	room = MIN(room, r->size);
	grown = realloc(r->payload, room);
	if (!grown)
		return -ENOMEM;
	r->payload = grown;
	r->room = room;
	return 0;
}

int frame_reader_read(struct frame_reader *r, int sock)
{
	int ret = r->have_header < 4 ? read_header(r, sock) : 0;

	while (!ret && r->have < r->size) {
		ssize_t n;

		ret = make_room(r);
		if (ret)
			break;
		n = receive(r, sock, r->payload + r->have, r->room - r->have, false);
		if (n < 0)
			ret = (int)n;
		else
			r->have += (uint32_t)n;
	}
	return ret ? ret : 1;
}

/* --- packing and unpacking -------------------------------------------------------------------- */

/* protobuf-c makes a structure of what may be two bytes in a frame: what one frame can take is
 * bounded by an allocator that counts. */
struct budget {
	size_t left;
};

static void *budget_alloc(void *data, size_t size)
{
	struct budget *b = data;

	/* What malloc needs for itself counts, too. */
	if (size > b->left || b->left - size < 32)
		return NULL;
	b->left -= size + 32;
	return malloc(size);
}

static void budget_free(void *data, void *p)
{
	free(p);
}

Moat__Frame *frame_unpack(const void *data, size_t size)
{
	struct budget budget = {CONTROL_UNPACK_MAX};
	ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};

	return moat__frame__unpack(&allocator, size, data);
}

void frame_free(Moat__Frame *frame)
{
	if (frame)
		moat__frame__free_unpacked(frame, NULL);
}

unsigned char *frame_pack(const Moat__Frame *frame, size_t *size)
{
	size_t n = moat__frame__get_packed_size(frame);
	unsigned char *out;

	if (n > CONTROL_FRAME_MAX)
		return NULL;
	out = malloc(n + 4);
	if (!out)
		return NULL;
	out[0] = (unsigned char)n;
	out[1] = (unsigned char)(n >> 8);
	out[2] = (unsigned char)(n >> 16);
	out[3] = (unsigned char)(n >> 24);
	moat__frame__pack(frame, out + 4);
	*size = n + 4;
	return out;
}

ssize_t frame_send(int sock, const void *data, size_t n, const int *fds, unsigned nfds)
{
	union fd_control control = {0};
	struct iovec iov = {(void *)(uintptr_t)data, n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t sent;

	if (nfds > CONTROL_FDS_MAX)
		return -E2BIG;
	if (nfds) {
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, nfds * sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
	}
	do {
		sent = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return errno == EAGAIN ? 0 : -errno;
	return sent;
}
