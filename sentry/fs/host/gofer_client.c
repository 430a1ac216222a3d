/* The sentry's side of the gofer protocol. A reply is checked before anything in it is believed: a
 * gofer that breaks the protocol is gone for good. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "sentry/fs/host/host_internal.h"
#include "sentry/platform/platform.h"

#define FDS_ROOM 4 /* more than one is a breach, which we want to see and close */

union fd_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(FDS_ROOM * sizeof(int))];
};

static int send_request(int sock, struct gofer_transaction *t)
{
	struct iovec iov[4] = {
		{&t->req, sizeof(t->req)},
		{(void *)t->path, t->req.path_len},
		{(void *)t->path2, t->req.path2_len},
		{(void *)t->data, t->req.data_len},
	};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 4};

	for (;;) {
		if (sendmsg(sock, &msg, MSG_NOSIGNAL) == (ssize_t)t->req.size)
			return 0;
		if (errno != EINTR)
			return -EIO;
	}
}

/* The first fd that came, if any; all others are closed. */
static int take_fds(struct msghdr *msg, int *extra)
{
	int first = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (first < 0) {
				first = fd;
			} else {
				close(fd);
				++*extra;
			}
		}
	}
	return first;
}

static bool may_bring_fd(uint16_t op)
{
	return op == GOFER_ATTACH || op == GOFER_OPEN || op == GOFER_CREATE;
}

static int receive_reply(int sock, struct gofer_transaction *t)
{
	union fd_control control;
	struct iovec iov[2] = {{&t->reply, sizeof(t->reply)}, {t->reply_data, t->reply_size}};
	struct msghdr msg = {.msg_iov = iov,
			     .msg_iovlen = t->reply_size ? 2 : 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	const struct gofer_reply *r = &t->reply;
	int extra = 0;
	bool no_room;
	ssize_t n;

	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -EIO;
	t->fd = take_fds(&msg, &extra);
	/* The kernel found no room for the fd in our table (man 7 unix). */
	no_room = msg.msg_flags & MSG_CTRUNC && t->fd < 0;
	if ((size_t)n < sizeof(*r) || msg.msg_flags & MSG_TRUNC || extra ||
	    r->version != GOFER_VERSION || r->op != t->req.op || r->size != n ||
	    r->data_len != n - sizeof(*r) || (!!r->has_fd != (t->fd >= 0) && !no_room) ||
	    (t->fd >= 0 && !may_bring_fd(t->req.op)) || r->error > 0 || r->error < -4095 ||
	    (r->error && t->fd >= 0)) {
		close_fd_ptr(&t->fd);
		return -EIO;
	}
	if (no_room)
		t->reply.error = -ENFILE;
	return 0;
}

int gofer_call(struct host_mount *m, struct gofer_transaction *t)
{
	int ret;

	t->fd = -1;
	t->path = t->path ? t->path : "";
	t->path2 = t->path2 ? t->path2 : "";
	t->req.version = GOFER_VERSION;
	t->req.path_len = strlen(t->path);
	t->req.path2_len = strlen(t->path2);
	if (t->data_len > GOFER_DATA_MAX)
		return -E2BIG;
	if (t->req.path_len > GOFER_PATH_MAX || t->req.path2_len > GOFER_PATH_MAX)
		return -ENAMETOOLONG;
	t->req.data_len = t->data_len;
	t->req.size = sizeof(t->req) + t->req.path_len + t->req.path2_len + t->req.data_len;
	MUTEX_GUARD(&m->gofer_lock);
	if (m->sock < 0)
		return -EIO;
	platform_block_begin();
	ret = send_request(m->sock, t);
	if (!ret)
		ret = receive_reply(m->sock, t);
	platform_block_end();
	if (ret) {
		/* One that cannot be attached is the mounter's to complain of. */
		if (t->req.op == GOFER_ATTACH)
			log_info("gofer connection of %s lost",
				 m->sb->source ? m->sb->source : "a mount");
		else
			log_error("gofer connection of %s lost",
				  m->sb->source ? m->sb->source : "a mount");
		close_fd_ptr(&m->sock);
		return ret;
	}
	return t->reply.error;
}
