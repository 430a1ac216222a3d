/*
 * Taking a lock that others may hold while a platform command runs (mm->lock, futex buckets), or
 * while they wait for such a lock (inode->lock, file->pos_lock).
 *
 * The command's end may be for this very thread to receive, if it leads the listener: so before it
 * sleeps on such a lock it hands the lead on. Debug builds find locks that need this and are not
 * taken so (lock_order.h). Those over commands are made with LOCK_OVER_COMMANDS.
 */
#ifndef MOAT_BASE_COMMAND_LOCK_H
#define MOAT_BASE_COMMAND_LOCK_H

#include "base/lock.h"

/* Around the sleep: platform_block_begin() and platform_block_end(), set once before there are
 * threads. NULL: nothing to do. */
struct command_lock_hooks {
	void (*begin)(void), (*end)(void);
};
extern struct command_lock_hooks command_lock_hooks;

/* What else waits for another thread of the sentry does that between these. Any locks may be held
 * but those that the lead is handed on with. */
void command_wait_begin(void);
void command_wait_end(void);

#define command_lock(m) command_lock_at(m, LOCK_SITE(m))
#define command_write_lock(l) command_write_lock_at(l, LOCK_SITE(l))

void command_lock_contended(struct mutex *m, const char *site);
void command_read_lock_contended(struct rwlock *l, const char *site);
void command_write_lock_contended(struct rwlock *l, const char *site);

static inline void command_lock_at(struct mutex *m, const char *site)
{
	lock_wants(m, site, LOCK_WAITS_WITHOUT_LEAD);
	if (!mutex_trylock_at(m, site))
		command_lock_contended(m, site);
}

static inline void command_read_lock_at(struct rwlock *l, const char *site)
{
	lock_wants(l, site, LOCK_WAITS_WITHOUT_LEAD);
	if (!read_trylock_at(l, site))
		command_read_lock_contended(l, site);
}

static inline void command_write_lock_at(struct rwlock *l, const char *site)
{
	lock_wants(l, site, LOCK_WAITS_WITHOUT_LEAD);
	if (!write_trylock_at(l, site))
		command_write_lock_contended(l, site);
}

static inline struct mutex *command_guard_begin(struct mutex *m, const char *site)
{
	command_lock_at(m, site);
	return m;
}
static inline struct rwlock *command_read_guard_begin(struct rwlock *l, const char *site)
{
	command_read_lock_at(l, site);
	return l;
}
static inline struct rwlock *command_write_guard_begin(struct rwlock *l, const char *site)
{
	command_write_lock_at(l, site);
	return l;
}
/* Unlocked when the scope ends, like MUTEX_GUARD and its kind. */
#define COMMAND_GUARD(m)                                                                           \
	struct mutex *__cleanup(mutex_guard_end)                                                   \
	__maybe_unused LOCK_CAT(guard_, __LINE__) = command_guard_begin(m, LOCK_SITE(m))
#define COMMAND_READ_GUARD(l)                                                                      \
	struct rwlock *__cleanup(rwlock_guard_end)                                                 \
	__maybe_unused LOCK_CAT(guard_, __LINE__) = command_read_guard_begin(l, LOCK_SITE(l))
#define COMMAND_WRITE_GUARD(l)                                                                     \
	struct rwlock *__cleanup(rwlock_guard_end)                                                 \
	__maybe_unused LOCK_CAT(guard_, __LINE__) = command_write_guard_begin(l, LOCK_SITE(l))

#endif
