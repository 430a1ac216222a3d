/* The gofer's main loop: receive, check, run, reply. One thread; requests are rare and short. */
#include "boot/gofer/gofer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/log.h"
#include "boot/host/spawn.h"
#include "sentry/fs/host/protocol.h"

#define GOFER_MAX_MOUNTS 1024

/* Everything the loop needs, allocated once. */
struct gofer {
	const struct gofer_mount *mounts;
	struct pollfd *polls;
	int n;
	bool squash;
	char path[GOFER_PATH_MAX + 1], path2[GOFER_PATH_MAX + 1];
	_Alignas(struct gofer_request) unsigned char message[GOFER_REQUEST_MAX];
	_Alignas(8) unsigned char data[GOFER_DATA_MAX];
};

int gofer_decode(const void *msg, size_t n, struct gofer_call *call, char *path, char *path2)
{
	const struct gofer_request *req = msg;
	const unsigned char *p;

	if (n < sizeof(*req) || req->version != GOFER_VERSION || req->size != n)
		return -EBADMSG;
	if (req->op == 0 || req->op >= GOFER_OP_END)
		return -EBADMSG;
	if (req->path_len > GOFER_PATH_MAX || req->path2_len > GOFER_PATH_MAX ||
	    req->data_len > GOFER_DATA_MAX)
		return -EBADMSG;
	if (sizeof(*req) + req->path_len + req->path2_len + req->data_len != n)
		return -EBADMSG;
	p = (const unsigned char *)msg + sizeof(*req);
	if (memchr(p, 0, req->path_len + req->path2_len))
		return -EBADMSG;
	memcpy(path, p, req->path_len);
	path[req->path_len] = 0;
	p += req->path_len;
	memcpy(path2, p, req->path2_len);
	path2[req->path2_len] = 0;
	call->req = req;
	call->path = path;
	call->path2 = path2;
	call->data = p + req->path2_len;
	return 0;
}

static int send_reply(int sock, struct gofer_reply *reply, void *data, int fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov[2] = {{reply, sizeof(*reply)}, {data, reply->data_len}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = reply->data_len ? 2 : 1};

	if (fd >= 0) {
		struct cmsghdr *c = &control.align;

		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	for (;;) {
		if (sendmsg(sock, &msg, MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

/* Serves one request of mount i. Non-zero: the socket is of no more use. */
static int serve(struct gofer *g, int i)
{
	struct iovec iov = {g->message, sizeof(g->message)};
	/* No room for control data: the kernel drops fds that the sentry tries to pass. */
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct gofer_call call = {.mount = &g->mounts[i], .squash = g->squash};
	struct gofer_reply reply = {.version = GOFER_VERSION};
	int __close_fd fd = -1;
	ssize_t n;
	int ret;

	n = recvmsg(g->polls[i].fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	if (msg.msg_flags & MSG_TRUNC)
		ret = -EBADMSG;
	else
		ret = gofer_decode(g->message, n, &call, g->path, g->path2);
	if (ret) {
		log_warn("gofer: malformed request of %zd bytes on mount %d", n, i);
		return ret;
	}
	reply.op = call.req->op;
	gofer_run(&call, &reply, g->data, &fd);
	if (reply.error) {
		close_fd_ptr(&fd);
		reply.data_len = 0;
	}
	reply.has_fd = fd >= 0;
	reply.size = sizeof(reply) + reply.data_len;
	return send_reply(g->polls[i].fd, &reply, g->data, fd);
}

static void serve_all(struct gofer *g)
{
	int open = 0;

	for (int i = 0; i < g->n; i++)
		open += g->polls[i].fd >= 0;
	while (open > 0) {
		if (poll(g->polls, g->n, -1) < 0) {
			if (errno == EINTR)
				continue;
			log_error("gofer: poll: %s", strerror(errno));
			return;
		}
		for (int i = 0; i < g->n; i++) {
			if (!g->polls[i].revents)
				continue;
			if ((g->polls[i].revents & POLLIN) && serve(g, i) == 0)
				continue;
			close(g->polls[i].fd);
			g->polls[i].fd = -1;
			open--;
		}
	}
}

int gofer_main(const struct gofer_mount *mounts, int n, const int *sockets, bool in_empty_root,
	       int (*before_serving)(void))
{
	struct gofer *__free g = NULL;
	struct pollfd *__free polls = NULL;
	int ret;

	if (n < 0 || n > GOFER_MAX_MOUNTS)
		return 1;
	g = calloc(1, sizeof(*g));
	polls = calloc(n ? n : 1, sizeof(*polls));
	if (!g || !polls)
		return 1;
	g->mounts = mounts;
	g->n = n;
	g->polls = polls;
	for (int i = 0; i < n; i++)
		polls[i] = (struct pollfd){.fd = sockets[i], .events = POLLIN};
	umask(0); /* modes come from the guest, with its umask applied */
	ret = gofer_sandbox(in_empty_root);
	if (ret) {
		log_error("gofer: cannot sandbox itself: %s", strerror(-ret));
		return 1;
	}
	g->squash = !spawn_has_capability(CAP_CHOWN);
	if (before_serving && before_serving())
		return 1;
	serve_all(g);
	return 0;
}
