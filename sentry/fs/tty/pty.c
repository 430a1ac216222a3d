/* The master side of pseudo-terminals, and /dev/ptmx (man 7 pty, man 4 pts). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>

#include "sentry/fs/tty/devpts_internal.h"
#include "sentry/fs/tty/tty_internal.h"
#include "sentry/kernel/core/restart.h"
#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/task/task.h"

/* No slave is open any more, though one was: reads answer -EIO. tty->lock held. */
static bool slaves_gone(const struct tty *tty)
{
	return tty->ever_opened && tty->opens == 0;
}

static bool master_readable(const struct tty *tty)
{
	return (out_used(tty) && !tty->stopped) || (tty->packet && tty->packet_status) ||
	       slaves_gone(tty);
}

static bool read_wait_over(struct tty *tty)
{
	MUTEX_GUARD(&tty->lock);
	return master_readable(tty);
}

/* Bytes into buf, with the packet-mode byte in front; 0: nothing there; -EIO: nobody will write. */
static ssize_t take_output(struct tty *tty, uint8_t *buf, size_t n)
{
	size_t at = 0, got;

	MUTEX_GUARD(&tty->lock);
	if (tty->packet) {
		if (tty->packet_status) {
			buf[0] = tty->packet_status;
			tty->packet_status = 0;
			return 1;
		}
		buf[at++] = TIOCPKT_DATA;
	}
	got = tty->stopped ? 0 : out_take(tty, buf + at, n - at);
	/* Room for the packet-mode byte alone: then that is the answer, output is still there. */
	if (!got && !(n == at && out_used(tty) && !tty->stopped))
		return slaves_gone(tty) ? -EIO : 0;
	if (out_room(tty) >= TTY_OUT_SIZE / 4)
		wake_up_all(&tty->write_wait, EPOLLOUT | EPOLLWRNORM);
	return (ssize_t)(at + got);
}

static ssize_t master_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	struct tty *tty = file_tty(file)->tty;
	uint8_t buf[TTY_CHUNK];

	if (!iov_iter_count(to))
		return 0;
	for (;;) {
		ssize_t n = take_output(tty, buf, MIN(iov_iter_count(to), sizeof(buf)));
		int err;

		if (n < 0)
			return n;
		if (n > 0)
			return copy_to_iter(to, buf, (size_t)n);
		if (file->flags & O_NONBLOCK)
			return -EAGAIN;
		err = wait_event_interruptible(&tty->master_wait, read_wait_over(tty), NO_DEADLINE);
		if (err)
			return err;
	}
}

static bool write_wait_over(struct tty *tty)
{
	MUTEX_GUARD(&tty->lock);
	return ldisc_receive_room(tty) > 0;
}

static size_t push_input(struct tty *tty, const uint8_t *buf, size_t n)
{
	size_t take;
	bool echoed;

	mutex_lock(&tty->lock);
	take = MIN(n, ldisc_receive_room(tty));
	ldisc_receive(tty, buf, take);
	echoed = out_used(tty) > 0;
	mutex_unlock(&tty->lock);
	if (echoed)
		tty_kick_output(tty);
	tty_send_raised(tty);
	return take;
}

static ssize_t master_write(struct file *file, struct iov_iter *from, int64_t *pos, int rwf)
{
	struct tty *tty = file_tty(file)->tty;
	uint8_t buf[TTY_CHUNK];
	ssize_t done = 0;

	while (iov_iter_count(from)) {
		ssize_t have = copy_from_iter(from, buf, MIN(iov_iter_count(from), sizeof(buf)));
		ssize_t put = 0;

		if (have <= 0)
			return done ? done : have;
		while (put < have) {
			size_t n = push_input(tty, buf + put, (size_t)(have - put));
			int err = -EAGAIN;

			put += (ssize_t)n;
			done += (ssize_t)n;
			if (n)
				continue;
			if (!(file->flags & O_NONBLOCK))
				err = wait_event_interruptible(&tty->master_wait,
							       write_wait_over(tty), NO_DEADLINE);
			if (err) {
				iov_iter_revert(from, (size_t)(have - put));
				return done ? done : err;
			}
		}
	}
	return done;
}

