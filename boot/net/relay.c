/*
 * One thread. It has a UDP endpoint and a TCP listener on ports of 127.0.0.11 that the stack
 * chooses; the sockets of guests are brought there (inet_resolver_set()). Endpoints tell by an
 * eventfd that there is something to do; then all of them are looked at.
 */
#include "boot/net/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/log.h"
#include "base/thread.h"
#include "boot/net/resolver.h"
#include "netstack/egress.h"
#include "netstack/netstack.h"
#include "sentry/net/inet/show.h"

#define STACK ((size_t)256 << 10)
#define RELAYS 64      /* of network namespaces with such a server */
#define CLIENTS 512    /* that asked over UDP last */
#define CONNECTIONS 32 /* over TCP, at one time */
#define BATCH 64       /* questions before answers are looked at */
#define BUFFER (RESOLVER_MESSAGE_MAX + 2)
#define REFUSAL 512 /* bytes of an answer that is made here */

struct client {
	uint32_t id; /* 0: free */
	struct sockaddr_in addr;
};

/* A TCP connection: reads a question, waits for its answer, writes that, and so on. */
struct connection {
	struct net_ep *ep;  /* NULL: free */
	uint32_t id;	    /* of the question under way; 0: none */
	unsigned char *buf; /* owned; two bytes of length, then the message */
	size_t have;	    /* question: bytes read; answer: written */
	size_t answer;	    /* its bytes; 0: there is none */
	uint64_t used;	    /* when it did something last, in turns of the loop */
};

struct relay {
	struct netstack *stack;
	int sock, wake; /* the latter's place in wakes */
	struct net_ep *udp, *tcp;
	uint32_t last_id;
	uint64_t turn;
	struct client clients[CLIENTS];
	struct connection connections[CONNECTIONS];
	struct {
		struct resolver_header header;
		unsigned char data[RESOLVER_MESSAGE_MAX];
	} message;
};

/* Endpoints of the sentry's own have no user, for that would be a guest's socket: all relays are
 * woken. An eventfd stays for ever, since callbacks may still be about; the next relay takes it. */
static struct {
	_Atomic int fd; /* 0: not made yet */
	_Atomic bool used;
} wakes[RELAYS];

static int wake_take(void)
{
	for (int i = 0; i < RELAYS; i++) {
		bool used = false;
		int fd;

		if (!atomic_compare_exchange_strong(&wakes[i].used, &used, true))
			continue;
		if (atomic_load(&wakes[i].fd))
			return i;
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fd > 0) {
			atomic_store(&wakes[i].fd, fd);
			return i;
		}
		atomic_store(&wakes[i].used, false);
		return -EMFILE;
	}
	return -ENOSPC;
}

static void ready(struct net_ep *ep, void *user, uint32_t events)
{
	uint64_t one = 1;

	for (int i = 0; i < RELAYS; i++)
		if (atomic_load(&wakes[i].used))
			(void)!write(atomic_load(&wakes[i].fd), &one, sizeof(one));
	(void)ep;
	(void)user;
	(void)events;
}

static const struct net_ep_ops ops = {.ready = ready};

/* Ids say which slot is meant: modulo CLIENTS over UDP, modulo CONNECTIONS over TCP. */
static uint32_t next_id(struct relay *r)
{
	if (!++r->last_id)
		++r->last_id;
	return r->last_id;
}

static struct in6_addr server_address(void)
{
	struct in6_addr a = {.s6_addr = {[10] = 0xff, 0xff, 127, 0, 0, 11}};

	return a;
}

/* May it be asked? Otherwise *answer is what to say; its length, 0: nothing. */
static bool may_ask(struct relay *r, uint32_t id, const void *question, size_t n,
		    unsigned char answer[REFUSAL], size_t *answer_len)
{
	struct in6_addr server = server_address();

	if (!net_egress_question(r->stack, &server, id, question, n))
		return true;
	*answer_len = net_egress_refuse(question, n, answer, REFUSAL);
	return false;
}

