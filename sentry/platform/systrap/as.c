/*
 * Address spaces as objects, and their slot regions. How their processes are known:
 * shared/stub_pid.h.
 *
 * A slot region is shared with whoever has it mapped: the stub that it was given to, and that
 * stub's children until they have mapped their own over it. It is given out again when none of them
 * can be left.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>

#include "sentry/platform/systrap/systrap.h"

static struct {
	struct mutex lock;
	struct platform_as *as[MAX_AS]; /* by region */
	uint32_t top;			/* above all that are in use */
	uint16_t region_refs[MAX_AS];
} as_table = {.lock = MUTEX_INIT};

struct platform_as *as_alloc(struct platform_as *parent)
{
	struct platform_as *as = calloc(1, sizeof(*as));

	if (!as)
		return NULL;
	refcount_init(&as->refs);
	mutex_init(&as->lock);
	TAILQ_INIT(&as->ctxs);
	as->used[PAGE_INDEX / 64] |= 1ULL << (PAGE_INDEX % 64);
	MUTEX_GUARD(&as_table.lock);
	for (uint32_t i = 1; i < MAX_AS; i++) { /* region 0 is the zygote's */
		if (as_table.region_refs[i])
			continue;
		as_table.region_refs[i] = 1;
		as_table.as[i] = as;
		if (as_table.top <= i)
			as_table.top = i + 1;
		as->index = i;
		if (parent) {
			as_table.region_refs[parent->index]++;
			as->inherited = parent->index;
		}
		return as;
	}
	free(as);
	return NULL;
}

void region_put(uint32_t index)
{
	MUTEX_GUARD(&as_table.lock);
	if (as_table.region_refs[index] == 1) {
		/* The pages go back to the host. */
		fallocate(systrap.slots_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (off_t)(index * SLOT_REGION), (off_t)SLOT_REGION);
	}
	as_table.region_refs[index]--;
}

void as_proved(struct platform_as *as)
{
	uint32_t inherited;

	if (!as->inherited) /* nearly always */
		return;
	inherited = atomic_exchange(&as->inherited, 0);
	if (inherited)
		region_put(inherited);
}

void as_free(struct platform_as *as)
{
	uint32_t index = as->index;
	bool strays = as->clones > 0;

	mutex_lock(&as_table.lock);
	as_table.as[index] = NULL;
	while (as_table.top && !as_table.as[as_table.top - 1])
		as_table.top--;
	mutex_unlock(&as_table.lock);
	as_proved(as);
	if (as->listener)
		listener_put(as->listener);
	patches_put(as->patches);
	mutex_destroy(&as->lock);
	free(as);
	if (strays)
		strays_sweep(index); /* takes over the reference to the region */
	else
		region_put(index);
}

int as_register(struct platform_as *as, pid_t pid)
{
	return stub_register(as_head(as), pid);
}

void as_unregister(struct platform_as *as)
{
	stub_unregister(as_head(as));
}

struct platform_as *as_by_pid(pid_t pid)
{
	return (struct platform_as *)stub_by_pid(pid);
}

struct platform_as *as_lock_nth(uint32_t *i)
{
	mutex_lock(&as_table.lock);
	for (; *i < as_table.top; ++*i)
		if (as_table.as[*i]) {
			mutex_lock(&as_table.as[*i]->lock);
			return as_table.as[*i];
		}
	mutex_unlock(&as_table.lock);
	return NULL;
}

void as_unlock_nth(struct platform_as *as)
{
	mutex_unlock(&as->lock);
	mutex_unlock(&as_table.lock);
}

void as_kill_all(void)
{
	MUTEX_GUARD(&as_table.lock);
	for (uint32_t i = 1; i < as_table.top; i++) {
		if (!as_table.as[i])
			continue;
		as_table.as[i]->dead = true;
		/* Not reaped while it is in the table, so the pid is still its own. */
		if (as_table.as[i]->pid > 0)
			kill(as_table.as[i]->pid, SIGKILL);
	}
}