static uint32_t master_poll(struct file *file, struct poll_table *pt)
{
	struct tty *tty = file_tty(file)->tty;
	uint32_t mask = 0;

	poll_wait(pt, &tty->master_wait);
	MUTEX_GUARD(&tty->lock);
	if (out_used(tty) && !tty->stopped)
		mask |= EPOLLIN | EPOLLRDNORM;
	if (tty->packet && tty->packet_status)
		mask |= EPOLLIN | EPOLLRDNORM | EPOLLPRI;
	if (slaves_gone(tty))
		mask |= EPOLLHUP | EPOLLIN | EPOLLRDNORM;
	if (ldisc_receive_room(tty))
		mask |= EPOLLOUT | EPOLLWRNORM;
	return mask;
}

/* Opens the other side without a name walk: TIOCGPTPEER. */
static long open_peer(struct file *file, struct tty *tty, uint64_t flags)
{
	struct path __put_path path = {0};
	struct file *peer;
	long fd;
	int err;

	if (flags & ~(uint64_t)(O_ACCMODE | O_NOCTTY | O_NONBLOCK | O_CLOEXEC))
		return -EINVAL;
	err = devpts_peer_path(file, tty, &path);
	if (err)
		return err;
	err = file_open(&path, (uint32_t)flags & ~(uint32_t)O_CLOEXEC, &peer);
	if (err)
		return err;
	fd = fd_install(peer, flags & O_CLOEXEC);
	if (fd < 0)
		file_put(peer);
	return fd;
}

static long set_packet(struct tty *tty, uint64_t arg)
{
	int on;

	if (get_user(&on, arg))
		return -EFAULT;
	MUTEX_GUARD(&tty->lock);
	if (on && !tty->packet)
		tty->packet_status = 0;
	tty->packet = on;
	return 0;
}

static long set_lock(struct tty *tty, uint64_t arg)
{
	int on;

	if (get_user(&on, arg))
		return -EFAULT;
	MUTEX_GUARD(&tty->lock);
	tty->locked = on;
	return 0;
}

static long send_signal(struct tty *tty, uint64_t sig)
{
	if (sig != SIGINT && sig != SIGQUIT && sig != SIGTSTP)
		return -EINVAL;
	tty_signal_foreground(tty, (int)sig);
	return 0;
}

static long master_ioctl(struct file *file, unsigned cmd, uint64_t arg)
{
	struct tty *tty = file_tty(file)->tty;
	int n;

	switch (cmd) {
	case TIOCGPTN:
		return put_user(arg, tty->index);
	case TIOCSPTLCK:
		return set_lock(tty, arg);
	case TIOCGPTLCK:
		return put_user(arg, (int)tty->locked);
	case TIOCPKT:
		return set_packet(tty, arg);
	case TIOCGPKT:
		return put_user(arg, (int)tty->packet);
	case TIOCGPTPEER:
		return open_peer(file, tty, arg);
	case TIOCSIG:
		return send_signal(tty, arg);
	case FIONREAD: /* for the master that is the slave's output */
		mutex_lock(&tty->lock);
		n = (int)out_used(tty);
		mutex_unlock(&tty->lock);
		return put_user(arg, n);
	case TIOCSCTTY: /* the master side is never a controlling terminal */
	case TIOCNOTTY:
		return -ENOTTY;
	default:
		return tty_ioctl(file, cmd, arg);
	}
}

/* The wire is cut: the name goes, programs on the slave are hung up. */
static void master_release(struct file *file)
{
	struct tty_file *tf = file->private;
	struct tty *tty = tf->tty;

	mutex_lock(&tty->lock);
	tty->master_closed = true;
	mutex_unlock(&tty->lock);
	devpts_remove(tty);
	tty_hangup(tty);
	tty_put(tty);
	free(tf);
}

const struct file_operations pty_master_fops = {
	.can_async = true,
	.open = pty_ptmx_open,
	.release = master_release,
	.read = master_read,
	.write = master_write,
	.poll = master_poll,
	.ioctl = master_ioctl,
};

int pty_ptmx_open(struct inode *inode, struct file *file)
{
	struct tty_file *tf = calloc(1, sizeof(*tf));
	struct tty *tty = tty_alloc(TTY_PTY);
	int err = tf && tty ? devpts_add(file, tty) : -ENOMEM;

	if (err) {
		tty_put(tty);
		free(tf);
		return err;
	}
	tty->locked = true;
	tf->tty = tty;
	tf->master = true;
	file->private = tf;
	file->ops = &pty_master_fops;
	file->has_pos = false;
	return 0;
}
