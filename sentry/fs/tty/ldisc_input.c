/*
 * Input processing: what a byte from the hardware does, given the modes. Follows man 3 termios and
 * the N_TTY behaviour that programs know. All with tty->lock held.
 */
#include <ctype.h>
#include <signal.h>
#include <string.h>

#include "sentry/fs/tty/tty_internal.h"

#define IN_MASK (TTY_IN_SIZE - 1)

static uint8_t in_at(const struct tty *tty, uint32_t pos)
{
	return tty->in[pos & IN_MASK];
}

static void mark_line_end(struct tty *tty, uint32_t pos)
{
	tty->in_flags[(pos & IN_MASK) / 64] |= 1ULL << (pos & 63);
}

static void put_byte(struct tty *tty, uint8_t c)
{
	uint32_t pos = tty->in_head;

	tty->in_flags[(pos & IN_MASK) / 64] &= ~(1ULL << (pos & 63));
	tty->in[pos & IN_MASK] = c;
	tty->in_head = pos + 1;
}

static uint32_t in_free(const struct tty *tty)
{
	return TTY_IN_SIZE - (tty->in_head - tty->in_tail);
}

/* How much the discipline takes now. A canonical line that fills the buffer goes on being taken
 * (and dropped) until its newline comes: otherwise nobody could ever end it. Byte by byte, for
 * after that newline there is no room for another. */
size_t ldisc_receive_room(const struct tty *tty)
{
	uint32_t room = in_free(tty) - 1;

	if (room > TTY_IN_SIZE)
		room = 0;
	if (I_FLAG(tty, PARMRK))
		room /= 3;
	if (room == 0 && L_FLAG(tty, ICANON) && tty->canon_head == tty->in_tail)
		return 1;
	return room;
}

void ldisc_flush_input(struct tty *tty)
{
	tty->in_head = tty->in_tail = tty->canon_head = 0;
	tty->lnext = tty->erasing = false;
	memset(tty->in_flags, 0, sizeof(tty->in_flags));
	if (tty->packet) {
		tty->packet_status |= TIOCPKT_FLUSHREAD;
		wake_up_all(&tty->master_wait, EPOLLIN | EPOLLPRI | EPOLLOUT);
	}
}

/* Raw to canonical: what is unread becomes a line of its own; to raw: all of it is readable. */
void ldisc_mode_changed(struct tty *tty, uint32_t old_lflag)
{
	if (!((old_lflag ^ tty->termios.c_lflag) & (ICANON | EXTPROC)))
		return;
	memset(tty->in_flags, 0, sizeof(tty->in_flags));
	if (L_FLAG(tty, ICANON) && tty->in_head != tty->in_tail)
		mark_line_end(tty, tty->in_head - 1);
	tty->canon_head = tty->in_head;
	tty->lnext = tty->erasing = false;
	wake_up_all(&tty->read_wait, EPOLLIN | EPOLLRDNORM);
}

/* --- echo ----------------------------------------------------------------------------------- */

static void echo_raw(struct tty *tty, const char *s)
{
	for (; *s; s++)
		if (!out_process_char(tty, (uint8_t)*s))
			return;
}

static void echo_char(struct tty *tty, uint8_t c)
{
	if (L_FLAG(tty, ECHOCTL) && iscntrl(c) && c != '\t' && c != '\n') {
		out_process_char(tty, '^');
		out_process_char(tty, c ^ 0100);
	} else {
		out_process_char(tty, c);
	}
}

static void finish_erasing(struct tty *tty)
{
	if (tty->erasing)
		echo_raw(tty, "/");
	tty->erasing = false;
}

/* The output column of a position in the line being edited. */
static uint32_t column_of(const struct tty *tty, uint32_t end)
{
	uint32_t column = tty->canon_column;

	for (uint32_t pos = tty->canon_head; pos != end; pos++) {
		uint8_t c = in_at(tty, pos);

		if (c == '\t')
			column = (column | 7) + 1;
		else if (iscntrl(c))
			column += L_FLAG(tty, ECHOCTL) ? 2 : 0;
		else if (!I_FLAG(tty, IUTF8) || (c & 0xc0) != 0x80)
			column++;
	}
	return column;
}

