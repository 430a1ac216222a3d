/* What a container uses, as Event tells it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "boot/loader/loader_internal.h"
#include "sentry/kernel/task/lifecycle.h"

static uint64_t sandbox_cpu_ns(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts))
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* References to all containers, in a vector from malloc(); NULL: no memory. */
static struct container **list_containers(struct loader *l, unsigned *n)
{
	struct container **list, *c;
	size_t room = 0;
	MUTEX_GUARD(&l->lock);

	LIST_FOREACH (c, &l->containers, link)
		room++;
	list = calloc(room + 1, sizeof(struct container *));
	*n = 0;
	if (!list)
		return NULL;
	LIST_FOREACH (c, &l->containers, link) {
		refcount_inc(&c->refs);
		list[(*n)++] = c;
	}
	return list;
}

static int add_usage(Moat__Stats *stats, const struct container *c,
		     const struct container_usage *usage)
{
	Moat__Stats__Usage *u = calloc(1, sizeof(*u));

	if (!u)
		return -ENOMEM;
	moat__stats__usage__init(u);
	u->id = strdup(c->id);
	u->cpu_ns = usage->user_ns + usage->kernel_ns;
	stats->containers[stats->n_containers++] = u;
	return u->id ? 0 : -ENOMEM;
}

static uint64_t raise_max(struct container *c, uint64_t usage)
{
	uint64_t max = __atomic_load_n(&c->memory_max, __ATOMIC_RELAXED);

	while (max < usage && !__atomic_compare_exchange_n(&c->memory_max, &max, usage, false,
							   __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	return MAX(max, usage);
}

static int fill(struct container *c, const struct container_usage *usage, uint64_t memory,
		Moat__Stats *stats)
{
	stats->cpu = calloc(1, sizeof(*stats->cpu));
	stats->memory = calloc(1, sizeof(*stats->memory));
	if (!stats->cpu || !stats->memory) {
		free(stats->cpu);
		free(stats->memory);
		stats->cpu = NULL;
		stats->memory = NULL;
		return -ENOMEM;
	}
	moat__stats__cpu__init(stats->cpu);
	moat__stats__memory__init(stats->memory);
	stats->cpu->user_ns = usage->user_ns;
	stats->cpu->kernel_ns = usage->kernel_ns;
	stats->cpu->total_ns = usage->user_ns + usage->kernel_ns;
	stats->memory->usage = memory;
	stats->memory->max = raise_max(c, memory);
	stats->memory->limit = c->loader->args.memory_limit;
	stats->memory->failcnt = atomic_load(&kernel.oom_kills);
	stats->pids = usage->threads;
	stats->pids_max = atomic_load(&c->mark->tasks_max);
	stats->sandbox_cpu_ns = sandbox_cpu_ns();
	return 0;
}

int container_stats(struct container *c, Moat__Stats *stats)
{
	struct container_usage usage, mine = {0};
	struct container **all;
	uint64_t others = 0, memory, sum;
	unsigned n;
	int ret = 0;

	all = list_containers(c->loader, &n);
	if (!all)
		return -ENOMEM;
	stats->containers = calloc(n + 1, sizeof(Moat__Stats__Usage *));
	if (!stats->containers)
		ret = -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		if (!ret)
			ret = kernel_container_usage(all[i]->mark, &usage);
		if (!ret)
			ret = add_usage(stats, all[i], &usage);
		if (all[i] == c)
			mine = usage;
		else if (!ret)
			others += usage.memory;
		container_put(all[i]);
	}
	free(all);
	if (ret)
		return ret;
	memory = mine.memory;
	if (c == c->loader->root) {
		sum = kernel_memory_used(true);
		memory = MAX(memory, sum - MIN(sum, others));
	}
	return fill(c, &mine, memory, stats);
}
