/* The numbers that network namespaces have for each other. One lock for all tables, a leaf. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/net/inet/inet_internal.h"

/* Of one namespace; there are hardly more namespaces. */
#define NSIDS_MAX 4096

static struct mutex nsid_lock = MUTEX_INIT;
static LIST_HEAD(, nsid_table) tables = LIST_HEAD_INITIALIZER(tables);

void nsid_table_add(struct nsid_table *t, uint64_t ns)
{
	MUTEX_GUARD(&nsid_lock);

	t->ns = ns;
	LIST_INSERT_HEAD(&tables, t, link);
}

void nsid_table_remove(struct nsid_table *gone)
{
	struct nsid_table *t;
	MUTEX_GUARD(&nsid_lock);

	LIST_REMOVE(gone, link);
	free(gone->entries);
	gone->entries = NULL;
	gone->n = gone->size = 0;
	LIST_FOREACH (t, &tables, link)
		for (size_t i = 0; i < t->n; i++)
			if (t->entries[i].ns == gone->ns) {
				t->entries[i] = t->entries[--t->n];
				break;
			}
}

static struct nsid_entry *find(const struct nsid_table *t, uint64_t ns)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->entries[i].ns == ns)
			return &t->entries[i];
	return NULL;
}

static bool taken(const struct nsid_table *t, int id)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->entries[i].id == id)
			return true;
	return false;
}

/* Is there a namespace of that inode number that will be taken out of the tables at its end? */
static bool lives(uint64_t ns)
{
	struct nsid_table *t;

	LIST_FOREACH (t, &tables, link)
		if (t->ns == ns)
			return true;
	return false;
}

/* nsid_lock held. */
static int set(struct nsid_table *t, uint64_t ns, int id)
{
	if (find(t, ns) || (id >= 0 && taken(t, id)))
		return -EEXIST;
	if (t->n >= NSIDS_MAX || !lives(t->ns) || !lives(ns))
		return -ENOSPC;
	for (int i = 0; id < 0; i++)
		if (!taken(t, i))
			id = i;
	if (t->n == t->size) {
		size_t size = t->size ? t->size * 2 : 4;
		struct nsid_entry *more = reallocarray(t->entries, size, sizeof(*more));

		if (!more)
			return -ENOMEM;
		t->entries = more;
		t->size = size;
	}
	t->entries[t->n++] = (struct nsid_entry){.ns = ns, .id = id};
	return id;
}

int inet_nsid(struct netstack *s, uint64_t of, bool assign)
{
	struct nsid_table *t = inet_nsids(s);
	const struct nsid_entry *e;
	int id;
	MUTEX_GUARD(&nsid_lock);

	e = find(t, of);
	if (e)
		return e->id;
	id = assign ? set(t, of, NSID_NONE) : NSID_NONE;
	return id < 0 ? NSID_NONE : id;
}

int inet_nsid_set(struct netstack *s, uint64_t of, int id)
{
	int ret;
	MUTEX_GUARD(&nsid_lock);

	ret = set(inet_nsids(s), of, id);
	return MIN(ret, 0);
}

int inet_nsids_list(struct netstack *s, int **ids, size_t *n)
{
	const struct nsid_table *t = inet_nsids(s);
	MUTEX_GUARD(&nsid_lock);

	*n = t->n;
	*ids = calloc(t->n + 1, sizeof(**ids));
	if (!*ids)
		return -ENOMEM;
	for (size_t i = 0; i < t->n; i++)
		(*ids)[i] = t->entries[i].id;
	return 0;
}
