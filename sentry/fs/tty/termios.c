/* The termios requests in their three layouts (man 2 TCSETS, struct termio, termios, termios2). */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "sentry/fs/tty/tty_internal.h"
#include "sentry/kernel/core/cred.h"
#include "sentry/kernel/core/restart.h"

/* asm/termios.h's, which cannot be included next to the C library's. */
struct old_termio {
	uint16_t c_iflag, c_oflag, c_cflag, c_lflag;
	uint8_t c_line;
	uint8_t c_cc[8];
};
#define TERMIOS_SIZE 36 /* the kernel's struct termios: termios2 without the speeds */
_Static_assert(sizeof(struct termios2) == 44, "the kernel's struct termios2");

static const uint32_t speeds[] = {0,   50,   75,   110,	 134,  150,  200,   300,
				  600, 1200, 1800, 2400, 4800, 9600, 19200, 38400};
static const uint32_t fast_speeds[] = {0,	57600,	 115200,  230400,  460800,  500000,
				       576000,	921600,	 1000000, 1152000, 1500000, 2000000,
				       2500000, 3000000, 3500000, 4000000};

/* The numeric speed that the CBAUD bits stand for; BOTHER keeps the number given. */
static uint32_t speed_of(uint32_t bits, uint32_t given)
{
	if ((bits & CBAUD) == BOTHER)
		return given;
	return bits & CBAUDEX ? fast_speeds[bits & 15] : speeds[bits & 15];
}

static void fix_speeds(struct termios2 *t)
{
	uint32_t in = (t->c_cflag >> IBSHIFT) & CBAUD;

	t->c_ospeed = speed_of(t->c_cflag, t->c_ospeed);
	t->c_ispeed = in ? speed_of(in, t->c_ispeed) : t->c_ospeed;
}

static int read_termios(struct termios2 *t, unsigned cmd, uint64_t arg)
{
	struct old_termio o;

	switch (cmd) {
	case TCSETA:
	case TCSETAW:
	case TCSETAF:
		if (get_user(&o, arg))
			return -EFAULT;
		t->c_iflag = (t->c_iflag & 0xffff0000u) | o.c_iflag;
		t->c_oflag = (t->c_oflag & 0xffff0000u) | o.c_oflag;
		t->c_cflag = (t->c_cflag & 0xffff0000u) | o.c_cflag;
		t->c_lflag = (t->c_lflag & 0xffff0000u) | o.c_lflag;
		memcpy(t->c_cc, o.c_cc, sizeof(o.c_cc));
		break;
	case TCSETS:
	case TCSETSW:
	case TCSETSF:
		if (copy_from_user(t, arg, TERMIOS_SIZE))
			return -EFAULT;
		break;
	default:
		if (copy_from_user(t, arg, sizeof(*t)))
			return -EFAULT;
	}
	fix_speeds(t);
	return 0;
}

static int write_termio(const struct termios2 *t, uint64_t arg)
{
	struct old_termio o = {
		.c_iflag = (uint16_t)t->c_iflag,
		.c_oflag = (uint16_t)t->c_oflag,
		.c_cflag = (uint16_t)t->c_cflag,
		.c_lflag = (uint16_t)t->c_lflag,
		.c_line = t->c_line,
	};

	memcpy(o.c_cc, t->c_cc, sizeof(o.c_cc));
	return put_user(arg, o);
}

/* Bits that TIOCSLCKTRMIOS locked stay as they are. */
static void keep_locked(struct termios2 *new, const struct termios2 *old,
			const struct termios2 *locked)
{
#define KEEP(field) (new->field = (new->field & ~locked->field) | (old->field & locked->field))
	KEEP(c_iflag);
	KEEP(c_oflag);
	KEEP(c_cflag);
	KEEP(c_lflag);
#undef KEEP
	for (size_t i = 0; i < sizeof(new->c_cc); i++)
		if (locked->c_cc[i])
			new->c_cc[i] = old->c_cc[i];
}

