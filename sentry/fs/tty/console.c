/*
 * The sandbox's console: the line discipline is ours, the hardware is a terminal of the host.
 *
 * One thread pumps: it reads the host's fd into the line discipline while that has room, and writes
 * what a guest's own write could not get rid of at once. Guests write straight to the host's fd
 * when it takes the bytes.
 *
 * Locks: console->out_lock (who writes to the fd) -> tty->lock.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/thread.h"
#include "sentry/fs/hostfd/hostfd.h"
#include "sentry/fs/hostfd/hostfd_io.h"
#include "sentry/fs/tty/tty_internal.h"
#include "sentry/kernel/task/task.h"

#define DRAIN_MS 200

struct console {
	struct hostfd in, out; /* never registered with the hostfd poller */
	int kick;	       /* eventfd: look again */
	struct mutex out_lock;
	bool eof;
	_Atomic bool ending;
	struct tty *tty;	   /* not counted */
	const struct inode *inode; /* of the file that tty_console_create() made; a name only */
	LIST_ENTRY(console) link;  /* consoles */
};

/* All that have not been ended. */
static struct mutex console_lock = MUTEX_INIT;
static LIST_HEAD(, console) consoles = LIST_HEAD_INITIALIZER(consoles);

/* The terminal of the container's first process, if it is a console. */
struct tty *console_get(void)
{
	const struct pid *pid = current->group->tgid;
	struct thread_group *init;
	READ_GUARD(&kernel.tasklist_lock);

	/* [0] is the sandbox's own namespace, which has no processes. */
	init = pid->depth ? pid->numbers[1].ns->init : NULL;
	return init && init->tty && init->tty->console ? tty_get(init->tty) : NULL;
}

static struct tty *console_of_inode(const struct inode *inode)
{
	struct console *c;
	MUTEX_GUARD(&console_lock);

	LIST_FOREACH (c, &consoles, link)
		if (c->inode == inode)
			return tty_get(c->tty);
	return NULL;
}

static void kick_pump(struct console *c)
{
	uint64_t one = 1;

	if (write(c->kick, &one, sizeof(one)) < 0)
		log_warn_once("console: eventfd: %d", errno);
}

static bool output_pending(struct tty *tty)
{
	MUTEX_GUARD(&tty->lock);
	return out_used(tty) && !tty->stopped;
}

/* Writes what the host takes without waiting. False: some is left. */
static bool write_out(struct tty *tty)
{
	struct console *c = tty->console;
	uint8_t buf[TTY_CHUNK];

	MUTEX_GUARD(&c->out_lock);
	for (;;) {
		uint32_t tail;
		size_t n;
		ssize_t w;

		mutex_lock(&tty->lock);
		tail = tty->out_tail;
		n = tty->stopped ? 0 : out_take(tty, buf, sizeof(buf));
		tty->out_tail = tail; /* taken when written */
		mutex_unlock(&tty->lock);
		if (!n)
			return true;
		w = hostfd_try_write(&c->out, buf, n);
		if (w == -EAGAIN)
			return false;
		if (w < 0)
			w = (ssize_t)n; /* the terminal is gone: output goes nowhere */
		mutex_lock(&tty->lock);
		if (tty->out_head - tty->out_tail >= (uint32_t)w && tty->out_tail == tail)
			tty->out_tail += (uint32_t)w; /* unless it was flushed meanwhile */
		wake_up_all(&tty->write_wait, EPOLLOUT | EPOLLWRNORM);
		mutex_unlock(&tty->lock);
	}
}

void console_kick(struct tty *tty)
{
	if (!write_out(tty))
		kick_pump(tty->console);
}

/* A reader made room. */
void console_input_drained(struct tty *tty)
{
	size_t room;

	mutex_lock(&tty->lock);
	room = ldisc_receive_room(tty);
	mutex_unlock(&tty->lock);
	if (room < TTY_IN_SIZE / 2 || room == TTY_IN_SIZE - 1)
		kick_pump(tty->console);
}

/* The host's terminal went away. */
static void input_ended(struct tty *tty)
{
	tty->console->eof = true;
	tty_hangup(tty);
}

static bool host_hung_up(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR | POLLNVAL));
}

static void pump_input(struct tty *tty)
{
	uint8_t buf[1024];
	size_t room;
	ssize_t n;

	mutex_lock(&tty->lock);
	room = ldisc_receive_room(tty);
	mutex_unlock(&tty->lock);
	if (!room)
		return;
	n = read(tty->console->in.fd, buf, MIN(room, sizeof(buf)));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	/* An end-of-file character that was typed before the terminal was raw is no hangup. */
	if (n == 0 && !host_hung_up(tty->console->in.fd))
		return;
	if (n <= 0) {
		input_ended(tty);
		return;
	}
	mutex_lock(&tty->lock);
	ldisc_receive(tty, buf, (size_t)n);
	mutex_unlock(&tty->lock);
	if (!write_out(tty))
		kick_pump(tty->console);
	tty_send_raised(tty);
}

static void *pump_main(void *arg)
{
	struct tty *tty = arg;
	struct console *c = tty->console;

	pthread_setname_np(pthread_self(), "moat-console");
	for (;;) {
		struct pollfd p[3] = {{.fd = c->kick, .events = POLLIN},
				      {.fd = -1, .events = POLLIN},
				      {.fd = -1, .events = POLLOUT}};
		uint64_t drain;

		mutex_lock(&tty->lock);
		if (!c->eof && ldisc_receive_room(tty))
			p[1].fd = c->in.fd;
		mutex_unlock(&tty->lock);
		if (output_pending(tty))
			p[2].fd = c->out.fd;
		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			continue;
		if (p[0].revents && read(c->kick, &drain, sizeof(drain)) < 0)
			log_warn_once("console: eventfd: %d", errno);
		if (c->ending)
			break;
		if (p[2].revents)
			write_out(tty);
		if (p[1].revents)
			pump_input(tty);
	}
	tty_put(tty);
	return NULL;
}

