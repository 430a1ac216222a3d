/* Sending and receiving on sockets. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/core/timeout.h"
#include "sentry/net/socket_internal.h"
#include "sentry/uaccess/uaccess.h"

#define FAST_IOV 8
#define CONTROL_MAX 20480 /* net.core.optmem_max */
#define MMSG_MAX 1024	  /* UIO_MAXIOV */

/* struct msghdr and mmsghdr of the kernel's ABI. */
struct user_msghdr {
	uint64_t name;
	int32_t namelen, pad1;
	uint64_t iov, iovlen, control, controllen;
	uint32_t flags, pad2;
};
struct user_mmsghdr {
	struct user_msghdr hdr;
	uint32_t len, pad;
};

static unsigned nonblock_flag(struct file *file)
{
	return file->flags & O_NONBLOCK ? MSG_DONTWAIT : 0;
}

/* --- one buffer ------------------------------------------------------------------------------ */

SYSCALL_DEFINE6(sendto, int, fd, uaddr_t, buf, size_t, len, unsigned, flags, uaddr_t, uaddr, int,
		addrlen)
{
	struct file *__put_file file = NULL;
	struct socket_msg msg = {0};
	struct iov_iter iter;
	struct socket *sock;
	int ret;

	(void)t;
	ret = socket_from_fd(fd, &file, &sock);
	if (ret)
		return ret;
	if (uaddr) {
		ret = sockaddr_from_user(&msg.name, uaddr, addrlen);
		if (ret)
			return ret;
		msg.namelen = addrlen;
	}
	iov_iter_user(&iter, buf, MIN(len, (size_t)MAX_RW_COUNT));
	msg.iter = &iter;
	flags &= ~(unsigned)MSG_CMSG_CLOEXEC;
	return sock->ops->sendmsg(sock, &msg, flags | nonblock_flag(file));
}

SYSCALL_DEFINE6(recvfrom, int, fd, uaddr_t, buf, size_t, len, unsigned, flags, uaddr_t, uaddr,
		uaddr_t, ulen)
{
	struct file *__put_file file = NULL;
	struct socket_msg msg = {0};
	struct iov_iter iter;
	struct socket *sock;
	ssize_t ret;

	(void)t;
	ret = socket_from_fd(fd, &file, &sock);
	if (ret)
		return ret;
	iov_iter_user(&iter, buf, MIN(len, (size_t)MAX_RW_COUNT));
	msg.iter = &iter;
	ret = sock->ops->recvmsg(sock, &msg, flags | nonblock_flag(file));
	if (ret >= 0 && uaddr) {
		int err = sockaddr_to_user(&msg.name, msg.namelen, uaddr, ulen);

		if (err)
			return err;
	}
	return ret;
}

/* --- messages --------------------------------------------------------------------------------- */

/* The name and control data of a message to send. *control is malloc'd or NULL. */
static int import_send(struct socket_msg *msg, const struct user_msghdr *hdr, void **control)
{
	int ret, namelen = hdr->namelen;

	if (hdr->name && namelen) {
		if (namelen < 0)
			return -EINVAL;
		namelen = MIN(namelen, (int)sizeof(msg->name));
		ret = sockaddr_from_user(&msg->name, hdr->name, namelen);
		if (ret)
			return ret;
		msg->namelen = namelen;
	}
	if (!hdr->control || !hdr->controllen)
		return 0;
	if (hdr->controllen > CONTROL_MAX)
		return -ENOBUFS;
	*control = malloc(hdr->controllen);
	if (!*control)
		return -ENOBUFS;
	if (copy_from_user(*control, hdr->control, hdr->controllen))
		return -EFAULT;
	msg->control_in = *control;
	msg->control_in_len = hdr->controllen;
	return 0;
}

static int import_iov(struct iov_iter *iter, const struct user_msghdr *hdr, struct iovec *fast,
		      struct iovec **heap)
{
	if (hdr->iovlen > 1024)
		return -EMSGSIZE;
	return iovec_from_user(iter, hdr->iov, (int)hdr->iovlen, fast, FAST_IOV, heap);
}

static ssize_t send_one(struct file *file, struct socket *sock, const struct user_msghdr *hdr,
			unsigned flags)
{
	struct iovec fast[FAST_IOV], *__free heap = NULL;
	void *__free control = NULL;
	struct socket_msg msg = {0};
	struct iov_iter iter;
	int ret = import_iov(&iter, hdr, fast, &heap);

	if (!ret)
		ret = import_send(&msg, hdr, &control);
	if (ret)
		return ret;
	msg.iter = &iter;
	flags &= ~(unsigned)MSG_CMSG_CLOEXEC;
	return sock->ops->sendmsg(sock, &msg, flags | nonblock_flag(file));
}

SYSCALL_DEFINE3(sendmsg, int, fd, uaddr_t, umsg, unsigned, flags)
{
	struct file *__put_file file = NULL;
	struct user_msghdr hdr;
	struct socket *sock;
	int ret;

	(void)t;
	ret = socket_from_fd(fd, &file, &sock);
	if (ret)
		return ret;
	if (get_user(&hdr, umsg))
		return -EFAULT;
	return send_one(file, sock, &hdr, flags);
}

