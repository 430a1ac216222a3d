/* Reading, writing and polling pipes. */
#include "sentry/fs/pipe/pipe_internal.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "sentry/arch/regs.h"
#include "sentry/kernel/task/task.h"

struct pipe *file_pipe(struct file *file)
{
	return file->ops == &fifo_fops ? file->private : NULL;
}

static bool nonblocking(struct file *file, int rwf)
{
	return (file->flags & O_NONBLOCK) || (rwf & RWF_NOWAIT);
}

/* Wait conditions. They take the lock, so a change made before it was seen cannot be missed. */
static bool can_read(struct pipe *p)
{
	MUTEX_GUARD(&p->lock);
	return !p->read_claimed && (pipe_ring_used(&p->ring) || !p->writers);
}

static bool can_write(struct pipe *p, uint32_t need)
{
	MUTEX_GUARD(&p->lock);
	return !p->readers || (!p->write_claimed && pipe_ring_space(&p->ring) >= need);
}

/* After the reading end took bytes: writers that were stuck may go on. */
static void wake_writers(struct pipe *p, uint32_t space_before, uint32_t space_now)
{
	if ((space_before < PIPE_ATOMIC && space_now >= PIPE_ATOMIC) || p->poll_usage)
		wake_up(&p->wr_wait, EPOLLOUT | EPOLLWRNORM);
}

static ssize_t pipe_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	struct pipe *p = file->private;
	uint32_t before;
	ssize_t ret;

	(void)pos;
	if (!iov_iter_count(to))
		return 0;
	mutex_lock(&p->lock);
	while (p->read_claimed || !pipe_ring_used(&p->ring)) {
		if (!p->read_claimed && !p->writers) {
			mutex_unlock(&p->lock);
			return 0;
		}
		mutex_unlock(&p->lock);
		if (nonblocking(file, rwf))
			return -EAGAIN;
		ret = wait_event_interruptible(&p->rd_wait, can_read(p), NO_DEADLINE);
		if (ret)
			return ret;
		mutex_lock(&p->lock);
	}
	before = pipe_ring_space(&p->ring);
	ret = pipe_ring_read(&p->ring, to);
	wake_writers(p, before, pipe_ring_space(&p->ring));
	mutex_unlock(&p->lock);
	return ret;
}

/* One step of a write with the lock held: moves what may be moved now. 0: must wait. */
static ssize_t write_some(struct pipe *p, struct iov_iter *from, bool packet)
{
	size_t left = iov_iter_count(from);
	uint32_t n, space = pipe_ring_space(&p->ring);
	bool was_empty = !pipe_ring_used(&p->ring);
	ssize_t ret;

	if (p->write_claimed || space < MIN(left, (size_t)PIPE_ATOMIC))
		return 0;
	n = (uint32_t)MIN(left, (size_t)(packet ? PIPE_ATOMIC : space));
	/* Memory first: if the ring cannot grow, what was to be atomic waits for room instead. */
	ret = pipe_ring_reserve(&p->ring, n);
	if (ret)
		return ret;
	if (pipe_ring_space(&p->ring) < MIN(left, (size_t)PIPE_ATOMIC))
		return 0;
	ret = pipe_ring_write(&p->ring, from, n, packet);
	if (ret > 0 && (was_empty || p->poll_usage))
		wake_up(&p->rd_wait, EPOLLIN | EPOLLRDNORM);
	return ret;
}

static ssize_t pipe_write(struct file *file, struct iov_iter *from, int64_t *pos, int rwf)
{
	struct pipe *p = file->private;
	bool packet = file->flags & O_DIRECT;
	ssize_t done = 0, ret = 0;

	(void)pos;
	if (!iov_iter_count(from))
		return 0;
	mutex_lock(&p->lock);
	while (iov_iter_count(from)) {
		uint32_t need = (uint32_t)MIN(iov_iter_count(from), (size_t)PIPE_ATOMIC);

		if (!p->readers) {
			ret = -EPIPE;
			break;
		}
		ret = write_some(p, from, packet);
		if (ret < 0)
			break;
		done += ret;
		if (ret > 0)
			continue;
		if (nonblocking(file, rwf)) {
			ret = -EAGAIN;
			break;
		}
		mutex_unlock(&p->lock);
		ret = wait_event_interruptible(&p->wr_wait, can_write(p, need), NO_DEADLINE);
		mutex_lock(&p->lock);
		if (ret)
			break;
	}
	mutex_unlock(&p->lock);
	if (ret == -EPIPE)
		task_send_sigpipe();
	return done ? done : ret;
}

static uint32_t pipe_poll(struct file *file, struct poll_table *pt)
{
	struct pipe *p = file->private;
	uint32_t mask = 0;

	if (file->can_read)
		poll_wait(pt, &p->rd_wait);
	if (file->can_write)
		poll_wait(pt, &p->wr_wait);
	MUTEX_GUARD(&p->lock);
	p->poll_usage = true;
	if (file->can_read) {
		if (pipe_ring_used(&p->ring))
			mask |= EPOLLIN | EPOLLRDNORM;
		/* Not until there was a writer: file->pos keeps w_counter of the open. */
		if (!p->writers && (uint64_t)file->pos != p->w_counter)
			mask |= EPOLLHUP;
	}
	if (file->can_write) {
		if (pipe_ring_space(&p->ring) >= PIPE_ATOMIC)
			mask |= EPOLLOUT | EPOLLWRNORM;
		if (!p->readers)
			mask |= EPOLLERR;
	}
	return mask;
}

