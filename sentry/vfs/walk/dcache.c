/* The dentry cache: hash, negative dentries, LRU, life and death of dentries. */
#include "sentry/vfs/notify/fsnotify.h"
#include "sentry/vfs/walk/dcache.h"

#include <string.h>

#define MIN_HASH_BITS 11
#define MAX_HASH_BITS 20
#define SHRINK_SCAN 128 /* entries looked at per insertion into a full cache */

TAILQ_HEAD(dentry_list, dentry);

struct dcache_read_slot dcache_read_slots[DCACHE_READ_SLOTS];
atomic_int dcache_writing;
static struct mutex write_mutex = MUTEX_INIT;

/* Grows with its content, so that a small sandbox pays for few pages. Write section. */
LIST_HEAD(dentry_bucket, dentry);
static struct dentry_bucket first_table[1 << MIN_HASH_BITS];
static struct dentry_bucket *hash_table = first_table;
static unsigned hash_bits = MIN_HASH_BITS;
static unsigned long hashed_count;
static struct dentry_list lru = TAILQ_HEAD_INITIALIZER(lru);
static unsigned long lru_count;
static unsigned long lru_limit = 65536;

/* --- the lock ----------------------------------------------------------------------------------
 */

int dcache_read_lock_slow(int slot)
{
	do {
		atomic_fetch_sub(&dcache_read_slots[slot].readers, 1);
		mutex_lock(&write_mutex);
		mutex_unlock(&write_mutex);
		atomic_fetch_add(&dcache_read_slots[slot].readers, 1);
	} while (atomic_load(&dcache_writing));
	return slot;
}

void dcache_write_lock(void)
{
	mutex_lock(&write_mutex);
	atomic_store(&dcache_writing, 1);
	for (int i = 0; i < DCACHE_READ_SLOTS; i++) {
		int spins = 0;

		while (atomic_load(&dcache_read_slots[i].readers)) {
			__builtin_ia32_pause();
			if (++spins > 200) /* a reader lost its CPU */
				sched_yield();
		}
	}
}

void dcache_write_unlock(void)
{
	atomic_store(&dcache_writing, 0);
	mutex_unlock(&write_mutex);
}

/* --- finding -----------------------------------------------------------------------------------
 */

uint32_t name_hash(const char *name, size_t len)
{
	uint32_t h = NAME_HASH_INIT;

	for (size_t i = 0; i < len; i++)
		h = name_hash_step(h, (unsigned char)name[i]);
	return h;
}

static unsigned bucket_of(const struct dentry *parent, uint32_t hash)
{
	uint64_t x = ((uintptr_t)parent >> 5) ^ ((uint64_t)hash << 20) ^ hash;

	return (x * 0x9e3779b97f4a7c15ULL) >> (64 - hash_bits);
}

struct dentry *d_find(const struct dentry *parent, const char *name, size_t len, uint32_t hash)
{
	struct dentry *d;

	LIST_FOREACH (d, &hash_table[bucket_of(parent, hash)], hash_link)
		if (d->hash == hash && d->parent == parent && d->len == len &&
		    !memcmp(d->name, name, len))
			return d;
	return NULL;
}

struct dentry *d_lookup(struct dentry *parent, const char *name, size_t len)
{
	uint32_t hash = name_hash(name, len);
	int slot = dcache_read_lock();
	struct dentry *d = d_find(parent, name, len, hash);

	if (d)
		d_get_cached(d);
	dcache_read_unlock(slot);
	return d;
}

/* --- death -------------------------------------------------------------------------------------
 */

static void unhash(struct dentry *d)
{
	if (!(atomic_load(&d->flags) & DCACHE_UNHASHED)) {
		LIST_REMOVE(d, hash_link);
		hashed_count--;
		atomic_fetch_or(&d->flags, DCACHE_UNHASHED);
	}
	if (atomic_load(&d->flags) & DCACHE_ON_LRU) {
		TAILQ_REMOVE(&lru, d, lru);
		lru_count--;
		atomic_fetch_and(&d->flags, ~DCACHE_ON_LRU);
	}
}

/* Acquire: what the last holder did to the dentry has happened. */
static bool in_use(struct dentry *d)
{
	return atomic_load_explicit(&d->refs.n, memory_order_acquire);
}

static bool stays_cached(const struct dentry *d)
{
	return !(atomic_load(&d->flags) & (DCACHE_UNHASHED | DCACHE_NOCACHE));
}

