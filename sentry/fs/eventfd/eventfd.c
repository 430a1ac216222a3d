/*
 * eventfd (man 2 eventfd): a counter.
 * Lock: ctx->lock -> ctx->wait.lock.
 */
#include "sentry/fs/eventfd/eventfd.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "sentry/kernel/core/restart.h"

struct eventfd {
	struct mutex lock;
	uint64_t count;
	bool semaphore;
	struct wait_queue wait;
};

static bool readable(struct eventfd *e)
{
	MUTEX_GUARD(&e->lock);
	return e->count > 0;
}

static bool has_room(struct eventfd *e, uint64_t add)
{
	MUTEX_GUARD(&e->lock);
	return UINT64_MAX - e->count > add;
}

static bool nonblocking(struct file *file, int rwf)
{
	return (file->flags & O_NONBLOCK) || (rwf & RWF_NOWAIT);
}

static ssize_t eventfd_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	struct eventfd *e = file->private;
	uint64_t value;
	ssize_t ret;

	(void)pos;
	if (iov_iter_count(to) < sizeof(value))
		return -EINVAL;
	mutex_lock(&e->lock);
	while (e->count == 0) {
		mutex_unlock(&e->lock);
		if (nonblocking(file, rwf))
			return -EAGAIN;
		ret = wait_event_interruptible(&e->wait, readable(e), NO_DEADLINE);
		if (ret)
			return ret;
		mutex_lock(&e->lock);
	}
	value = e->semaphore ? 1 : e->count;
	e->count -= value;
	wake_up(&e->wait, EPOLLOUT | EPOLLWRNORM);
	mutex_unlock(&e->lock);
	ret = copy_to_iter(to, &value, sizeof(value));
	return ret == sizeof(value) ? ret : -EFAULT;
}

static ssize_t eventfd_write(struct file *file, struct iov_iter *from, int64_t *pos, int rwf)
{
	struct eventfd *e = file->private;
	uint64_t value;
	int ret;

	(void)pos;
	/* Just the number, in one piece. */
	if (from->iov->iov_len != sizeof(value) || from->count < sizeof(value))
		return -EINVAL;
	if (copy_from_iter(from, &value, sizeof(value)) != sizeof(value))
		return -EFAULT;
	if (value == UINT64_MAX)
		return -EINVAL;
	mutex_lock(&e->lock);
	while (UINT64_MAX - e->count <= value) {
		mutex_unlock(&e->lock);
		if (nonblocking(file, rwf))
			return -EAGAIN;
		ret = wait_event_interruptible(&e->wait, has_room(e, value), NO_DEADLINE);
		if (ret)
			return ret;
		mutex_lock(&e->lock);
	}
	e->count += value;
	wake_up(&e->wait, EPOLLIN | EPOLLRDNORM);
	mutex_unlock(&e->lock);
	return sizeof(value);
}

static uint32_t eventfd_poll(struct file *file, struct poll_table *pt)
{
	struct eventfd *e = file->private;
	uint32_t mask = 0;

	poll_wait(pt, &e->wait);
	MUTEX_GUARD(&e->lock);
	if (e->count > 0)
		mask |= EPOLLIN;
	if (e->count == UINT64_MAX)
		mask |= EPOLLERR;
	if (UINT64_MAX - 1 > e->count)
		mask |= EPOLLOUT;
	return mask;
}

static int eventfd_fdinfo(struct file *file, char *buf, size_t size)
{
	struct eventfd *e = file->private;

	MUTEX_GUARD(&e->lock);
	return snprintf(buf, size, "eventfd-count: %16llx\n", (unsigned long long)e->count);
}

static void eventfd_release(struct file *file)
{
	struct eventfd *e = file->private;

	mutex_destroy(&e->lock);
	free(e);
}

static const struct file_operations eventfd_fops = {
	.no_splice = true,
	.llseek = file_noop_llseek,
	.release = eventfd_release,
	.read = eventfd_read,
	.write = eventfd_write,
	.poll = eventfd_poll,
	.show_fdinfo = eventfd_fdinfo,
};

bool is_eventfd(const struct file *file)
{
	return file->ops == &eventfd_fops;
}

void eventfd_signal(struct file *file)
{
	struct eventfd *e = file->private;

	MUTEX_GUARD(&e->lock);
	if (e->count < UINT64_MAX)
		e->count++;
	wake_up(&e->wait, EPOLLIN | EPOLLRDNORM);
}

int eventfd_create(unsigned initial, bool semaphore, uint32_t flags, struct file **out)
{
	struct eventfd *e = calloc(1, sizeof(*e));
	int ret;

	if (!e)
		return -ENOMEM;
	mutex_init(&e->lock);
	wait_queue_init(&e->wait);
	e->count = initial;
	e->semaphore = semaphore;
	ret = anon_file_create("anon_inode:[eventfd]", 0600, &eventfd_fops, e, O_RDWR | flags, out);
	if (ret) {
		mutex_destroy(&e->lock);
		free(e);
	}
	return ret;
}
