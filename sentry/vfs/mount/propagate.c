/*
 * Shared mounts, slaves, and copies of mount trees.
 *
 * A mount with peer_group g exchanges events with all mounts of that group; a mount with
 * master_group g receives them from g and sends none there. The groups are numbers; members are
 * found by walking all_mounts, which is bounded by the limit on mounts per namespace.
 */
#include "sentry/vfs/mount/propagate_internal.h"

#include "sentry/vfs/walk/dcache.h"

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
	if (kind == COPY_SLAVE || (kind == COPY_TO_OTHERS && m->peer_group)) {
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

#define ATIME_FLAGS (MS_NOATIME | MS_NODIRATIME | MS_RELATIME)

void mount_lock_tree(struct mount *top)
{
	for (struct mount *m = top; m; m = mount_next(m, top)) {
		unsigned long flags = atomic_load(&m->flags);

		m->locked_flags |= ATIME_FLAGS;
		m->locked_flags |= flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
		m->locked = m != top;
	}
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
	uint64_t event; /* what marks the mounts that are in it */
	struct target *v;
	size_t n, cap;
	unsigned mounts; /* in all copies: bounded, as they are made before they are counted */
};

static uint64_t last_event; /* mount_lock */

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
	if (!t->event)
		t->event = ++last_event;
	where->mark = t->event;
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
	return t->event && where->mark == t->event;
}

/* A peer group that the event reaches. */
struct reached {
	int group;
	struct mount *source; /* what its members get copies of */
	bool slaves;	      /* of the source's group: they only receive from it */
};
struct reached_list {
	struct reached *v;
	size_t n, cap;
};

static int reach(struct reached_list *r, int group, struct mount *source, bool slaves)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->v[i].group == group)
			return 0;
	if (r->n == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 8;
		struct reached *v = realloc(r->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		r->v = v;
		r->cap = cap;
	}
	r->v[r->n++] = (struct reached){group, source, slaves};
	return 0;
}

static bool shows(const struct mount *x, const struct dentry *mountpoint)
{
	return x->sb == mountpoint->sb && dentry_below(x->root, mountpoint);
}

/* A copy of `source` for x. */
static int add_copy(struct targets *t, struct mount *x, struct mount *source, enum copy_kind kind,
		    struct mount **out)
{
	struct mount *copy;
	int err;

	t->mounts += tree_size(source);
	if (x->ns->count + t->mounts > MNT_NS_MAX_MOUNTS)
		return -ENOSPC;
	copy = mount_copy_tree(source, source->root, true, true, kind);
	if (!copy)
		return -ENOMEM;
	if (kind == COPY_SLAVE && x->peer_group)
		share_tree(copy);
	err = targets_add(t, x, copy);
	if (err)
		put_tree(copy);
	*out = copy;
	return err;
}

/* Copies for the members of one group and for its slaves that are in no group; the groups of other
 * slaves are reached. Members that do not show the mountpoint pass the event on all the same. */
static int serve_group(struct targets *t, struct reached_list *list, size_t at,
		       const struct dentry *mountpoint)
{
	struct reached r = list->v[at];
	struct mount *x, *copy;
	int err = 0;

	/* The first slave's copy is the slave of the source; the others are its peers. */
	TAILQ_FOREACH (x, &all_mounts, all_link) {
		if (x->peer_group != r.group || has_target(t, x) || !shows(x, mountpoint))
			continue;
		err = add_copy(t, x, r.source, r.slaves ? COPY_SLAVE : COPY_BIND, &copy);
		if (err)
			return err;
		if (r.slaves)
			r.source = copy;
		r.slaves = false;
	}
	TAILQ_FOREACH (x, &all_mounts, all_link) {
		if (x->master_group != r.group)
			continue;
		if (x->peer_group)
			err = reach(list, x->peer_group, r.source, true);
		else if (!has_target(t, x) && shows(x, mountpoint))
			err = add_copy(t, x, r.source, COPY_SLAVE, &copy);
		if (err)
			return err;
	}
	return 0;
}

/* Entry 0 of t is the event itself: `where` gets `copy`. */
static int collect(struct targets *t, const struct dentry *mountpoint)
{
	struct reached_list list = {0};
	int err = reach(&list, t->v[0].where->peer_group, t->v[0].copy, false);

	for (size_t i = 0; !err && i < list.n; i++)
		err = serve_group(t, &list, i, mountpoint);
	free(list.v);
	return err;
}

