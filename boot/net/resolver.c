/* The process that asks 127.0.0.11: one loop over a socket per question. */
#include "boot/net/resolver.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/fds.h"
#include "filter/filter.h"

#define NOBODY 65534
#define QUESTIONS_MAX 128
#define TIMEOUT_NS (20 * NSEC_PER_SEC)

/* One that waits for its answer. */
struct question {
	int fd; /* -1: free */
	uint32_t id;
	bool tcp;
	int64_t asked;
	/* TCP: what is to be sent, then what has come. */
	unsigned char *buf; /* owned; two bytes of length, then the message */
	size_t have, want;
	bool sending;
};

struct resolver {
	int sock;
	struct question questions[QUESTIONS_MAX];
	struct {
		struct resolver_header header;
		unsigned char data[RESOLVER_MESSAGE_MAX + 2];
	} message;
};

static void forget(struct question *q)
{
	close_fd_ptr(&q->fd);
	free(q->buf);
	q->buf = NULL;
}

static struct question *find_free(struct resolver *r)
{
	struct question *oldest = &r->questions[0];

	for (unsigned i = 0; i < QUESTIONS_MAX; i++) {
		struct question *q = &r->questions[i];

		if (q->fd < 0)
			return q;
		if (q->asked < oldest->asked)
			oldest = q;
	}
	forget(oldest);
	return oldest;
}

/* An answer that the sandbox does not take is lost, as on a network. */
static void answer(struct resolver *r, const struct question *q, size_t n)
{
	r->message.header = (struct resolver_header){.id = q->id, .tcp = q->tcp};
	send(r->sock, &r->message, sizeof(r->message.header) + n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void ask(struct resolver *r, size_t n)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_port = htons(RESOLVER_PORT),
		.sin_addr.s_addr = htonl(RESOLVER_ADDRESS),
	};
	struct question *q = find_free(r);

	q->tcp = r->message.header.tcp == 1;
	q->id = r->message.header.id;
	q->asked = monotonic_ns();
	q->fd = socket(AF_INET, (q->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC,
		       0);
	if (q->fd < 0)
		return;
	if (connect(q->fd, (struct sockaddr *)&at, sizeof(at)) && errno != EINPROGRESS) {
		forget(q);
		return;
	}
	if (!q->tcp) {
		if (send(q->fd, r->message.data, n, MSG_NOSIGNAL) < 0)
			forget(q);
		return;
	}
	q->buf = malloc(RESOLVER_MESSAGE_MAX + 2);
	if (!q->buf) {
		forget(q);
		return;
	}
	q->buf[0] = (unsigned char)(n >> 8);
	q->buf[1] = (unsigned char)n;
	memcpy(q->buf + 2, r->message.data, n);
	q->have = 0;
	q->want = n + 2;
	q->sending = true;
}

static void take_question(struct resolver *r)
{
	ssize_t n = recv(r->sock, &r->message, sizeof(r->message), MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		_exit(0); /* the sandbox is gone */
	if (n < (ssize_t)sizeof(struct resolver_header))
		return;
	n -= (ssize_t)sizeof(struct resolver_header);
	if (n > 0 && n <= RESOLVER_MESSAGE_MAX)
		ask(r, (size_t)n);
}

static void udp_ready(struct resolver *r, struct question *q)
{
	ssize_t n = recv(q->fd, r->message.data, RESOLVER_MESSAGE_MAX, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		answer(r, q, (size_t)n);
	forget(q);
}

static void tcp_ready(struct resolver *r, struct question *q)
{
	ssize_t n = q->sending ? send(q->fd, q->buf + q->have, q->want - q->have, MSG_NOSIGNAL)
			       : recv(q->fd, q->buf + q->have, q->want - q->have, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		forget(q);
		return;
	}
	q->have += (size_t)n;
	if (q->have < q->want)
		return;
	if (q->sending) {
		q->sending = false;
		q->have = 0;
		q->want = 2;
	} else if (q->want == 2) {
		q->want += (size_t)q->buf[0] << 8 | q->buf[1];
		if (q->want == 2)
			forget(q);
	} else {
		memcpy(r->message.data, q->buf + 2, q->want - 2);
		answer(r, q, q->want - 2);
		forget(q);
	}
}

static void serve(struct resolver *r) __noreturn;
static void serve(struct resolver *r)
{
	for (;;) {
		struct pollfd fds[QUESTIONS_MAX + 1] = {{.fd = r->sock, .events = POLLIN}};
		int64_t now;
		bool waiting = false;

		for (unsigned i = 0; i < QUESTIONS_MAX; i++) {
			struct question *q = &r->questions[i];

			fds[i + 1] = (struct pollfd){
				.fd = q->fd, .events = q->buf && q->sending ? POLLOUT : POLLIN};
			waiting |= q->fd >= 0;
		}
		if (poll(fds, QUESTIONS_MAX + 1, waiting ? 1000 : -1) < 0 && errno != EINTR)
			_exit(1);
		now = monotonic_ns();
		for (unsigned i = 0; i < QUESTIONS_MAX; i++) {
			struct question *q = &r->questions[i];

			if (q->fd >= 0 && fds[i + 1].fd == q->fd && fds[i + 1].revents)
				(q->tcp ? tcp_ready : udp_ready)(r, q);
			else if (q->fd >= 0 && now - q->asked > TIMEOUT_NS)
				forget(q);
		}
		if (fds[0].revents)
			take_question(r);
	}
}

/* Nobody, without capabilities, with no file open but the socket, behind its filter. */
static int give_up(int sock)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2] = {0};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	fds_close_others(&sock, 1);
	if (geteuid() == 0 &&
	    (setgroups(0, NULL) || syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) ||
	     syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY)))
		return -errno;
	if (syscall(SYS_capset, &header, none) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return -errno;
	return filter_install_resolver();
}

static void child(int sock, int ns, int user_ns) __noreturn;
static void child(int sock, int ns, int user_ns)
{
	static struct resolver r;

	setsid();
	prctl(PR_SET_NAME, "moat-resolver");
	if ((user_ns >= 0 && setns(user_ns, CLONE_NEWUSER)) || setns(ns, CLONE_NEWNET) ||
	    give_up(sock))
		_exit(1);
	r.sock = sock;
	for (unsigned i = 0; i < QUESTIONS_MAX; i++)
		r.questions[i].fd = -1;
	serve(&r);
}

pid_t resolver_start(int ns, int user_ns, int *sock, char *err, size_t errlen)
{
	int sv[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv)) {
		pid = -errno;
	} else {
		pid = fork();
		if (pid == 0) {
			close(sv[0]);
			child(sv[1], ns, user_ns);
		}
		if (pid < 0) {
			pid = -errno;
			close(sv[0]);
		}
		close(sv[1]);
	}
	if (pid < 0)
		snprintf(err, errlen, "the resolver's process: %s", strerror(-pid));
	else
		*sock = sv[0];
	return pid;
}
