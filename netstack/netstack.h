/*
 * netstack: a TCP/IP stack as a library.
 *
 * A stack (struct netstack) is one network namespace. Links (struct net_link) are attached to it,
 * endpoints (struct net_ep: TCP, UDP, ping, raw, packet) live on it. The library starts no thread,
 * reads no clock and keeps no global state: time, timers, randomness and memory come from the
 * embedder through struct net_env.
 *
 * Calls. No call blocks: what would wait returns -EAGAIN (or -EINPROGRESS for connect), and the
 * endpoint's callback tells when to try again. Any thread may call anything at any time. All
 * functions return 0 or a count, or a negative errno with the meaning that Linux gives it. The
 * embedder checks privileges (ports below ipv4.ip_unprivileged_port_start, raw and packet
 * endpoints, configuration) itself.
 *
 * Callbacks (readiness, configuration events, link transmit of custom links' flush) run on the
 * thread whose call or input caused them, at the end of that call, with no lock of the stack held;
 * they may call any function here. struct net_link_ops.xmit is the exception, see there.
 *
 * Objects. Stack, links, endpoints and buffers are reference-counted. net_ep_close() consumes the
 * creator's reference. Pointers to addresses, iovecs and options are read or written during the
 * call only. Addresses are Linux's struct sockaddr_in, sockaddr_in6 and sockaddr_ll.
 *
 * Units. Times are nanoseconds on net_env.now's clock unless a name says otherwise; sizes are
 * bytes; ports and addresses inside sockaddrs are in network byte order, elsewhere in host order.
 */
#ifndef MOAT_NETSTACK_H
#define MOAT_NETSTACK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>

struct netstack;
struct net_link;
struct net_ep;
struct nbuf;

/* ------------------------------------------------------------------ environment: time, memory */

/*
 * A timer. The stack embeds these in its objects and never frees one that is armed. The fields
 * below `fn` belong to whoever implements arm and cancel.
 */
struct net_timer {
	void (*fn)(struct net_timer *t); /* called with no lock held, on the embedder's thread */
	int64_t expires;
	union {
		struct {
			TAILQ_ENTRY(net_timer) link;
			int slot;
		};
		struct {
			size_t heap_index;
			uint64_t order;
		};
	};
	bool armed;
};

/* What a stack needs of its surroundings. Copied by netstack_create; ctx must outlive the stack. */
struct net_env {
	void *ctx;
	/* Monotonic time and wall-clock time in nanoseconds. */
	int64_t (*now)(void *ctx);
	int64_t (*wall)(void *ctx);
	/*
	 * Calls t->fn once, at `expires` or soon after; arming an armed timer moves it. May be
	 * called with locks of the stack held, so it must not call back into the stack.
	 */
	void (*arm)(void *ctx, struct net_timer *t, int64_t expires);
	/* True if the timer was armed and now will not fire; false if it was idle or has fired. */
	bool (*cancel)(void *ctx, struct net_timer *t);
	/* Fills buf with bytes that an attacker cannot predict. */
	void (*random)(void *ctx, void *buf, size_t len);
	/* As malloc and free; alloc may return NULL, and the stack then sheds load. What the stack
	 * and its buffers have is perhaps freed after the stack has gone, with the same ctx. */
	void *(*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, void *p);
};

/*
 * Timer wheel on the host's monotonic clock. `env` becomes complete (getrandom, malloc, the host's
 * clocks). The embedder calls net_wheel_run() when net_wheel_next() is reached; `wake` (may be
 * NULL) is called, under the wheel's lock, when a timer is armed earlier than net_wheel_next()
 * said, so that a thread that sleeps until then can be woken. Resolution 1 ms.
 */
struct net_wheel;
int net_wheel_create(struct net_env *env, void (*wake)(void *arg), void *arg,
		     struct net_wheel **out);
void net_wheel_destroy(struct net_wheel *w);
/* Fires every timer that is due. Returns the number fired. */
int net_wheel_run(struct net_wheel *w);
/* Time of the next expiry (a lower bound), INT64_MAX when nothing is armed. */
int64_t net_wheel_next(struct net_wheel *w);

/*
 * Virtual clock: time stands still until it is advanced; timers fire in exact order of expiry.
 * Randomness is a seeded generator, so a run can be repeated. For tests and fuzzing.
 */
