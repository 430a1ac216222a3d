/* Waiting for events and delivering them; the epoll file itself. */
#include "sentry/fs/epoll/epoll_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "sentry/fs/epoll/eventpoll_internal.h"
#include "sentry/kernel/core/user_quota.h"
#include "sentry/kernel/task/task.h"

#define EP_BATCH 64

void ep_get(struct eventpoll *ep)
{
	refcount_inc(&ep->refs);
}

void ep_put(struct eventpoll *ep)
{
	if (!refcount_dec(&ep->refs))
		return;
	user_quota_put(ep->quota);
	mutex_destroy(&ep->mtx);
	mutex_destroy(&ep->lock);
	free(ep);
}

static bool ep_has_ready(struct eventpoll *ep)
{
	MUTEX_GUARD(&ep->lock);
	return !TAILQ_EMPTY(&ep->ready);
}

/* A scan of the ready list: takes it whole, and gives back at its head what was not reached. A
 * callback that comes meanwhile puts its item on ep->ready again. ep->mtx held throughout. */
static void scan_begin(struct eventpoll *ep, struct epitem_list *list)
{
	TAILQ_INIT(list);
	MUTEX_GUARD(&ep->lock);
	TAILQ_CONCAT(list, &ep->ready, ready_link);
}

static struct epitem *scan_next(struct eventpoll *ep, struct epitem_list *list)
{
	struct epitem *item;

	MUTEX_GUARD(&ep->lock);
	item = TAILQ_FIRST(list);
	if (item) {
		TAILQ_REMOVE(list, item, ready_link);
		/* Before it is polled: a change after the poll must bring it back. */
		item->ready = false;
	}
	return item;
}

static void scan_end(struct eventpoll *ep, struct epitem_list *list)
{
	bool more;

	mutex_lock(&ep->lock);
	TAILQ_CONCAT(list, &ep->ready, ready_link);
	TAILQ_CONCAT(&ep->ready, list, ready_link);
	more = !TAILQ_EMPTY(&ep->ready);
	mutex_unlock(&ep->lock);
	/* What is left, or ready still, is for the next waiter. */
	if (more)
		wake_up(&ep->wait, EPOLLIN);
}

struct ep_batch {
	struct epoll_event_k events[EP_BATCH];
	struct epitem *items[EP_BATCH];
	uint32_t masks[EP_BATCH]; /* before EPOLLONESHOT cleared them */
	int n;
};

/* Puts the events of a batch that could not be copied out back as they were. */
static void batch_undo(struct eventpoll *ep, struct ep_batch *b)
{
	MUTEX_GUARD(&ep->lock);
	for (int i = 0; i < b->n; i++) {
		struct epitem *item = b->items[i];

		item->event.events = b->masks[i];
		if (!item->ready) {
			item->ready = true;
			TAILQ_INSERT_TAIL(&ep->ready, item, ready_link);
		}
	}
}

static void batch_add(struct eventpoll *ep, struct ep_batch *b, struct epitem *item,
		      uint32_t revents)
{
	MUTEX_GUARD(&ep->lock);
	b->events[b->n] = (struct epoll_event_k){revents, item->event.data};
	b->items[b->n] = item;
	b->masks[b->n] = item->event.events;
	b->n++;
	if (item->event.events & EPOLLONESHOT) {
		item->event.events &= EP_PRIVATE_BITS;
	} else if (!(item->event.events & EPOLLET) && !item->ready) {
		/* Level-triggered: looked at again by the next wait. */
		item->ready = true;
		TAILQ_INSERT_TAIL(&ep->ready, item, ready_link);
	}
}

/* Copies what is ready to `to`: number of events, or -EFAULT if none. */
static int ep_deliver(struct eventpoll *ep, struct iov_iter *to, int maxevents)
{
	struct epitem_list list;
	struct ep_batch batch;
	int done = 0, ret = 0;
	struct epitem *item;
	size_t size;

	MUTEX_GUARD(&ep->mtx);
	scan_begin(ep, &list);
	do {
		batch.n = 0;
		while (batch.n < EP_BATCH && done + batch.n < maxevents) {
			uint32_t revents;

			item = scan_next(ep, &list);
			if (!item)
				break;
			revents = ep_item_poll(item, NULL);
			if (revents)
				batch_add(ep, &batch, item, revents);
		}
		if (!batch.n)
			break;
		size = (size_t)batch.n * sizeof(batch.events[0]);
		if (copy_to_iter(to, batch.events, size) != (ssize_t)size) {
			batch_undo(ep, &batch);
			ret = -EFAULT;
			break;
		}
		done += batch.n;
	} while (batch.n == EP_BATCH && done < maxevents);
	scan_end(ep, &list);
	return done ? done : ret;
}