/* Write section; d has no references. Takes it, and ancestors that only it kept, out of every
 * structure and onto `dead`. */
static void unlink_dead(struct dentry *d, struct dentry_list *dead)
{
	for (;;) {
		struct dentry *parent = d->parent;

		unhash(d);
		TAILQ_INSERT_TAIL(dead, d, lru);
		if (parent == d)
			return;
		TAILQ_REMOVE(&parent->children, d, sibling);
		if (!refcount_dec(&parent->refs) || stays_cached(parent))
			return;
		d = parent;
	}
}

static void free_dead(struct dentry_list *dead)
{
	struct dentry *d;

	while ((d = TAILQ_FIRST(dead))) {
		TAILQ_REMOVE(dead, d, lru);
		if (d->sb && d->sb->d_ops && d->sb->d_ops->release)
			d->sb->d_ops->release(d);
		if (d->inode) {
			if (!atomic_load(&d->inode->nlink) || (d->inode->flags & S_DEAD))
				fsnotify_inode_gone(d->inode);
			inode_put(d->inode);
		}
		free(d->name);
		free(d);
	}
}

struct dentry *d_get(struct dentry *d)
{
	refcount_inc(&d->refs);
	return d;
}

/* Drops a reference without the lock where the dentry stays alive: it is not the last, or the
 * dentry is in the cache and the shrinker can find it. */
static bool put_fast(struct dentry *d)
{
	unsigned n = atomic_load_explicit(&d->refs.n, memory_order_relaxed);

	for (;;) {
		if (n == 1) {
			uint32_t flags = atomic_load_explicit(&d->flags, memory_order_relaxed);

			if ((flags & (DCACHE_UNHASHED | DCACHE_NOCACHE)) ||
			    !(flags & DCACHE_ON_LRU))
				return false;
			if (!(flags & DCACHE_REFERENCED))
				atomic_fetch_or(&d->flags, DCACHE_REFERENCED);
		}
		BUG_ON(n == 0);
		if (atomic_compare_exchange_weak_explicit(
			    &d->refs.n, &n, n - 1, memory_order_release, memory_order_relaxed))
			return true;
	}
}

void d_put(struct dentry *d)
{
	struct dentry_list dead = TAILQ_HEAD_INITIALIZER(dead);

	if (!d || put_fast(d))
		return;
	dcache_write_lock();
	if (refcount_dec(&d->refs) && !stays_cached(d))
		unlink_dead(d, &dead);
	dcache_write_unlock();
	free_dead(&dead);
}

/* Write section: moves unused entries from the old end of the LRU list to `dead`. */
static void shrink(struct dentry_list *dead)
{
	for (int i = 0; i < SHRINK_SCAN && lru_count > lru_limit; i++) {
		struct dentry *d = TAILQ_LAST(&lru, dentry_list);

		if (in_use(d) || (atomic_load(&d->flags) & DCACHE_REFERENCED)) {
			atomic_fetch_and(&d->flags, ~DCACHE_REFERENCED);
			TAILQ_REMOVE(&lru, d, lru);
			TAILQ_INSERT_HEAD(&lru, d, lru);
			continue;
		}
		unlink_dead(d, dead);
	}
}

void dcache_set_limit(unsigned long dentries)
{
	dcache_write_lock();
	lru_limit = dentries;
	dcache_write_unlock();
}

unsigned long dcache_count(void)
{
	unsigned long n;

	dcache_write_lock();
	n = lru_count;
	dcache_write_unlock();
	return n;
}

/* --- making ------------------------------------------------------------------------------------
 */

static struct dentry *alloc_dentry(struct super_block *sb, const char *name, size_t len)
{
	struct dentry *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->name = malloc(len + 1);
	if (!d->name) {
		free(d);
		return NULL;
	}
	memcpy(d->name, name, len);
	d->name[len] = 0;
	d->len = len;
	d->hash = name_hash(name, len);
	refcount_init(&d->refs);
	TAILQ_INIT(&d->children);
	d->sb = sb;
	d->parent = d;
	atomic_init(&d->flags, DCACHE_UNHASHED);
	return d;
}

struct dentry *d_alloc(struct dentry *parent, const char *name, size_t len)
{
	struct dentry *d = alloc_dentry(parent->sb, name, len);

	if (!d)
		return NULL;
	dcache_write_lock();
	refcount_inc(&parent->refs);
	d->parent = parent;
	TAILQ_INSERT_HEAD(&parent->children, d, sibling);
	dcache_write_unlock();
	return d;
}

