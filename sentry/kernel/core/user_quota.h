/*
 * What one user may hold of things that cost the sentry memory: pipe pages, descriptors in flight,
 * inotify instances and watches, epoll watches (Linux: struct user_struct, man 7 pipe, unix,
 * inotify, epoll). Counted by real uid over the whole sandbox.
 *
 * Lock: one leaf mutex for the table; counts are atomic.
 */
#ifndef MOAT_SENTRY_KERNEL_CORE_USER_QUOTA_H
#define MOAT_SENTRY_KERNEL_CORE_USER_QUOTA_H

#include <stdbool.h>
#include <sys/types.h>

enum quota_kind {
	QUOTA_PIPE_PAGES,
	QUOTA_INFLIGHT_FDS,
	QUOTA_INOTIFY_INSTANCES,
	QUOTA_INOTIFY_WATCHES,
	QUOTA_EPOLL_WATCHES,
	QUOTA_KINDS
};

struct user_quota;

/* The account of a user, with a reference for the caller; NULL: no memory. */
struct user_quota *user_quota_get(uid_t uid);
void user_quota_put(struct user_quota *q);
/* Adds n unless the user's sum would pass `limit`, or that of all users what the sentry bears. */
bool user_quota_charge(struct user_quota *q, enum quota_kind kind, long n, long limit);
void user_quota_uncharge(struct user_quota *q, enum quota_kind kind, long n);
long user_quota_read(struct user_quota *q, enum quota_kind kind);

#endif
