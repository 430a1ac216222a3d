#include "base/parker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static __thread struct parker *self;

static void parker_free(void *arg)
{
	struct parker *p = arg;

	close(p->rd);
	close(p->wr);
	free(p);
}

static void make_key(void)
{
	pthread_key_create(&key, parker_free);
}

struct parker *parker_self(void)
{
	int fds[2];

	if (self)
		return self;
	pthread_once(&once, make_key);
	self = malloc(sizeof(*self));
	/* Worker threads are limited in number, and two descriptors each are in that account. */
	if (!self || pipe2(fds, O_CLOEXEC))
		panic("no pipe for a thread: %s", strerror(errno));
	self->rd = fds[0];
	self->wr = fds[1];
	pthread_setspecific(key, self);
	return self;
}

bool parker_sleep(struct parker *p, int64_t deadline)
{
	char byte;

	while (deadline != INT64_MAX) {
		struct pollfd fd = {.fd = p->rd, .events = POLLIN};
		int64_t left = deadline - monotonic_ns();
		struct timespec ts;
		int n;

		if (left < 0)
			left = 0;
		ts = (struct timespec){left / NSEC_PER_SEC, left % NSEC_PER_SEC};
		n = ppoll(&fd, 1, &ts, NULL);
		if (n > 0)
			break;
		if (n == 0)
			return false;
	}
	while (read(p->rd, &byte, 1) < 0 && errno == EINTR)
		;
	return true;
}

void parker_wake(struct parker *p)
{
	while (write(p->wr, "", 1) < 0 && errno == EINTR)
		;
}
