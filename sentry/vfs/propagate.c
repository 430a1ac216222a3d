/*
 * Shared mounts, slaves, and copies of mount trees.
 *
 * A mount with peer_group g exchanges events with all mounts of that group; a mount with
 * master_group g receives them from g and sends none there. The groups are numbers; members are
 * found by walking all_mounts, which is bounded by the limit on mounts per namespace.
 */
#include "sentry/vfs/propagate.h"

#include "sentry/vfs/dcache.h"

static int last_peer_group; /* mount_lock */

int peer_group_new(void)
{
	return ++last_peer_group;
}

static bool dentry_below(const struct dentry *root, const struct dentry *d)
{
	int slot;
	bool yes;

	if (root == d)
		return true;
	if (root->sb != d->sb)
		return false;
	slot = dcache_read_lock();
	yes = d_is_ancestor(root, d);
	dcache_read_unlock(slot);
	return yes;
}

static struct mount *copy_one(struct mount *m, struct dentry *root, enum copy_kind kind)
{
	struct mount *copy = mount_clone(m, root);

	if (!copy)
		return NULL;
	if (kind == COPY_SLAVE) {
		copy->master_group = m->peer_group;
	} else {
		copy->peer_group = m->peer_group;
		copy->master_group = m->master_group;
	}
	m->copy = copy;
	return copy;
}

static void put_list(struct mount_list *list)
{
	struct mount *m;

	while ((m = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, m, all_link);
		mnt_put(m);
	}
}

static void put_tree(struct mount *top)
{
	struct mount_list list = TAILQ_HEAD_INITIALIZER(list);

	mount_detach_tree(top, &list);
	put_list(&list);
}

struct mount *mount_copy_tree(struct mount *top, struct dentry *root, bool recursive,
			      bool with_unbindable, enum copy_kind kind)
{
	struct mount *copy = copy_one(top, root, kind), *child;

	if (!copy || !recursive)
		return copy;
	for (struct mount *m = top; m; m = mount_next(m, top))
		if (m != top)
			m->copy = NULL;
	for (struct mount *m = top; m; m = mount_next(m, top)) {
		if (m == top || !m->parent->copy)
			continue; /* below something that was left out */
		if (m->unbindable && !with_unbindable)
			continue;
		if (m->parent == top && !dentry_below(root, m->mountpoint))
			continue;
		child = copy_one(m, m->root, kind);
		if (!child) {
			put_tree(copy);
			return NULL;
		}
		child->unbindable = m->unbindable;
		mount_attach(child, m->parent->copy, m->mountpoint, NULL);
	}
	return copy;
}

void mount_detach_tree(struct mount *top, struct mount_list *out)
{
	for (;;) {
		struct mount *m = top;

		while (!TAILQ_EMPTY(&m->children))
			m = TAILQ_FIRST(&m->children);
		mount_detach(m);
		TAILQ_INSERT_TAIL(out, m, all_link);
		if (m == top)
			return;
	}
}

/* --- attaching ---------------------------------------------------------------------------------
 */

struct target {
	struct mount *where, *copy;
};
struct targets {
	struct target *v;
	size_t n, cap;
	unsigned mounts; /* in all copies: bounded, as they are made before they are counted */
};

static int targets_add(struct targets *t, struct mount *where, struct mount *copy)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 16;
		struct target *v = realloc(t->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		t->v = v;
		t->cap = cap;
	}
	t->v[t->n++] = (struct target){where, copy};
	return 0;
}

static unsigned tree_size(struct mount *top)
{
	unsigned n = 0;

	for (struct mount *m = top; m; m = mount_next(m, top))
		n++;
	return n;
}

static void share_tree(struct mount *top)
{
	for (struct mount *m = top; m; m = mount_next(m, top))
		if (!m->peer_group)
			m->peer_group = peer_group_new();
}

static bool has_target(const struct targets *t, const struct mount *where)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].where == where)
			return true;
	return false;
}

/* Copies of `source` for the peers of `origin` and for the slaves of its group. */
static int collect(struct targets *t, struct mount *source, struct mount *origin,
		   struct dentry *mountpoint)
{
	int group = origin->peer_group;
	struct mount *x;

	TAILQ_FOREACH (x, &all_mounts, all_link) {
		bool peer = x->peer_group == group, slave = x->master_group == group;
		struct mount *copy;
		int err;

		if ((!peer && !slave) || has_target(t, x))
			continue;
		if (x->sb != mountpoint->sb || !dentry_below(x->root, mountpoint))
			continue;
		t->mounts += tree_size(source);
		if (x->ns->count + t->mounts > MNT_NS_MAX_MOUNTS)
			return -ENOSPC;
		copy = mount_copy_tree(source, source->root, true, true,
				       peer ? COPY_BIND : COPY_SLAVE);
		if (!copy)
			return -ENOMEM;
		if (!peer && x->peer_group)
			share_tree(copy);
		err = targets_add(t, x, copy);
		if (err) {
			put_tree(copy);
			return err;
		}
	}
	return 0;
}

int propagate_attach(struct mount *m, struct mount *parent, struct dentry *mountpoint)
{
	struct targets t = {0};
	struct mnt_ns *ns = parent->ns;
	int err = 0;

	if (ns && ns->count + tree_size(m) > MNT_NS_MAX_MOUNTS)
		return -ENOSPC;
	if (parent->peer_group) {
		share_tree(m);
		/* Entry 0 is the mount itself; each entry's own group is served in turn. */
		err = targets_add(&t, parent, m);
		for (size_t i = 0; !err && i < t.n; i++)
			if (t.v[i].where->peer_group)
				err = collect(&t, t.v[i].copy, t.v[i].where, mountpoint);
		for (size_t i = 1; i < t.n; i++) {
			if (err) {
				put_tree(t.v[i].copy);
				continue;
			}
			mount_attach(t.v[i].copy, t.v[i].where, mountpoint, t.v[i].where->ns);
			mnt_ns_changed(t.v[i].where->ns);
		}
		free(t.v);
		if (err)
			return err;
	}
	mount_attach(m, parent, mountpoint, ns);
	mnt_ns_changed(ns);
	return 0;
}

void propagate_detach(struct mount *m, struct mount_list *out)
{
	struct mount *parent = m->parent, *x, *child;
	struct targets t = {0};
	int slot;

	if (!parent || !parent->peer_group || targets_add(&t, parent, NULL))
		return;
	for (size_t i = 0; i < t.n; i++) {
		int group = t.v[i].where->peer_group;

		if (!group)
			continue;
		TAILQ_FOREACH (x, &all_mounts, all_link)
			if ((x->peer_group == group || x->master_group == group) &&
			    !has_target(&t, x) && targets_add(&t, x, NULL))
				break;
	}
	for (size_t i = 1; i < t.n; i++) {
		slot = dcache_read_lock();
		child = mount_lookup(t.v[i].where, m->mountpoint);
		dcache_read_unlock(slot);
		if (!child || child->sb != m->sb || !TAILQ_EMPTY(&child->children))
			continue;
		mnt_ns_changed(child->ns);
		mount_detach_tree(child, out);
	}
	free(t.v);
}
