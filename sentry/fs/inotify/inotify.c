/* inotify instances as files. */
#include "sentry/fs/inotify/inotify_internal.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "sentry/fs/inotify/group_internal.h"
#include "sentry/kernel/core/user_quota.h"
#include "sentry/kernel/task/task.h"

/* Unread events of all instances. */
static _Atomic long queued_bytes;

static size_t event_size(const struct inotify_queued *e)
{
	return sizeof(struct inotify_event) + e->len;
}

static bool same_event(const struct inotify_queued *a, const struct inotify_queued *b)
{
	return a && a->wd == b->wd && a->mask == b->mask && a->cookie == b->cookie &&
	       a->len == b->len && !memcmp(a->name, b->name, a->len);
}

void inotify_queue(struct inotify_group *g, int wd, uint32_t mask, uint32_t cookie,
		   const char *name)
{
	size_t len = name ? ROUND_UP(strlen(name) + 1, sizeof(struct inotify_event)) : 0;
	struct inotify_queued *e;

	MUTEX_GUARD(&g->lock);
	/* The last slot is for the news that there is no more room. */
	if (g->nevents >= INOTIFY_MAX_QUEUED || queued_bytes >= INOTIFY_MAX_BYTES) {
		if (g->overflowed)
			return;
		g->overflowed = true;
		wd = -1;
		mask = IN_Q_OVERFLOW;
		cookie = 0;
		len = 0;
	}
	e = calloc(1, sizeof(*e) + len);
	if (!e)
		return;
	e->wd = wd;
	e->mask = mask;
	e->cookie = cookie;
	e->len = (uint32_t)len;
	if (len)
		memcpy(e->name, name, strlen(name));
	if (same_event(TAILQ_LAST(&g->events, inotify_queue_head), e)) {
		free(e);
		return;
	}
	TAILQ_INSERT_TAIL(&g->events, e, link);
	g->nevents++;
	g->bytes += event_size(e);
	queued_bytes += (long)event_size(e);
	wake_up(&g->wait, EPOLLIN | EPOLLRDNORM);
}

static bool has_events(struct inotify_group *g)
{
	MUTEX_GUARD(&g->lock);
	return !TAILQ_EMPTY(&g->events);
}

/* Takes the next event if it fits into `room`; NULL with *err -EINVAL if it does not, 0 if there is
 * none. */
static struct inotify_queued *take_event(struct inotify_group *g, size_t room, int *err)
{
	struct inotify_queued *e;

	MUTEX_GUARD(&g->lock);
	*err = 0;
	e = TAILQ_FIRST(&g->events);
	if (!e)
		return NULL;
	if (event_size(e) > room) {
		*err = -EINVAL;
		return NULL;
	}
	TAILQ_REMOVE(&g->events, e, link);
	g->nevents--;
	g->bytes -= event_size(e);
	queued_bytes -= (long)event_size(e);
	if (e->mask & IN_Q_OVERFLOW)
		g->overflowed = false;
	return e;
}

static ssize_t copy_event(struct iov_iter *to, const struct inotify_queued *e)
{
	/* struct inotify_event, with room for the longest name. */
	struct {
		int32_t wd;
		uint32_t mask, cookie, len;
		char name[ROUND_UP(NAME_MAX_LEN + 1, 16)];
	} out = {.wd = e->wd, .mask = e->mask, .cookie = e->cookie, .len = e->len};
	size_t size = event_size(e);

	memcpy(out.name, e->name, MIN(e->len, sizeof(out.name)));
	return copy_to_iter(to, &out, size) == (ssize_t)size ? (ssize_t)size : -EFAULT;
}

static ssize_t inotify_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	bool nonblock = (file->flags & O_NONBLOCK) || (rwf & RWF_NOWAIT);
	struct inotify_group *g = file->private;
	ssize_t done = 0;

	(void)pos;
	for (;;) {
		int err;
		struct inotify_queued *e = take_event(g, iov_iter_count(to), &err);

		if (e) {
			ssize_t n = copy_event(to, e);

			free(e);
			if (n < 0)
				return done ? done : n;
			done += n;
			continue;
		}
		if (done)
			return done;
		if (err)
			return err;
		if (nonblock)
			return -EAGAIN;
		err = wait_event_interruptible(&g->wait, has_events(g), NO_DEADLINE);
		if (err)
			return err;
	}
}

