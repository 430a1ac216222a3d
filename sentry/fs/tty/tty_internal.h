/* What the files of fs/tty share. */
#ifndef MOAT_SENTRY_FS_TTY_IMPL_H
#define MOAT_SENTRY_FS_TTY_IMPL_H

#include <stdbool.h>
#include <stdint.h>
#include <asm/termbits.h>
#include <asm/ioctls.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/fs/tty/tty.h"
#include "sentry/kernel/core/wait.h"
#include "sentry/vfs/file.h"

#define TTY_IN_SIZE 4096   /* N_TTY_BUF_SIZE: also the longest line, newline included */
#define TTY_OUT_SIZE 16384 /* a power of two */
#define TTY_CHUNK 4096	   /* bytes copied from or to a guest at a time */

#define TTY_MAJOR 4
#define TTYAUX_MAJOR 5
#define PTS_MAJOR 136

enum tty_kind { TTY_PTY, TTY_CONSOLE };

struct tty_winsize {
	uint16_t row, col, xpixel, ypixel;
};

struct tty {
	struct refcount refs;
	enum tty_kind kind;
	int index; /* of a pty */
	struct mutex lock;

	struct termios2 termios, termios_locked;
	struct tty_winsize winsize;

	/* Input, processed. Positions count up; modulo TTY_IN_SIZE they index. */
	uint8_t in[TTY_IN_SIZE];
	uint64_t in_flags[TTY_IN_SIZE / 64]; /* the byte ends a line */
	uint32_t in_head, in_tail, canon_head;
	uint32_t canon_column; /* output column where the line being edited began */
	bool lnext, erasing, pcm_overflow;

	/* Output, processed: to the master, or to the host. */
	uint8_t *out;
	uint32_t out_head, out_tail;
	uint32_t column;
	bool stopped;	   /* by STOP or TCOOFF */
	bool flow_stopped; /* by TCOOFF: only TCOON starts it again */

	uint32_t raised; /* signals to send to the foreground group: 1 << sig */

	struct wait_queue read_wait;  /* slave readers */
	struct wait_queue write_wait; /* slave writers; drained output */

	/* Life; lock. */
	int opens;	    /* slave files */
	bool ever_opened;   /* a slave was */
	bool master_closed; /* pty: for good */
	uint32_t hangups;   /* files of earlier generations are dead */
	bool exclusive;	    /* TIOCEXCL */

	/* pty only; lock */
	bool locked; /* TIOCSPTLCK */
	bool packet;
	uint8_t packet_status;
	struct wait_queue master_wait;
	struct devpts *devpts; /* where its name is; NULL once the master has closed */

	struct mutex ctrl_lock;	    /* session, pgrp */
	struct pid *session, *pgrp; /* counted, or NULL */
	struct console *console;    /* console only */
};

/* file->private of everything here */
struct tty_file {
	struct tty *tty; /* counted */
	uint32_t generation;
	bool master;
};

/* tty.c */
struct tty *tty_alloc(enum tty_kind kind);
/* Binds an opened file to the tty (takes its own reference). 0 or -ENOMEM, -EBUSY, -EIO. */
int tty_file_attach(struct file *file, struct tty *tty);
extern const struct file_operations tty_slave_fops;
static inline struct tty_file *file_tty(struct file *f)
{
	return f->private;
}
/* The tty of any file of this folder, else NULL. Not a new reference. */
struct tty *tty_of_file(struct file *f);
bool tty_file_hung_up(const struct tty_file *tf); /* tty->lock */
/* Sends what input processing raised. No lock held. */
void tty_send_raised(struct tty *tty);

/* ldisc_input.c; all with tty->lock held */
void ldisc_receive(struct tty *tty, const uint8_t *p, size_t n);
size_t ldisc_receive_room(const struct tty *tty);
void ldisc_flush_input(struct tty *tty);
/* The mode changed between canonical and raw. */
void ldisc_mode_changed(struct tty *tty, uint32_t old_lflag);

/* ldisc_output.c; all with tty->lock held */
uint32_t out_used(const struct tty *tty);
uint32_t out_room(const struct tty *tty);
void out_put_raw(struct tty *tty, uint8_t c);			 /* dropped when there is no room */
bool out_process_char(struct tty *tty, uint8_t c);		 /* false: no room */
size_t out_process(struct tty *tty, const uint8_t *p, size_t n); /* bytes taken */
size_t out_take(struct tty *tty, uint8_t *buf, size_t n);
void out_flush(struct tty *tty);
void tty_stop(struct tty *tty);
void tty_start(struct tty *tty);

/* ldisc_read.c */
ssize_t ldisc_read(struct file *file, struct iov_iter *to);
bool ldisc_input_available(const struct tty *tty, bool for_poll);
size_t ldisc_chars_available(const struct tty *tty);

/* tty_ioctl.c, termios.c */
long tty_ioctl(struct file *file, unsigned cmd, uint64_t arg);
long termios_ioctl(struct tty *tty, unsigned cmd, uint64_t arg);
int tty_set_winsize(struct tty *tty, const struct tty_winsize *ws);
int tty_wait_drained(struct tty *tty);

/* jobctrl.c */
int tty_check_change(struct tty *tty, int sig);
void tty_signal_foreground(struct tty *tty, int sig);
void tty_hangup(struct tty *tty);
void tty_open_controlling(struct file *file, struct tty *tty);
long jobctrl_ioctl(struct file *file, struct tty *tty, unsigned cmd, uint64_t arg);

/* pty.c */
extern const struct file_operations pty_master_fops;
int pty_ptmx_open(struct inode *inode, struct file *file);
/* Pushes the output ring on: wakes the master, or writes to the host. tty->lock NOT held. */
void tty_kick_output(struct tty *tty);
long pty_master_ioctl(struct file *file, struct tty *tty, unsigned cmd, uint64_t arg);

/* console.c */
struct tty *console_get(void); /* the container's: reference or NULL */
void console_kick(struct tty *tty);
void console_input_drained(struct tty *tty);
void console_free(struct console *c);

#define TTY_FLAG(tty, field, bit) (((tty)->termios.c_##field##flag & (bit)) != 0)
#define I_FLAG(tty, bit) TTY_FLAG(tty, i, bit)
#define O_FLAG(tty, bit) TTY_FLAG(tty, o, bit)
#define L_FLAG(tty, bit) TTY_FLAG(tty, l, bit)
#define CC(tty, which) ((tty)->termios.c_cc[which])
#define CC_DISABLED 0 /* _POSIX_VDISABLE */

#endif
