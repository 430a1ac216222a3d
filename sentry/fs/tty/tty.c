/* Life of a terminal and of the files opened on it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "sentry/fs/tty/devpts_internal.h"
#include "sentry/fs/tty/tty_internal.h"
#include "sentry/kernel/core/cred.h"
#include "sentry/kernel/core/restart.h"
#include "sentry/kernel/task/task.h"

#define MAX_TTYS 4096

/* What a terminal starts with: man 3 termios, "sane". */
static const struct termios2 default_termios = {
	.c_iflag = ICRNL | IXON,
	.c_oflag = OPOST | ONLCR,
	.c_cflag = B38400 | CS8 | CREAD,
	.c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
	.c_cc = {[VINTR] = 3,
		 [VQUIT] = 034,
		 [VERASE] = 0177,
		 [VKILL] = 025,
		 [VEOF] = 4,
		 [VMIN] = 1,
		 [VSTART] = 021,
		 [VSTOP] = 023,
		 [VSUSP] = 032,
		 [VREPRINT] = 022,
		 [VDISCARD] = 017,
		 [VWERASE] = 027,
		 [VLNEXT] = 026},
	.c_ispeed = 38400,
	.c_ospeed = 38400,
};

static atomic_int num_ttys; /* of the sandbox; Linux: kernel.pty.max */

struct tty *tty_alloc(enum tty_kind kind)
{
	struct tty *tty = NULL;

	if (atomic_fetch_add(&num_ttys, 1) < MAX_TTYS)
		tty = calloc(1, sizeof(*tty));
	if (tty)
		tty->out = malloc(TTY_OUT_SIZE);
	if (!tty || !tty->out) {
		atomic_fetch_sub(&num_ttys, 1);
		free(tty);
		return NULL;
	}
	refcount_init(&tty->refs);
	tty->kind = kind;
	tty->termios = default_termios;
	mutex_init(&tty->lock);
	mutex_init(&tty->ctrl_lock);
	wait_queue_init(&tty->read_wait);
	wait_queue_init(&tty->write_wait);
	wait_queue_init(&tty->master_wait);
	return tty;
}

struct tty *tty_get(struct tty *tty)
{
	refcount_inc(&tty->refs);
	return tty;
}

void tty_put(struct tty *tty)
{
	if (!tty || !refcount_dec(&tty->refs))
		return;
	if (tty->session)
		pid_put(tty->session);
	if (tty->pgrp)
		pid_put(tty->pgrp);
	if (tty->console)
		console_free(tty->console);
	free(tty->out);
	free(tty);
	atomic_fetch_sub(&num_ttys, 1);
}

uint64_t tty_device(const struct tty *tty)
{
	if (tty->kind == TTY_CONSOLE)
		return makedev(TTYAUX_MAJOR, 1);
	return makedev(PTS_MAJOR, (unsigned)tty->index);
}

bool tty_file_hung_up(const struct tty_file *tf)
{
	return tf->generation != tf->tty->hangups;
}

void tty_send_raised(struct tty *tty)
{
	uint32_t raised;

	mutex_lock(&tty->lock);
	raised = tty->raised;
	tty->raised = 0;
	mutex_unlock(&tty->lock);
	for (int sig = 1; raised >> sig; sig++)
		if (raised & (1u << sig))
			tty_signal_foreground(tty, sig);
}

void tty_kick_output(struct tty *tty)
{
	if (tty->kind == TTY_CONSOLE)
		console_kick(tty);
	else
		wake_up_all(&tty->master_wait, EPOLLIN | EPOLLRDNORM);
}

/* --- the slave's files ------------------------------------------------------------------------ */

int tty_file_attach(struct file *file, struct tty *tty)
{
	struct tty_file *tf = calloc(1, sizeof(*tf));

	if (!tf)
		return -ENOMEM;
	mutex_lock(&tty->lock);
	if (tty->master_closed || tty->locked) {
		mutex_unlock(&tty->lock);
		free(tf);
		return -EIO;
	}
	if (tty->exclusive && !capable(CAP_SYS_ADMIN)) {
		mutex_unlock(&tty->lock);
		free(tf);
		return -EBUSY;
	}
	tf->tty = tty_get(tty);
	tf->generation = tty->hangups;
	tty->opens++;
	tty->ever_opened = true;
	mutex_unlock(&tty->lock);
	file->private = tf;
	file->ops = &tty_slave_fops;
	file->has_pos = false;
	tty_open_controlling(file, tty);
	return 0;
}

