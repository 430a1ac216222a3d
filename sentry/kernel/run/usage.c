/* What a container uses: processor time, memory, threads. */
#include "sentry/kernel/core/container_mark.h"
#include "sentry/kernel/run/container.h"
#include "sentry/kernel/run/run_internal.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/time/time.h"

/* Its processes, each referenced, in a vector from malloc(); NULL: no memory. */
static struct thread_group **list_groups(const struct container_mark *c, unsigned *n,
					 struct container_usage *usage)
{
	struct thread_group **list, *g;
	size_t room = 0;
	READ_GUARD(&kernel.tasklist_lock);

	TAILQ_FOREACH (g, &kernel.groups, all_link)
		room += container_mark_within(g->container, c);
	list = calloc(room + 1, sizeof(struct thread_group *));
	*n = 0;
	if (!list)
		return NULL;
	usage->user_ns = c->utime;
	usage->kernel_ns = c->stime;
	TAILQ_FOREACH (g, &kernel.groups, all_link) {
		if (!container_mark_within(g->container, c))
			continue;
		usage->threads += (unsigned)g->num_threads;
		list[(*n)++] = group_get(g);
	}
	return list;
}

/* One that ends meanwhile is counted here or there, but once: it has been looked at as it was. */
int kernel_container_usage(const struct container_mark *c, struct container_usage *usage)
{
	struct thread_group **groups;
	unsigned n;

	*usage = (struct container_usage){0};
	groups = list_groups(c, &n, usage);
	if (!groups)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		uint64_t utime, stime;

		group_cpu_split(groups[i], &utime, &stime);
		usage->user_ns += utime;
		usage->kernel_ns += stime;
		usage->memory += group_anon(groups[i], true);
		group_put(groups[i]);
	}
	free(groups);
	return 0;
}

uint64_t kernel_group_peak(struct thread_group *g)
{
	MUTEX_GUARD(&g->lock);
	return MAX((uint64_t)g->dead.maxrss, (uint64_t)g->children_usage.maxrss) * 1024;
}
