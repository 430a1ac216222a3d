/*
 * Mounts: life, the tree, crossing from a covered directory to what is mounted on it.
 *
 * mount_lock (write) guards every change; what path walks read changes in the dcache's write
 * section, too. An attached mount has a reference of the tree's, and holds one on its parent.
 */
#include "sentry/vfs/mount.h"

#include "sentry/kernel/core/current.h"
#include "sentry/vfs/mount/mount_internal.h"
#include "sentry/vfs/walk/dcache.h"

#define MOUNT_HASH_BITS 10

struct rwlock mount_lock = RWLOCK_INIT;
struct mount_list all_mounts = TAILQ_HEAD_INITIALIZER(all_mounts);
static LIST_HEAD(, mount) mount_hash[1 << MOUNT_HASH_BITS];
static _Atomic uint64_t mounts_made;
/* Of all namespaces and descriptors together: what guests can make the sentry hold. */
#define MOUNTS_MAX 131072
static _Atomic unsigned mounts;

static unsigned bucket_of(const struct mount *parent, const struct dentry *mountpoint)
{
	uint64_t x = ((uintptr_t)parent >> 4) + ((uintptr_t)mountpoint << 7);

	return (x * 0x9e3779b97f4a7c15ULL) >> (64 - MOUNT_HASH_BITS);
}

struct mount *mount_alloc(struct super_block *sb, struct dentry *root, unsigned long flags)
{
	struct mount *m = NULL;

	if (atomic_fetch_add(&mounts, 1) < MOUNTS_MAX)
		m = calloc(1, sizeof(*m));
	if (!m) {
		atomic_fetch_sub(&mounts, 1);
		return NULL;
	}
	refcount_init(&m->refs);
	m->sequence = atomic_fetch_add(&mounts_made, 1) + 20;
	m->id = (int)(m->sequence & INT32_MAX);
	sb_get(sb);
	m->sb = sb;
	m->root = d_get(root);
	atomic_init(&m->flags, flags);
	TAILQ_INIT(&m->children);
	return m;
}

struct mount *mount_clone(struct mount *m, struct dentry *root)
{
	struct mount *copy = mount_alloc(m->sb, root, atomic_load(&m->flags));

	if (copy) {
		copy->locked = m->locked;
		copy->locked_flags = m->locked_flags;
	}
	return copy;
}

struct mount *mount_internal(struct super_block *sb)
{
	return mount_alloc(sb, sb->root, MS_NOEXEC | MS_NOSUID);
}

bool mnt_may_suid(const struct mount *m, const struct cred *c)
{
	return !(atomic_load(&m->flags) & MS_NOSUID) && (!current || m->ns == current_mnt_ns()) &&
	       user_ns_is_within(c->user_ns, m->sb->user_ns);
}

struct mount *mnt_get(struct mount *m)
{
	refcount_inc(&m->refs);
	return m;
}

static void mount_free(struct mount *m)
{
	d_put(m->root);
	sb_put(m->sb);
	free(m);
	atomic_fetch_sub(&mounts, 1);
}

/* The last reference is dropped in the dcache's write section, so that a walk which still reads a
 * pointer to the mount finds a count that it may add to. */
void mnt_put(struct mount *m)
{
	unsigned n;
	bool last;

	if (!m)
		return;
	n = atomic_load_explicit(&m->refs.n, memory_order_relaxed);
	while (n > 1)
		if (atomic_compare_exchange_weak_explicit(
			    &m->refs.n, &n, n - 1, memory_order_release, memory_order_relaxed))
			return;
	dcache_write_lock();
	last = refcount_dec(&m->refs);
	dcache_write_unlock();
	if (last)
		mount_free(m);
}

/* --- the tree ----------------------------------------------------------------------------------
 */

struct mount *mount_lookup(const struct mount *mnt, const struct dentry *dentry)
{
	struct mount *m;

	LIST_FOREACH (m, &mount_hash[bucket_of(mnt, dentry)], hash_link)
		if (m->parent == mnt && m->mountpoint == dentry)
			return m;
	return NULL;
}