static int start_pump(struct tty *tty)
{
	int err = thread_start_quiet(pump_main, tty_get(tty), 0);

	if (err)
		tty_put(tty);
	return err;
}

void console_free(struct console *c)
{
	if (c->in.fd >= 0)
		close(c->in.fd);
	if (c->out.fd >= 0 && c->out.fd != c->in.fd)
		close(c->out.fd);
	if (c->kick >= 0)
		close(c->kick);
	free(c);
}

static bool host_winsize(struct tty *tty, struct tty_winsize *ws)
{
	struct winsize w;

	if (ioctl(tty->console->out.fd, TIOCGWINSZ, &w))
		return false;
	*ws = (struct tty_winsize){w.ws_row, w.ws_col, w.ws_xpixel, w.ws_ypixel};
	return true;
}

void tty_console_winch(struct tty *tty)
{
	struct tty_winsize ws;

	if (tty->console && host_winsize(tty, &ws))
		tty_set_winsize(tty, &ws);
}

void tty_console_drain(struct tty *tty)
{
	for (int ms = 0; ms < DRAIN_MS; ms += 2) {
		struct pollfd p = {.fd = tty->console->out.fd, .events = POLLOUT};

		if (write_out(tty))
			return;
		poll(&p, 1, 2);
	}
}

void tty_console_end(struct tty *tty)
{
	mutex_lock(&console_lock);
	LIST_REMOVE(tty->console, link);
	mutex_unlock(&console_lock);
	tty_hangup(tty);
	tty->console->ending = true;
	kick_pump(tty->console);
	tty_put(tty);
}

static void hostfd_embed(struct hostfd *h, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	h->fd = fd;
	h->type = S_IFCHR;
	h->mode = flags >= 0 && (flags & O_NONBLOCK) ? HOSTFD_NONBLOCK : HOSTFD_WATCHED;
	wait_queue_init(&h->wait);
	mutex_init(&h->lock);
}

/* The console's file has no name of its own: stat says of it what it says of the caller's
 * /dev/console, so that ttyname(3) finds it. */
static int console_getattr(struct inode *inode, struct kstat *stat, uint32_t mask, unsigned flags)
{
	struct path __put_path path = {0};
	struct path __put_path root = {0};
	struct kstat named;

	generic_fillattr(inode, stat);
	if (!current)
		return 0;
	fs_get_root(current->fs, &root);
	if (path_lookup_from(&root, &root, "/dev/console", LOOKUP_FOLLOW, &path) ||
	    path.dentry->inode == inode || vfs_getattr(&path, &named, STATX_BASIC_STATS, 0) ||
	    named.rdev != stat->rdev)
		return 0;
	stat->dev = named.dev;
	stat->ino = named.ino;
	return 0;
}

static const struct inode_operations console_iops = {.getattr = console_getattr};

/* Opened again through /proc/PID/fd. */
static int console_reopen(struct inode *inode, struct file *file)
{
	struct tty *tty = console_of_inode(inode);
	int err = tty ? tty_file_attach(file, tty) : -EIO;

	tty_put(tty);
	return err;
}

static const struct file_operations console_reopen_fops = {.open = console_reopen};

static int console_file(struct tty *tty, struct file **out)
{
	int err = anon_file_create("/dev/console", S_IFCHR | 0620, &console_reopen_fops, NULL,
				   O_RDWR | O_NOCTTY, out);

	if (err)
		return err;
	(*out)->inode->ops = &console_iops;
	(*out)->inode->rdev = tty_device(tty);
	(*out)->inode->gid = 5;
	err = tty_file_attach(*out, tty);
	if (err)
		file_put(*out);
	else
		(*out)->flags &= ~(uint32_t)O_NOCTTY;
	return err;
}

int tty_console_create(int in_fd, int out_fd, struct tty **tty_out, struct file **file)
{
	struct console *c = calloc(1, sizeof(*c));
	struct tty *tty = tty_alloc(TTY_CONSOLE);
	struct tty_winsize ws;
	int err = hostfd_init();

	if (!c || !tty) {
		free(c);
		tty_put(tty);
		close(in_fd);
		if (out_fd != in_fd)
			close(out_fd);
		return -ENOMEM;
	}
	hostfd_embed(&c->in, in_fd);
	hostfd_embed(&c->out, out_fd);
	mutex_init(&c->out_lock);
	c->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	tty->console = c;
	tty->termios.c_iflag |= IUTF8;
	if (host_winsize(tty, &ws))
		tty->winsize = ws;
	if (!err && c->kick < 0)
		err = -errno;
	if (!err)
		err = console_file(tty, file);
	if (err) {
		tty_put(tty);
		return err;
	}
	err = start_pump(tty);
	if (err) {
		file_put(*file);
		tty_put(tty);
		return err;
	}
	mutex_lock(&console_lock);
	c->tty = tty;
	c->inode = (*file)->inode;
	LIST_INSERT_HEAD(&consoles, c, link);
	mutex_unlock(&console_lock);
	*tty_out = tty;
	return 0;
}
