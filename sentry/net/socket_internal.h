/* What the socket calls share: looking up, addresses in and out. */
#ifndef MOAT_SENTRY_NET_SOCKET_INTERNAL_H
#define MOAT_SENTRY_NET_SOCKET_INTERNAL_H

#include "sentry/net/socket.h"
#include "sentry/uaccess/uaccess.h"

/* The socket of an fd: its file referenced in *file. -EBADF, -ENOTSOCK. */
int socket_from_fd(int fd, struct file **file, struct socket **sock);
/* An address argument: 0, -EINVAL, -EFAULT. The buffer beyond len is zero. */
int sockaddr_from_user(struct sockaddr_storage *addr, uaddr_t uaddr, int len);
/* Fills the guest's buffer as accept(2) does: at most *ulen bytes, then *ulen = the whole length.
 */
int sockaddr_to_user(const struct sockaddr_storage *addr, int len, uaddr_t uaddr, uaddr_t ulen);

#endif
