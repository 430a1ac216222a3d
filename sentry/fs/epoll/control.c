/* epoll_ctl: items come, change and go. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "sentry/fs/epoll/eventpoll_internal.h"
#include "sentry/kernel/core/user_quota.h"
#include "sentry/kernel/task/task.h"

/* Linux: fs.epoll.max_user_watches is 4 % of low memory over the size of a watch; here a number
 * that costs the sentry at most about 200 MiB. */
#define EPOLL_MAX_USER_WATCHES 800000L

static int epitem_compare(const struct epitem *a, const struct epitem *b)
{
	if (a->file != b->file)
		return (uintptr_t)a->file < (uintptr_t)b->file ? -1 : 1;
	return a->fd < b->fd ? -1 : a->fd > b->fd;
}
RB_GENERATE(epitem_tree, epitem, node, epitem_compare)

/* Runs under the source's queue lock. Takes ep->lock and what comes after it, nothing else. */
static bool ep_poll_callback(struct wait_entry *entry, uint32_t events)
{
	struct epitem *item = ((struct epoll_entry *)entry->data)->item;
	struct eventpoll *ep = item->ep;
	bool woke, wanted, exclusive;

	mutex_lock(&ep->lock);
	/* EPOLLONESHOT has fired: silent until EPOLL_CTL_MOD. */
	wanted = item->event.events & ~EP_PRIVATE_BITS;
	if (!wanted || (events && !(events & item->event.events))) {
		mutex_unlock(&ep->lock);
		return false;
	}
	if (!item->ready) {
		item->ready = true;
		TAILQ_INSERT_TAIL(&ep->ready, item, ready_link);
	}
	exclusive = item->event.events & EPOLLEXCLUSIVE;
	mutex_unlock(&ep->lock);
	woke = wait_queue_active(&ep->wait);
	wake_up(&ep->wait, EPOLLIN);
	/* Inner before outer, without ep->lock: the outer's callback comes back here for it. */
	wake_up(&ep->poll_wait, EPOLLIN | EPOLLRDNORM);
	return woke || !exclusive;
}

void ep_mark_ready(struct epitem *item)
{
	struct eventpoll *ep = item->ep;

	mutex_lock(&ep->lock);
	if (!item->ready) {
		item->ready = true;
		TAILQ_INSERT_TAIL(&ep->ready, item, ready_link);
	}
	mutex_unlock(&ep->lock);
	wake_up(&ep->wait, EPOLLIN);
	wake_up(&ep->poll_wait, EPOLLIN | EPOLLRDNORM);
}

struct item_poll_table {
	struct poll_table pt;
	struct epitem *item;
};

static void ep_queue_entry(struct poll_table *pt, struct wait_queue *q)
{
	struct epitem *item = ((struct item_poll_table *)(void *)pt)->item;
	struct epoll_entry *e = &item->first;

	if (item->first_used) {
		e = calloc(1, sizeof(*e));
		if (!e) {
			item->nomem = true;
			return;
		}
		e->next = item->more;
		item->more = e;
	}
	item->first_used = true;
	e->item = item;
	/* All events: EPOLL_CTL_MOD changes what is wanted without touching the entries. */
	wait_entry_init_func(&e->wait, ep_poll_callback, e, ~0U);
	e->wait.exclusive = item->event.events & EPOLLEXCLUSIVE;
	wait_queue_add(q, &e->wait);
}

uint32_t ep_item_poll(struct epitem *item, struct poll_table *pt)
{
	if (pt)
		pt->events = item->event.events;
	return vfs_poll(item->file, pt) & item->event.events;
}

static void epoll_release(struct file *file);

static int watch_add(struct epitem *item)
{
	struct file *file = item->file;
	struct epoll_watch_list *list;

	MUTEX_GUARD(&file->epoll_lock);
	list = file->epoll_items;
	if (!list) {
		list = malloc(sizeof(*list));
		if (!list)
			return -ENOMEM;
		TAILQ_INIT(&list->items);
		file->epoll_items = list;
		file->epoll_release = epoll_release;
	}
	TAILQ_INSERT_TAIL(&list->items, item, watch_link);
	return 0;
}

static void watch_remove(struct epitem *item)
{
	struct epoll_watch_list *list;

	MUTEX_GUARD(&item->file->epoll_lock);
	list = item->file->epoll_items;
	TAILQ_REMOVE(&list->items, item, watch_link);
}

static void unhook_entries(struct epitem *item)
{
	struct epoll_entry *e, *next;

	if (item->first_used)
		wait_queue_remove(&item->first.wait);
	for (e = item->more; e; e = next) {
		next = e->next;
		wait_queue_remove(&e->wait);
		free(e);
	}
	item->more = NULL;
	item->first_used = false;
}

void ep_remove(struct eventpoll *ep, struct epitem *item)
{
	/* After this no callback runs for the item, and none is running. */
	unhook_entries(item);
	watch_remove(item);
	mutex_lock(&ep->lock);
	if (item->ready)
		TAILQ_REMOVE(&ep->ready, item, ready_link);
	mutex_unlock(&ep->lock);
	RB_REMOVE(epitem_tree, &ep->items, item);
	user_quota_uncharge(ep->quota, QUOTA_EPOLL_WATCHES, 1);
	free(item);
}

