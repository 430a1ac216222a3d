/*
 * Sockets: the layer between system calls and address families.
 *
 * A family brings a struct socket_family (how to create) and a struct socket_ops (what its sockets
 * do). Everything that ops get is sentry memory: addresses, options and control data have been
 * copied and bounded; only the payload is an iov_iter over guest memory.
 *
 * A struct socket lives as long as its file: ops are never called after release(). What must
 * outlive it (a unix socket in a peer's hands, a TCP connection that drains) hangs on sock->sk and
 * has its own count.
 *
 * Locks: none here; option fields are plain words that system calls set and read (races there are
 * the guest's own). Families document theirs.
 */
#ifndef MOAT_SENTRY_NET_SOCKET_H
#define MOAT_SENTRY_NET_SOCKET_H

#include <sys/socket.h>

#include "sentry/kernel/ns/namespaces.h"
#include "sentry/vfs/file.h"

struct socket;
struct scm_cookie;

/* One message on its way. */
struct socket_msg {
	/* Sending: the address, namelen 0 if there is none. Receiving: a buffer to fill; namelen
	 * is set to the address's whole length, 0: none. */
	struct sockaddr_storage name;
	int namelen;
	struct iov_iter *iter;
	/* Sending: the control data, a copy. */
	const void *control_in;
	size_t control_in_len;
	/* Receiving: the guest's buffer, advanced as control messages are put. */
	uaddr_t control;
	size_t control_space;
	size_t control_used;
	unsigned flags; /* MSG_* that recvmsg reports: MSG_TRUNC, MSG_CTRUNC, MSG_EOR */
};

struct socket_ops {
	int (*bind)(struct socket *sock, const struct sockaddr_storage *addr, int len);
	int (*connect)(struct socket *sock, const struct sockaddr_storage *addr, int len,
		       bool nonblock);
	int (*socketpair)(struct socket *a, struct socket *b);
	/* `fresh` is a new socket of the same family and type, without sk. */
	int (*accept)(struct socket *sock, struct socket *fresh, bool nonblock);
	int (*listen)(struct socket *sock, int backlog);
	/* The own or the peer's address into *addr; its length or -errno. */
	int (*getname)(struct socket *sock, struct sockaddr_storage *addr, bool peer);
	uint32_t (*poll)(struct socket *sock, struct poll_table *pt);
	long (*ioctl)(struct socket *sock, unsigned cmd, uint64_t arg); /* -ENOIOCTLCMD */
	int (*shutdown)(struct socket *sock, int how);
	/* Options, `val` a copy of at most SOCKOPT_MAX bytes (len may be larger). -ENOIOCTLCMD: not
	 * the family's; SOL_SOCKET then has generic ones. getsockopt sets *len to what it wrote. */
	int (*setsockopt)(struct socket *sock, int level, int name, const void *val, unsigned len);
	int (*getsockopt)(struct socket *sock, int level, int name, void *val, unsigned *len);
	/* flags: MSG_*; MSG_DONTWAIT is set for O_NONBLOCK files. They send SIGPIPE themselves. */
	ssize_t (*sendmsg)(struct socket *sock, struct socket_msg *msg, unsigned flags);
	ssize_t (*recvmsg)(struct socket *sock, struct socket_msg *msg, unsigned flags);
	void (*opened)(struct socket *sock);  /* sock->file is there: after create; may be NULL */
	void (*release)(struct socket *sock); /* sock->sk may be NULL: creation failed half way */
};

#define SOCKOPT_MAX 512

struct socket {
	struct file *file; /* not counted */
	int family, type, protocol;
	const struct socket_ops *ops;
	void *sk;
	struct net_ns *net; /* counted; NULL: the sandbox's only one */
	/* Generic SOL_SOCKET options. */
	int64_t rcvtimeo, sndtimeo; /* ns; 0: none */
	int sndbuf, rcvbuf;	    /* as getsockopt shows them: doubled */
	int rcvlowat, priority, mark, linger_on, linger_sec;
	bool reuseaddr, reuseport, keepalive, broadcast, passcred, dontroute, oobinline;
	bool timestamp, timestampns, no_check, debug;
	uint64_t cookie;   /* SO_COOKIE: of no other socket of the sandbox, ever */
	_Atomic int error; /* SO_ERROR, a positive errno; families may use it */
};

struct socket_family {
	int family;
	/* Fills type, ops, sk of a zeroed socket. -ESOCKTNOSUPPORT, -EPROTONOSUPPORT, -EPERM. */
	int (*create)(struct socket *sock, int type, int protocol);
	/* The network namespace goes: frees what the family keeps in it. NULL: nothing. */
	void (*ns_destroy)(struct net_ns *ns);
};

extern const struct file_operations socket_fops;

/* The family's table, or NULL. */
const struct socket_family *socket_family_find(int family);
/* A new socket and its file, not in any fd table. flags: O_NONBLOCK. */
int socket_create(int family, int type, int protocol, uint32_t flags, struct file **out);
/* The file of a socket like `listener`, without sk: for accept. */
int socket_create_accepted(struct socket *listener, uint32_t flags, struct file **out);
/* The socket behind a file, or NULL. */
struct socket *file_socket(struct file *file);

/* What SO_RCVTIMEO and SO_SNDTIMEO mean for a wait that begins now. */
int64_t socket_deadline(int64_t timeo);
/* The error of a wait: a timeout is -EAGAIN, a signal -EINTR if there was a timeout. */
int socket_wait_error(int err, int64_t timeo);
/* sock->error, once. */
int socket_take_error(struct socket *sock);

/* Generic options: net/sockopt.c. */
int sockopt_set(struct socket *sock, int level, int name, const void *val, unsigned len);
int sockopt_get(struct socket *sock, int level, int name, void *val, unsigned *len);
/* The generic part alone, for families that want to see what a value came to. */
int sockopt_set_generic(struct socket *sock, int name, const void *val, unsigned len);
/* The current task has the capability over the socket's network namespace. */
bool socket_capable(const struct socket *sock, int cap);
/* net_ns->destroy once a family keeps something in it: net/netns.c. */
void socket_ns_destroy(struct net_ns *ns);

#endif