SYSCALL_DEFINE4(sendmmsg, int, fd, uaddr_t, uvec, unsigned, vlen, unsigned, flags)
{
	struct file *__put_file file = NULL;
	struct socket *sock;
	ssize_t ret = 0;
	unsigned n;

	(void)t;
	ret = socket_from_fd(fd, &file, &sock);
	if (ret)
		return ret;
	vlen = MIN(vlen, (unsigned)MMSG_MAX);
	for (n = 0; n < vlen; n++) {
		uaddr_t at = uvec + n * sizeof(struct user_mmsghdr);
		struct user_msghdr hdr;

		ret = get_user(&hdr, at);
		if (!ret)
			ret = send_one(file, sock, &hdr, flags);
		if (ret >= 0)
			ret = put_user(at + offsetof(struct user_mmsghdr, len), (uint32_t)ret);
		if (ret < 0)
			break;
		if (signal_pending(t)) {
			n++;
			break;
		}
	}
	return n ? (long)n : ret;
}

/* Writes back what recvmsg(2) reports besides the data. */
static int export_msg(const struct socket_msg *msg, const struct user_msghdr *hdr, uaddr_t uhdr,
		      unsigned flags)
{
	struct {
		uint64_t controllen;
		uint32_t flags;
	} __attribute__((packed)) tail;

	if (hdr->name) {
		int len = msg->namelen, room = MIN(hdr->namelen, len);

		if (hdr->namelen < 0)
			return -EINVAL;
		if (room && copy_to_user(hdr->name, &msg->name, (size_t)room))
			return -EFAULT;
		if (put_user(uhdr + offsetof(struct user_msghdr, namelen), len))
			return -EFAULT;
	}
	tail.controllen = msg->control_used;
	tail.flags = msg->flags | (flags & MSG_CMSG_CLOEXEC);
	return copy_to_user(uhdr + offsetof(struct user_msghdr, controllen), &tail, sizeof(tail));
}

static ssize_t recv_one(struct file *file, struct socket *sock, uaddr_t uhdr, unsigned flags)
{
	struct iovec fast[FAST_IOV], *__free heap = NULL;
	struct socket_msg msg = {0};
	struct user_msghdr hdr;
	struct iov_iter iter;
	ssize_t ret;
	int err;

	if (get_user(&hdr, uhdr))
		return -EFAULT;
	if (hdr.name && hdr.namelen < 0)
		return -EINVAL;
	ret = import_iov(&iter, &hdr, fast, &heap);
	if (ret)
		return ret;
	msg.iter = &iter;
	msg.control = hdr.control;
	msg.control_space = hdr.control ? MIN(hdr.controllen, (uint64_t)1 << 20) : 0;
	ret = sock->ops->recvmsg(sock, &msg, flags | nonblock_flag(file));
	if (ret < 0)
		return ret;
	err = export_msg(&msg, &hdr, uhdr, flags);
	return err ? err : ret;
}

SYSCALL_DEFINE3(recvmsg, int, fd, uaddr_t, umsg, unsigned, flags)
{
	struct file *__put_file file = NULL;
	struct socket *sock;
	int ret;

	(void)t;
	ret = socket_from_fd(fd, &file, &sock);
	return ret ? ret : recv_one(file, sock, umsg, flags);
}

SYSCALL_DEFINE5(recvmmsg, int, fd, uaddr_t, uvec, unsigned, vlen, unsigned, flags, uaddr_t,
		utimeout)
{
	struct file *__put_file file = NULL;
	int64_t deadline = NO_DEADLINE;
	struct socket *sock;
	ssize_t ret;
	unsigned n;

	if (utimeout) {
		struct timespec ts;

		if (get_user(&ts, utimeout))
			return -EFAULT;
		deadline = deadline_from_timespec(&ts);
		if (deadline < 0)
			return deadline;
	}
	ret = socket_from_fd(fd, &file, &sock);
	if (ret)
		return ret;
	vlen = MIN(vlen, (unsigned)MMSG_MAX);
	for (n = 0; n < vlen; n++) {
		uaddr_t at = uvec + n * sizeof(struct user_mmsghdr);

		ret = recv_one(file, sock, at, flags & ~(unsigned)MSG_WAITFORONE);
		if (ret >= 0)
			ret = put_user(at + offsetof(struct user_mmsghdr, len), (uint32_t)ret);
		if (ret < 0)
			break;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
		/* As Linux: the timeout is looked at after each message only. */
		if (monotonic_ns() >= deadline || signal_pending(t)) {
			n++;
			break;
		}
	}
	if (utimeout && n && deadline) {
		int64_t left = MAX(deadline - monotonic_ns(), (int64_t)0);
		struct timespec ts = {left / NSEC_PER_SEC, left % NSEC_PER_SEC};

		if (deadline != NO_DEADLINE && put_user(utimeout, ts))
			return -EFAULT;
	}
	return n ? (long)n : ret;
}
