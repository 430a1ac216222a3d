/* What the files of this folder share. Locks: see inotify_internal.h. */
#ifndef MOAT_SENTRY_FS_INOTIFY_GROUP_INTERNAL_H
#define MOAT_SENTRY_FS_INOTIFY_GROUP_INTERNAL_H

#include <sys/inotify.h>
#include <bsd/sys/tree.h>

#include "sentry/fs/inotify/inotify_internal.h"

#define INOTIFY_MAX_QUEUED 16384
#define INOTIFY_MAX_BYTES (64L << 20) /* of unread events, all instances together */
#define INOTIFY_MAX_INSTANCES 128L
#define INOTIFY_MAX_WATCHES 131072L

struct user_quota;

struct inotify_queued {
	TAILQ_ENTRY(inotify_queued) link;
	int wd;
	uint32_t mask, cookie, len; /* len: of name with its padding, 0 if there is none */
	char name[];
};

struct inotify_watch {
	RB_ENTRY(inotify_watch) node;
	struct inotify_watch *next; /* of the same inode */
	struct inotify_group *group;
	struct inode *inode; /* counted */
	int wd;
	uint32_t mask;
};
RB_HEAD(watch_tree, inotify_watch);

struct inotify_group {
	struct watch_tree watches; /* marks_lock */
	int last_wd;
	struct user_quota *quota;
	struct mutex lock;
	TAILQ_HEAD(inotify_queue_head, inotify_queued) events;
	unsigned nevents;
	size_t bytes; /* that reading all of them would give */
	bool overflowed;
	struct wait_queue wait;
};

RB_PROTOTYPE(watch_tree, inotify_watch, node, watch_compare)

/* Queues an event unless it equals the last one. Any locks but group->lock. */
void inotify_queue(struct inotify_group *g, int wd, uint32_t mask, uint32_t cookie,
		   const char *name);
/* watch.c; see inotify_internal.h for results. */
int inotify_add(struct inotify_group *g, struct inode *inode, uint32_t mask);
int inotify_remove(struct inotify_group *g, int wd);
/* The group's watches in order; marks_lock held. */
struct inotify_watch *inotify_first(struct inotify_group *g);
struct inotify_watch *inotify_next(struct inotify_watch *w);
extern struct mutex inotify_marks_lock;
/* Takes the watch out of its inode and group and tells IN_IGNORED; marks_lock held. The caller then
 * drops watch->inode and frees it, with no locks. */
void inotify_detach(struct inotify_watch *w);
void inotify_free_watch(struct inotify_watch *w);

#endif