static uint32_t inotify_poll(struct file *file, struct poll_table *pt)
{
	struct inotify_group *g = file->private;

	poll_wait(pt, &g->wait);
	return has_events(g) ? EPOLLIN | EPOLLRDNORM : 0;
}

static long inotify_ioctl(struct file *file, unsigned cmd, uint64_t arg)
{
	struct inotify_group *g = file->private;
	int n;

	if (cmd != FIONREAD)
		return -ENOIOCTLCMD;
	mutex_lock(&g->lock);
	n = (int)g->bytes;
	mutex_unlock(&g->lock);
	return put_user(arg, n);
}

static int inotify_fdinfo(struct file *file, char *buf, size_t size)
{
	struct inotify_group *g = file->private;
	struct inotify_watch *w;
	size_t n = 0;

	MUTEX_GUARD(&inotify_marks_lock);
	for (w = inotify_first(g); w; w = inotify_next(w)) {
		int r = snprintf(buf + n, size - n,
				 "inotify wd:%x ino:%lx sdev:%lx mask:%x ignored_mask:0 \n", w->wd,
				 (unsigned long)w->inode->ino,
				 (unsigned long)(w->inode->sb ? w->inode->sb->dev : 0), w->mask);

		if (r < 0 || (size_t)r >= size - n)
			break;
		n += (size_t)r;
	}
	return (int)n;
}

static void group_free(struct inotify_group *g)
{
	struct inotify_queued *e;

	while ((e = TAILQ_FIRST(&g->events))) {
		TAILQ_REMOVE(&g->events, e, link);
		queued_bytes -= (long)event_size(e);
		free(e);
	}
	if (g->quota) {
		user_quota_uncharge(g->quota, QUOTA_INOTIFY_INSTANCES, 1);
		user_quota_put(g->quota);
	}
	mutex_destroy(&g->lock);
	free(g);
}

static void inotify_release(struct file *file)
{
	struct inotify_group *g = file->private;

	for (;;) {
		struct inotify_watch *w;

		mutex_lock(&inotify_marks_lock);
		w = inotify_first(g);
		if (w)
			inotify_detach(w);
		mutex_unlock(&inotify_marks_lock);
		if (!w)
			break;
		inotify_free_watch(w);
	}
	group_free(g);
}

static const struct file_operations inotify_fops = {
	.can_async = true,
	.no_splice = true,
	.llseek = file_noop_llseek,
	.release = inotify_release,
	.read = inotify_read,
	.poll = inotify_poll,
	.ioctl = inotify_ioctl,
	.show_fdinfo = inotify_fdinfo,
};

int inotify_create(uint32_t flags, struct file **out)
{
	struct user_quota *quota = user_quota_get(current->cred->uid);
	struct inotify_group *g;
	int ret;

	if (!quota)
		return -ENOMEM;
	if (!user_quota_charge(quota, QUOTA_INOTIFY_INSTANCES, 1, INOTIFY_MAX_INSTANCES)) {
		user_quota_put(quota);
		return -EMFILE;
	}
	g = calloc(1, sizeof(*g));
	if (!g) {
		user_quota_uncharge(quota, QUOTA_INOTIFY_INSTANCES, 1);
		user_quota_put(quota);
		return -ENOMEM;
	}
	g->quota = quota;
	mutex_init(&g->lock);
	TAILQ_INIT(&g->events);
	RB_INIT(&g->watches);
	wait_queue_init(&g->wait);
	ret = anon_file_create("anon_inode:inotify", 0600, &inotify_fops, g, O_RDONLY | flags, out);
	if (ret)
		group_free(g);
	return ret;
}

int inotify_watch(struct file *file, struct inode *inode, uint32_t mask)
{
	return file->ops == &inotify_fops ? inotify_add(file->private, inode, mask) : -EINVAL;
}

int inotify_unwatch(struct file *file, int wd)
{
	return file->ops == &inotify_fops ? inotify_remove(file->private, wd) : -EINVAL;
}