struct dentry *d_alloc_anon(struct super_block *sb, struct inode *inode)
{
	struct dentry *d = alloc_dentry(sb, "", 0);

	if (d)
		d->inode = inode;
	return d;
}

struct dentry *d_make_root(struct super_block *sb, struct inode *inode)
{
	struct dentry *d = alloc_dentry(sb, "/", 1);

	if (!d) {
		inode_put(inode);
		return NULL;
	}
	d->inode = inode;
	return d;
}

/* Write section. */
static void lru_add(struct dentry *d)
{
	if (atomic_load(&d->flags) & (DCACHE_NOCACHE | DCACHE_PINNED | DCACHE_ON_LRU))
		return;
	TAILQ_INSERT_HEAD(&lru, d, lru);
	lru_count++;
	atomic_fetch_or(&d->flags, DCACHE_ON_LRU);
}

/* Write section. */
static void grow_table(void)
{
	struct dentry_bucket *old = hash_table, *new = calloc(2UL << hash_bits, sizeof(*new));
	unsigned long size = 1UL << hash_bits;
	struct dentry *d;

	if (!new)
		return; /* longer chains, then */
	hash_table = new;
	hash_bits++;
	for (unsigned long i = 0; i < size; i++)
		while ((d = LIST_FIRST(&old[i]))) {
			LIST_REMOVE(d, hash_link);
			LIST_INSERT_HEAD(&new[bucket_of(d->parent, d->hash)], d, hash_link);
		}
	if (old != first_table)
		free(old);
}

static void hash_in(struct dentry *d)
{
	if (++hashed_count > 1UL << hash_bits && hash_bits < MAX_HASH_BITS)
		grow_table();
	atomic_fetch_and(&d->flags, ~DCACHE_UNHASHED);
	LIST_INSERT_HEAD(&hash_table[bucket_of(d->parent, d->hash)], d, hash_link);
	lru_add(d);
}

void d_add(struct dentry *d)
{
	struct dentry_list dead = TAILQ_HEAD_INITIALIZER(dead);

	dcache_write_lock();
	if (atomic_load(&d->flags) & DCACHE_UNHASHED) {
		hash_in(d);
		if (lru_count > lru_limit)
			shrink(&dead);
	}
	dcache_write_unlock();
	free_dead(&dead);
}

struct dentry *d_alloc_child(struct dentry *parent, const char *name)
{
	size_t len = strlen(name);
	struct dentry *d = d_lookup(parent, name, len);

	if (d)
		return d;
	d = d_alloc(parent, name, len);
	if (d)
		d_add(d);
	return d;
}

void d_instantiate(struct dentry *d, struct inode *inode)
{
	if (atomic_load(&d->flags) & DCACHE_UNHASHED) {
		d->inode = inode;
		return;
	}
	dcache_write_lock();
	/* Who holds a reference looks without the lock: step_ref() */
	__atomic_store_n(&d->inode, inode, __ATOMIC_RELEASE);
	dcache_write_unlock();
}

void d_drop(struct dentry *d)
{
	dcache_write_lock();
	unhash(d);
	dcache_write_unlock();
}

struct inode *d_delete(struct dentry *d)
{
	struct inode *inode = NULL;

	dcache_write_lock();
	if (atomic_load_explicit(&d->refs.n, memory_order_acquire) == 1 && stays_cached(d) &&
	    !(atomic_load(&d->flags) & DCACHE_PINNED) && !(d->sb->flags & SB_NO_NEGATIVE) &&
	    TAILQ_EMPTY(&d->children)) {
		inode = d->inode;
		d->inode = NULL;
		lru_add(d);
	} else {
		unhash(d);
	}
	dcache_write_unlock();
	return inode;
}

void d_pin(struct dentry *d)
{
	dcache_write_lock();
	if (!(atomic_load(&d->flags) & DCACHE_PINNED)) {
		refcount_inc(&d->refs);
		atomic_fetch_or(&d->flags, DCACHE_PINNED);
		if (atomic_load(&d->flags) & DCACHE_ON_LRU) {
			TAILQ_REMOVE(&lru, d, lru);
			lru_count--;
			atomic_fetch_and(&d->flags, ~DCACHE_ON_LRU);
		}
	}
	dcache_write_unlock();
}

void d_unpin(struct dentry *d)
{
	if (atomic_fetch_and(&d->flags, ~DCACHE_PINNED) & DCACHE_PINNED)
		d_put(d);
}