bool path_is_under(const struct path *path, const struct path *root)
{
	const struct dentry *d = path->dentry;
	const struct mount *m = path->mnt;

	for (; m != root->mnt && m->parent; m = m->parent)
		d = m->mountpoint;
	return m == root->mnt && (d == root->dentry || d_is_ancestor(root->dentry, d));
}

bool follow_mount_walk(struct path *path)
{
	bool moved = false;

	while (atomic_load_explicit(&path->dentry->mounted, memory_order_relaxed)) {
		struct mount *m = mount_lookup(path->mnt, path->dentry);

		if (!m)
			break;
		path->mnt = m;
		path->dentry = m->root;
		moved = true;
	}
	return moved;
}

bool follow_mount(struct path *path)
{
	struct path p = *path;
	bool moved;
	int slot;

	if (!atomic_load_explicit(&p.dentry->mounted, memory_order_relaxed))
		return false;
	slot = dcache_read_lock();
	moved = follow_mount_walk(&p);
	if (moved) {
		mnt_get(p.mnt);
		d_get_cached(p.dentry);
	}
	dcache_read_unlock(slot);
	if (moved) {
		path_put(path);
		*path = p;
	}
	return moved;
}

struct mount *mount_next(struct mount *m, struct mount *top)
{
	if (!TAILQ_EMPTY(&m->children))
		return TAILQ_FIRST(&m->children);
	while (m != top) {
		struct mount *next = TAILQ_NEXT(m, sibling);

		if (next)
			return next;
		m = m->parent;
	}
	return NULL;
}

void mnt_ns_changed(struct mnt_ns *ns)
{
	if (!ns)
		return;
	ns->event++;
	wake_up_all(&ns->poll, ~0u);
}

void mount_attach(struct mount *m, struct mount *parent, struct dentry *mountpoint,
		  struct mnt_ns *ns)
{
	if (parent) {
		mnt_get(parent);
		d_get(mountpoint);
		dcache_write_lock();
		m->parent = parent;
		m->mountpoint = mountpoint;
		LIST_INSERT_HEAD(&mount_hash[bucket_of(parent, mountpoint)], m, hash_link);
		atomic_fetch_add(&mountpoint->mounted, 1);
		dcache_write_unlock();
		TAILQ_INSERT_TAIL(&parent->children, m, sibling);
	}
	for (struct mount *i = m; i; i = mount_next(i, m)) {
		if (i->ns == ns)
			continue;
		i->ns = ns;
		TAILQ_INSERT_TAIL(&ns->mounts, i, ns_link);
		TAILQ_INSERT_TAIL(&all_mounts, i, all_link);
		ns->count++;
	}
}

void mount_detach(struct mount *m)
{
	struct mount *parent = m->parent;
	struct dentry *mountpoint = m->mountpoint;

	for (struct mount *i = m; i; i = mount_next(i, m)) {
		if (!i->ns)
			continue;
		TAILQ_REMOVE(&i->ns->mounts, i, ns_link);
		TAILQ_REMOVE(&all_mounts, i, all_link);
		i->ns->count--;
		i->ns = NULL;
	}
	if (!parent)
		return;
	TAILQ_REMOVE(&parent->children, m, sibling);
	dcache_write_lock();
	LIST_REMOVE(m, hash_link);
	atomic_fetch_sub(&mountpoint->mounted, 1);
	m->parent = NULL;
	m->mountpoint = NULL;
	dcache_write_unlock();
	d_put(mountpoint);
	mnt_put(parent);
}

/* --- write access ------------------------------------------------------------------------------
 */

int mnt_want_write(const struct path *path)
{
	struct mount *m = path->mnt;

	atomic_fetch_add(&m->writers, 1);
	if (unlikely((atomic_load(&m->flags) & MS_RDONLY) || (m->sb->flags & MS_RDONLY))) {
		atomic_fetch_sub(&m->writers, 1);
		return -EROFS;
	}
	return 0;
}

void mnt_drop_write(const struct path *path)
{
	atomic_fetch_sub(&path->mnt->writers, 1);
}