static int ep_sleep(struct eventpoll *ep, int64_t deadline)
{
	struct wait_entry entry;
	int ret = 0;

	wait_entry_init_task(&entry, ~0U);
	entry.exclusive = true;
	wait_queue_add(&ep->wait, &entry);
	do {
		wait_prepare();
		if (ep_has_ready(ep))
			break;
		ret = wait_block(deadline, true);
	} while (!ret);
	wait_queue_remove(&entry);
	return ret;
}

int epoll_wait_events(struct file *epfile, struct iov_iter *to, int maxevents, int64_t deadline)
{
	struct eventpoll *ep;
	int ret = 0, n;

	if (epfile->ops != &eventpoll_fops || maxevents <= 0 ||
	    maxevents > INT_MAX / (int)sizeof(struct epoll_event_k))
		return -EINVAL;
	ep = epfile->private;
	for (;;) {
		/* Also after a signal or the deadline: a wake-up may have come to us alone. */
		if (ep_has_ready(ep)) {
			n = ep_deliver(ep, to, maxevents);
			if (n)
				return n;
		}
		if (ret)
			return ret == -ETIMEDOUT ? 0 : -EINTR;
		if (deadline == 0)
			return 0;
		ret = ep_sleep(ep, deadline);
	}
}

static uint32_t eventpoll_poll(struct file *file, struct poll_table *pt)
{
	struct eventpoll *ep = file->private;
	struct epitem_list list;
	struct epitem *item;
	uint32_t mask = 0;

	poll_wait(pt, &ep->poll_wait);
	if (!ep_has_ready(ep))
		return 0;
	MUTEX_GUARD(&ep->mtx);
	scan_begin(ep, &list);
	while (!mask && (item = scan_next(ep, &list))) {
		if (!ep_item_poll(item, NULL))
			continue;
		mask = EPOLLIN | EPOLLRDNORM;
		mutex_lock(&ep->lock);
		if (!item->ready) {
			item->ready = true;
			TAILQ_INSERT_HEAD(&list, item, ready_link);
		}
		mutex_unlock(&ep->lock);
	}
	mutex_lock(&ep->lock);
	TAILQ_CONCAT(&list, &ep->ready, ready_link);
	TAILQ_CONCAT(&ep->ready, &list, ready_link);
	mutex_unlock(&ep->lock);
	return mask;
}

static void eventpoll_file_release(struct file *file)
{
	struct eventpoll *ep = file->private;
	struct epitem *item;

	mutex_lock(&ep->mtx);
	while ((item = RB_MIN(epitem_tree, &ep->items)))
		ep_remove(ep, item);
	mutex_unlock(&ep->mtx);
	ep_put(ep);
}

static int eventpoll_fdinfo(struct file *file, char *buf, size_t size)
{
	struct eventpoll *ep = file->private;
	struct epitem *item;
	size_t n = 0;

	MUTEX_GUARD(&ep->mtx);
	RB_FOREACH (item, epitem_tree, &ep->items) {
		int r = snprintf(buf + n, size - n,
				 "tfd: %8d events: %8x data: %16llx  pos:%lli ino:%lx sdev:%x\n",
				 item->fd, item->event.events, (unsigned long long)item->event.data,
				 (long long)item->file->pos, (unsigned long)item->file->inode->ino,
				 0U);

		if (r < 0 || (size_t)r >= size - n)
			break;
		n += (size_t)r;
	}
	return (int)n;
}

const struct file_operations eventpoll_fops = {
	.llseek = file_noop_llseek,
	.release = eventpoll_file_release,
	.poll = eventpoll_poll,
	.show_fdinfo = eventpoll_fdinfo,
};

int epoll_create_file(uint32_t flags, struct file **out)
{
	struct eventpoll *ep = calloc(1, sizeof(*ep));
	int ret;

	if (!ep)
		return -ENOMEM;
	refcount_init(&ep->refs);
	mutex_init_as(&ep->mtx, LOCK_NESTS);
	mutex_init(&ep->lock);
	TAILQ_INIT(&ep->ready);
	RB_INIT(&ep->items);
	wait_queue_init(&ep->wait);
	wait_queue_init(&ep->poll_wait);
	ep->quota = user_quota_get(current->cred->uid);
	if (!ep->quota) {
		ep_put(ep);
		return -ENOMEM;
	}
	ret = anon_file_create("anon_inode:[eventpoll]", 0600, &eventpoll_fops, ep, O_RDWR | flags,
			       out);
	if (ret) {
		ep_put(ep);
		return ret;
	}
	ep->file = *out;
	return 0;
}