size_t d_get_name(struct dentry *d, char *buf)
{
	int slot = dcache_read_lock();
	size_t len = d->len;

	memcpy(buf, d->name, len + 1);
	dcache_read_unlock(slot);
	return len;
}

struct dentry *d_get_parent(struct dentry *d)
{
	int slot = dcache_read_lock();
	struct dentry *parent = d->parent;

	d_get_cached(parent);
	dcache_read_unlock(slot);
	return parent;
}

bool d_is_ancestor(const struct dentry *ancestor, const struct dentry *d)
{
	for (; !d_is_root(d); d = d->parent)
		if (d->parent == ancestor)
			return true;
	return false;
}

/* --- moving and pruning ------------------------------------------------------------------------
 */

static void rehash_at(struct dentry *d, struct dentry *parent, char *name, uint32_t len,
		      uint32_t hash)
{
	bool hashed = !(atomic_load(&d->flags) & DCACHE_UNHASHED);

	if (hashed)
		LIST_REMOVE(d, hash_link);
	TAILQ_REMOVE(&d->parent->children, d, sibling);
	d->parent = parent;
	d->name = name;
	d->len = len;
	d->hash = hash;
	TAILQ_INSERT_HEAD(&parent->children, d, sibling);
	if (hashed)
		LIST_INSERT_HEAD(&hash_table[bucket_of(parent, hash)], d, hash_link);
}

void d_move(struct dentry *d, struct dentry *new_d, bool exchange)
{
	struct dentry *old_parent = d->parent, *new_parent = new_d->parent;
	char *old_name = d->name, *new_name = new_d->name;
	uint32_t old_len = d->len, old_hash = d->hash;
	/* What is overwritten keeps its name and place, which those who have it open still see. */
	char *copy = exchange ? NULL : strdup(new_name);

	dcache_write_lock();
	if (copy) {
		rehash_at(d, new_parent, copy, new_d->len, new_d->hash);
		refcount_inc(&new_parent->refs);
	} else {
		/* The two trade places, and with them the references that they hold on their
		 * parents. */
		rehash_at(d, new_parent, new_name, new_d->len, new_d->hash);
		rehash_at(new_d, old_parent, old_name, old_len, old_hash);
	}
	if (!exchange)
		unhash(new_d);
	if (atomic_load(&d->flags) & DCACHE_UNHASHED)
		hash_in(d);
	dcache_write_unlock();
	if (copy) {
		free(old_name);
		d_put(old_parent);
	}
}

/* The deepest first descendant of d (d itself when it has no children). */
static struct dentry *first_leaf(struct dentry *d)
{
	while (!TAILQ_EMPTY(&d->children))
		d = TAILQ_FIRST(&d->children);
	return d;
}

void d_prune_children(struct dentry *top)
{
	struct dentry_list dead = TAILQ_HEAD_INITIALIZER(dead);
	struct dentry *d, *next;

	dcache_write_lock();
	for (d = first_leaf(top); d != top; d = next) {
		struct dentry *parent = d->parent;

		next = TAILQ_NEXT(d, sibling);
		next = next ? first_leaf(next) : parent;
		if (in_use(d))
			continue;
		unhash(d);
		TAILQ_REMOVE(&parent->children, d, sibling);
		TAILQ_INSERT_TAIL(&dead, d, lru);
		(void)refcount_dec(&parent->refs);
	}
	dcache_write_unlock();
	free_dead(&dead);
}

void d_kill_tree(struct dentry *root)
{
	struct dentry_list dead = TAILQ_HEAD_INITIALIZER(dead);
	struct dentry *d, *next;

	dcache_write_lock();
	for (d = first_leaf(root); d != root; d = next) {
		struct dentry *parent = d->parent;

		next = TAILQ_NEXT(d, sibling);
		next = next ? first_leaf(next) : parent;
		if (atomic_fetch_and(&d->flags, ~DCACHE_PINNED) & DCACHE_PINNED)
			(void)refcount_dec(&d->refs);
		if (in_use(d)) {
			log_error("dentry %s still in use at the end of its file system", d->name);
			continue;
		}
		unhash(d);
		TAILQ_REMOVE(&parent->children, d, sibling);
		TAILQ_INSERT_TAIL(&dead, d, lru);
		(void)refcount_dec(&parent->refs);
	}
	dcache_write_unlock();
	free_dead(&dead);
}
