/*
 * Locks. Thin names over pthread mutexes and rwlocks, with scope guards:
 *
 *	MUTEX_GUARD(&inode->lock);	unlocked when the scope ends
 *
 * Static initialisers are MUTEX_INIT and RWLOCK_INIT. A lock is never held while blocking for a
 * guest (waiting on a wait queue), nor while executing a platform command unless it was made with
 * LOCK_OVER_COMMANDS. Debug builds check that, and the order of all locks (lock_order.h).
 */
#ifndef MOAT_BASE_LOCK_H
#define MOAT_BASE_LOCK_H

#include <pthread.h>

#include "base/compiler.h"
#include "base/lock_order.h"

struct mutex {
	pthread_mutex_t m;
#ifdef MOAT_DEBUG
	struct lock_tag tag;
#endif
};
struct rwlock {
	pthread_rwlock_t l;
#ifdef MOAT_DEBUG
	struct lock_tag tag;
#endif
};

/* MUTEX_INIT_AS and its kind take what a class may do beyond the rules: LOCK_* of lock_order.h. */
#define MUTEX_INIT MUTEX_INIT_AS(0)
#define RWLOCK_INIT RWLOCK_INIT_AS(0)
#define mutex_init(m) mutex_init_as(m, 0)
#define rwlock_init(l) rwlock_init_as(l, 0)

#ifdef MOAT_DEBUG

/* A lock that is static has its class's name from the place of its initialiser alone. */
#define MUTEX_INIT_AS(what)                                                                        \
	{                                                                                          \
		PTHREAD_MUTEX_INITIALIZER,                                                         \
		{                                                                                  \
			.name = "lock of " LOCK_PLACE, .flags = (what)                             \
		}                                                                                  \
	}
#define RWLOCK_INIT_AS(what)                                                                       \
	{                                                                                          \
		PTHREAD_RWLOCK_INITIALIZER,                                                        \
		{                                                                                  \
			.name = "lock of " LOCK_PLACE, .flags = (what)                             \
		}                                                                                  \
	}
#define mutex_init_as(mutex, what) mutex_init_tagged(mutex, LOCK_TAG(mutex, what))
#define rwlock_init_as(rwlock, what) rwlock_init_tagged(rwlock, LOCK_TAG(rwlock, what))

static inline void mutex_init_tagged(struct mutex *m, struct lock_tag tag)
{
	pthread_mutex_init(&m->m, NULL);
	m->tag = tag;
}
static inline void rwlock_init_tagged(struct rwlock *l, struct lock_tag tag)
{
	pthread_rwlock_init(&l->l, NULL);
	l->tag = tag;
}

#define lock_wants(l, site, how) lock_order_wants(&(l)->tag, l, site, how)
#define lock_taken(l, site) lock_order_taken(&(l)->tag, l, site)
#define lock_released(l, site) lock_order_released(&(l)->tag, l, site)
#define lock_sleeps(l, site) lock_order_sleeps(l, site)

#else

#define MUTEX_INIT_AS(what)                                                                        \
	{                                                                                          \
		PTHREAD_MUTEX_INITIALIZER                                                          \
	}
#define RWLOCK_INIT_AS(what)                                                                       \
	{                                                                                          \
		PTHREAD_RWLOCK_INITIALIZER                                                         \
	}

static inline void mutex_init_as(struct mutex *m, uint32_t what)
{
	pthread_mutex_init(&m->m, NULL);
}
static inline void rwlock_init_as(struct rwlock *l, uint32_t what)
{
	pthread_rwlock_init(&l->l, NULL);
}

#define lock_wants(l, site, how) ((void)0)
#define lock_taken(l, site) ((void)0)
#define lock_released(l, site) ((void)0)
#define lock_sleeps(l, site) ((void)0)

#endif

/* The functions with _at also take the place that they are called from, for the check. */
#define mutex_lock(m) mutex_lock_at(m, LOCK_SITE(m))
#define mutex_trylock(m) mutex_trylock_at(m, LOCK_SITE(m))
#define mutex_unlock(m) mutex_unlock_at(m, LOCK_SITE(m))
#define read_lock(l) read_lock_at(l, LOCK_SITE(l))
#define write_lock(l) write_lock_at(l, LOCK_SITE(l))
#define read_unlock(l) rwlock_unlock_at(l, LOCK_SITE(l))
#define write_unlock(l) rwlock_unlock_at(l, LOCK_SITE(l))

