/* Accounts per user: a small table, since few users exist in a container. */
#include "sentry/kernel/core/user_quota.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/lock.h"

#define QUOTA_BUCKETS 64

struct user_quota {
	LIST_ENTRY(user_quota) link;
	uid_t uid;
	unsigned refs; /* table_lock */
	atomic_long used[QUOTA_KINDS];
};

/* Of all users together, since a privileged guest can be as many users as it likes: what it may
 * cost the sentry, roughly 128 MiB a kind. Pipe pages have a bound of their own (fs/pipe/ring.c).
 */
static const long total_limit[QUOTA_KINDS] = {
	[QUOTA_PIPE_PAGES] = INT64_MAX / 2, [QUOTA_INFLIGHT_FDS] = 1L << 18,
	[QUOTA_INOTIFY_INSTANCES] = 4096,   [QUOTA_INOTIFY_WATCHES] = 1L << 19,
	[QUOTA_EPOLL_WATCHES] = 1L << 20,
};
static atomic_long total[QUOTA_KINDS];

static struct mutex table_lock = MUTEX_INIT;
static LIST_HEAD(, user_quota) table[QUOTA_BUCKETS];

struct user_quota *user_quota_get(uid_t uid)
{
	struct user_quota *q;

	MUTEX_GUARD(&table_lock);
	LIST_FOREACH (q, &table[uid % QUOTA_BUCKETS], link)
		if (q->uid == uid) {
			q->refs++;
			return q;
		}
	q = calloc(1, sizeof(*q));
	if (!q)
		return NULL;
	q->uid = uid;
	q->refs = 1;
	LIST_INSERT_HEAD(&table[uid % QUOTA_BUCKETS], q, link);
	return q;
}

void user_quota_put(struct user_quota *q)
{
	if (!q)
		return;
	MUTEX_GUARD(&table_lock);
	if (--q->refs)
		return;
	LIST_REMOVE(q, link);
	free(q);
}

bool user_quota_charge(struct user_quota *q, enum quota_kind kind, long n, long limit)
{
	long old = atomic_fetch_add(&q->used[kind], n), all = atomic_fetch_add(&total[kind], n);

	if (old <= limit - n && all <= total_limit[kind] - n)
		return true;
	user_quota_uncharge(q, kind, n);
	return false;
}

void user_quota_uncharge(struct user_quota *q, enum quota_kind kind, long n)
{
	atomic_fetch_sub(&q->used[kind], n);
	atomic_fetch_sub(&total[kind], n);
}

long user_quota_read(struct user_quota *q, enum quota_kind kind)
{
	return atomic_load(&q->used[kind]);
}
