/* Reading a terminal: a line at a time, or by VMIN and VTIME (man 3 termios). */
#include <errno.h>
#include <signal.h>
#include <fcntl.h>

#include "sentry/fs/tty/tty_internal.h"
#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/restart.h"
#include "sentry/kernel/task/task.h"

#define IN_MASK (TTY_IN_SIZE - 1)
#define DECISECOND (NSEC_PER_SEC / 10)

static bool ends_line(const struct tty *tty, uint32_t pos)
{
	return tty->in_flags[(pos & IN_MASK) / 64] & (1ULL << (pos & 63));
}

static bool canonical(const struct tty *tty)
{
	return L_FLAG(tty, ICANON) && !L_FLAG(tty, EXTPROC);
}

/* poll wants VMIN bytes when no time-out would end the read sooner. */
bool ldisc_input_available(const struct tty *tty, bool for_poll)
{
	uint32_t want = for_poll && !CC(tty, VTIME) && CC(tty, VMIN) ? CC(tty, VMIN) : 1;

	if (canonical(tty))
		return tty->canon_head != tty->in_tail;
	return tty->in_head - tty->in_tail >= want;
}

/* FIONREAD: end-of-file marks are not counted. */
size_t ldisc_chars_available(const struct tty *tty)
{
	size_t n;

	if (!canonical(tty))
		return tty->in_head - tty->in_tail;
	n = tty->canon_head - tty->in_tail;
	for (uint32_t pos = tty->in_tail; pos != tty->canon_head; pos++)
		if (ends_line(tty, pos) && tty->in[pos & IN_MASK] == CC_DISABLED)
			n--;
	return n;
}

static size_t take_line(struct tty *tty, uint8_t *buf, size_t n, bool *end)
{
	size_t got = 0;

	*end = false;
	while (tty->in_tail != tty->canon_head && !*end) {
		uint8_t c = tty->in[tty->in_tail & IN_MASK];

		*end = ends_line(tty, tty->in_tail);
		if (*end && c == CC_DISABLED) {
			tty->in_tail++;
			break;
		}
		if (got == n) {
			*end = false;
			break;
		}
		buf[got++] = c;
		tty->in_tail++;
	}
	/* A full buffer swallows the end-of-file mark behind it, or the next read would see an
	 * end of file. */
	if (got == n && !*end && tty->in_tail != tty->canon_head && ends_line(tty, tty->in_tail) &&
	    tty->in[tty->in_tail & IN_MASK] == CC_DISABLED) {
		tty->in_tail++;
		*end = true;
	}
	return got;
}

static size_t take_raw(struct tty *tty, uint8_t *buf, size_t n)
{
	size_t got = 0;

	while (got < n && tty->in_tail != tty->in_head)
		buf[got++] = tty->in[tty->in_tail++ & IN_MASK];
	tty->canon_head = tty->in_head;
	return got;
}

/* Room came free: whoever feeds the input may go on. */
static void after_take(struct tty *tty)
{
	if (tty->kind == TTY_PTY)
		wake_up_all(&tty->master_wait, EPOLLOUT | EPOLLWRNORM);
}

struct read_plan {
	size_t minimum;	   /* return once this much is there */
	int64_t timeout;   /* ns from now, or -1: none, 0: do not wait */
	int64_t interbyte; /* ns between bytes, or 0 */
};

static struct read_plan plan_read(const struct tty *tty)
{
	struct read_plan p = {.minimum = 1, .timeout = -1};
	int64_t time = CC(tty, VTIME) * DECISECOND;

	if (canonical(tty))
		return p;
	if (CC(tty, VMIN)) {
		p.minimum = CC(tty, VMIN);
		p.interbyte = time;
	} else {
		p.timeout = time;
	}
	return p;
}

static bool wait_over(struct tty_file *tf)
{
	struct tty *tty = tf->tty;

	MUTEX_GUARD(&tty->lock);
	return ldisc_input_available(tty, false) || tty->master_closed || tty_file_hung_up(tf);
}

/* One sleep for input: 0 to look again, 1 to stop reading, -errno. */
static int wait_input(struct file *file, const struct read_plan *plan, size_t done,
		      int64_t *deadline)
{
	struct tty_file *tf = file->private;
	int err;

	if (!plan->timeout)
		return 1;
	if (file->flags & O_NONBLOCK)
		return -EAGAIN;
	if (done && plan->interbyte)
		*deadline = monotonic_ns() + plan->interbyte;
	else if (!done && plan->timeout > 0 && *deadline == NO_DEADLINE)
		*deadline = current_kept_deadline(monotonic_ns() + plan->timeout);
	err = wait_event_interruptible(&tf->tty->read_wait, wait_over(tf), *deadline);
	return err == -ETIMEDOUT ? 1 : err;
}

ssize_t ldisc_read(struct file *file, struct iov_iter *to)
{
	struct tty_file *tf = file->private;
	struct tty *tty = tf->tty;
	int64_t deadline = NO_DEADLINE;
	size_t limit = iov_iter_count(to);
	uint8_t buf[TTY_IN_SIZE];
	ssize_t done = 0;
	int err = tty_check_change(tty, SIGTTIN);

	if (err)
		return err;
	for (;;) {
		struct read_plan plan;
		bool line, end = false, hung, closed;
		size_t got = 0;
		ssize_t copied;

		mutex_lock(&tty->lock);
		plan = plan_read(tty);
		line = canonical(tty);
		hung = tty_file_hung_up(tf);
		closed = tty->master_closed;
		if (!hung && ldisc_input_available(tty, false)) {
			size_t want = MIN(limit - (size_t)done, sizeof(buf));

			got = line ? take_line(tty, buf, want, &end) : take_raw(tty, buf, want);
			after_take(tty);
			end |= line; /* also an empty line: end of file */
		}
		mutex_unlock(&tty->lock);
		if (tty->console && got)
			console_input_drained(tty);
		if (got) {
			copied = copy_to_iter(to, buf, got);
			if (copied < (ssize_t)got)
				return done + MAX(copied, 0) > 0 ? done + MAX(copied, 0) : -EFAULT;
			done += copied;
		}
		if (end || (size_t)done >= MIN(plan.minimum, limit))
			return done;
		if (got)
			continue;
		if (hung)
			return done;
		if (closed)
			return done ? done : -EIO;
		err = wait_input(file, &plan, (size_t)done, &deadline);
		if (err)
			return done || err > 0 ? done : err;
	}
}
