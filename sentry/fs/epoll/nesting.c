/* Epolls that watch epolls: no loops, and no deeper than EP_MAX_NESTS. */
#include <errno.h>

#include "sentry/fs/epoll/eventpoll_internal.h"

struct mutex ep_nest_lock = MUTEX_INIT;
static unsigned generation; /* ep_nest_lock */

/* How many levels of epolls are below ep, or -ELOOP when `origin` is among them or they are too
 * many. What was looked at in this check is not walked again, so the cost is linear. */
static int depth_below(struct eventpoll *ep, const struct eventpoll *origin, int level)
{
	struct epitem *item;
	int deepest = 0;

	if (ep == origin || level > EP_MAX_NESTS)
		return -ELOOP;
	if (ep->visited == generation)
		return level + ep->depth > EP_MAX_NESTS ? -ELOOP : ep->depth;
	MUTEX_GUARD(&ep->mtx);
	RB_FOREACH (item, epitem_tree, &ep->items) {
		int d;

		if (item->file->ops != &eventpoll_fops)
			continue;
		d = depth_below(item->file->private, origin, level + 1);
		if (d < 0)
			return d;
		if (d + 1 > deepest)
			deepest = d + 1;
	}
	ep->visited = generation;
	ep->depth = deepest;
	return deepest;
}

/* How many levels of epolls are above ep. Nest links change only under ep_nest_lock, except that
 * they may go away. */
static int depth_above(struct eventpoll *ep, int level, unsigned *budget)
{
	struct file *file = ep->file;
	struct epoll_watch_list *list;
	struct epitem *item;
	int deepest = 0;

	if (level > EP_MAX_NESTS || (*budget)-- == 0)
		return EP_MAX_NESTS + 1;
	MUTEX_GUARD(&file->epoll_lock);
	list = file->epoll_items;
	if (!list)
		return 0;
	TAILQ_FOREACH (item, &list->items, watch_link) {
		int d = depth_above(item->ep, level + 1, budget) + 1;

		if (d > deepest)
			deepest = d;
	}
	return deepest;
}

int ep_check_nesting(struct eventpoll *ep, struct file *target)
{
	unsigned budget = 1000; /* paths upwards: a wake-up walks them all */
	int above, below;

	generation++;
	below = depth_below(target->private, ep, 0);
	if (below < 0)
		return below;
	above = depth_above(ep, 0, &budget);
	if (above + 1 + below > EP_MAX_NESTS)
		return -ELOOP;
	return 0;
}
