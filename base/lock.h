/*
 * Locks. Thin names over pthread mutexes and rwlocks, with scope guards:
 *
 *	MUTEX_GUARD(&inode->lock);	unlocked when the scope ends
 *
 * Static initialisers are MUTEX_INIT and RWLOCK_INIT. A lock is never held while blocking for a
 * guest (waiting on a wait queue) or while executing a platform command, unless its comment says
 *so.
 */
#ifndef MOAT_BASE_LOCK_H
#define MOAT_BASE_LOCK_H

#include <pthread.h>

#include "base/compiler.h"

struct mutex {
	pthread_mutex_t m;
};
struct rwlock {
	pthread_rwlock_t l;
};

#define MUTEX_INIT                                                                                 \
	{                                                                                          \
		PTHREAD_MUTEX_INITIALIZER                                                          \
	}
#define RWLOCK_INIT                                                                                \
	{                                                                                          \
		PTHREAD_RWLOCK_INITIALIZER                                                         \
	}

static inline void mutex_init(struct mutex *m)
{
	pthread_mutex_init(&m->m, NULL);
}
static inline void mutex_destroy(struct mutex *m)
{
	pthread_mutex_destroy(&m->m);
}
static inline void mutex_lock(struct mutex *m)
{
	pthread_mutex_lock(&m->m);
}
static inline int mutex_trylock(struct mutex *m)
{
	return pthread_mutex_trylock(&m->m) == 0;
}
static inline void mutex_unlock(struct mutex *m)
{
	pthread_mutex_unlock(&m->m);
}
static inline void rwlock_init(struct rwlock *l)
{
	pthread_rwlock_init(&l->l, NULL);
}
static inline void rwlock_destroy(struct rwlock *l)
{
	pthread_rwlock_destroy(&l->l);
}
static inline void read_lock(struct rwlock *l)
{
	pthread_rwlock_rdlock(&l->l);
}
static inline void read_unlock(struct rwlock *l)
{
	pthread_rwlock_unlock(&l->l);
}
static inline void write_lock(struct rwlock *l)
{
	pthread_rwlock_wrlock(&l->l);
}
static inline void write_unlock(struct rwlock *l)
{
	pthread_rwlock_unlock(&l->l);
}

static inline void mutex_guard_end(struct mutex **m)
{
	if (*m)
		mutex_unlock(*m);
}
static inline struct mutex *mutex_guard_begin(struct mutex *m)
{
	mutex_lock(m);
	return m;
}
static inline void rwlock_guard_end(struct rwlock **l)
{
	if (*l)
		pthread_rwlock_unlock(&(*l)->l);
}
static inline struct rwlock *read_guard_begin(struct rwlock *l)
{
	read_lock(l);
	return l;
}
static inline struct rwlock *write_guard_begin(struct rwlock *l)
{
	write_lock(l);
	return l;
}

#define LOCK_CAT2(a, b) a##b
#define LOCK_CAT(a, b) LOCK_CAT2(a, b)
#define MUTEX_GUARD(m)                                                                             \
	struct mutex *__cleanup(mutex_guard_end)                                                   \
	__maybe_unused LOCK_CAT(guard_, __LINE__) = mutex_guard_begin(m)
#define READ_GUARD(l)                                                                              \
	struct rwlock *__cleanup(rwlock_guard_end)                                                 \
	__maybe_unused LOCK_CAT(guard_, __LINE__) = read_guard_begin(l)
#define WRITE_GUARD(l)                                                                             \
	struct rwlock *__cleanup(rwlock_guard_end)                                                 \
	__maybe_unused LOCK_CAT(guard_, __LINE__) = write_guard_begin(l)

#endif