struct net_vclock;
int net_vclock_create(struct net_env *env, uint64_t seed, struct net_vclock **out);
void net_vclock_destroy(struct net_vclock *v);
int64_t net_vclock_now(struct net_vclock *v);
/* Moves time forward to `until`, firing timers on the way, each at its own time. */
void net_vclock_run(struct net_vclock *v, int64_t until);
/* Time of the next expiry, INT64_MAX when nothing is armed. */
int64_t net_vclock_next(struct net_vclock *v);

/* ------------------------------------------------------------------------------------- stack */

enum net_event_kind {
	NET_EVENT_LINK_NEW,
	NET_EVENT_LINK_DEL,
	NET_EVENT_LINK_CHANGE,
	NET_EVENT_ADDR_NEW,
	NET_EVENT_ADDR_DEL,
	NET_EVENT_ROUTE_NEW,
	NET_EVENT_ROUTE_DEL,
	NET_EVENT_NEIGH_NEW, /* created or changed */
	NET_EVENT_NEIGH_DEL,
};

struct net_event;

/*
 * What stacks may have together, besides the limits of each. The embedder's, all zero but for the
 * limits; it outlives the stacks and every buffer of theirs.
 */
struct net_budget {
	size_t memory_limit; /* of packet and socket buffer memory, bytes */
	unsigned links_limit;
	_Atomic size_t memory;
	_Atomic unsigned links;
};

struct net_config {
	struct net_env env;
	/* What the stack shares with others; NULL: nothing. */
	struct net_budget *budget;
	/* Its name in net_link_info.peer_stack. */
	uint64_t id;
	/* Upper bound of all packet and socket buffer memory. 0: 64 MiB. */
	size_t memory_limit;
	/* Buckets of the connection table, a power of two. 0: 2048. */
	unsigned hash_buckets;
	/* Called after each configuration change; may be NULL. */
	void (*event)(void *ctx, struct netstack *s, const struct net_event *ev);
	void *event_ctx;
	/* Opaque to the stack; netstack_user() returns it. */
	void *user;
	/* Nothing of the stack is left that would use `env` or `user`, but for memory that is given
	 * back; perhaps on a timer's thread, in its call. May be NULL. */
	void (*released)(void *user);
};

/*
 * A new stack with a loopback link "lo" (index 1, down, no address: as in a new namespace of
 * Linux). -ENOMEM, -EINVAL (an env function is missing).
 */
int netstack_create(const struct net_config *config, struct netstack **out);
/*
 * Takes the stack down: links are detached, connections are dropped without a word to the peer,
 * and the creator's reference goes. Endpoints that the embedder still holds answer -ENETDOWN.
 * The memory goes with the last reference.
 */
void netstack_destroy(struct netstack *s);
void *netstack_user(struct netstack *s);
/* Bytes of packet memory now in use, and the most that it has been. */
size_t netstack_memory(struct netstack *s, size_t *peak);

/*
 * Tunables by their Linux names without the leading "net.": "ipv4.tcp_rmem", "ipv4.ip_local_port_
 * range", "core.somaxconn" ... Up to `n` values. Returns the number of values that the tunable
 * has; -ENOENT for an unknown name, -EINVAL for values out of range.
 */
int netstack_sysctl_get(struct netstack *s, const char *name, long *values, int n);
int netstack_sysctl_set(struct netstack *s, const char *name, const long *values, int n);
/* The i-th tunable's name, NULL past the last one. */
const char *netstack_sysctl_name(int i);

/* The i-th counter of /proc/net/snmp and /proc/net/netstat: "Tcp.RetransSegs". False past end. */
bool netstack_counter(struct netstack *s, int i, const char **name, uint64_t *value);

/* ------------------------------------------------------------------------------------- links */

enum net_link_kind {
	NET_LINK_LOOPBACK,
	NET_LINK_DUMMY,
	NET_LINK_VETH,
	NET_LINK_BRIDGE,
	NET_LINK_FD,
	NET_LINK_CUSTOM,
};

