/* What the files of this folder share. See epoll_internal.h for locks and lifetimes. */
#ifndef MOAT_SENTRY_FS_EPOLL_EVENTPOLL_INTERNAL_H
#define MOAT_SENTRY_FS_EPOLL_EVENTPOLL_INTERNAL_H

#include <bsd/sys/tree.h>

#include "sentry/fs/epoll/epoll_internal.h"

#define EP_MAX_NESTS 4
/* The bits of `events` that are not poll results. */
#define EP_PRIVATE_BITS (EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE)

struct epitem;
struct user_quota;

/* One entry on a wait queue of the watched file. */
struct epoll_entry {
	struct wait_entry wait;
	struct epitem *item;
	struct epoll_entry *next; /* further ones: malloc'd */
};

struct epitem {
	RB_ENTRY(epitem) node;		/* ep->mtx */
	TAILQ_ENTRY(epitem) ready_link; /* ep->lock */
	TAILQ_ENTRY(epitem) watch_link; /* watch list's lock */
	struct eventpoll *ep;
	struct file *file; /* not counted */
	int fd;
	bool ready;		    /* on a ready list; ep->lock */
	bool nomem;		    /* a wait entry could not be had */
	struct epoll_event_k event; /* ep->mtx and ep->lock to write; either to read */
	struct epoll_entry first;
	bool first_used;
	struct epoll_entry *more;
};
TAILQ_HEAD(epitem_list, epitem);
RB_HEAD(epitem_tree, epitem);

struct eventpoll {
	struct refcount refs; /* the file; epoll_release() while it works */
	struct mutex mtx;
	struct mutex lock;
	struct epitem_list ready;
	struct wait_queue wait;	     /* epoll_wait sleeps here */
	struct wait_queue poll_wait; /* who polls the epoll file */
	struct epitem_tree items;
	struct file *file;
	struct user_quota *quota;
	/* The loop check's generation, and what it found; ep_nest_lock. */
	unsigned visited;
	int depth;
};

/* The items that watch one file: file->epoll_items, made at the first EPOLL_CTL_ADD, freed by
 * epoll_release(). Guarded by file->epoll_lock. */
struct epoll_watch_list {
	struct epitem_list items;
};

RB_PROTOTYPE(epitem_tree, epitem, node, epitem_compare)
extern const struct file_operations eventpoll_fops;

void ep_get(struct eventpoll *ep);
void ep_put(struct eventpoll *ep);
/* Puts the item on the ready list and wakes whoever waits. ep->mtx or the source's queue lock. */
void ep_mark_ready(struct epitem *item);
/* poll of the item's file, limited to what it asks for. ep->mtx held. */
uint32_t ep_item_poll(struct epitem *item, struct poll_table *pt);
/* Takes the item out of everything and frees it. ep->mtx held. */
void ep_remove(struct eventpoll *ep, struct epitem *item);
/* 0 if `target` may be added to ep, -ELOOP otherwise. nest_lock held. */
int ep_check_nesting(struct eventpoll *ep, struct file *target);
extern struct mutex ep_nest_lock;

#endif
