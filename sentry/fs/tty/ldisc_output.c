/* Output processing: OPOST and the output ring. All with tty->lock held. */
#include <ctype.h>
#include <string.h>

#include "sentry/fs/tty/tty_internal.h"

#define OUT_MASK (TTY_OUT_SIZE - 1)

uint32_t out_used(const struct tty *tty)
{
	return tty->out_head - tty->out_tail;
}

uint32_t out_room(const struct tty *tty)
{
	return TTY_OUT_SIZE - out_used(tty);
}

void out_put_raw(struct tty *tty, uint8_t c)
{
	if (out_room(tty))
		tty->out[tty->out_head++ & OUT_MASK] = c;
}

static size_t out_put_bulk(struct tty *tty, const uint8_t *p, size_t n)
{
	uint32_t at = tty->out_head & OUT_MASK;
	size_t first;

	n = MIN(n, (size_t)out_room(tty));
	first = MIN(n, (size_t)(TTY_OUT_SIZE - at));
	memcpy(tty->out + at, p, first);
	memcpy(tty->out, p + first, n - first);
	tty->out_head += (uint32_t)n;
	return n;
}

size_t out_take(struct tty *tty, uint8_t *buf, size_t n)
{
	uint32_t at = tty->out_tail & OUT_MASK;
	size_t first;

	n = MIN(n, (size_t)out_used(tty));
	first = MIN(n, (size_t)(TTY_OUT_SIZE - at));
	memcpy(buf, tty->out + at, first);
	memcpy(buf + first, tty->out, n - first);
	tty->out_tail += (uint32_t)n;
	return n;
}

void out_flush(struct tty *tty)
{
	tty->out_tail = tty->out_head;
	wake_up_all(&tty->write_wait, EPOLLOUT | EPOLLWRNORM);
}

static bool is_continuation(const struct tty *tty, uint8_t c)
{
	return I_FLAG(tty, IUTF8) && (c & 0xc0) == 0x80;
}

/* One character that OPOST may change. Needs up to 8 bytes of room. */
bool out_process_char(struct tty *tty, uint8_t c)
{
	if (!O_FLAG(tty, OPOST)) {
		if (!out_room(tty))
			return false;
		out_put_raw(tty, c);
		return true;
	}
	if (out_room(tty) < 8)
		return false;
	switch (c) {
	case '\n':
		if (O_FLAG(tty, ONLRET))
			tty->column = 0;
		if (O_FLAG(tty, ONLCR)) {
			out_put_raw(tty, '\r');
			tty->column = 0;
		}
		tty->canon_column = tty->column;
		break;
	case '\r':
		if (O_FLAG(tty, ONOCR) && tty->column == 0)
			return true;
		if (O_FLAG(tty, OCRNL)) {
			c = '\n';
			if (O_FLAG(tty, ONLRET))
				tty->canon_column = tty->column = 0;
			break;
		}
		tty->canon_column = tty->column = 0;
		break;
	case '\t': {
		uint32_t spaces = 8 - (tty->column & 7);

		tty->column += spaces;
		if ((tty->termios.c_oflag & TABDLY) == XTABS) {
			while (spaces--)
				out_put_raw(tty, ' ');
			return true;
		}
		break;
	}
	case '\b':
		if (tty->column)
			tty->column--;
		break;
	default:
		if (O_FLAG(tty, OLCUC))
			c = (uint8_t)toupper(c);
		if (!iscntrl(c) && !is_continuation(tty, c))
			tty->column++;
	}
	out_put_raw(tty, c);
	return true;
}

/* How many bytes from p need no processing; counts their columns. */
static size_t plain_run(struct tty *tty, const uint8_t *p, size_t n)
{
	uint32_t columns = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		if (iscntrl(p[i]))
			break;
		columns += !is_continuation(tty, p[i]);
	}
	n = MIN(i, (size_t)out_room(tty));
	tty->column += n == i ? columns : (uint32_t)n;
	return n;
}

size_t out_process(struct tty *tty, const uint8_t *p, size_t n)
{
	size_t done = 0;

	if (!O_FLAG(tty, OPOST))
		return out_put_bulk(tty, p, n);
	while (done < n) {
		size_t run = O_FLAG(tty, OLCUC) ? 0 : plain_run(tty, p + done, n - done);

		if (run) {
			done += out_put_bulk(tty, p + done, run);
			continue;
		}
		if (!out_process_char(tty, p[done]))
			break;
		done++;
	}
	return done;
}

void tty_stop(struct tty *tty)
{
	if (tty->stopped)
		return;
	tty->stopped = true;
	if (tty->packet) {
		tty->packet_status &= (uint8_t)~TIOCPKT_START;
		tty->packet_status |= TIOCPKT_STOP;
		wake_up_all(&tty->master_wait, EPOLLIN | EPOLLPRI);
	}
}

void tty_start(struct tty *tty)
{
	if (!tty->stopped || tty->flow_stopped)
		return;
	tty->stopped = false;
	if (tty->packet) {
		tty->packet_status &= (uint8_t)~TIOCPKT_STOP;
		tty->packet_status |= TIOCPKT_START;
		wake_up_all(&tty->master_wait, EPOLLIN | EPOLLPRI);
	}
	wake_up_all(&tty->write_wait, EPOLLOUT | EPOLLWRNORM);
}
