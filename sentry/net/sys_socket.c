/* Sockets: making, naming and connecting them, their options. Messages: socket_msg.c. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/task/task.h"
#include "sentry/net/socket_internal.h"
#include "sentry/uaccess/uaccess.h"

int socket_from_fd(int fd, struct file **file, struct socket **sock)
{
	*file = fd_get(fd);
	if (!*file)
		return -EBADF;
	*sock = file_socket(*file);
	return *sock ? 0 : -ENOTSOCK;
}

int sockaddr_from_user(struct sockaddr_storage *addr, uaddr_t uaddr, int len)
{
	if (len < 0 || len > (int)sizeof(*addr))
		return -EINVAL;
	memset(addr, 0, sizeof(*addr));
	return len ? copy_from_user(addr, uaddr, (size_t)len) : 0;
}

int sockaddr_to_user(const struct sockaddr_storage *addr, int len, uaddr_t uaddr, uaddr_t ulen)
{
	int room;

	if (get_user(&room, ulen))
		return -EFAULT;
	if (room < 0)
		return -EINVAL;
	room = MIN(room, len);
	if (room && copy_to_user(uaddr, addr, (size_t)room))
		return -EFAULT;
	return put_user(ulen, len);
}

/* SOCK_CLOEXEC and SOCK_NONBLOCK out of a type argument: -EINVAL for other flags. */
static int split_type(int type, int *base, uint32_t *flags, bool *cloexec)
{
	int extra = type & ~0xf;

	if (extra & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return -EINVAL;
	*base = type & 0xf;
	*flags = extra & SOCK_NONBLOCK ? O_NONBLOCK : 0;
	*cloexec = extra & SOCK_CLOEXEC;
	return 0;
}

SYSCALL_DEFINE3(socket, int, family, int, type, int, protocol)
{
	struct file *file;
	uint32_t flags;
	bool cloexec;
	int ret;

	(void)t;
	ret = split_type(type, &type, &flags, &cloexec);
	if (!ret)
		ret = socket_create(family, type, protocol, flags, &file);
	if (ret)
		return ret;
	ret = fd_install(file, cloexec);
	if (ret < 0)
		file_put(file);
	return ret;
}

/* Both files into the table, and their numbers to the guest; consumes them. */
static long install_pair(struct task *t, struct file *a, struct file *b, bool cloexec, uaddr_t ufds)
{
	int fd[2], ret;

	fd[0] = fd_install(a, cloexec);
	if (fd[0] < 0) {
		file_put(a);
		file_put(b);
		return fd[0];
	}
	fd[1] = fd_install(b, cloexec);
	if (fd[1] < 0) {
		file_put(b);
		fd_close(t->files, fd[0]);
		return fd[1];
	}
	ret = copy_to_user(ufds, fd, sizeof(fd));
	if (ret) {
		fd_close(t->files, fd[0]);
		fd_close(t->files, fd[1]);
	}
	return ret;
}

SYSCALL_DEFINE4(socketpair, int, family, int, type, int, protocol, uaddr_t, ufds)
{
	struct file *a, *b;
	struct socket *sa, *sb;
	uint32_t flags;
	bool cloexec;
	int ret = split_type(type, &type, &flags, &cloexec);

	if (ret)
		return ret;
	ret = socket_create(family, type, protocol, flags, &a);
	if (ret)
		return ret;
	ret = socket_create(family, type, protocol, flags, &b);
	if (ret) {
		file_put(a);
		return ret;
	}
	sa = file_socket(a);
	sb = file_socket(b);
	ret = sa->ops->socketpair ? sa->ops->socketpair(sa, sb) : -EOPNOTSUPP;
	if (ret) {
		file_put(a);
		file_put(b);
		return ret;
	}
	return install_pair(t, a, b, cloexec, ufds);
}

SYSCALL_DEFINE3(bind, int, fd, uaddr_t, uaddr, int, len)
{
	struct sockaddr_storage addr;
	struct file *__put_file file = NULL;
	struct socket *sock;
	int ret = socket_from_fd(fd, &file, &sock);

	(void)t;
	if (!ret)
		ret = sockaddr_from_user(&addr, uaddr, len);
	if (ret)
		return ret;
	return sock->ops->bind ? sock->ops->bind(sock, &addr, len) : -EOPNOTSUPP;
}

SYSCALL_DEFINE2(listen, int, fd, int, backlog)
{
	struct file *__put_file file = NULL;
	struct socket *sock;
	int ret = socket_from_fd(fd, &file, &sock);

	(void)t;
	if (ret)
		return ret;
	return sock->ops->listen ? sock->ops->listen(sock, backlog) : -EOPNOTSUPP;
}

SYSCALL_DEFINE3(connect, int, fd, uaddr_t, uaddr, int, len)
{
	struct sockaddr_storage addr;
	struct file *__put_file file = NULL;
	struct socket *sock;
	int ret = socket_from_fd(fd, &file, &sock);

	(void)t;
	if (!ret)
		ret = sockaddr_from_user(&addr, uaddr, len);
	if (ret)
		return ret;
	if (!sock->ops->connect)
		return -EOPNOTSUPP;
	return sock->ops->connect(sock, &addr, len, file->flags & O_NONBLOCK);
}

/* Is there no descriptor for what accept may return? Asked before a connection is taken, which
 * could not be given back. Another thread may still take the last one. */
static bool fd_table_full(struct task *t)
{
	uint64_t limit = t->group->rlim[RLIMIT_NOFILE].rlim_cur;
	int i;

	MUTEX_GUARD(&t->files->lock);
	for (i = t->files->next_hint; i < t->files->size && t->files->slots[i].file; i++)
		;
	return (uint64_t)i >= limit;
}

static long do_accept(struct task *t, int fd, uaddr_t uaddr, uaddr_t ulen, int flags)
{
	struct sockaddr_storage addr;
	struct file *__put_file file = NULL, *fresh;
	struct socket *sock;
	int ret, len;

	if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return -EINVAL;
	ret = socket_from_fd(fd, &file, &sock);
	if (ret)
		return ret;
	if (!sock->ops->accept)
		return -EOPNOTSUPP;
	if (fd_table_full(t))
		return -EMFILE;
	ret = socket_create_accepted(sock, flags & SOCK_NONBLOCK ? O_NONBLOCK : 0, &fresh);
	if (ret)
		return ret;
	ret = sock->ops->accept(sock, file_socket(fresh), file->flags & O_NONBLOCK);
	if (!ret && uaddr) {
		len = sock->ops->getname(file_socket(fresh), &addr, true);
		ret = len < 0 ? -ECONNABORTED : sockaddr_to_user(&addr, len, uaddr, ulen);
	}
	if (!ret)
		ret = fd_install(fresh, flags & SOCK_CLOEXEC);
	if (ret < 0)
		file_put(fresh);
	return ret;
}

SYSCALL_DEFINE3(accept, int, fd, uaddr_t, uaddr, uaddr_t, ulen)
{
	return do_accept(t, fd, uaddr, ulen, 0);
}

SYSCALL_DEFINE4(accept4, int, fd, uaddr_t, uaddr, uaddr_t, ulen, int, flags)
{
	return do_accept(t, fd, uaddr, ulen, flags);
}

static long do_getname(int fd, uaddr_t uaddr, uaddr_t ulen, bool peer)
{
	struct sockaddr_storage addr;
	struct file *__put_file file = NULL;
	struct socket *sock;
	int ret = socket_from_fd(fd, &file, &sock);

	if (ret)
		return ret;
	ret = sock->ops->getname(sock, &addr, peer);
	return ret < 0 ? ret : sockaddr_to_user(&addr, ret, uaddr, ulen);
}

SYSCALL_DEFINE3(getsockname, int, fd, uaddr_t, uaddr, uaddr_t, ulen)
{
	(void)t;
	return do_getname(fd, uaddr, ulen, false);
}

SYSCALL_DEFINE3(getpeername, int, fd, uaddr_t, uaddr, uaddr_t, ulen)
{
	(void)t;
	return do_getname(fd, uaddr, ulen, true);
}

SYSCALL_DEFINE2(shutdown, int, fd, int, how)
{
	struct file *__put_file file = NULL;
	struct socket *sock;
	int ret = socket_from_fd(fd, &file, &sock);

	(void)t;
	if (ret)
		return ret;
	return sock->ops->shutdown ? sock->ops->shutdown(sock, how) : -EOPNOTSUPP;
}

SYSCALL_DEFINE5(setsockopt, int, fd, int, level, int, name, uaddr_t, uval, int, len)
{
	char val[SOCKOPT_MAX] = {0};
	struct file *__put_file file = NULL;
	struct socket *sock;
	int ret;

	(void)t;
	if (len < 0)
		return -EINVAL;
	ret = socket_from_fd(fd, &file, &sock);
	if (ret)
		return ret;
	if (len && copy_from_user(val, uval, MIN((size_t)len, sizeof(val))))
		return -EFAULT;
	return sockopt_set(sock, level, name, val, (unsigned)len);
}

SYSCALL_DEFINE5(getsockopt, int, fd, int, level, int, name, uaddr_t, uval, uaddr_t, ulen)
{
	char val[SOCKOPT_MAX] = {0};
	struct file *__put_file file = NULL;
	struct socket *sock;
	unsigned size;
	int ret, len;

	(void)t;
	ret = socket_from_fd(fd, &file, &sock);
	if (ret)
		return ret;
	if (get_user(&len, ulen))
		return -EFAULT;
	if (len < 0)
		return -EINVAL;
	size = (unsigned)MIN((size_t)len, sizeof(val));
	ret = sockopt_get(sock, level, name, val, &size);
	if (ret)
		return ret;
	if (size && copy_to_user(uval, val, size))
		return -EFAULT;
	return put_user(ulen, (int)size);
}
