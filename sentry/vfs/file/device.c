/* Opening device inodes. */
#include "sentry/vfs/file/device.h"

#include <sys/sysmacros.h>

#include "sentry/vfs/file/file_internal.h"

#define MAX_DEVICES 128

static struct device {
	int major, minor;
	const struct file_operations *ops;
} devices[MAX_DEVICES];
static _Atomic int num_devices;
static const struct file_operations *fifo_ops;

void device_register(int major, int minor, const struct file_operations *ops)
{
	BUG_ON(num_devices >= MAX_DEVICES);
	devices[num_devices] = (struct device){major, minor, ops};
	num_devices++;
}

void device_register_fifo(const struct file_operations *ops)
{
	fifo_ops = ops;
}

const struct file_operations *device_fifo(void)
{
	return fifo_ops;
}

static const struct file_operations *find_device(int major, int minor)
{
	const struct file_operations *any = NULL;

	for (int i = 0; i < num_devices; i++) {
		if (devices[i].major != major)
			continue;
		if (devices[i].minor == minor)
			return devices[i].ops;
		if (devices[i].minor == DEVICE_ANY_MINOR)
			any = devices[i].ops;
	}
	return any;
}

int device_open(struct inode *inode, struct file *file)
{
	/* rdev is in the kernel's encoding; the C library's macros read it as well for what we
	 * use: major below 2^12. */
	if (!S_ISCHR(inode->mode))
		return -ENXIO;
	file->ops = find_device(major(inode->rdev), minor(inode->rdev));
	if (!file->ops)
		return -ENXIO;
	return file->ops->open ? file->ops->open(inode, file) : 0;
}