static inline void mutex_destroy(struct mutex *m)
{
	pthread_mutex_destroy(&m->m);
}
static inline void mutex_lock_at(struct mutex *m, const char *site)
{
	lock_wants(m, site, LOCK_WAITS);
	pthread_mutex_lock(&m->m);
	lock_taken(m, site);
}
static inline bool mutex_trylock_at(struct mutex *m, const char *site)
{
	if (pthread_mutex_trylock(&m->m))
		return false;
	lock_taken(m, site);
	return true;
}
static inline void mutex_unlock_at(struct mutex *m, const char *site)
{
	lock_released(m, site);
	pthread_mutex_unlock(&m->m);
}
/* Sleeps until the condition is signalled, m unlocked meanwhile (man 3 pthread_cond_wait). */
#define mutex_wait(m, cond) mutex_wait_at(m, cond, LOCK_SITE(m))
static inline void mutex_wait_at(struct mutex *m, pthread_cond_t *cond, const char *site)
{
	lock_sleeps(m, site);
	pthread_cond_wait(cond, &m->m);
}
/* Likewise; not 0 once the time `until` of the condition's clock has passed. */
#define mutex_wait_until(m, cond, until) mutex_wait_until_at(m, cond, until, LOCK_SITE(m))
static inline int mutex_wait_until_at(struct mutex *m, pthread_cond_t *cond,
				      const struct timespec *until, const char *site)
{
	lock_sleeps(m, site);
	return pthread_cond_timedwait(cond, &m->m, until);
}
static inline void rwlock_destroy(struct rwlock *l)
{
	pthread_rwlock_destroy(&l->l);
}
static inline void read_lock_at(struct rwlock *l, const char *site)
{
	lock_wants(l, site, LOCK_WAITS);
	pthread_rwlock_rdlock(&l->l);
	lock_taken(l, site);
}
static inline void write_lock_at(struct rwlock *l, const char *site)
{
	lock_wants(l, site, LOCK_WAITS);
	pthread_rwlock_wrlock(&l->l);
	lock_taken(l, site);
}
static inline bool read_trylock_at(struct rwlock *l, const char *site)
{
	if (pthread_rwlock_tryrdlock(&l->l))
		return false;
	lock_taken(l, site);
	return true;
}
static inline bool write_trylock_at(struct rwlock *l, const char *site)
{
	if (pthread_rwlock_trywrlock(&l->l))
		return false;
	lock_taken(l, site);
	return true;
}
static inline void rwlock_unlock_at(struct rwlock *l, const char *site)
{
	lock_released(l, site);
	pthread_rwlock_unlock(&l->l);
}

static inline void mutex_guard_end(struct mutex **m)
{
	if (*m)
		mutex_unlock_at(*m, LOCK_SITE(guard));
}
static inline struct mutex *mutex_guard_begin(struct mutex *m, const char *site)
{
	mutex_lock_at(m, site);
	return m;
}
static inline void rwlock_guard_end(struct rwlock **l)
{
	if (*l)
		rwlock_unlock_at(*l, LOCK_SITE(guard));
}
static inline struct rwlock *read_guard_begin(struct rwlock *l, const char *site)
{
	read_lock_at(l, site);
	return l;
}
static inline struct rwlock *write_guard_begin(struct rwlock *l, const char *site)
{
	write_lock_at(l, site);
	return l;
}

#define LOCK_CAT2(a, b) a##b
#define LOCK_CAT(a, b) LOCK_CAT2(a, b)
#define MUTEX_GUARD(m)                                                                             \
	struct mutex *__cleanup(mutex_guard_end)                                                   \
	__maybe_unused LOCK_CAT(guard_, __LINE__) = mutex_guard_begin(m, LOCK_SITE(m))
#define READ_GUARD(l)                                                                              \
	struct rwlock *__cleanup(rwlock_guard_end)                                                 \
	__maybe_unused LOCK_CAT(guard_, __LINE__) = read_guard_begin(l, LOCK_SITE(l))
#define WRITE_GUARD(l)                                                                             \
	struct rwlock *__cleanup(rwlock_guard_end)                                                 \
	__maybe_unused LOCK_CAT(guard_, __LINE__) = write_guard_begin(l, LOCK_SITE(l))

#endif
