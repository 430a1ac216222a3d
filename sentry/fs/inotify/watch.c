/* Watches: coming, going, and finding out that something happened. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "sentry/fs/inotify/group_internal.h"
#include "sentry/kernel/core/user_quota.h"
#include "sentry/vfs/notify/fsnotify.h"

struct mutex inotify_marks_lock = MUTEX_INIT;

static const struct fsnotify_operations operations;

static int watch_compare(const struct inotify_watch *a, const struct inotify_watch *b)
{
	return a->wd < b->wd ? -1 : a->wd > b->wd;
}
RB_GENERATE(watch_tree, inotify_watch, node, watch_compare)

void inotify_detach(struct inotify_watch *w)
{
	struct inotify_watch *first = w->inode->watches, **at = &first;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	w->inode->watches = first;
	RB_REMOVE(watch_tree, &w->group->watches, w);
	fsnotify_mark_removed();
	user_quota_uncharge(w->group->quota, QUOTA_INOTIFY_WATCHES, 1);
	inotify_queue(w->group, w->wd, IN_IGNORED, 0, NULL);
}

void inotify_free_watch(struct inotify_watch *w)
{
	inode_put(w->inode);
	free(w);
}

static struct inotify_watch *find_on_inode(struct inotify_group *g, struct inode *inode)
{
	struct inotify_watch *w;

	for (w = inode->watches; w; w = w->next)
		if (w->group == g)
			return w;
	return NULL;
}

/* A number that no watch of the group has. */
static int next_wd(struct inotify_group *g)
{
	struct inotify_watch key;

	do {
		key.wd = g->last_wd = g->last_wd == INT_MAX ? 1 : g->last_wd + 1;
	} while (RB_FIND(watch_tree, &g->watches, &key));
	return key.wd;
}

static int update(struct inotify_watch *w, uint32_t mask)
{
	if (mask & IN_MASK_CREATE)
		return -EEXIST;
	if (mask & IN_MASK_ADD)
		w->mask |= mask & ~IN_MASK_ADD;
	else
		w->mask = mask;
	return w->wd;
}

int inotify_add(struct inotify_group *g, struct inode *inode, uint32_t mask)
{
	struct inotify_watch *w = NULL, *fresh = calloc(1, sizeof(*fresh));
	int ret;

	if (!fresh)
		return -ENOMEM;
	mutex_lock(&inotify_marks_lock);
	w = find_on_inode(g, inode);
	if (w) {
		ret = update(w, mask);
	} else if (!user_quota_charge(g->quota, QUOTA_INOTIFY_WATCHES, 1, INOTIFY_MAX_WATCHES)) {
		ret = -ENOSPC;
	} else {
		fresh->group = g;
		fresh->inode = inode_get(inode);
		fresh->mask = mask & ~(uint32_t)(IN_MASK_ADD | IN_MASK_CREATE);
		fresh->wd = next_wd(g);
		RB_INSERT(watch_tree, &g->watches, fresh);
		fresh->next = inode->watches;
		inode->watches = fresh;
		fsnotify_mark_added(&operations);
		ret = fresh->wd;
		fresh = NULL;
	}
	mutex_unlock(&inotify_marks_lock);
	free(fresh);
	return ret;
}

int inotify_remove(struct inotify_group *g, int wd)
{
	struct inotify_watch key = {.wd = wd}, *w;

	mutex_lock(&inotify_marks_lock);
	w = RB_FIND(watch_tree, &g->watches, &key);
	if (w)
		inotify_detach(w);
	mutex_unlock(&inotify_marks_lock);
	if (!w)
		return -EINVAL;
	inotify_free_watch(w);
	return 0;
}

struct inotify_watch *inotify_first(struct inotify_group *g)
{
	return RB_MIN(watch_tree, &g->watches);
}

struct inotify_watch *inotify_next(struct inotify_watch *w)
{
	return RB_NEXT(watch_tree, &w->group->watches, w);
}

/* The inode is gone with IN_DELETE_SELF; so are one-shot watches that fired. */
static bool ends_watch(const struct inotify_watch *w, uint32_t event)
{
	return (w->mask & IN_ONESHOT) || (event & (IN_DELETE_SELF | IN_UNMOUNT));
}

static void tell(uint32_t mask, struct inode *dir, const char *name, struct inode *inode,
		 uint32_t cookie)
{
	struct inode *on = dir ? dir : inode;
	struct inotify_watch *w, *next, *ended = NULL;
	uint32_t event = mask & (IN_ALL_EVENTS | IN_UNMOUNT);
	uint32_t shown = mask & (IN_ALL_EVENTS | IN_UNMOUNT | IN_ISDIR);

	/* What a move or the end of the watched object itself was is not told. */
	if (event & (IN_MOVE_SELF | IN_DELETE_SELF))
		shown &= ~(uint32_t)IN_ISDIR;
	mutex_lock(&inotify_marks_lock);
	for (w = on->watches; w; w = next) {
		next = w->next;
		if ((w->mask & IN_EXCL_UNLINK) && (mask & FSNOTIFY_UNLINKED))
			continue;
		/* What ends a watch is told even to who did not ask, by IN_IGNORED. */
		if (w->mask & event || event & IN_UNMOUNT)
			inotify_queue(w->group, w->wd, shown, cookie, dir ? name : NULL);
		else if (!(event & IN_DELETE_SELF))
			continue;
		if (!ends_watch(w, dir ? event & ~(uint32_t)IN_DELETE_SELF : event))
			continue;
		inotify_detach(w);
		w->next = ended;
		ended = w;
	}
	mutex_unlock(&inotify_marks_lock);
	/* The caller holds the inode: these are not its last references. */
	while ((w = ended)) {
		ended = w->next;
		inotify_free_watch(w);
	}
}

static void tell_delete(struct inode *inode)
{
	tell(IN_DELETE_SELF, NULL, NULL, inode, 0);
}

static const struct fsnotify_operations operations = {.event = tell, .inode_delete = tell_delete};
