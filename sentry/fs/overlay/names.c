/* The names of a directory that differ from its lower layer: added, replaced, removed. */
#include <string.h>

#include "sentry/fs/overlay/overlay_internal.h"

static int ovl_name_cmp(const struct ovl_name *a, const struct ovl_name *b)
{
	int d = memcmp(a->name, b->name, MIN(a->len, b->len));

	return d ? d : (int)a->len - (int)b->len;
}
RB_GENERATE(ovl_names, ovl_name, link, ovl_name_cmp)

struct ovl_name *ovl_name_find(struct ovl_inode *dir, const char *name)
{
	struct ovl_name *n = RB_ROOT(&dir->names);
	size_t len = strlen(name);

	while (n) {
		int d = memcmp(name, n->name, MIN(len, (size_t)n->len));

		if (!d)
			d = (int)len - (int)n->len;
		if (!d)
			return n;
		n = d < 0 ? RB_LEFT(n, link) : RB_RIGHT(n, link);
	}
	return NULL;
}

struct ovl_name *ovl_name_alloc(const char *name)
{
	size_t len = strlen(name);
	struct ovl_name *n = len <= NAME_MAX_LEN ? calloc(1, sizeof(*n) + len + 1) : NULL;

	if (n) {
		n->len = (uint8_t)len;
		memcpy(n->name, name, len + 1);
	}
	return n;
}

void ovl_names_free(struct ovl_inode *dir)
{
	struct ovl_super *s = ovl_super_of(dir->inode);
	struct ovl_name *n;
	bool doomed = false;

	while ((n = RB_ROOT(&dir->names))) {
		RB_REMOVE(ovl_names, &dir->names, n);
		if (n->inode) {
			/* Only at the end of the file system do directories go with names in them.
			 */
			mutex_lock(&s->lock);
			LIST_INSERT_HEAD(&s->doomed, n, doomed);
			mutex_unlock(&s->lock);
			doomed = true;
		} else {
			free(n);
		}
	}
	dir->live_names = 0;
	if (doomed)
		ovl_drop_doomed(s);
}
