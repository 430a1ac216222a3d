/* Opening and closing the ends of pipes and fifos. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "sentry/fs/fs.h"
#include "sentry/fs/pipe/pipe_internal.h"
#include "sentry/kernel/core/user_quota.h"
#include "sentry/kernel/task/task.h"
#include "sentry/vfs/file/device.h"

/* Guards inode->fifo and pipe->files. A leaf, held for a few instructions. */
static struct mutex fifo_lock = MUTEX_INIT;

static struct pipe *pipe_alloc(void)
{
	struct pipe *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	mutex_init(&p->lock);
	wait_queue_init(&p->rd_wait);
	wait_queue_init(&p->wr_wait);
	pipe_ring_init(&p->ring, PIPE_DEFAULT_CAPACITY, user_quota_get(current->cred->uid),
		       capable(CAP_SYS_RESOURCE) || capable(CAP_SYS_ADMIN));
	p->files = 1;
	return p;
}

static void pipe_free(struct pipe *p)
{
	pipe_ring_destroy(&p->ring);
	mutex_destroy(&p->lock);
	free(p);
}

static struct pipe *fifo_get(struct inode *inode)
{
	struct pipe *fresh;

	mutex_lock(&fifo_lock);
	if (inode->fifo) {
		inode->fifo->files++;
		mutex_unlock(&fifo_lock);
		return inode->fifo;
	}
	mutex_unlock(&fifo_lock);
	fresh = pipe_alloc();
	if (!fresh)
		return NULL;
	mutex_lock(&fifo_lock);
	if (inode->fifo) {
		inode->fifo->files++;
		mutex_unlock(&fifo_lock);
		pipe_free(fresh);
		return inode->fifo;
	}
	fresh->is_fifo = true;
	inode->fifo = fresh;
	mutex_unlock(&fifo_lock);
	return fresh;
}

static void fifo_put(struct inode *inode, struct pipe *p)
{
	mutex_lock(&fifo_lock);
	if (--p->files) {
		mutex_unlock(&fifo_lock);
		return;
	}
	if (inode->fifo == p)
		inode->fifo = NULL;
	mutex_unlock(&fifo_lock);
	pipe_free(p);
}

/* Closes the ends that `file` has. */
static void close_ends(struct file *file, struct pipe *p)
{
	MUTEX_GUARD(&p->lock);
	if (file->can_read)
		p->readers--;
	if (file->can_write)
		p->writers--;
	if (!p->readers != !p->writers) {
		wake_up_all(&p->rd_wait, EPOLLIN | EPOLLRDNORM | EPOLLERR | EPOLLHUP);
		wake_up_all(&p->wr_wait, EPOLLOUT | EPOLLWRNORM | EPOLLERR | EPOLLHUP);
	}
}

void fifo_release(struct file *file);
void fifo_release(struct file *file)
{
	struct pipe *p = file->private;

	if (!p)
		return;
	close_ends(file, p);
	fifo_put(file->inode, p);
}

static bool counter_moved(struct pipe *p, const uint64_t *counter, uint64_t seen)
{
	MUTEX_GUARD(&p->lock);
	return *counter != seen;
}

static int open_ends(struct file *file, struct pipe *p)
{
	bool nonblock = file->flags & O_NONBLOCK;
	bool wait_writer = false, wait_reader = false;
	uint64_t seen;
	int ret = 0;

	mutex_lock(&p->lock);
	file->pos = 0;
	if (p->is_fifo && file->can_write && !file->can_read && nonblock && !p->readers) {
		mutex_unlock(&p->lock);
		return -ENXIO;
	}
	if (file->can_read) {
		p->r_counter++;
		if (p->readers++ == 0)
			wake_up_all(&p->wr_wait, ~0U);
	}
	if (file->can_write) {
		p->w_counter++;
		if (p->writers++ == 0)
			wake_up_all(&p->rd_wait, ~0U);
	}
	/* Pipes that are opened again (/proc/PID/fd) wait for nobody. */
	if (p->is_fifo && !file->can_write && !p->writers) {
		if (nonblock)
			file->pos = (int64_t)p->w_counter;
		else
			wait_writer = true;
	}
	if (p->is_fifo && !file->can_read && !p->readers)
		wait_reader = true;
	seen = wait_writer ? p->w_counter : p->r_counter;
	mutex_unlock(&p->lock);
	if (wait_writer)
		ret = wait_event_interruptible(&p->rd_wait, counter_moved(p, &p->w_counter, seen),
					       NO_DEADLINE);
	else if (wait_reader)
		ret = wait_event_interruptible(&p->wr_wait, counter_moved(p, &p->r_counter, seen),
					       NO_DEADLINE);
	if (ret)
		close_ends(file, p);
	return ret;
}

int fifo_open(struct inode *inode, struct file *file)
{
	struct pipe *p = fifo_get(inode);
	int ret;

	if (!p)
		return -ENOMEM;
	ret = open_ends(file, p);
	if (ret) {
		file->private = NULL;
		fifo_put(inode, p);
		return ret;
	}
	file->ops = &fifo_fops;
	file->private = p;
	return 0;
}

int pipe_create(uint32_t flags, struct file **rd, struct file **wr)
{
	struct pipe *p = pipe_alloc();
	struct file *r;
	int ret;

	if (!p)
		return -ENOMEM;
	ret = anon_file_create("pipe:[%lu]", S_IFIFO | 0600, &fifo_fops, p, O_RDONLY | flags, &r);
	if (ret) {
		pipe_free(p);
		return ret;
	}
	p->readers = 1;
	p->r_counter = 1;
	mutex_lock(&fifo_lock);
	r->inode->fifo = p;
	mutex_unlock(&fifo_lock);
	ret = file_open(&r->path, O_WRONLY | flags, wr);
	if (ret) {
		file_put(r);
		return ret;
	}
	*rd = r;
	return 0;
}

void pipe_init(void)
{
	device_register_fifo(&fifo_fops);
}
