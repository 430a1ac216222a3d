/*
 * AF_UNIX sockets (man 7 unix).
 *
 * struct unix_sock is counted: its struct socket, its peer, messages that it sent and that are not
 * yet read, and senders that wait for it hold references.
 *
 * Locks, outermost first:
 *   gc_lock            descriptors in flight (gc.c); taken before any sock->lock
 *   sock->iolock       one reader at a time; held while data is copied to the guest, never while
 *                      sleeping
 *   sock->lock         state, peer, queues. Two of them: the lower address first (unix_lock_two).
 *                      No guest memory is touched and no one sleeps with it held.
 *   name_lock          abstract names and inode->unix_socket
 *   sock->peer_wait.lock -> another sock's wait.lock (a full receiver wakes its senders' pollers)
 *   sock->wait.lock
 */
#ifndef MOAT_SENTRY_NET_UNIX_UNIX_INTERNAL_H
#define MOAT_SENTRY_NET_UNIX_UNIX_INTERNAL_H

#include <sys/un.h>

#include "sentry/net/scm.h"
#include "sentry/net/socket.h"

#define RCV_SHUTDOWN 1U
#define SEND_SHUTDOWN 2U
#define SHUTDOWN_BOTH 3U
#define UNIX_MAX_DGRAM_QLEN 10
/* A stream is sent in pieces of what Linux puts into one sk_buff: its head, and 32 KiB of pages. */
#define UNIX_STREAM_LINEAR ((size_t)3776)
#define UNIX_STREAM_CHUNK (UNIX_STREAM_LINEAR + 32768)

enum unix_state { UNIX_CLOSE, UNIX_LISTEN, UNIX_ESTABLISHED };

/* A name; shared by a listener and what it accepted. */
struct unix_addr {
	struct refcount refs;
	int len; /* of `name`, as getsockname shows it */
	struct sockaddr_un name;
	/* Abstract ones are in the namespace's table; name_lock. */
	LIST_ENTRY(unix_addr) link;
	struct unix_sock *owner; /* not counted: the socket leaves the table first */
	bool hashed;
};

struct unix_sock;

struct unix_msg {
	TAILQ_ENTRY(unix_msg) link;
	struct unix_sock *sender; /* counted; its wmem is charged */
	struct scm_cookie scm;
	size_t truesize;
	size_t len, off; /* bytes, and how many have been read */
	char data[];
};
TAILQ_HEAD(unix_msg_queue, unix_msg);
TAILQ_HEAD(unix_sock_queue, unix_sock);

struct unix_cred {
	struct pid *pid; /* counted; NULL: none */
	uid_t uid;
	gid_t gid;
};

struct unix_sock {
	struct refcount refs;
	int type;
	struct net_ns *net; /* counted; NULL: the only one */
	struct mutex lock, iolock;
	struct wait_queue wait;	     /* readers, writers, pollers of this socket */
	struct wait_queue peer_wait; /* who waits for room here: senders, connecting clients */
	/* All below: lock, unless noted. */
	enum unix_state state;
	unsigned shutdown;
	bool dead; /* released: no more messages */
	struct unix_sock *peer;
	struct unix_addr *addr; /* set once */
	struct path path;	/* of a pathname socket */
	struct inode *inode;	/* whose unix_socket this is */
	struct unix_cred peercred;
	struct unix_msg_queue queue;
	struct unix_msg *oob; /* in the queue: the byte of MSG_OOB, not yet read or passed */
	unsigned nqueued;
	size_t queued_bytes;		      /* unread */
	struct unix_sock_queue backlog_queue; /* connected, not accepted */
	TAILQ_ENTRY(unix_sock) backlog_link;
	unsigned nbacklog, backlog;
	/* The entry with which this sender waits on its full peer's peer_wait, for poll. */
	struct wait_entry peer_entry;
	_Atomic bool passcred, has_socket; /* SO_PASSCRED; false: not accepted yet */
	_Atomic long wmem;		   /* bytes charged for messages on their way */
	_Atomic int sndbuf;
	_Atomic int err;   /* positive errno, read once */
	struct file *file; /* NULL: not accepted yet, or released. gc_lock */
	/* gc.c; gc_lock */
	unsigned inflight;
	long gc_refs;
	bool gc_candidate, gc_queued;
	TAILQ_ENTRY(unix_sock) inflight_link, gc_link;
	TAILQ_ENTRY(unix_sock) registry_link; /* registry.c */
	uint64_t ino; /* of its file's inode, once it has been used; for /proc/net/unix */
};

/* registry.c: from unix_alloc to the last unix_put. */
struct text;
void unix_registry_add(struct unix_sock *u);
void unix_registry_remove(struct unix_sock *u);
/* Remembers the inode number of the socket's file. */
void unix_note_inode(struct socket *sock);

extern const struct socket_ops unix_stream_ops, unix_dgram_ops, unix_seqpacket_ops;

/* --- unix.c: life --------------------------------------------------------------------------------
 */
