/* poll(2), ppoll(2). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/core/timeout.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/poll/poll_internal.h"
#include "sentry/vfs/poll/write_back_internal.h"

#define POLL_FAST_FDS 32
#define POLL_MAX_FDS (1 << 20)

/* One poll(2) under way: the guest's array, and the files that were looked up for it. */
struct poll_set {
	struct pollfd *fds;
	struct file **files;
	unsigned n;
};

static unsigned scan(struct poll_set *set, struct poll_table *pt)
{
	unsigned ready = 0;

	for (unsigned i = 0; i < set->n; i++) {
		struct pollfd *p = &set->fds[i];
		uint32_t wanted = (uint16_t)p->events | EPOLLERR | EPOLLHUP, mask = 0;

		if (p->fd < 0) {
			p->revents = 0;
			continue;
		}
		if (!set->files[i]) {
			mask = POLLNVAL;
		} else {
			if (pt)
				pt->events = wanted;
			mask = vfs_poll(set->files[i], pt) & wanted;
		}
		p->revents = (short)mask;
		if (mask) {
			ready++;
			/* The answer is known: no more entries are needed. */
			pt = NULL;
		}
	}
	return ready;
}

static int poll_loop(struct poll_set *set, int64_t deadline)
{
	struct poll_wqueues pwq;
	struct poll_table *pt = deadline ? &pwq.pt : NULL;
	int ret;

	poll_wqueues_init(&pwq);
	for (;;) {
		unsigned ready;

		wait_prepare();
		ready = scan(set, pt);
		if (ready) {
			ret = (int)ready;
			break;
		}
		ret = pwq.error;
		if (ret || deadline == 0)
			break;
		pt = NULL;
		ret = wait_block(deadline, true);
		if (ret == -ETIMEDOUT) {
			ret = (int)scan(set, NULL);
			break;
		}
		if (ret) {
			ret = (int)scan(set, NULL);
			if (!ret)
				ret = -EINTR;
			break;
		}
	}
	poll_wqueues_end(&pwq);
	return ret;
}

static int write_revents(uaddr_t ufds, const struct poll_set *set, int ready)
{
	/* Small arrays in one go; of large ones that are mostly idle, only what changed. */
	if (set->n <= POLL_FAST_FDS || ready > (int)set->n / 4) {
		struct pollfd *fds = set->fds;

		return copy_to_user(ufds, fds, set->n * sizeof(*fds));
	}
	for (unsigned i = 0; i < set->n; i++) {
		short revents = set->fds[i].revents;

		if (put_user(ufds + i * sizeof(struct pollfd) + offsetof(struct pollfd, revents),
			     revents))
			return -EFAULT;
	}
	return 0;
}

/* Number of ready entries, -EINTR, -EFAULT, -EINVAL, -ENOMEM. */
static int do_poll(uaddr_t ufds, unsigned nfds, int64_t deadline)
{
	struct pollfd fast_fds[POLL_FAST_FDS], *__free heap_fds = NULL;
	struct file *fast_files[POLL_FAST_FDS], **__free heap_files = NULL;
	struct poll_set set = {.fds = fast_fds, .files = fast_files, .n = nfds};
	int ret;

	if (nfds > current_rlimit(RLIMIT_NOFILE) || nfds > POLL_MAX_FDS)
		return -EINVAL;
	if (nfds > POLL_FAST_FDS) {
		heap_fds = malloc(nfds * sizeof(*heap_fds));
		heap_files = malloc(nfds * sizeof(struct file *));
		if (!heap_fds || !heap_files)
			return -ENOMEM;
		set.fds = heap_fds;
		set.files = heap_files;
	}
	if (nfds && copy_from_user(set.fds, ufds, nfds * sizeof(*set.fds)))
		return -EFAULT;
	for (unsigned i = 0; i < nfds; i++)
		set.files[i] = set.fds[i].fd >= 0 ? fd_get(set.fds[i].fd) : NULL;
	ret = poll_loop(&set, deadline);
	for (unsigned i = 0; i < nfds; i++)
		if (set.files[i])
			file_put(set.files[i]);
	if (ret >= 0 && nfds && write_revents(ufds, &set, ret))
		ret = -EFAULT;
	return ret;
}

static long restart_poll(struct task *t, struct restart_block *rb)
{
	int ret = do_poll(rb->arg[0], (unsigned)rb->arg[1], rb->deadline);

	return ret == -EINTR ? -ERESTART_RESTARTBLOCK : ret;
}

SYSCALL_DEFINE3(poll, uaddr_t, ufds, unsigned, nfds, int, timeout)
{
	int64_t deadline = NO_DEADLINE;
	int ret;

	if (timeout >= 0)
		deadline = timeout ? monotonic_ns() + (int64_t)timeout * 1000000 : 0;
	ret = do_poll(ufds, nfds, deadline);
	if (ret != -EINTR)
		return ret;
	*current_restart() = (struct restart_block){
		.fn = restart_poll, .deadline = deadline, .arg = {ufds, nfds}};
	return -ERESTART_RESTARTBLOCK;
}

SYSCALL_DEFINE5(ppoll, uaddr_t, ufds, unsigned, nfds, uaddr_t, utimeout, uaddr_t, usigmask, size_t,
		size)
{
	int64_t deadline = NO_DEADLINE;
	sigset64_t mask;
	int ret;

	if (utimeout) {
		struct timespec ts;

		if (get_user(&ts, utimeout))
			return -EFAULT;
		deadline = deadline_of_call(&ts);
		if (deadline < 0)
			return deadline;
	}
	if (usigmask) {
		ret = sigset_from_user(&mask, usigmask, size);
		if (ret)
			return ret;
		set_temporary_mask(t, mask);
	}
	ret = do_poll(ufds, nfds, deadline);
	if (ret == -EINTR)
		ret = -ERESTARTNOHAND;
	else if (usigmask)
		restore_saved_mask(t);
	return write_back_timespec(utimeout, deadline, ret);
}