/* What a link's transmit side can do itself; the stack does the rest in software. */
#define NET_F_CSUM 0x01	   /* finish TCP and UDP checksums */
#define NET_F_TSO4 0x02	   /* cut TCP over IPv4 into segments */
#define NET_F_TSO6 0x04	   /* cut TCP over IPv6 into segments */
#define NET_F_USO 0x08	   /* cut UDP into datagrams (UDP_SEGMENT) */
#define NET_F_RXCSUM 0x10  /* checksums of received packets have been verified */
#define NET_F_GRO 0x20	   /* merge received TCP segments in software */
#define NET_F_VLAN 0x40	   /* pass 802.1Q frames up (stripped); default is to drop them */
#define NET_F_TRUSTED 0x80 /* partial checksums of received packets are accepted unfinished */

struct net_link_stats {
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes;
	uint64_t rx_errors, tx_errors, rx_dropped, tx_dropped, multicast;
};

struct net_link_info {
	int index;
	char name[16];
	enum net_link_kind kind;
	unsigned flags;	     /* IFF_* of <net/if.h>; IFF_RUNNING: up, with a carrier */
	unsigned short type; /* ARPHRD_* */
	unsigned mtu;
	unsigned features; /* NET_F_* */
	uint8_t addr[6];
	uint8_t broadcast[6];
	int master;	     /* index of the bridge that it is a port of, or 0 */
	int peer;	     /* index of a veth's other end in its stack, or 0 */
	bool peer_away;	     /* that is another stack than the link's */
	uint64_t peer_stack; /* net_config.id of that */
	unsigned txqlen;     /* packets in the fifo queueing discipline, 0: none */
	struct net_link_stats stats;
};

/* A link that the embedder (or a test) implements. */
struct net_link_ops {
	/*
	 * Sends one frame (with its Ethernet header, unless type is ARPHRD_NONE or loopback);
	 * consumes the buffer. Called with locks of endpoints held: it may queue or write to an fd
	 * but must not call back into any stack; do that in flush.
	 */
	int (*xmit)(struct net_link *l, void *priv, struct nbuf *b);
	/* Called with no locks held, after one or more xmit; may be NULL. */
	void (*flush)(struct net_link *l, void *priv);
	/* The link is gone; may be NULL. */
	void (*release)(void *priv);
};

struct net_link_config {
	char name[16];	 /* "": ethN, vethN ... chosen; "eth%d" works too */
	int index;	 /* wished for; when it is 0 or in use, the next free one is taken */
	uint8_t addr[6]; /* all zero: a random, locally administered one */
	unsigned mtu;	 /* 0: the kind's default */
	unsigned features;
	unsigned gso_max;    /* largest packet given to xmit with TSO; 0: 65536 */
	unsigned txqlen;     /* packets of the fifo; 0: no queue */
	unsigned short type; /* ARPHRD_ETHER (0 means that), ARPHRD_NONE for raw IP */
};

/*
 * Adds links, all down. *out (may be NULL) gets a reference for the caller. -EEXIST for a name in
 * use, -EINVAL for a bad name or MTU, -ENFILE for too many links.
 */
int net_link_add_loopback(struct netstack *s, const struct net_link_config *c,
			  struct net_link **out);
int net_link_add_dummy(struct netstack *s, const struct net_link_config *c, struct net_link **out);
int net_link_add_bridge(struct netstack *s, const struct net_link_config *c, struct net_link **out);
/* A pair; the ends may be in two stacks. Removing one end removes the other. */
int net_link_add_veth(struct netstack *s1, const struct net_link_config *c1, struct net_link **out1,
		      struct netstack *s2, const struct net_link_config *c2,
		      struct net_link **out2);
int net_link_add_custom(struct netstack *s, const struct net_link_config *c,
			const struct net_link_ops *ops, void *priv, struct net_link **out);
/*
 * Moves a dummy link or one end of a veth pair to another stack: there it is down, without
 * addresses and of no bridge, under `name` (NULL: its own; "eth%d" works, too), with its index if
 * that is free. What is bound to it sees it go; `l` stays the caller's and is of no more use. *out
 * (may be NULL) gets a reference to what it has become. -EINVAL: loopbacks and bridges stay where
 * they are; -EOPNOTSUPP: other kinds; -EEXIST: the name is in use there; -ENODEV: it is being
 * removed; -ENFILE, -ENOMEM, -ENETDOWN: the stack is being destroyed.
 */
int net_link_move(struct net_link *l, struct netstack *to, const char *name, struct net_link **out);