static void echo_erased(struct tty *tty, uint8_t c, bool kill_line)
{
	if (!L_FLAG(tty, ECHO))
		return;
	if (L_FLAG(tty, ECHOPRT)) {
		if (!tty->erasing)
			echo_raw(tty, "\\");
		tty->erasing = true;
		echo_char(tty, c);
	} else if (!kill_line && !L_FLAG(tty, ECHOE)) {
		echo_char(tty, CC(tty, VERASE));
	} else if (c == '\t') {
		uint32_t before = column_of(tty, tty->in_head);

		for (int i = 0; i < 8 && tty->column > before; i++)
			out_process_char(tty, '\b');
	} else {
		if (iscntrl(c) && L_FLAG(tty, ECHOCTL))
			echo_raw(tty, "\b \b");
		if (!iscntrl(c) || L_FLAG(tty, ECHOCTL))
			echo_raw(tty, "\b \b");
	}
}

static void erase_one(struct tty *tty, bool kill_line)
{
	uint32_t head = tty->in_head - 1;

	/* A UTF-8 character goes as a whole. */
	while (I_FLAG(tty, IUTF8) && head != tty->canon_head && (in_at(tty, head) & 0xc0) == 0x80)
		head--;
	tty->in_head = head;
	echo_erased(tty, in_at(tty, head), kill_line);
}

static void erase_word(struct tty *tty)
{
	bool in_word = false;

	while (tty->in_head != tty->canon_head) {
		uint8_t c = in_at(tty, tty->in_head - 1);
		bool word_char = isalnum(c) || c == '_' || c >= 0x80;

		if (in_word && !word_char)
			break;
		in_word |= word_char;
		erase_one(tty, false);
	}
}

static void kill_line(struct tty *tty)
{
	if (!L_FLAG(tty, ECHO)) {
		tty->in_head = tty->canon_head;
		return;
	}
	if (!L_FLAG(tty, ECHOK) || !L_FLAG(tty, ECHOKE) || !L_FLAG(tty, ECHOE)) {
		tty->in_head = tty->canon_head;
		finish_erasing(tty);
		echo_char(tty, CC(tty, VKILL));
		if (L_FLAG(tty, ECHOK))
			echo_raw(tty, "\n");
		return;
	}
	while (tty->in_head != tty->canon_head)
		erase_one(tty, true);
}

static void reprint(struct tty *tty)
{
	finish_erasing(tty);
	echo_char(tty, CC(tty, VREPRINT));
	echo_raw(tty, "\n");
	for (uint32_t pos = tty->canon_head; pos != tty->in_head; pos++)
		echo_char(tty, in_at(tty, pos));
}

/* --- special characters ---------------------------------------------------------------------- */

static bool is_cc(const struct tty *tty, uint8_t c, int which)
{
	return CC(tty, which) != CC_DISABLED && c == CC(tty, which);
}

static void raise_signal(struct tty *tty, int sig, uint8_t c)
{
	if (!L_FLAG(tty, NOFLSH)) {
		ldisc_flush_input(tty);
		out_flush(tty);
	}
	if (I_FLAG(tty, IXON))
		tty_start(tty);
	if (L_FLAG(tty, ECHO))
		echo_char(tty, c);
	tty->raised |= 1u << sig;
}

/* There is room: ldisc_receive_room() and room_for() see to that. */
static void end_line(struct tty *tty, uint8_t c)
{
	if (!in_free(tty))
		return;
	put_byte(tty, c);
	mark_line_end(tty, tty->in_head - 1);
	tty->canon_head = tty->in_head;
	tty->canon_column = tty->column;
	wake_up_all(&tty->read_wait, EPOLLIN | EPOLLRDNORM);
}

/* A line must always be able to end: one byte of room is kept for that. */
static bool room_for(struct tty *tty, uint32_t bytes)
{
	if (in_free(tty) > bytes)
		return true;
	if (I_FLAG(tty, IMAXBEL))
		out_put_raw(tty, '\a');
	return false;
}

