#include "sentry/kernel/cred.h"

#include <string.h>

#include "sentry/kernel/task.h"

struct cred *cred_alloc(void)
{
	struct cred *c = calloc(1, sizeof(*c));

	if (c)
		refcount_init(&c->refs);
	return c;
}

struct cred *cred_dup(const struct cred *c)
{
	struct cred *copy = malloc(sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *c;
	refcount_init(&copy->refs);
	copy->groups = NULL;
	if (c->ngroups) {
		copy->groups = malloc(c->ngroups * sizeof(gid_t));
		if (!copy->groups) {
			free(copy);
			return NULL;
		}
		memcpy(copy->groups, c->groups, c->ngroups * sizeof(gid_t));
	}
	return copy;
}

struct cred *cred_get(struct cred *c)
{
	refcount_inc(&c->refs);
	return c;
}

void cred_put(struct cred *c)
{
	if (!refcount_dec(&c->refs))
		return;
	free(c->groups);
	free(c);
}

bool cred_in_group(const struct cred *c, gid_t gid)
{
	uint32_t lo = 0, hi = c->ngroups;

	if (gid == c->fsgid)
		return true;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (c->groups[mid] == gid)
			return true;
		if (c->groups[mid] < gid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

bool capable(int cap)
{
	return cred_capable(current->cred, cap);
}

static int compare_gid(const void *a, const void *b)
{
	gid_t x = *(const gid_t *)a, y = *(const gid_t *)b;

	return x < y ? -1 : x > y;
}

void cred_sort_groups(struct cred *c)
{
	if (c->ngroups)
		qsort(c->groups, c->ngroups, sizeof(gid_t), compare_gid);
}
