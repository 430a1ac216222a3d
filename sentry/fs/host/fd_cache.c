/*
 * Which host fds stay open. One list over all host mounts; eviction is a clock: an fd that was used
 * since the hand last passed gets another round. An fd that somebody relies on (slot->users) stays,
 * whatever the limit.
 *
 * Using an open fd takes no lock: users is raised before the fd is read, and the evictor takes the
 * fd away before it looks at users, so one of the two sees the other. It holds the object's lock
 * meanwhile; whoever finds no fd takes that lock, too, and looks again.
 */
#include <errno.h>
#include <sys/resource.h>

#include "sentry/fs/host/host_internal.h"

#define MAX_DEFAULT_LIMIT 4096
#define SCAN 16 /* slots looked at for each one that comes in over the limit */

static struct mutex cache_lock = MUTEX_INIT;
static TAILQ_HEAD(, host_fd) cache = TAILQ_HEAD_INITIALIZER(cache);
static unsigned cache_count;
static unsigned cache_limit; /* 0: not known yet */
static unsigned lent_count, lent_limit;

void host_fd_cache_set_limit(unsigned fds)
{
	MUTEX_GUARD(&cache_lock);
	cache_limit = fds ? fds : 1;
}

static rlim_t open_files_limit(void)
{
	struct rlimit rl;

	return getrlimit(RLIMIT_NOFILE, &rl) ? 1024 : MIN(rl.rlim_cur, (rlim_t)1 << 30);
}

static unsigned limit(void)
{
	if (!cache_limit)
		cache_limit =
			MAX(MIN(open_files_limit() / 4, (rlim_t)MAX_DEFAULT_LIMIT), (rlim_t)1);
	return cache_limit;
}

bool host_fd_cache_lend(struct host_fd *slot)
{
	MUTEX_GUARD(&cache_lock);
	if (!lent_limit)
		lent_limit = open_files_limit() / 4 * 3;
	if (!slot->lent && lent_count >= lent_limit)
		return false;
	if (!slot->lent++)
		lent_count++;
	return true;
}

void host_fd_cache_return(struct host_fd *slot)
{
	MUTEX_GUARD(&cache_lock);
	if (!--slot->lent)
		lent_count--;
}

/* cache_lock held. */
static bool try_evict(struct host_fd *slot)
{
	struct host_object *o = slot->object;
	int fd;

	if (atomic_load(&slot->users) || atomic_exchange(&slot->referenced, false))
		return false;
	if (!mutex_trylock(&o->lock))
		return false;
	fd = atomic_exchange(&slot->fd, -1);
	if (atomic_load(&slot->users)) {
		atomic_store(&slot->fd, fd);
		mutex_unlock(&o->lock);
		return false;
	}
	mutex_unlock(&o->lock);
	TAILQ_REMOVE(&cache, slot, link);
	slot->listed = false;
	cache_count--;
	close(fd);
	return true;
}

void host_fd_cache_add(struct host_fd *slot)
{
	MUTEX_GUARD(&cache_lock);
	for (int i = 0; i < SCAN && cache_count >= limit(); i++) {
		struct host_fd *old = TAILQ_FIRST(&cache);

		if (try_evict(old))
			continue;
		TAILQ_REMOVE(&cache, old, link);
		TAILQ_INSERT_TAIL(&cache, old, link);
	}
	slot->listed = true;
	TAILQ_INSERT_TAIL(&cache, slot, link);
	cache_count++;
}

void host_fd_cache_remove(struct host_fd *slot)
{
	int fd;

	mutex_lock(&cache_lock);
	if (slot->listed) {
		TAILQ_REMOVE(&cache, slot, link);
		slot->listed = false;
		cache_count--;
	}
	if (slot->lent)
		lent_count--;
	slot->lent = 0;
	mutex_unlock(&cache_lock);
	fd = atomic_exchange(&slot->fd, -1);
	if (fd >= 0)
		close(fd);
}
