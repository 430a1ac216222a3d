/*
 * Taking a lock that others may hold while a platform command runs (mm->lock, futex buckets).
 *
 * The command's end may be for this very worker to receive, if it leads the listener: so before it
 * sleeps on such a lock it hands the lead on.
 */
#ifndef MOAT_SENTRY_PLATFORM_COMMAND_LOCK_H
#define MOAT_SENTRY_PLATFORM_COMMAND_LOCK_H

#include "base/lock.h"
#include "sentry/platform/platform.h"

static inline void command_lock(struct mutex *m)
{
	if (mutex_trylock(m))
		return;
	platform_block_begin();
	mutex_lock(m);
	platform_block_end();
}

static inline struct mutex *command_guard_begin(struct mutex *m)
{
	command_lock(m);
	return m;
}
/* Unlocked when the scope ends, like MUTEX_GUARD. */
#define COMMAND_GUARD(m)                                                                           \
	struct mutex *__cleanup(mutex_guard_end)                                                   \
	__maybe_unused LOCK_CAT(guard_, __LINE__) = command_guard_begin(m)

#endif