/* False if the process does not take it now. */
static bool pass_question(struct relay *r, uint32_t id, bool tcp, const void *data, size_t n)
{
	struct resolver_header header = {.id = id, .tcp = tcp};
	struct iovec iov[] = {{&header, sizeof(header)}, {(void *)(uintptr_t)data, n}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	return sendmsg(r->sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

/* --- UDP -------------------------------------------------------------------------------------- */

static void send_datagram(struct relay *r, struct sockaddr_in *to, const void *data, size_t n)
{
	struct iovec iov = {(void *)(uintptr_t)data, n};
	struct net_msg msg = {
		.name = (struct sockaddr *)to,
		.namelen = sizeof(*to),
		.iov = &iov,
		.iovcnt = 1,
	};

	net_ep_sendmsg(r->udp, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static bool take_datagram(struct relay *r)
{
	struct iovec iov = {r->message.data, sizeof(r->message.data)};
	struct sockaddr_in from;
	struct net_msg msg = {
		.name = (struct sockaddr *)&from,
		.namelen = sizeof(from),
		.iov = &iov,
		.iovcnt = 1,
	};
	ssize_t n = net_ep_recvmsg(r->udp, &msg, MSG_DONTWAIT);
	unsigned char refusal[REFUSAL];
	size_t len;
	uint32_t id;

	if (n < 0)
		return n != -EAGAIN && n != -ENETDOWN;
	if (n == 0 || msg.namelen != sizeof(from))
		return true;
	id = next_id(r);
	if (!may_ask(r, id, r->message.data, (size_t)n, refusal, &len)) {
		if (len)
			send_datagram(r, &from, refusal, len);
		return true;
	}
	r->clients[id % CLIENTS] = (struct client){.id = id, .addr = from};
	/* What is not taken is lost: it will be asked again. */
	pass_question(r, id, false, r->message.data, (size_t)n);
	return true;
}

static void answer_datagram(struct relay *r, size_t n)
{
	struct client *c = &r->clients[r->message.header.id % CLIENTS];

	if (!c->id || c->id != r->message.header.id)
		return;
	send_datagram(r, &c->addr, r->message.data, n);
	c->id = 0;
}

/* --- TCP -------------------------------------------------------------------------------------- */

static void connection_end(struct connection *c)
{
	if (c->ep)
		net_ep_close(c->ep);
	free(c->buf);
	memset(c, 0, sizeof(*c));
}

static bool take_connection(struct relay *r)
{
	struct connection *c = &r->connections[0];
	struct net_ep *ep;

	if (net_ep_accept(r->tcp, &ep))
		return false;
	for (unsigned i = 0; i < CONNECTIONS && c->ep; i++)
		if (!r->connections[i].ep || r->connections[i].used < c->used)
			c = &r->connections[i];
	connection_end(c);
	c->buf = malloc(BUFFER);
	if (!c->buf) {
		net_ep_close(ep);
		return true;
	}
	c->ep = ep;
	c->used = r->turn;
	net_ep_set_ops(ep, &ops, NULL);
	return true;
}

static size_t message_size(const struct connection *c)
{
	return 2 + ((size_t)c->buf[0] << 8 | c->buf[1]);
}

/* Moves bytes of the question (to: reads) or the answer. False: there is nothing more to do now. */
static bool move(struct relay *r, struct connection *c, size_t end, bool reads)
{
	struct iovec iov = {c->buf + c->have, end - c->have};
	struct net_msg msg = {.iov = &iov, .iovcnt = 1};
	ssize_t n = reads ? net_ep_recvmsg(c->ep, &msg, MSG_DONTWAIT)
			  : net_ep_sendmsg(c->ep, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n == -EAGAIN)
		return false;
	if (n <= 0) {
		connection_end(c);
		return false;
	}
	c->have += (size_t)n;
	c->used = r->turn;
	return true;
}

/* What the connection is to write next. */
static void put_answer(struct connection *c, const void *data, size_t n)
{
	c->buf[0] = (unsigned char)(n >> 8);
	c->buf[1] = (unsigned char)n;
	memcpy(c->buf + 2, data, n);
	c->id = 0;
	c->have = 0;
	c->answer = n + 2;
}

/* Asks what has been read whole. */
static bool ask(struct relay *r, struct connection *c)
{
	uint32_t slot = (uint32_t)(c - r->connections), id = next_id(r);
	unsigned char refusal[REFUSAL];
	size_t len;

	id += (slot + CONNECTIONS - id % CONNECTIONS) % CONNECTIONS;
	r->last_id = id;
	if (message_size(c) > 2 &&
	    !may_ask(r, id, c->buf + 2, message_size(c) - 2, refusal, &len)) {
		put_answer(c, refusal, len);
		if (!len)
			connection_end(c);
		return len != 0;
	}
	if (message_size(c) == 2 || !pass_question(r, id, true, c->buf + 2, message_size(c) - 2)) {
		connection_end(c);
		return false;
	}
	c->id = id;
	return true;
}

static void serve_connection(struct relay *r, struct connection *c)
{
	bool more = true;

	while (more && c->ep) {
		if (c->answer) {
			more = move(r, c, c->answer, false);
			if (c->ep && c->have == c->answer)
				c->have = c->answer = 0;
		} else if (c->id) {
			more = false;
			/* Nobody waits any more. */
			if (net_ep_readiness(c->ep) & (EPOLLHUP | EPOLLERR))
				connection_end(c);
		} else if (c->have < 2) {
			more = move(r, c, 2, true);
		} else if (c->have < message_size(c)) {
			more = move(r, c, message_size(c), true);
		} else {
			more = ask(r, c);
		}
	}
}

static void answer_connection(struct relay *r, size_t n)
{
	struct connection *c = &r->connections[r->message.header.id % CONNECTIONS];

	if (!c->ep || !c->id || c->id != r->message.header.id || n > RESOLVER_MESSAGE_MAX)
		return;
	put_answer(c, r->message.data, n);
	serve_connection(r, c);
}

/* --- the loop --------------------------------------------------------------------------------- */

/* False when the process is gone. */
static bool take_answer(struct relay *r)
{
	ssize_t n = recv(r->sock, &r->message, sizeof(r->message), MSG_DONTWAIT | MSG_TRUNC);
	struct in6_addr server = server_address();
	size_t len;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	if (n <= (ssize_t)sizeof(r->message.header) || n > (ssize_t)sizeof(r->message))
		return true;
	len = (size_t)n - sizeof(r->message.header);
	net_egress_answer(r->stack, &server, r->message.header.id, r->message.data, len);
	if (r->message.header.tcp)
		answer_connection(r, len);
	else
		answer_datagram(r, len);
	return true;
}

static void relay_free(struct relay *r)
{
	for (unsigned i = 0; i < CONNECTIONS; i++)
		connection_end(&r->connections[i]);
	if (r->udp)
		net_ep_close(r->udp);
	if (r->tcp)
		net_ep_close(r->tcp);
	if (r->wake >= 0)
		atomic_store(&wakes[r->wake].used, false);
	free(r);
}

static void *run(void *arg)
{
	struct relay *r = arg;
	int wake = atomic_load(&wakes[r->wake].fd);
	bool alive = true;
	uint64_t n;

	while (alive) {
		struct pollfd fds[] = {
			{.fd = r->sock, .events = POLLIN},
			{.fd = wake, .events = POLLIN},
		};

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			break;
		r->turn++;
		if (fds[0].revents)
			alive = take_answer(r);
		if (!fds[1].revents || read(wake, &n, sizeof(n)) < 0)
			continue;
		for (int i = 0; i < BATCH && take_datagram(r); i++)
			if (i == BATCH - 1)
				ready(NULL, NULL, 0);
		while (take_connection(r))
			;
		for (unsigned i = 0; i < CONNECTIONS; i++)
			serve_connection(r, &r->connections[i]);
	}
	log_info("the process that asks the name server is gone: 127.0.0.11 does not answer");
	close(r->sock);
	relay_free(r);
	return NULL;
}

static int open_endpoint(struct netstack *s, int type, struct net_ep **out, unsigned *port)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(RESOLVER_ADDRESS),
	};
	socklen_t len = sizeof(at);
	int ret = net_ep_create(s, AF_INET, type, 0, &ops, NULL, out);

	if (!ret)
		ret = net_ep_bind(*out, (struct sockaddr *)&at, sizeof(at));
	if (!ret && type == SOCK_STREAM)
		ret = net_ep_listen(*out, CONNECTIONS);
	if (!ret)
		ret = net_ep_local(*out, (struct sockaddr *)&at, &len);
	*port = ntohs(at.sin_port);
	return ret;
}

int relay_start(struct netstack *s, int sock)
{
	struct relay *r = calloc(1, sizeof(*r));
	unsigned udp, tcp;
	int ret;

	if (!r)
		return -ENOMEM;
	r->sock = sock;
	r->stack = s;
	r->wake = wake_take();
	ret = r->wake < 0 ? r->wake : open_endpoint(s, SOCK_DGRAM, &r->udp, &udp);
	if (!ret)
		ret = open_endpoint(s, SOCK_STREAM, &r->tcp, &tcp);
	if (!ret)
		ret = thread_start_quiet(run, r, STACK);
	if (ret) {
		relay_free(r);
		return ret;
	}
	inet_resolver_set(s, udp, tcp);
	return 0;
}