/* How an fd link moves frames. */
enum net_fd_mode {
	NET_FD_AUTO,  /* the fastest as measured (docs/NETSTACK.md): sends by io_uring where that is
			 allowed, receives by system calls */
	NET_FD_MMSG,  /* recvmmsg and sendmmsg (sockets), readv and writev (TAP) */
	NET_FD_URING, /* io_uring both ways, as far as the kernel allows it */
};
#define NET_FD_MAX_QUEUES 16
struct net_fd_config {
	struct net_link_config link;
	int fds[NET_FD_MAX_QUEUES]; /* AF_PACKET SOCK_RAW sockets, bound; or TAP queue fds */
	unsigned nfds;
	bool is_tap;
	bool vnet_hdr; /* frames carry struct virtio_net_hdr (10 bytes): PACKET_VNET_HDR,
			  IFF_VNET_HDR */
	enum net_fd_mode mode;
};
/*
 * A link over file descriptors that the embedder opened and keeps open until net_link_remove has
 * returned (the link does not close them). The embedder waits until net_link_fd_wait_fd(q) is
 * readable and calls net_link_fd_poll(q), best from one thread per queue. TAP fds are made
 * nonblocking, and with vnet_hdr their offloads are switched on. NET_F_USO is taken away where the
 * kernel is too old for it (before 6.2). -EINVAL when an fd is not what c says: not an AF_PACKET
 * SOCK_RAW socket or an IFF_TAP | IFF_NO_PI queue (IFF_TUN when link.type is ARPHRD_NONE), or with
 * another virtio-net header than vnet_hdr says.
 */
int net_link_add_fd(struct netstack *s, const struct net_fd_config *c, struct net_link **out);
/*
 * Reads and processes at most `budget` frames of queue q, and no more than about 1 MiB, so that
 * readers get at them while they are in the CPU's cache. Returns the number processed: 0 when
 * nothing was there. -ENETDOWN when the link has been removed; -EIO and others from the fd.
 */
int net_link_fd_poll(struct net_link *l, unsigned q, int budget);
/*
 * Looks for up to ns nanoseconds whether queue q has frames, without sleeping: between two CPUs
 * waking a thread can cost more than what it then does. True: net_link_fd_poll has work. Where
 * it has looked in vain (nothing came, or the peer would need this CPU), later calls return at
 * once, so that a thread may call it each time before it sleeps.
 */
bool net_link_fd_spin(struct net_link *l, unsigned q, int64_t ns);
/*
 * The fd to wait on for queue q: readable when net_link_fd_poll has work. With io_uring it is the
 * ring's, belongs to the link, and stays valid (and readable) after removal until the caller's
 * reference to the link goes; net_link_fd_poll must then have been called once before the first
 * wait, by the thread that goes on to call it. Without io_uring it is fds[q].
 */
int net_link_fd_wait_fd(struct net_link *l, unsigned q);
/*
 * How the link moves frames: NET_FD_URING by rings both ways, NET_FD_AUTO only sends by them,
 * NET_FD_MMSG uses none. *why (may be NULL): 0, or why there are fewer than were asked for: -EPERM
 * or -ENOSYS from io_uring_setup, -EOPNOTSUPP when the kernel lacks an operation (to receive,
 * AF_PACKET needs Linux 6.0 and TAP 6.7). Nobody need do anything about it.
 */
enum net_fd_mode net_link_fd_mode(struct net_link *l, int *why);

/*
 * Gives a received frame to the stack (custom links); consumes the buffer. Runs the whole input
 * path on this thread. Frames start with the Ethernet header. GSO and checksum state are taken
 * from the buffer (netstack/buffer/nbuf.h).
 */
void net_link_input(struct net_link *l, struct nbuf *b);
/* The same for frames that lie in memory; copies them. -ENOBUFS at the memory limit. */
int net_link_input_mem(struct net_link *l, const void *frame, size_t len);

struct net_link *net_link_get(struct net_link *l);
void net_link_put(struct net_link *l);
/* A reference to the link with this index or name, or NULL. */
struct net_link *net_link_by_index(struct netstack *s, int index);
struct net_link *net_link_by_name(struct netstack *s, const char *name);
/* Removes the link with its addresses, routes and neighbours. The reference stays the caller's.
 * -ENODEV: that has been done. */
