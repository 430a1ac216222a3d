/*
 * Terminals: line discipline, job control, pseudo-terminals, the sandbox's console (man 4 tty,
 * man 7 pty, man 3 termios).
 *
 * A struct tty is the side that programs sit at; a pty's master is another kind of file on the same
 * object, and the console's "master" is the caller's terminal on the host.
 *
 * Lock order: tty->lock -> kernel.tasklist_lock -> tty->ctrl_lock -> wait queues. Nothing takes
 * tty->lock while holding tasklist_lock.
 */
#ifndef MOAT_SENTRY_FS_TTY_H
#define MOAT_SENTRY_FS_TTY_H

#include <stdbool.h>
#include <stdint.h>

struct file;
struct inode;
struct pid;
struct task;
struct thread_group;
struct tty;

/* Registers the devices /dev/tty, /dev/console, /dev/ptmx. */
void tty_init(void);

struct tty *tty_get(struct tty *tty);
void tty_put(struct tty *tty);
/* The device number (makedev) that stat shows and /proc/PID/stat's tty_nr is made of. */
uint64_t tty_device(const struct tty *tty);
/* The id of its foreground process group as `t` sees it; -1 if there is none. */
int tty_foreground(struct tty *tty, const struct task *t);

/* The controlling terminal of a process: reference or NULL. Takes tasklist_lock. */
struct tty *group_tty_get(struct thread_group *g);
/* Makes tty the controlling terminal of the session that g leads, g's group its foreground. */
void tty_set_controlling(struct tty *tty, struct thread_group *g);
/* Linux: disassociate_ctty(). For a session leader that exits (on_exit: SIGHUP and SIGCONT to the
 * foreground group, every open file of the terminal is hung up) or gives its terminal up
 * (TIOCNOTTY); the whole session loses it. For others, drops the process's own reference. No locks
 * held. */
void tty_disassociate(struct thread_group *g, bool on_exit);

/* A console: a terminal whose hardware is a terminal of the host, in raw mode already.
 * Both fds are owned by the tty from here on, error or not; they may be the same. Starts a thread
 * that pumps input. *file is open for reading and writing, `ttyname` finds it as /dev/console; *tty
 * is a reference for the caller. */
int tty_console_create(int in_fd, int out_fd, struct tty **tty, struct file **file);
/* The host terminal's size may have changed: SIGWINCH to the foreground group if so. Any thread. */
void tty_console_winch(struct tty *tty);
/* It is over: hangs up who still has it open, ends its thread, consumes the reference. The host's
 * descriptors are closed when the last file of it is. */
void tty_console_end(struct tty *tty);
/* Waits, not for long, until the output so far has reached the host's terminal. A host thread's. */
void tty_console_drain(struct tty *tty);

#endif
