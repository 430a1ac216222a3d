/* Counts per real uid, for RLIMIT_NPROC and RLIMIT_SIGPENDING (Linux: struct user_struct). */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/kernel/core/ucount.h"

struct ucount {
	struct refcount refs;
	uid_t uid;
	_Atomic uint64_t tasks, signals;
	LIST_ENTRY(ucount) link;
};

#define BUCKETS 64
static LIST_HEAD(, ucount) buckets[BUCKETS];
static struct mutex table_lock = MUTEX_INIT;

struct ucount *ucount_get(uid_t uid)
{
	struct ucount *u;
	MUTEX_GUARD(&table_lock);

	LIST_FOREACH (u, &buckets[uid % BUCKETS], link) {
		if (u->uid == uid) {
			refcount_inc(&u->refs);
			return u;
		}
	}
	u = calloc(1, sizeof(*u));
	if (!u)
		return NULL;
	refcount_init(&u->refs);
	u->uid = uid;
	LIST_INSERT_HEAD(&buckets[uid % BUCKETS], u, link);
	return u;
}

void ucount_hold(struct ucount *u)
{
	refcount_inc(&u->refs);
}

void ucount_put(struct ucount *u)
{
	MUTEX_GUARD(&table_lock);

	if (!refcount_dec(&u->refs))
		return;
	LIST_REMOVE(u, link);
	free(u);
}

static int charge(_Atomic uint64_t *count, uint64_t limit)
{
	uint64_t old = atomic_fetch_add(count, 1);

	if (old < limit)
		return 0;
	atomic_fetch_sub(count, 1);
	return -EAGAIN;
}

int ucount_charge_task(struct ucount *u, uint64_t limit)
{
	return charge(&u->tasks, limit);
}

void ucount_uncharge_task(struct ucount *u)
{
	atomic_fetch_sub(&u->tasks, 1);
}

int ucount_charge_signal(struct ucount *u, uint64_t limit)
{
	return charge(&u->signals, limit);
}

void ucount_uncharge_signal(struct ucount *u)
{
	atomic_fetch_sub(&u->signals, 1);
}

uint64_t ucount_tasks(struct ucount *u)
{
	return atomic_load(&u->tasks);
}

uint64_t ucount_signals(struct ucount *u)
{
	return atomic_load(&u->signals);
}
