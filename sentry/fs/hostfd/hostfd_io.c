/* One attempt to read or write a host fd that never blocks for good. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sentry/fs/hostfd/hostfd_internal.h"
#include "sentry/platform/platform.h"

static ssize_t result(ssize_t n)
{
	if (n >= 0)
		return n;
	return errno == EINTR ? -EAGAIN : -errno;
}

/*
 * The description is in blocking mode and the host cannot be asked not to wait (terminals, pipes
 * before Linux 6.4). It is ready now, so the call returns at once, unless somebody outside takes
 * the data first; then the poller thread interrupts it.
 */
static ssize_t watched_io(struct hostfd *h, void *buf, size_t n, bool write_it)
{
	struct hostfd_inflight in;
	ssize_t r;

	if (!hostfd_ready(h, write_it ? EPOLLOUT : EPOLLIN))
		return -EAGAIN;
	platform_block_begin();
	hostfd_inflight_begin(&in);
	r = result(write_it ? write(h->fd, buf, n) : read(h->fd, buf, n));
	hostfd_inflight_end(&in);
	platform_block_end();
	return r;
}

static ssize_t try_io(struct hostfd *h, void *buf, size_t n, bool write_it)
{
	struct iovec iov = {buf, n};
	ssize_t r;

	switch (atomic_load_explicit(&h->mode, memory_order_relaxed)) {
	case HOSTFD_NOWAIT:
		r = result(write_it ? pwritev2(h->fd, &iov, 1, -1, RWF_NOWAIT)
				    : preadv2(h->fd, &iov, 1, -1, RWF_NOWAIT));
		if (r != -EOPNOTSUPP && r != -ENOSYS)
			return r;
		atomic_store(&h->mode, HOSTFD_WATCHED);
		return watched_io(h, buf, n, write_it);
	case HOSTFD_SOCKET:
		return result(write_it ? send(h->fd, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL)
				       : recv(h->fd, buf, n, MSG_DONTWAIT));
	case HOSTFD_WATCHED:
		return watched_io(h, buf, n, write_it);
	case HOSTFD_NONBLOCK:
	case HOSTFD_DIRECT:
	default:
		/* -1: at the description's position, which moves to the end. */
		if (write_it && h->append_only)
			return result(pwritev2(h->fd, &iov, 1, -1, RWF_APPEND));
		return result(write_it ? write(h->fd, buf, n) : read(h->fd, buf, n));
	}
}

ssize_t hostfd_try_read(struct hostfd *h, void *buf, size_t n)
{
	return try_io(h, buf, n, false);
}

ssize_t hostfd_try_write(struct hostfd *h, const void *buf, size_t n)
{
	return try_io(h, (void *)buf, n, true);
}
