#include "sentry/kernel/core/cred.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/core/current.h"

struct cred *cred_alloc(void)
{
	struct cred *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	refcount_init(&c->refs);
	c->user_ns = user_ns_get(&root_user_ns);
	return c;
}

struct cred *cred_dup(const struct cred *c)
{
	struct cred *copy = malloc(sizeof(*copy));

	if (!copy)
		return NULL;
	/* Others count references to c meanwhile. */
	memcpy((char *)copy + sizeof(copy->refs), (const char *)c + sizeof(c->refs),
	       sizeof(*copy) - sizeof(copy->refs));
	refcount_init(&copy->refs);
	copy->groups = NULL;
	user_ns_get(copy->user_ns);
	if (copy->label)
		refcount_inc(&copy->label->refs);
	if (c->ngroups) {
		copy->groups = malloc(c->ngroups * sizeof(gid_t));
		if (!copy->groups) {
			copy->ngroups = 0;
			cred_put(copy);
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
	if (c->label && refcount_dec(&c->label->refs))
		free(c->label);
	user_ns_put(c->user_ns);
	free(c->groups);
	free(c);
}

int cred_set_label(struct cred *c, const char *text)
{
	size_t size = strlen(text) + 1;

	c->label = malloc(sizeof(*c->label) + size);
	if (!c->label)
		return -ENOMEM;
	refcount_init(&c->label->refs);
	memcpy(c->label->text, text, size);
	return 0;
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

void cred_enter_user_ns(struct cred *c, struct user_ns *ns)
{
	user_ns_put(c->user_ns);
	c->user_ns = ns;
	c->securebits = 0;
	c->cap_inheritable = c->cap_ambient = 0;
	c->cap_permitted = c->cap_effective = c->cap_bset = CAP_FULL_MASK;
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
