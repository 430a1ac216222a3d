/* Requests on terminals (man 2 ioctl_tty). */
#include <errno.h>
#include <signal.h>
#include <fcntl.h>

#include "sentry/fs/tty/tty_internal.h"
#include "sentry/kernel/core/cred.h"
#include "sentry/kernel/core/restart.h"

static bool drained(struct tty *tty)
{
	MUTEX_GUARD(&tty->lock);
	return out_used(tty) == 0 || tty->master_closed;
}

/* A pty's output counts as sent once it is in the master's queue, as on Linux: only the console,
 * which has hardware behind it, waits. */
int tty_wait_drained(struct tty *tty)
{
	if (tty->kind == TTY_PTY)
		return 0;
	return wait_event_interruptible(&tty->write_wait, drained(tty), NO_DEADLINE);
}

int tty_set_winsize(struct tty *tty, const struct tty_winsize *ws)
{
	bool changed;

	mutex_lock(&tty->lock);
	changed = ws->row != tty->winsize.row || ws->col != tty->winsize.col ||
		  ws->xpixel != tty->winsize.xpixel || ws->ypixel != tty->winsize.ypixel;
	tty->winsize = *ws;
	mutex_unlock(&tty->lock);
	if (changed)
		tty_signal_foreground(tty, SIGWINCH);
	return 0;
}

static long winsize_ioctl(struct tty *tty, unsigned cmd, uint64_t arg)
{
	struct tty_winsize ws;

	if (cmd == TIOCSWINSZ)
		return get_user(&ws, arg) ? -EFAULT : tty_set_winsize(tty, &ws);
	mutex_lock(&tty->lock);
	ws = tty->winsize;
	mutex_unlock(&tty->lock);
	return put_user(arg, ws);
}

static long flush_queues(struct tty *tty, uint64_t which)
{
	int err = tty_check_change(tty, SIGTTOU);

	if (err)
		return err;
	if (which != TCIFLUSH && which != TCOFLUSH && which != TCIOFLUSH)
		return -EINVAL;
	mutex_lock(&tty->lock);
	if (which != TCOFLUSH)
		ldisc_flush_input(tty);
	if (which != TCIFLUSH) {
		out_flush(tty);
		if (tty->packet) {
			tty->packet_status |= TIOCPKT_FLUSHWRITE;
			wake_up_all(&tty->master_wait, EPOLLIN | EPOLLPRI);
		}
	}
	mutex_unlock(&tty->lock);
	if (tty->kind == TTY_PTY)
		wake_up_all(&tty->master_wait, EPOLLOUT | EPOLLWRNORM);
	return 0;
}

static long flow_control(struct tty *tty, uint64_t action)
{
	uint8_t c;
	int err = tty_check_change(tty, SIGTTOU);

	if (err)
		return err;
	mutex_lock(&tty->lock);
	switch (action) {
	case TCOOFF:
		tty_stop(tty);
		tty->flow_stopped = true;
		break;
	case TCOON:
		tty->flow_stopped = false;
		tty_start(tty);
		break;
	case TCIOFF:
	case TCION:
		c = CC(tty, action == TCIOFF ? VSTOP : VSTART);
		if (c != CC_DISABLED)
			out_put_raw(tty, c);
		break;
	default:
		err = -EINVAL;
	}
	mutex_unlock(&tty->lock);
	if (!err)
		tty_kick_output(tty);
	return err;
}

static long queue_ioctl(struct tty *tty, unsigned cmd, uint64_t arg)
{
	int n;

	mutex_lock(&tty->lock);
	n = cmd == TIOCOUTQ ? (int)out_used(tty) : (int)ldisc_chars_available(tty);
	mutex_unlock(&tty->lock);
	return put_user(arg, n);
}

static long line_ioctl(struct tty *tty, unsigned cmd, uint64_t arg)
{
	int n;
	int err;

	switch (cmd) {
	case TCSBRK:
	case TCSBRKP:
		err = tty_check_change(tty, SIGTTOU);
		return err ? err : tty_wait_drained(tty);
	case TIOCSBRK:
	case TIOCCBRK:
		return 0; /* a line without a wire has no break state to show */
	case TIOCEXCL:
	case TIOCNXCL:
		mutex_lock(&tty->lock);
		tty->exclusive = cmd == TIOCEXCL;
		mutex_unlock(&tty->lock);
		return 0;
	case TIOCGEXCL:
		return put_user(arg, (int)tty->exclusive);
	case TIOCGETD:
		return put_user(arg, (int)0 /* N_TTY */);
	case TIOCSETD:
		if (get_user(&n, arg))
			return -EFAULT;
		return n == 0 ? 0 : -EINVAL;
	case TIOCGDEV: {
		uint64_t dev = tty_device(tty);

		return put_user(arg, (uint32_t)((dev & 0xff) | (((dev >> 8) & 0xfff) << 8)));
	}
	case TIOCSTI: /* faked input: dev.tty.legacy_tiocsti = 0 */
		return -EIO;
	default:
		return -ENOIOCTLCMD;
	}
}

long tty_ioctl(struct file *file, unsigned cmd, uint64_t arg)
{
	struct tty_file *tf = file_tty(file);
	struct tty *tty = tf->tty;
	bool hung;
	long r;

	mutex_lock(&tty->lock);
	hung = tty_file_hung_up(tf);
	mutex_unlock(&tty->lock);
	if (hung && !tf->master)
		return cmd == TIOCSPGRP ? -ENOTTY : -EIO;
	switch (cmd) {
	case TIOCGWINSZ:
	case TIOCSWINSZ:
		return winsize_ioctl(tty, cmd, arg);
	case FIONREAD:
	case TIOCOUTQ:
		return queue_ioctl(tty, cmd, arg);
	case TCFLSH:
		return flush_queues(tty, arg);
	case TCXONC:
		return flow_control(tty, arg);
	default:
		break;
	}
	r = termios_ioctl(tty, cmd, arg);
	if (r == -ENOIOCTLCMD)
		r = jobctrl_ioctl(file, tty, cmd, arg);
	if (r == -ENOIOCTLCMD)
		r = line_ioctl(tty, cmd, arg);
	return r;
}