static long lock_termios(struct tty *tty, unsigned cmd, uint64_t arg)
{
	struct termios2 t = {0};

	if (cmd == TIOCSLCKTRMIOS) {
		if (!capable(CAP_SYS_ADMIN))
			return -EPERM;
		if (copy_from_user(&t, arg, TERMIOS_SIZE))
			return -EFAULT;
		MUTEX_GUARD(&tty->lock);
		tty->termios_locked = t;
		return 0;
	}
	mutex_lock(&tty->lock);
	t = tty->termios_locked;
	mutex_unlock(&tty->lock);
	return copy_to_user(arg, &t, TERMIOS_SIZE);
}

/* "Software carrier": the CLOCAL bit by another name. */
static long soft_carrier(struct tty *tty, unsigned cmd, uint64_t arg)
{
	int on;

	if (cmd == TIOCGSOFTCAR)
		return put_user(arg, (int)((tty->termios.c_cflag & CLOCAL) != 0));
	if (get_user(&on, arg))
		return -EFAULT;
	MUTEX_GUARD(&tty->lock);
	tty->termios.c_cflag = (tty->termios.c_cflag & ~(uint32_t)CLOCAL) | (on ? CLOCAL : 0);
	return 0;
}

static long set_termios(struct tty *tty, unsigned cmd, uint64_t arg)
{
	bool wait = cmd != TCSETS && cmd != TCSETS2 && cmd != TCSETA;
	bool flush = cmd == TCSETSF || cmd == TCSETSF2 || cmd == TCSETAF;
	struct termios2 t;
	uint32_t old_lflag;
	int err = tty_check_change(tty, SIGTTOU);

	if (err)
		return err;
	mutex_lock(&tty->lock);
	t = tty->termios;
	mutex_unlock(&tty->lock);
	err = read_termios(&t, cmd, arg);
	if (err)
		return err;
	if (wait) {
		err = tty_wait_drained(tty);
		if (err)
			return err;
	}
	mutex_lock(&tty->lock);
	keep_locked(&t, &tty->termios, &tty->termios_locked);
	if (flush)
		ldisc_flush_input(tty);
	old_lflag = tty->termios.c_lflag;
	t.c_line = tty->termios.c_line;
	if (tty->kind == TTY_PTY) /* as pty_set_termios: 8 bits, receiver on */
		t.c_cflag = (t.c_cflag & ~(uint32_t)(CSIZE | PARENB)) | CS8 | CREAD;
	tty->termios = t;
	ldisc_mode_changed(tty, old_lflag);
	if (!I_FLAG(tty, IXON))
		tty_start(tty);
	mutex_unlock(&tty->lock);
	wake_up_all(&tty->read_wait, EPOLLIN | EPOLLRDNORM); /* VMIN may be met now */
	return 0;
}

long termios_ioctl(struct tty *tty, unsigned cmd, uint64_t arg)
{
	struct termios2 t;

	switch (cmd) {
	case TCSETS:
	case TCSETSW:
	case TCSETSF:
	case TCSETS2:
	case TCSETSW2:
	case TCSETSF2:
	case TCSETA:
	case TCSETAW:
	case TCSETAF:
		return set_termios(tty, cmd, arg);
	case TCGETS:
	case TCGETS2:
	case TCGETA:
		mutex_lock(&tty->lock);
		t = tty->termios;
		mutex_unlock(&tty->lock);
		if (cmd == TCGETA)
			return write_termio(&t, arg);
		return copy_to_user(arg, &t, cmd == TCGETS ? TERMIOS_SIZE : sizeof(t));
	case TIOCGLCKTRMIOS:
	case TIOCSLCKTRMIOS:
		return lock_termios(tty, cmd, arg);
	case TIOCGSOFTCAR:
	case TIOCSSOFTCAR:
		return soft_carrier(tty, cmd, arg);
	default:
		return -ENOIOCTLCMD;
	}
}
