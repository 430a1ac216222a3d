/* Sockets as files. */
#include "sentry/net/socket.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/task/task.h"
#include "sentry/net/net_upcalls.h"

#define DEFAULT_BUFFER 212992

int64_t socket_deadline(int64_t timeo)
{
	int64_t deadline;

	if (!timeo || __builtin_add_overflow(monotonic_ns(), timeo, &deadline))
		return NO_DEADLINE;
	return current_kept_deadline(deadline);
}

int socket_wait_error(int err, int64_t timeo)
{
	if (err == -ETIMEDOUT)
		return -EAGAIN;
	if (err == -ERESTARTSYS && timeo)
		return -EINTR;
	return err;
}

int socket_take_error(struct socket *sock)
{
	if (!sock->error)
		return 0;
	return -atomic_exchange(&sock->error, 0);
}

struct socket *file_socket(struct file *file)
{
	return file->ops == &socket_fops ? file->private : NULL;
}

static unsigned io_flags(struct file *file, int rwf)
{
	return (file->flags & O_NONBLOCK) || (rwf & RWF_NOWAIT) ? MSG_DONTWAIT : 0;
}

static ssize_t socket_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	struct socket *sock = file->private;
	struct socket_msg msg = {.iter = to};

	(void)pos;
	if (!iov_iter_count(to)) /* as Linux: reading 0 bytes does not take a message */
		return 0;
	return sock->ops->recvmsg(sock, &msg, io_flags(file, rwf));
}

static ssize_t socket_write(struct file *file, struct iov_iter *from, int64_t *pos, int rwf)
{
	struct socket *sock = file->private;
	struct socket_msg msg = {.iter = from};
	unsigned flags = io_flags(file, rwf);

	(void)pos;
	if (sock->type == SOCK_SEQPACKET)
		flags |= MSG_EOR;
	return sock->ops->sendmsg(sock, &msg, flags);
}

static uint32_t socket_poll(struct file *file, struct poll_table *pt)
{
	struct socket *sock = file->private;

	return sock->ops->poll(sock, pt);
}

static long socket_ioctl(struct file *file, unsigned cmd, uint64_t arg)
{
	struct socket *sock = file->private;
	long ret = sock->ops->ioctl ? sock->ops->ioctl(sock, cmd, arg) : -ENOIOCTLCMD;

	return ret == -ENOIOCTLCMD ? socket_interface_ioctl(sock, cmd, arg) : ret;
}

static void socket_free(struct socket *sock)
{
	if (sock->net)
		net_ns_put(sock->net);
	free(sock);
}

static void socket_release(struct file *file)
{
	struct socket *sock = file->private;

	if (sock->ops)
		sock->ops->release(sock);
	socket_free(sock);
}

const struct file_operations socket_fops = {
	.can_async = true,
	.release = socket_release,
	.read = socket_read,
	.write = socket_write,
	.poll = socket_poll,
	.ioctl = socket_ioctl,
};

static struct socket *socket_alloc(int family, int type, int protocol)
{
	static _Atomic uint64_t last_cookie;
	struct socket *sock = calloc(1, sizeof(*sock));

	if (!sock)
		return NULL;
	sock->cookie = atomic_fetch_add(&last_cookie, 1) + 1;
	sock->family = family;
	sock->type = type;
	sock->protocol = protocol;
	sock->sndbuf = sock->rcvbuf = DEFAULT_BUFFER;
	sock->rcvlowat = 1;
	return sock;
}

static int socket_make_file(struct socket *sock, uint32_t flags, struct file **out)
{
	int ret = anon_file_create("socket:[%lu]", S_IFSOCK | 0777, &socket_fops, sock,
				   O_RDWR | flags, out);

	if (!ret)
		sock->file = *out;
	return ret;
}

int socket_create(int family, int type, int protocol, uint32_t flags, struct file **out)
{
	const struct socket_family *f;
	struct socket *sock;
	int ret;

	if (family < 0 || family >= AF_MAX)
		return -EAFNOSUPPORT;
	if (type < 0 || type > SOCK_PACKET)
		return -EINVAL;
	f = socket_family_find(family);
	if (!f)
		return -EAFNOSUPPORT;
	sock = socket_alloc(family, type, protocol);
	if (!sock)
		return -ENOMEM;
	if (current->net_ns)
		sock->net = net_ns_get(current->net_ns);
	ret = f->create(sock, type, protocol);
	if (ret) {
		socket_free(sock);
		return ret;
	}
	ret = socket_make_file(sock, flags, out);
	if (ret) {
		sock->ops->release(sock);
		socket_free(sock);
	} else if (sock->ops->opened) {
		sock->ops->opened(sock);
	}
	return ret;
}

int socket_create_accepted(struct socket *listener, uint32_t flags, struct file **out)
{
	struct socket *sock = socket_alloc(listener->family, listener->type, listener->protocol);
	int ret;

	if (!sock)
		return -ENOMEM;
	if (listener->net)
		sock->net = net_ns_get(listener->net);
	sock->ops = listener->ops;
	ret = socket_make_file(sock, flags, out);
	if (ret)
		socket_free(sock);
	return ret;
}