static long pipe_ioctl(struct file *file, unsigned cmd, uint64_t arg)
{
	struct pipe *p = file->private;
	int n;

	if (cmd != FIONREAD)
		return -ENOIOCTLCMD;
	mutex_lock(&p->lock);
	n = (int)pipe_ring_used(&p->ring);
	mutex_unlock(&p->lock);
	return put_user(arg, n);
}

/* F_SETPIPE_SZ (man 2 fcntl): rounded up to a power of two pages. */
static long set_capacity(struct pipe *p, uint64_t arg)
{
	uint32_t size = (uint32_t)PAGE_SIZE, before;
	long ret;

	if (arg > 1U << 31)
		return -EINVAL;
	while (size < arg)
		size *= 2;
	MUTEX_GUARD(&p->lock);
	if (size > p->ring.capacity && size > PIPE_MAX_CAPACITY && !capable(CAP_SYS_RESOURCE))
		return -EPERM;
	if (p->read_claimed || p->write_claimed)
		return -EBUSY;
	before = pipe_ring_space(&p->ring);
	ret = pipe_ring_resize(&p->ring, size);
	if (ret)
		return ret;
	wake_writers(p, before, pipe_ring_space(&p->ring));
	return size;
}

static long pipe_fcntl(struct file *file, unsigned cmd, uint64_t arg)
{
	struct pipe *p = file->private;

	switch (cmd) {
	case F_SETPIPE_SZ:
		return set_capacity(p, arg);
	case F_GETPIPE_SZ: {
		MUTEX_GUARD(&p->lock);
		return p->ring.capacity;
	}
	default:
		return -EINVAL;
	}
}

void fifo_release(struct file *file);

const struct file_operations fifo_fops = {
	.can_async = true,
	.open = fifo_open,
	.release = fifo_release,
	.read = pipe_read,
	.write = pipe_write,
	.poll = pipe_poll,
	.ioctl = pipe_ioctl,
	.fcntl = pipe_fcntl,
};

/* --- splice's way in
 * ------------------------------------------------------------------------------
 */

int pipe_read_claim(struct pipe *p, bool nonblock)
{
	for (;;) {
		int ret;

		mutex_lock(&p->lock);
		if (!p->read_claimed && (pipe_ring_used(&p->ring) || !p->writers)) {
			p->read_claimed = true;
			mutex_unlock(&p->lock);
			return 0;
		}
		mutex_unlock(&p->lock);
		if (nonblock)
			return -EAGAIN;
		ret = wait_event_interruptible(&p->rd_wait, can_read(p), NO_DEADLINE);
		if (ret)
			return ret;
	}
}

uint32_t pipe_read_peek(struct pipe *p, uint32_t skip, void *buf, uint32_t n)
{
	MUTEX_GUARD(&p->lock);
	return pipe_ring_peek(&p->ring, skip, buf, n);
}

void pipe_read_release(struct pipe *p, uint32_t n)
{
	uint32_t before;

	MUTEX_GUARD(&p->lock);
	before = pipe_ring_space(&p->ring);
	pipe_ring_consume(&p->ring, n);
	p->read_claimed = false;
	wake_writers(p, before, pipe_ring_space(&p->ring));
	wake_up(&p->rd_wait, EPOLLIN | EPOLLRDNORM);
}

int pipe_write_claim(struct pipe *p, bool nonblock, uint32_t *space)
{
	for (;;) {
		int ret;

		mutex_lock(&p->lock);
		if (!p->readers) {
			mutex_unlock(&p->lock);
			task_send_sigpipe();
			return -EPIPE;
		}
		*space = pipe_ring_space(&p->ring);
		if (!p->write_claimed && *space) {
			p->write_claimed = true;
			mutex_unlock(&p->lock);
			return 0;
		}
		mutex_unlock(&p->lock);
		if (nonblock)
			return -EAGAIN;
		ret = wait_event_interruptible(&p->wr_wait, can_write(p, PIPE_ATOMIC), NO_DEADLINE);
		if (ret)
			return ret;
	}
}

int pipe_write_prepare(struct pipe *p, uint32_t *space)
{
	int ret;

	MUTEX_GUARD(&p->lock);
	ret = pipe_ring_reserve(&p->ring, *space);
	*space = MIN(*space, pipe_ring_space(&p->ring));
	return ret;
}

ssize_t pipe_write_push(struct pipe *p, const void *buf, uint32_t n)
{
	struct iov_iter from;
	bool was_empty;
	ssize_t ret;

	iov_iter_kernel(&from, (void *)(uintptr_t)buf, n);
	MUTEX_GUARD(&p->lock);
	was_empty = !pipe_ring_used(&p->ring);
	ret = pipe_ring_write(&p->ring, &from, MIN(n, pipe_ring_space(&p->ring)), false);
	if (ret > 0 && (was_empty || p->poll_usage))
		wake_up(&p->rd_wait, EPOLLIN | EPOLLRDNORM);
	return ret;
}

void pipe_write_release(struct pipe *p)
{
	MUTEX_GUARD(&p->lock);
	p->write_claimed = false;
	wake_up(&p->wr_wait, EPOLLOUT | EPOLLWRNORM);
}