static struct mount *mounted_on(struct mount *parent, struct dentry *mountpoint)
{
	int slot = dcache_read_lock();
	struct mount *m = mount_lookup(parent, mountpoint);

	dcache_read_unlock(slot);
	return m;
}

static void change_place(struct mount *m, struct mount *parent, struct dentry *mountpoint)
{
	struct mnt_ns *ns = m->ns;

	mount_detach(m); /* the tree's reference stays with m */
	mount_attach(m, parent, mountpoint, ns);
}

/* What is mounted there already stays visible: it is on top of the copy from now on. */
static void attach_beneath(struct mount *copy, struct mount *where, struct dentry *mountpoint)
{
	struct mount *top = mounted_on(where, mountpoint);

	mount_attach(copy, where, mountpoint, where->ns);
	if (top)
		change_place(top, copy, copy->root);
}

/* `from` is where the event was. NULL: it goes to a part of what moves, and stays in there. */
static void lock_for(const struct mnt_ns *ns, const struct mnt_ns *from, struct mount *copy)
{
	if (ns && from && ns->user_ns != from->user_ns)
		mount_lock_tree(copy);
	copy->locked = false;
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
		err = targets_add(&t, parent, m);
		if (!err)
			err = collect(&t, mountpoint);
	}
	/* What is moved was still in its place, as it may be one of those that the event reaches.
	 */
	if (!err && m->parent)
		mount_detach(m);
	for (size_t i = 1; i < t.n; i++) {
		if (err) {
			put_tree(t.v[i].copy);
			continue;
		}
		lock_for(t.v[i].where->ns, ns, t.v[i].copy);
		attach_beneath(t.v[i].copy, t.v[i].where, mountpoint);
		mnt_ns_changed(t.v[i].where->ns);
	}
	free(t.v);
	if (err)
		return err;
	mount_attach(m, parent, mountpoint, ns);
	mnt_ns_changed(ns);
	return 0;
}

/* The mounts that stand where m does below all whom `parent` tells, in t: `where` is such a parent,
 * `copy` what is mounted there or NULL. Entry 0 is parent and m. */
static int find_counterparts(struct targets *t, struct mount *parent, struct mount *m)
{
	struct reached_list seen = {0};
	struct mount *x;
	int err = targets_add(t, parent, m);

	for (size_t i = 0; !err && i < t->n; i++) {
		int group = t->v[i].where->peer_group;
		size_t n = seen.n;

		if (!group)
			continue;
		err = reach(&seen, group, NULL, false);
		if (err || seen.n == n)
			continue;
		TAILQ_FOREACH (x, &all_mounts, all_link) {
			if ((x->peer_group != group && x->master_group != group) ||
			    has_target(t, x))
				continue;
			err = targets_add(t, x, mounted_on(x, m->mountpoint));
			if (err)
				break;
		}
	}
	free(seen.v);
	return err;
}

/* One look at the counterparts: those with nothing on them go, and, `covered`, those with a single
 * mount that covers them, which comes down. False: nothing changed. */
static bool detach_free(struct targets *t, bool covered, struct mount_list *out)
{
	bool changed = false;

	for (size_t i = t->n; i-- > 1;) {
		struct mount *m = t->v[i].copy, *top = m ? TAILQ_FIRST(&m->children) : NULL;

		if (!m)
			continue;
		if (top && (!covered || TAILQ_NEXT(top, sibling) || top->mountpoint != m->root))
			continue;
		if (top)
			change_place(top, m->parent, m->mountpoint);
		mnt_ns_changed(m->ns);
		mount_detach_tree(m, out);
		t->v[i].copy = NULL;
		changed = true;
	}
	return changed;
}

void propagate_detach(struct mount *m, struct mount_list *out)
{
	struct mount *parent = m->parent;
	struct targets t = {0};

	/* Without memory, others keep what they have. */
	if (!parent || !parent->peer_group || find_counterparts(&t, parent, m))
		t.n = 0;
	mount_detach_tree(m, out);
	/* Counterparts may have been in m's own tree. */
	for (size_t i = 1; i < t.n; i++)
		if (t.v[i].copy && (t.v[i].copy->sb != m->sb || !t.v[i].copy->ns))
			t.v[i].copy = NULL;
	do {
		while (detach_free(&t, false, out))
			;
	} while (detach_free(&t, true, out));
	free(t.v);
}