/* True when c was an editing or line-ending character of canonical mode. */
static bool receive_canonical(struct tty *tty, uint8_t c)
{
	bool iexten = L_FLAG(tty, IEXTEN);

	if (is_cc(tty, c, VERASE) || is_cc(tty, c, VKILL) || (is_cc(tty, c, VWERASE) && iexten)) {
		if (tty->in_head == tty->canon_head)
			return true;
		if (is_cc(tty, c, VERASE))
			erase_one(tty, false);
		else if (is_cc(tty, c, VKILL))
			kill_line(tty);
		else
			erase_word(tty);
		if (tty->in_head == tty->canon_head)
			finish_erasing(tty);
		return true;
	}
	if (is_cc(tty, c, VLNEXT) && iexten) {
		tty->lnext = true;
		if (L_FLAG(tty, ECHO)) {
			finish_erasing(tty);
			if (L_FLAG(tty, ECHOCTL))
				echo_raw(tty, "^\b");
		}
		return true;
	}
	if (is_cc(tty, c, VREPRINT) && L_FLAG(tty, ECHO) && iexten) {
		reprint(tty);
		return true;
	}
	if (c == '\n') {
		if (L_FLAG(tty, ECHO) || L_FLAG(tty, ECHONL)) {
			finish_erasing(tty);
			echo_raw(tty, "\n");
		}
		end_line(tty, c);
		return true;
	}
	if (is_cc(tty, c, VEOF)) {
		/* A line end that is not read: its place holds the disabled character. */
		end_line(tty, CC_DISABLED);
		return true;
	}
	if (is_cc(tty, c, VEOL) || (is_cc(tty, c, VEOL2) && iexten)) {
		if (L_FLAG(tty, ECHO)) {
			finish_erasing(tty);
			echo_char(tty, c);
		}
		if (c == 0xff && I_FLAG(tty, PARMRK) && room_for(tty, 1))
			put_byte(tty, c);
		end_line(tty, c);
		return true;
	}
	return false;
}

static void receive_plain(struct tty *tty, uint8_t c)
{
	bool doubled = c == 0xff && I_FLAG(tty, PARMRK);

	if (!room_for(tty, doubled ? 2 : 1))
		return;
	if (L_FLAG(tty, ECHO)) {
		finish_erasing(tty);
		if (L_FLAG(tty, ICANON) && tty->in_head == tty->canon_head)
			tty->canon_column = tty->column;
		if (c == '\n')
			echo_raw(tty, "\n");
		else
			echo_char(tty, c);
	}
	if (doubled)
		put_byte(tty, c);
	put_byte(tty, c);
}

static void receive_char(struct tty *tty, uint8_t c)
{
	if (I_FLAG(tty, ISTRIP))
		c &= 0x7f;
	if (tty->lnext) {
		tty->lnext = false;
		receive_plain(tty, c);
		return;
	}
	if (I_FLAG(tty, IUCLC) && L_FLAG(tty, IEXTEN))
		c = (uint8_t)tolower(c);
	if (L_FLAG(tty, EXTPROC)) {
		if (room_for(tty, 1))
			put_byte(tty, c);
		return;
	}
	if (I_FLAG(tty, IXON)) {
		if (is_cc(tty, c, VSTART)) {
			tty_start(tty);
			return;
		}
		if (is_cc(tty, c, VSTOP)) {
			tty_stop(tty);
			return;
		}
	}
	if (L_FLAG(tty, ISIG)) {
		int sig = is_cc(tty, c, VINTR)	 ? SIGINT
			  : is_cc(tty, c, VQUIT) ? SIGQUIT
			  : is_cc(tty, c, VSUSP) ? SIGTSTP
						 : 0;
		if (sig) {
			raise_signal(tty, sig, c);
			return;
		}
	}
	if (tty->stopped && I_FLAG(tty, IXON) && I_FLAG(tty, IXANY))
		tty_start(tty);
	if (c == '\r') {
		if (I_FLAG(tty, IGNCR))
			return;
		if (I_FLAG(tty, ICRNL))
			c = '\n';
	} else if (c == '\n' && I_FLAG(tty, INLCR)) {
		c = '\r';
	}
	if (L_FLAG(tty, ICANON) && receive_canonical(tty, c))
		return;
	receive_plain(tty, c);
}

void ldisc_receive(struct tty *tty, const uint8_t *p, size_t n)
{
	bool canonical = L_FLAG(tty, ICANON) && !L_FLAG(tty, EXTPROC);

	for (size_t i = 0; i < n; i++)
		receive_char(tty, p[i]);
	if (!canonical) {
		tty->canon_head = tty->in_head;
		if (ldisc_input_available(tty, true))
			wake_up_all(&tty->read_wait, EPOLLIN | EPOLLRDNORM);
	}
}