int net_link_remove(struct net_link *l);
struct netstack *net_link_stack(struct net_link *l);

void net_link_info(struct net_link *l, struct net_link_info *info);
/* IFF_UP, IFF_PROMISC, IFF_ALLMULTI, IFF_NOARP, IFF_MULTICAST can be changed. */
int net_link_set_flags(struct net_link *l, unsigned flags, unsigned mask);
int net_link_set_mtu(struct net_link *l, unsigned mtu);
int net_link_set_addr(struct net_link *l, const uint8_t addr[6]);
int net_link_set_name(struct net_link *l, const char *name);
int net_link_set_txqlen(struct net_link *l, unsigned packets);
/* Makes the link a port of a bridge, or of none (NULL). */
int net_link_set_master(struct net_link *l, struct net_link *bridge);
/*
 * Writes every frame of the link to fd in pcap format (nanosecond magic), -1 to stop. The fd is
 * not owned. Write errors end the capture. snaplen 0: whole packets.
 */
int net_link_capture(struct net_link *l, int fd, unsigned snaplen);

/* ------------------------------------------------------ addresses, routes, neighbours (netlink) */

#define NET_FOREVER UINT32_MAX /* a lifetime that does not end, as in struct ifa_cacheinfo */

struct net_addr_info {
	int ifindex;
	int family;
	struct in6_addr addr;	   /* IPv4: the first 4 bytes of s6_addr */
	struct in6_addr broadcast; /* IPv4 only; 0.0.0.0: none */
	uint8_t prefix;
	uint8_t scope;	    /* RT_SCOPE_* */
	uint32_t flags;	    /* IFA_F_* (tentative, dadfailed, permanent, deprecated, nodad ...) */
	uint32_t valid;	    /* seconds left, NET_FOREVER */
	uint32_t preferred; /* seconds left, NET_FOREVER */
};

/*
 * Adds or removes an address as RTM_NEWADDR and RTM_DELADDR do, with the local and prefix routes
 * that belong to it. IPv6 addresses go through DAD (RFC 4862 §5.4) unless IFA_F_NODAD is set.
 * -EEXIST, -EADDRNOTAVAIL (remove), -ENODEV, -EINVAL. Zero lifetimes of an add mean NET_FOREVER.
 */
int net_addr_add(struct netstack *s, const struct net_addr_info *a);
int net_addr_del(struct netstack *s, const struct net_addr_info *a);

/* type is RTN_UNICAST, _LOCAL, _BROADCAST, _BLACKHOLE, _UNREACHABLE, _PROHIBIT, _MULTICAST. */
struct net_route_info {
	int family;
	struct in6_addr dst;
	uint8_t prefix;
	uint8_t type;
	uint8_t scope;
	uint8_t protocol; /* RTPROT_* */
	uint8_t has_gateway;
	uint32_t table; /* RT_TABLE_MAIN, RT_TABLE_LOCAL; 0: main */
	uint32_t metric;
	uint32_t mtu; /* 0: the link's */
	int ifindex;  /* 0 for blackhole, unreachable and prohibit, or found from the gateway */
	struct in6_addr gateway;
	struct in6_addr src; /* preferred source, all zero: chosen */
	uint32_t expires;    /* seconds left; 0: never */
};

/* -EEXIST, -ESRCH (remove), -ENETUNREACH (gateway not on a link), -ENODEV, -ENETDOWN, -EINVAL. */
int net_route_add(struct netstack *s, const struct net_route_info *r);
int net_route_del(struct netstack *s, const struct net_route_info *r);
/*
 * The route that a packet to dst would take, as `ip route get`: fills r, with src set to the
 * source address that would be chosen. oif 0 and src NULL: any. -ENETUNREACH, -EHOSTUNREACH,
 * -EACCES, -EINVAL by the route's type.
 */
int net_route_get(struct netstack *s, int family, const struct in6_addr *dst,
		  const struct in6_addr *src, int oif, struct net_route_info *r);

struct net_neigh_info {
	int ifindex;
	int family;
	struct in6_addr addr;
	uint8_t lladdr[6];
	uint16_t state; /* NUD_* */
	uint8_t flags;	/* NTF_ROUTER */
};
int net_neigh_add(struct netstack *s, const struct net_neigh_info *n);
int net_neigh_del(struct netstack *s, const struct net_neigh_info *n);