/* A name in devpts was opened. */
static int slave_open(struct inode *inode, struct file *file)
{
	struct tty *tty = devpts_tty_get(inode);
	int err;

	if (!tty)
		return -EIO;
	err = tty_file_attach(file, tty);
	tty_put(tty);
	return err;
}

static void slave_release(struct file *file)
{
	struct tty_file *tf = file->private;
	struct tty *tty = tf->tty;
	bool last;

	mutex_lock(&tty->lock);
	last = --tty->opens == 0;
	if (last)
		tty->exclusive = false;
	mutex_unlock(&tty->lock);
	if (last && tty->kind == TTY_PTY)
		wake_up_all(&tty->master_wait, EPOLLIN | EPOLLHUP | EPOLLRDNORM);
	tty_put(tty);
	free(tf);
}

static ssize_t slave_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	ssize_t n;

	if (!iov_iter_count(to))
		return 0;
	n = ldisc_read(file, to);
	return n;
}

static bool writable(struct tty_file *tf)
{
	struct tty *tty = tf->tty;

	MUTEX_GUARD(&tty->lock);
	return (!tty->stopped && out_room(tty) >= 16) || tty->master_closed || tty_file_hung_up(tf);
}

/* Puts buf into the output: bytes taken, or -EIO when the other side is gone. */
static ssize_t push_output(struct tty_file *tf, const uint8_t *buf, size_t n)
{
	struct tty *tty = tf->tty;

	MUTEX_GUARD(&tty->lock);
	if (tty_file_hung_up(tf) || tty->master_closed)
		return -EIO;
	return tty->stopped ? 0 : (ssize_t)out_process(tty, buf, n);
}

static ssize_t slave_write(struct file *file, struct iov_iter *from, int64_t *pos, int rwf)
{
	struct tty_file *tf = file->private;
	struct tty *tty = tf->tty;
	uint8_t buf[TTY_CHUNK];
	ssize_t done = 0;
	int err = L_FLAG(tty, TOSTOP) ? tty_check_change(tty, SIGTTOU) : 0;

	if (err)
		return err;
	while (iov_iter_count(from)) {
		ssize_t have = copy_from_iter(from, buf, MIN(iov_iter_count(from), sizeof(buf)));
		ssize_t put = 0;

		if (have <= 0)
			return done ? done : have;
		while (put < have) {
			ssize_t n = push_output(tf, buf + put, (size_t)(have - put));

			if (n > 0) {
				put += n;
				done += n;
				tty_kick_output(tty);
				continue;
			}
			if (n == 0)
				n = file->flags & O_NONBLOCK
					    ? -EAGAIN
					    : wait_event_interruptible(&tty->write_wait,
								       writable(tf), NO_DEADLINE);
			if (n < 0) {
				iov_iter_revert(from, (size_t)(have - put));
				return done ? done : n;
			}
		}
	}
	return done;
}

static uint32_t slave_poll(struct file *file, struct poll_table *pt)
{
	struct tty_file *tf = file->private;
	struct tty *tty = tf->tty;
	uint32_t mask = 0;

	poll_wait(pt, &tty->read_wait);
	poll_wait(pt, &tty->write_wait);
	MUTEX_GUARD(&tty->lock);
	if (tty_file_hung_up(tf))
		return EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDNORM | EPOLLWRNORM;
	if (ldisc_input_available(tty, true))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (tty->master_closed)
		mask |= EPOLLHUP | EPOLLIN | EPOLLRDNORM;
	if (!tty->stopped && out_room(tty) >= TTY_OUT_SIZE / 4)
		mask |= EPOLLOUT | EPOLLWRNORM;
	return mask;
}

const struct file_operations tty_slave_fops = {
	.can_async = true,
	.open = slave_open,
	.release = slave_release,
	.read = slave_read,
	.write = slave_write,
	.poll = slave_poll,
	.ioctl = tty_ioctl,
};

struct tty *tty_of_file(struct file *f)
{
	if (f->ops != &tty_slave_fops && f->ops != &pty_master_fops)
		return NULL;
	return file_tty(f)->tty;
}
