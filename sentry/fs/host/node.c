/* Paths of host objects: a tree of names. A renamed directory takes what is below it along. */
#include <errno.h>
#include <string.h>

#include "sentry/fs/host/host_internal.h"

struct host_node *host_node_alloc(struct host_node *parent, const char *name)
{
	struct host_node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	refcount_init(&n->refs);
	if (name) {
		n->name = strdup(name);
		if (!n->name) {
			free(n);
			return NULL;
		}
		n->parent = host_node_get(parent);
	}
	return n;
}

struct host_node *host_node_get(struct host_node *n)
{
	refcount_inc(&n->refs);
	return n;
}

void host_node_put(struct host_node *n)
{
	while (n && refcount_dec(&n->refs)) {
		struct host_node *parent = n->parent;

		free(n->name);
		free(n);
		n = parent;
	}
}

int host_node_move(struct host_mount *m, struct host_node *n, struct host_node *parent,
		   const char *name)
{
	struct host_node *old_parent;
	char *copy = strdup(name), *old_name;

	if (!copy)
		return -ENOMEM;
	host_node_get(parent);
	mutex_lock(&m->node_lock);
	old_parent = n->parent;
	old_name = n->name;
	n->parent = parent;
	n->name = copy;
	mutex_unlock(&m->node_lock);
	host_node_put(old_parent);
	free(old_name);
	return 0;
}

bool host_node_is(struct host_mount *m, const struct host_node *n, const struct host_node *parent,
		  const char *name)
{
	MUTEX_GUARD(&m->node_lock);
	return n->parent == parent && n->name && !strcmp(n->name, name);
}

void host_node_swap(struct host_mount *m, struct host_node *a, struct host_node *b)
{
	struct host_node *parent;
	char *name;

	MUTEX_GUARD(&m->node_lock);
	parent = a->parent;
	name = a->name;
	a->parent = b->parent;
	a->name = b->name;
	b->parent = parent;
	b->name = name;
}

static bool prepend(char *buf, size_t *at, const char *name, bool slash)
{
	size_t len = strlen(name);

	if (*at < len + slash)
		return false;
	if (slash)
		buf[--*at] = '/';
	*at -= len;
	memcpy(buf + *at, name, len);
	return true;
}

int host_node_path(struct host_mount *m, const struct host_node *n, const char *name, char *buf)
{
	size_t at = GOFER_PATH_MAX;
	bool first = true;

	buf[at] = 0;
	if (name) {
		if (!prepend(buf, &at, name, false))
			return -ENAMETOOLONG;
		first = false;
	}
	mutex_lock(&m->node_lock);
	for (; n->name; n = n->parent) {
		if (!prepend(buf, &at, n->name, !first)) {
			mutex_unlock(&m->node_lock);
			return -ENAMETOOLONG;
		}
		first = false;
	}
	mutex_unlock(&m->node_lock);
	memmove(buf, buf + at, GOFER_PATH_MAX - at + 1);
	return 0;
}