/*
 * Iteration. fn is called with a copy of each entry, with no lock held; it returns 0 to go on,
 * anything else ends the walk and is returned. Entries that come or go meanwhile may be missed.
 */
int net_link_each(struct netstack *s, int (*fn)(void *arg, const struct net_link_info *i),
		  void *arg);
int net_addr_each(struct netstack *s, int (*fn)(void *arg, const struct net_addr_info *i),
		  void *arg);
int net_route_each(struct netstack *s, int (*fn)(void *arg, const struct net_route_info *i),
		   void *arg);
int net_neigh_each(struct netstack *s, int (*fn)(void *arg, const struct net_neigh_info *i),
		   void *arg);

struct net_event {
	enum net_event_kind kind;
	union {
		struct net_link_info link;
		struct net_addr_info addr;
		struct net_route_info route;
		struct net_neigh_info neigh;
	};
};

/* --------------------------------------------------------------------------------- endpoints */

/*
 * Told when readiness may have changed for the better (or an error or hang-up came): `events` are
 * EPOLL* bits. Edge-like: it is called after the change, possibly when nothing is left to do.
 */
struct net_ep_ops {
	void (*ready)(struct net_ep *ep, void *user, uint32_t events);
};

/*
 * A new endpoint:
 *   AF_INET, AF_INET6: SOCK_STREAM (IPPROTO_TCP), SOCK_DGRAM (IPPROTO_UDP, IPPROTO_ICMP,
 *   IPPROTO_ICMPV6), SOCK_RAW (any protocol but 0); AF_PACKET: SOCK_RAW, SOCK_DGRAM (protocol is
 *   htons(ETH_P_*)). Protocol 0 is the default of the type. SOCK_NONBLOCK, SOCK_CLOEXEC are masked.
 * ops may be NULL; it and user are used until net_ep_close. -EAFNOSUPPORT, -ESOCKTNOSUPPORT,
 * -EPROTONOSUPPORT, -ENOBUFS.
 */
int net_ep_create(struct netstack *s, int family, int type, int protocol,
		  const struct net_ep_ops *ops, void *user, struct net_ep **out);
/*
 * Sets ops and user of an endpoint that accept returned, or changes them. A call of the old ones
 * may still be running on another thread when it returns.
 */
void net_ep_set_ops(struct net_ep *ep, const struct net_ep_ops *ops, void *user);
/*
 * Closes: no callback starts after it has returned. TCP goes on by itself in the background (FIN,
 * TIME_WAIT, or RST if data is unread or SO_LINGER is on with 0: RFC 9293 §3.6, RFC 1122
 * §4.2.2.13). A blocking lingering close is the embedder's: net_ep_shutdown(SHUT_RDWR), wait until
 * net_ep_lingering() is false or the linger time is over, then net_ep_close.
 */
void net_ep_close(struct net_ep *ep);
/* True while data or the FIN of a shut down TCP connection is not acknowledged. */
bool net_ep_lingering(struct net_ep *ep);
struct net_ep *net_ep_get(struct net_ep *ep);
void net_ep_put(struct net_ep *ep);

int net_ep_bind(struct net_ep *ep, const struct sockaddr *addr, socklen_t len);
/*
 * TCP: starts the handshake, -EINPROGRESS; then -EALREADY until it is done, then 0 once, then
 * -EISCONN; a failed attempt reports its error once (as SO_ERROR does). Others: sets the peer;
 * AF_UNSPEC dissolves it.
 */
int net_ep_connect(struct net_ep *ep, const struct sockaddr *addr, socklen_t len);
/* backlog is clamped to core.somaxconn. -EINVAL (connected), -EADDRINUSE, -EOPNOTSUPP. */
int net_ep_listen(struct net_ep *ep, int backlog);
/* *out is a new endpoint without ops (set them). -EAGAIN, -EINVAL (not listening). */
int net_ep_accept(struct net_ep *ep, struct net_ep **out);
/* SHUT_RD, SHUT_WR, SHUT_RDWR. -ENOTCONN. */
int net_ep_shutdown(struct net_ep *ep, int how);
/* *len: in the room, out the length of the address, which may be more than the room. */
int net_ep_local(struct net_ep *ep, struct sockaddr *addr, socklen_t *len);
int net_ep_remote(struct net_ep *ep, struct sockaddr *addr, socklen_t *len);
/* EPOLL* bits as poll would report them. */
uint32_t net_ep_readiness(struct net_ep *ep);
/* SIOCINQ, SIOCOUTQ, SIOCATMARK, SIOCOUTQNSD of <linux/sockios.h>; -EINVAL, -ENOTTY. */
int net_ep_ioctl(struct net_ep *ep, unsigned long request, int *value);

