/*
 * signalfd. Who waits, waits on the signalfd_wait queue of the polling task's own sighand, which
 * every queued signal wakes.
 * Lock: none of its own; sighand->lock for the queues. The mask is atomic.
 */
#include "sentry/fs/signalfd/signalfd_internal.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/task/task.h"

struct signalfd {
	_Atomic sigset64_t mask;
};

/* struct signalfd_siginfo is what siginfo says, field by field; what a kind of signal does not have
 * is 0. */
static void fill_info(struct signalfd_siginfo *out, const guest_siginfo_t *info)
{
	memset(out, 0, sizeof(*out));
	out->ssi_signo = (uint32_t)info->si_signo;
	out->ssi_errno = info->si_errno;
	out->ssi_code = info->si_code;
	if (info->si_code > 0) {
		switch (info->si_signo) {
		case SIGCHLD:
			out->ssi_pid = (uint32_t)info->si_pid;
			out->ssi_uid = info->si_uid;
			out->ssi_status = info->si_status;
			out->ssi_utime = (uint64_t)info->si_utime;
			out->ssi_stime = (uint64_t)info->si_stime;
			return;
		case SIGIO:
			out->ssi_band = (uint32_t)info->si_band;
			out->ssi_fd = info->si_fd;
			return;
		case SIGSEGV:
		case SIGBUS:
		case SIGILL:
		case SIGFPE:
		case SIGTRAP:
			out->ssi_addr = (uint64_t)(uintptr_t)info->si_addr;
			return;
		}
	}
	if (info->si_code == SI_TIMER) {
		out->ssi_tid = (uint32_t)info->si_timerid;
		out->ssi_overrun = (uint32_t)info->si_overrun;
	} else {
		out->ssi_pid = (uint32_t)info->si_pid;
		out->ssi_uid = info->si_uid;
	}
	out->ssi_int = info->si_int;
	out->ssi_ptr = (uint64_t)(uintptr_t)info->si_ptr;
}

static int take_signal(struct signalfd *s, guest_siginfo_t *info)
{
	MUTEX_GUARD(&current->sighand->lock);
	return dequeue_signal(current, s->mask, info);
}

static ssize_t signalfd_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	bool nonblock = (file->flags & O_NONBLOCK) || (rwf & RWF_NOWAIT);
	struct signalfd *s = file->private;
	struct signalfd_siginfo out;
	guest_siginfo_t info;
	ssize_t done = 0;

	(void)pos;
	if (iov_iter_count(to) < sizeof(out))
		return -EINVAL;
	while (iov_iter_count(to) >= sizeof(out)) {
		if (!take_signal(s, &info)) {
			int ret;

			if (done)
				break;
			if (nonblock)
				return -EAGAIN;
			ret = wait_event_interruptible(&current->sighand->signalfd_wait,
						       signals_pending(current, s->mask),
						       NO_DEADLINE);
			if (ret)
				return ret;
			continue;
		}
		fill_info(&out, &info);
		if (copy_to_iter(to, &out, sizeof(out)) != sizeof(out))
			return done ? done : -EFAULT;
		done += (ssize_t)sizeof(out);
	}
	return done;
}

static uint32_t signalfd_poll(struct file *file, struct poll_table *pt)
{
	struct signalfd *s = file->private;

	if (!current)
		return 0;
	poll_wait(pt, &current->sighand->signalfd_wait);
	return signals_pending(current, s->mask) ? EPOLLIN : 0;
}

static int signalfd_fdinfo(struct file *file, char *buf, size_t size)
{
	struct signalfd *s = file->private;

	return snprintf(buf, size, "sigmask:\t%016llx\n", (unsigned long long)s->mask);
}

static void signalfd_release(struct file *file)
{
	free(file->private);
}

static const struct file_operations signalfd_fops = {
	.llseek = file_noop_llseek,
	.no_splice = true,
	.release = signalfd_release,
	.read = signalfd_read,
	.poll = signalfd_poll,
	.show_fdinfo = signalfd_fdinfo,
};

static sigset64_t allowed(sigset64_t mask)
{
	return mask & ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP));
}

int signalfd_create(sigset64_t mask, uint32_t flags, struct file **out)
{
	struct signalfd *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return -ENOMEM;
	s->mask = allowed(mask);
	ret = anon_file_create("anon_inode:[signalfd]", 0600, &signalfd_fops, s, O_RDWR | flags,
			       out);
	if (ret)
		free(s);
	return ret;
}

int signalfd_set_mask(struct file *file, sigset64_t mask)
{
	struct signalfd *s = file->private;

	if (file->ops != &signalfd_fops)
		return -EINVAL;
	s->mask = allowed(mask);
	/* Whoever waits looks again, with the new mask. */
	wake_up_all(&current->sighand->signalfd_wait, EPOLLIN);
	return 0;
}