struct unix_sock *unix_alloc(int type, struct net_ns *net);
struct unix_sock *unix_get(struct unix_sock *u);
void unix_put(struct unix_sock *u);
/* The end of u: peers learn of it, queues are dropped. embryo: it was never accepted. */
void unix_release_sock(struct unix_sock *u, bool embryo);
void unix_lock_two(struct unix_sock *a, struct unix_sock *b);
void unix_unlock_two(struct unix_sock *a, struct unix_sock *b);
/* A reference to the peer, or NULL. */
struct unix_sock *unix_peer_get(struct unix_sock *u);
void unix_set_cred_current(struct unix_cred *c);
void unix_copy_cred(struct unix_cred *to, const struct unix_cred *from);
int unix_take_error(struct unix_sock *u);
int unix_shutdown(struct socket *sock, int how);
/* The stream stands at the place of a byte sent with MSG_OOB: stream.c. */
bool unix_at_mark(struct unix_sock *u);
long unix_ioctl(struct socket *sock, unsigned cmd, uint64_t arg);
int unix_setsockopt(struct socket *sock, int level, int name, const void *val, unsigned len);
int unix_getsockopt(struct socket *sock, int level, int name, void *val, unsigned *len);
void unix_release(struct socket *sock);

/* --- poll.c
 * --------------------------------------------------------------------------------------- */
bool unix_writable(struct unix_sock *u);
uint32_t unix_stream_poll(struct socket *sock, struct poll_table *pt);
uint32_t unix_dgram_poll(struct socket *sock, struct poll_table *pt);

/* --- name.c
 * --------------------------------------------------------------------------------------- */
struct unix_addr *unix_addr_get(struct unix_addr *a);
void unix_addr_put(struct unix_addr *a);
int unix_bind(struct socket *sock, const struct sockaddr_storage *addr, int len);
int unix_autobind(struct unix_sock *u);
void unix_unname(struct unix_sock *u);
/* The socket of a name, referenced. -ECONNREFUSED, -EPROTOTYPE, path walk errors. */
int unix_find(struct unix_sock *u, const struct sockaddr_storage *addr, int len, int type,
	      struct unix_sock **out);
int unix_getname(struct socket *sock, struct sockaddr_storage *addr, bool peer);
/* The namespace goes: its table of names with it. */
void unix_names_destroy(struct net_ns *ns);
/* The name that the sender of a message has now, into msg->name. */
void unix_name_to_msg(struct socket_msg *msg, struct unix_sock *sender);

/* --- connect.c
 * ------------------------------------------------------------------------------------ */
int unix_stream_connect(struct socket *sock, const struct sockaddr_storage *addr, int len,
			bool nonblock);
int unix_dgram_connect(struct socket *sock, const struct sockaddr_storage *addr, int len,
		       bool nonblock);
int unix_listen(struct socket *sock, int backlog);
int unix_accept(struct socket *sock, struct socket *fresh, bool nonblock);
int unix_socketpair(struct socket *a, struct socket *b);

/* --- message.c
 * ------------------------------------------------------------------------------------ */
/* Waits until u may send, and makes a message with n bytes from `from`. */
int unix_msg_create(struct socket *sock, struct iov_iter *from, size_t n, bool nonblock,
		    struct unix_msg **out);
void unix_msg_free(struct unix_msg *msg);
/* Moves the cookie's content into the message to `to`: descriptors are then in flight. */
void unix_msg_attach(struct unix_msg *msg, struct scm_cookie *scm, const struct unix_sock *to);
/* Appends; other->lock held. The caller wakes other->wait afterwards. */
void unix_msg_push(struct unix_sock *other, struct unix_msg *msg);
/* Takes a message whose turn it is out of the queue; iolock held, which keeps it at the head. */
void unix_msg_remove(struct unix_sock *u, struct unix_msg *msg);
/* The descriptors of a message that stands in u's queue, for the receiver: taken, or copied for
 * MSG_PEEK. -ENOMEM. */
int unix_msg_fds(struct unix_msg *msg, bool peek, struct scm_fds **out);
ssize_t unix_stream_sendmsg(struct socket *sock, struct socket_msg *msg, unsigned flags);
ssize_t unix_stream_recvmsg(struct socket *sock, struct socket_msg *msg, unsigned flags);
ssize_t unix_dgram_sendmsg(struct socket *sock, struct socket_msg *msg, unsigned flags);
ssize_t unix_dgram_recvmsg(struct socket *sock, struct socket_msg *msg, unsigned flags);
ssize_t unix_seqpacket_sendmsg(struct socket *sock, struct socket_msg *msg, unsigned flags);
ssize_t unix_seqpacket_recvmsg(struct socket *sock, struct socket_msg *msg, unsigned flags);

/* --- gc.c
 * ----------------------------------------------------------------------------------------- */
void unix_gc_lock(void);
void unix_gc_unlock(void);
void unix_fds_inflight(struct scm_fds *fds);	  /* they are in a message now */
void unix_fds_landed_locked(struct scm_fds *fds); /* they no longer are; gc_lock held */
void unix_gc_forget(struct unix_sock *u);	  /* its file is going away */
/* Collects cycles if anything is in flight. No locks held. */
void unix_gc(void);
unsigned unix_total_inflight(void);

#endif
