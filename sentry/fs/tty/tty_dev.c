/* /dev/tty: the caller's own terminal; /dev/console: the sandbox's. */
#include <errno.h>
#include <fcntl.h>

#include "sentry/fs/tty/tty_internal.h"
#include "sentry/kernel/task/task.h"
#include "sentry/kernel/task/task_upcalls.h"
#include "sentry/vfs/file/device.h"

static int open_own_tty(struct inode *inode, struct file *file)
{
	struct tty *tty = current ? group_tty_get(current->group) : NULL;
	int err;

	if (!tty)
		return -ENXIO;
	err = tty_file_attach(file, tty);
	tty_put(tty);
	return err;
}

/* Without a console, a program that opens it (an init, a logger) gets what Linux says of a console
 * without hardware. */
static int open_console(struct inode *inode, struct file *file)
{
	struct tty *tty = console_get();
	int err;

	if (!tty)
		return -EIO;
	file->flags |= O_NOCTTY; /* never becomes the controlling terminal by being opened */
	err = tty_file_attach(file, tty);
	file->flags &= ~(uint32_t)O_NOCTTY;
	tty_put(tty);
	return err;
}

static const struct file_operations own_tty_fops = {.open = open_own_tty};
static const struct file_operations console_fops = {.open = open_console};
static const struct file_operations ptmx_fops = {.open = pty_ptmx_open};

static const struct task_tty_operations task_ops = {
	.get = tty_get,
	.put = tty_put,
	.disassociate = tty_disassociate,
	.set_controlling = tty_set_controlling,
	.signal_foreground = tty_signal_foreground,
	.device = tty_device,
};

void tty_init(void)
{
	task_set_tty_operations(&task_ops);
	device_register(TTYAUX_MAJOR, 0, &own_tty_fops);
	device_register(TTYAUX_MAJOR, 1, &console_fops);
	device_register(TTYAUX_MAJOR, 2, &ptmx_fops);
}
