/* null, zero, full, random, urandom. */
#include "sentry/fs/dev/mem_internal.h"

#include <errno.h>
#include <linux/random.h>
#include <sys/random.h>

#include "sentry/kernel/core/cred.h"
#include "sentry/kernel/core/restart.h"
#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/task/task.h"
#include "sentry/vfs/file/device.h"

#define RANDOM_CHUNK 1024
#define ENTROPY_BITS 256

static const char zeros[64 * 1024];

static int64_t mem_llseek(struct file *file, int64_t offset, int whence)
{
	file->pos = 0;
	return 0;
}

static ssize_t null_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	return 0;
}

static ssize_t null_write(struct file *file, struct iov_iter *from, int64_t *pos, int rwf)
{
	size_t n = iov_iter_count(from);

	iov_iter_advance(from, n);
	return (ssize_t)n;
}

static ssize_t zero_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	ssize_t done = 0;

	while (iov_iter_count(to)) {
		size_t want = MIN(iov_iter_count(to), sizeof(zeros));
		ssize_t n = copy_to_iter(to, zeros, want);

		if (n <= 0)
			return done ? done : n;
		done += n;
		if ((size_t)n < want || (current && signal_pending(current)))
			break;
	}
	return done;
}

/* A mapping of it is anonymous memory. */
static int zero_mmap(struct file *file, uint64_t offset, uint64_t len, int prot, int flags,
		     int *host_fd, uint64_t *host_offset)
{
	*host_fd = -1;
	*host_offset = 0;
	return 0;
}

static ssize_t full_write(struct file *file, struct iov_iter *from, int64_t *pos, int rwf)
{
	return iov_iter_count(from) ? -ENOSPC : 0;
}

static ssize_t random_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	ssize_t done = 0;

	while (iov_iter_count(to)) {
		uint8_t buf[RANDOM_CHUNK];
		size_t want = MIN(iov_iter_count(to), sizeof(buf));
		ssize_t n;

		if (getrandom(buf, want, 0) != (ssize_t)want)
			return done ? done : -EIO;
		n = copy_to_iter(to, buf, want);
		if (n <= 0)
			return done ? done : n;
		done += n;
		if ((size_t)n < want || (current && signal_pending(current)))
			break;
	}
	return done;
}

/* The pool is the host's: RNDADDENTROPY and the like are accepted from nobody. */
static long random_ioctl(struct file *file, unsigned cmd, uint64_t arg)
{
	switch (cmd) {
	case RNDGETENTCNT:
		return put_user(arg, (int)ENTROPY_BITS);
	case RNDADDTOENTCNT:
	case RNDADDENTROPY:
	case RNDZAPENTCNT:
	case RNDCLEARPOOL:
	case RNDRESEEDCRNG:
		return -EPERM;
	default:
		return -ENOIOCTLCMD;
	}
}

static const struct file_operations null_fops = {
	.read = null_read, .write = null_write, .llseek = mem_llseek};
static const struct file_operations zero_fops = {
	.read = zero_read, .write = null_write, .llseek = mem_llseek, .mmap = zero_mmap};
static const struct file_operations full_fops = {
	.read = zero_read, .write = full_write, .llseek = mem_llseek};
static const struct file_operations random_fops = {
	.read = random_read, .write = null_write, .llseek = mem_llseek, .ioctl = random_ioctl};

void mem_devices_init(void)
{
	device_register(MEM_MAJOR, MEM_NULL, &null_fops);
	device_register(MEM_MAJOR, MEM_ZERO, &zero_fops);
	device_register(MEM_MAJOR, MEM_FULL, &full_fops);
	device_register(MEM_MAJOR, MEM_RANDOM, &random_fops);
	device_register(MEM_MAJOR, MEM_URANDOM, &random_fops);
}