struct net_msg {
	struct sockaddr *name; /* send: destination or NULL; receive: source goes here, or NULL */
	socklen_t namelen;     /* receive: in the room, out the length of the address */
	const struct iovec *iov;
	size_t iovcnt;
	void *control;	   /* Linux cmsgs */
	size_t controllen; /* receive: in the room, out what was written */
	int flags;	   /* receive: out MSG_TRUNC, MSG_CTRUNC, MSG_ERRQUEUE, MSG_OOB, MSG_EOR */
};
/*
 * flags: MSG_OOB, MSG_MORE, MSG_NOSIGNAL and MSG_DONTWAIT (ignored), MSG_CONFIRM, MSG_DONTROUTE.
 * TCP takes what fits (a short count), -EAGAIN when nothing does, -EPIPE after shutdown (the
 * embedder raises SIGPIPE).
 */
ssize_t net_ep_sendmsg(struct net_ep *ep, const struct net_msg *msg, int flags);
/*
 * flags: MSG_PEEK, MSG_TRUNC, MSG_OOB, MSG_ERRQUEUE, MSG_DONTWAIT (ignored). TCP returns 0 at the
 * end of the stream. SO_RCVLOWAT and MSG_WAITALL are the embedder's to loop for.
 */
ssize_t net_ep_recvmsg(struct net_ep *ep, struct net_msg *msg, int flags);

/*
 * The same without copying. Send: the buffer's bytes (a TCP stream's next ones, or one datagram)
 * are sent; the reference is consumed when the return is >= 0. A TCP endpoint takes the whole
 * buffer or -EAGAIN; the bytes must not change until the last reference is gone. Receive: *out is
 * a read-only buffer with 1..max bytes of the stream, or one datagram. With MSG_PEEK the data stay
 * queued; MSG_TRUNC with a NULL iovec in net_ep_recvmsg then drops them.
 */
ssize_t net_ep_send_nbuf(struct net_ep *ep, const struct sockaddr *to, socklen_t tolen,
			 struct nbuf *b, int flags);
ssize_t net_ep_recv_nbuf(struct net_ep *ep, size_t max, int flags, struct nbuf **out,
			 struct sockaddr *from, socklen_t *fromlen);

/*
 * Levels SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SOL_UDP, IPPROTO_RAW, SOL_PACKET,
 * IPPROTO_ICMPV6 with Linux's names and structures (64-bit layout). SO_ATTACH_FILTER's program
 * pointer is followed: the embedder copies the program first. -ENOPROTOOPT for what is unknown.
 */
int net_ep_setsockopt(struct net_ep *ep, int level, int name, const void *val, socklen_t len);
int net_ep_getsockopt(struct net_ep *ep, int level, int name, void *val, socklen_t *len);

/* One endpoint as /proc/net/tcp and sock_diag show it. */
struct net_ep_info {
	int family, type, protocol;
	int state; /* TCP_ESTABLISHED ... of <netinet/tcp.h>; TCP_CLOSE for unconnected others */
	struct sockaddr_storage local, remote;
	int ifindex;		 /* SO_BINDTODEVICE */
	uint32_t rqueue, wqueue; /* bytes; of a listener: accept queue length and backlog */
	uint8_t timer;		 /* 0 none, 1 retransmit, 2 keepalive, 3 time-wait, 4 probe */
	uint8_t retransmits;
	uint32_t timer_ms;
	uint64_t drops;
	void *user;	   /* as given to net_ep_create; NULL for orphans */
	struct net_ep *ep; /* valid during the call only */
};
/* protocol 0: all of them; IPPROTO_TCP, IPPROTO_UDP, ...; includes TIME_WAIT and SYN_RECV. */
int net_ep_each(struct netstack *s, int protocol, int (*fn)(void *arg, const struct net_ep_info *i),
		void *arg);

#endif