static int ep_insert(struct eventpoll *ep, int fd, struct file *target,
		     const struct epoll_event_k *event)
{
	struct item_poll_table table = {.pt = {.queue_fn = ep_queue_entry}};
	struct epitem *item;
	uint32_t ready;
	int ret;

	if (!user_quota_charge(ep->quota, QUOTA_EPOLL_WATCHES, 1, EPOLL_MAX_USER_WATCHES))
		return -ENOSPC;
	item = calloc(1, sizeof(*item));
	if (!item) {
		user_quota_uncharge(ep->quota, QUOTA_EPOLL_WATCHES, 1);
		return -ENOMEM;
	}
	item->ep = ep;
	item->file = target;
	item->fd = fd;
	item->event = *event;
	ret = watch_add(item);
	if (ret) {
		user_quota_uncharge(ep->quota, QUOTA_EPOLL_WATCHES, 1);
		free(item);
		return ret;
	}
	RB_INSERT(epitem_tree, &ep->items, item);
	table.item = item;
	ready = ep_item_poll(item, &table.pt);
	if (item->nomem) {
		ep_remove(ep, item);
		return -ENOMEM;
	}
	if (ready)
		ep_mark_ready(item);
	return 0;
}

static int ep_modify(struct eventpoll *ep, struct epitem *item, const struct epoll_event_k *event)
{
	mutex_lock(&ep->lock);
	item->event = *event;
	mutex_unlock(&ep->lock);
	/* The new mask is in place, so what happens from here on is seen by the callback, and what
	 * happened before by this poll. */
	if (ep_item_poll(item, NULL))
		ep_mark_ready(item);
	return 0;
}

/* The operation, with ep->mtx held. */
static int control_locked(struct eventpoll *ep, int op, int fd, struct file *target,
			  struct epoll_event_k *event)
{
	struct epitem key = {.file = target, .fd = fd};
	struct epitem *item = RB_FIND(epitem_tree, &ep->items, &key);

	if (op == EPOLL_CTL_ADD ? item != NULL : item == NULL)
		return op == EPOLL_CTL_ADD ? -EEXIST : -ENOENT;
	event->events |= EPOLLERR | EPOLLHUP;
	switch (op) {
	case EPOLL_CTL_ADD:
		return ep_insert(ep, fd, target, event);
	case EPOLL_CTL_DEL:
		ep_remove(ep, item);
		return 0;
	default:
		if (item->event.events & EPOLLEXCLUSIVE)
			return -EINVAL;
		return ep_modify(ep, item, event);
	}
}

/* EPOLLEXCLUSIVE goes with few other bits, only with ADD, and not on an epoll. */
static bool exclusive_valid(int op, struct file *target, uint32_t events)
{
	const uint32_t allowed =
		EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;

	if (op == EPOLL_CTL_DEL || !(events & EPOLLEXCLUSIVE))
		return true;
	return op == EPOLL_CTL_ADD && target->ops != &eventpoll_fops && !(events & ~allowed);
}

int epoll_control(struct file *epfile, int op, int fd, struct file *target,
		  const struct epoll_event_k *user_event)
{
	struct epoll_event_k event = {0};
	struct eventpoll *ep;
	bool nest;
	int ret;

	if (!target->ops->poll)
		return -EPERM;
	if (epfile == target || epfile->ops != &eventpoll_fops)
		return -EINVAL;
	if (op != EPOLL_CTL_ADD && op != EPOLL_CTL_DEL && op != EPOLL_CTL_MOD)
		return -EINVAL;
	if (op != EPOLL_CTL_DEL) {
		event = *user_event;
		if (!exclusive_valid(op, target, event.events))
			return -EINVAL;
		event.events &= ~(uint32_t)EPOLLWAKEUP;
	}
	ep = epfile->private;
	/* Depth is limited in both directions: this epoll may be inside others already. */
	nest = op == EPOLL_CTL_ADD && target->ops == &eventpoll_fops;
	if (nest) {
		mutex_lock(&ep_nest_lock);
		ret = ep_check_nesting(ep, target);
		if (ret) {
			mutex_unlock(&ep_nest_lock);
			return ret;
		}
	}
	mutex_lock(&ep->mtx);
	ret = control_locked(ep, op, fd, target, &event);
	mutex_unlock(&ep->mtx);
	if (nest)
		mutex_unlock(&ep_nest_lock);
	return ret;
}

/* Takes one item that watches `file` out of its eventpoll; false when there is none left. */
static bool release_one(struct file *file)
{
	struct epoll_watch_list *list;
	struct eventpoll *ep;
	struct epitem *item;

	mutex_lock(&file->epoll_lock);
	list = file->epoll_items;
	item = TAILQ_FIRST(&list->items);
	if (!item) {
		mutex_unlock(&file->epoll_lock);
		return false;
	}
	ep = item->ep;
	/* Its own release would have removed the item first: the count cannot be 0. But it may be
	 * about to: the reference keeps the memory. */
	ep_get(ep);
	mutex_unlock(&file->epoll_lock);

	mutex_lock(&ep->mtx);
	mutex_lock(&file->epoll_lock);
	TAILQ_FOREACH (item, &list->items, watch_link)
		if (item->ep == ep)
			break;
	mutex_unlock(&file->epoll_lock);
	/* ep->mtx keeps it: only its holder removes items. */
	if (item)
		ep_remove(ep, item);
	mutex_unlock(&ep->mtx);
	ep_put(ep);
	return true;
}

/* The last reference to a watched file is gone: see file->epoll_release. No locks held. */
static void epoll_release(struct file *file)
{
	if (!file->epoll_items)
		return;
	while (release_one(file))
		;
	/* Under the lock: depth_above() may be looking. */
	mutex_lock(&file->epoll_lock);
	free(file->epoll_items);
	file->epoll_items = NULL;
	mutex_unlock(&file->epoll_lock);
}
