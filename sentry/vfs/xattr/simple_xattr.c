/* Extended attributes in memory. The lock is a leaf. */
#include "sentry/vfs/xattr/simple_xattr.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

struct simple_xattr {
	TAILQ_ENTRY(simple_xattr) link;
	char *name;
	size_t size;
	char value[];
};

void simple_xattrs_init(struct simple_xattrs *x)
{
	mutex_init(&x->lock);
	TAILQ_INIT(&x->list);
	x->bytes = 0;
}

static void free_one(struct simple_xattr *a)
{
	free(a->name);
	free(a);
}

void simple_xattrs_free(struct simple_xattrs *x)
{
	struct simple_xattr *a;

	while ((a = TAILQ_FIRST(&x->list))) {
		TAILQ_REMOVE(&x->list, a, link);
		free_one(a);
	}
	mutex_destroy(&x->lock);
}

static struct simple_xattr *find(struct simple_xattrs *x, const char *name)
{
	struct simple_xattr *a;

	TAILQ_FOREACH (a, &x->list, link)
		if (!strcmp(a->name, name))
			return a;
	return NULL;
}

ssize_t simple_xattr_get(struct simple_xattrs *x, const char *name, void *buf, size_t size)
{
	struct simple_xattr *a;

	MUTEX_GUARD(&x->lock);
	a = find(x, name);
	if (!a)
		return -ENODATA;
	if (!size)
		return a->size;
	if (a->size > size)
		return -ERANGE;
	memcpy(buf, a->value, a->size);
	return a->size;
}

static size_t cost(const struct simple_xattr *a)
{
	return sizeof(*a) + strlen(a->name) + 1 + a->size;
}

int simple_xattr_set(struct simple_xattrs *x, const char *name, const void *value, size_t size,
		     int flags)
{
	struct simple_xattr *new = NULL, *old;

	if (value) {
		new = malloc(sizeof(*new) + size);
		if (!new)
			return -ENOMEM;
		new->name = strdup(name);
		if (!new->name) {
			free(new);
			return -ENOMEM;
		}
		new->size = size;
		memcpy(new->value, value, size);
	}
	MUTEX_GUARD(&x->lock);
	old = find(x, name);
	int err = 0;

	if (old && (flags & XATTR_CREATE))
		err = -EEXIST;
	else if (!old && (!value || (flags & XATTR_REPLACE)))
		err = -ENODATA;
	else if (new && x->bytes + cost(new) - (old ? cost(old) : 0) > SIMPLE_XATTR_MAX_BYTES)
		err = -ENOSPC;
	if (err) {
		if (new)
			free_one(new);
		return err;
	}
	if (old) {
		x->bytes -= cost(old);
		TAILQ_REMOVE(&x->list, old, link);
		free_one(old);
	}
	if (new) {
		x->bytes += cost(new);
		TAILQ_INSERT_TAIL(&x->list, new, link);
	}
	return 0;
}

ssize_t simple_xattr_list(struct simple_xattrs *x, char *buf, size_t size, bool trusted)
{
	struct simple_xattr *a;
	size_t used = 0;

	MUTEX_GUARD(&x->lock);
	TAILQ_FOREACH (a, &x->list, link) {
		size_t n = strlen(a->name) + 1;

		if (!trusted && !strncmp(a->name, "trusted.", 8))
			continue;
		if (size) {
			if (n > size - used)
				return -ERANGE;
			memcpy(buf + used, a->name, n);
		}
		used += n;
	}
	return used;
}
