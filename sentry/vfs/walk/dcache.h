/*
 * The dentry cache's lock, for vfs/ only.
 *
 * Everything that a path walk reads (hash chains, dentry->parent, name and inode, the mount tree's
 * hash) changes only in the write section. Walks run in the read section, which costs two atomic
 * operations on a cache line of this CPU: inside it the whole tree stands still, so a walk takes
 * no references on the way and dentries with a count of zero are safe to look at.
 *
 * The read section must not block, allocate, take other locks or nest. The write section is short,
 * and comes after mount_lock and inode locks; nothing is taken inside it.
 */
#ifndef MOAT_SENTRY_VFS_WALK_DCACHE_H
#define MOAT_SENTRY_VFS_WALK_DCACHE_H

#include <sched.h>
#include <stdatomic.h>

#include "sentry/vfs/mount.h"
#include "sentry/vfs/vfs.h"

#define DCACHE_READ_SLOTS 32
struct dcache_read_slot {
	_Alignas(64) atomic_uint readers;
};
extern struct dcache_read_slot dcache_read_slots[DCACHE_READ_SLOTS];
extern atomic_int dcache_writing;

int dcache_read_lock_slow(int slot);
/* Returns the slot to pass to dcache_read_unlock. */
static inline int dcache_read_lock(void)
{
	int slot = (unsigned)sched_getcpu() % DCACHE_READ_SLOTS;

	atomic_fetch_add(&dcache_read_slots[slot].readers, 1);
	if (unlikely(atomic_load(&dcache_writing)))
		return dcache_read_lock_slow(slot);
	return slot;
}
static inline void dcache_read_unlock(int slot)
{
	atomic_fetch_sub_explicit(&dcache_read_slots[slot].readers, 1, memory_order_release);
}
void dcache_write_lock(void);
void dcache_write_unlock(void);

/* In the read section: a reference on a dentry whose count may be zero. */
static inline void d_get_cached(struct dentry *d)
{
	atomic_fetch_add_explicit(&d->refs.n, 1, memory_order_relaxed);
}
static inline bool d_is_root(const struct dentry *d)
{
	return d->parent == d;
}

static inline uint32_t name_hash_step(uint32_t h, unsigned char c)
{
	return (h ^ c) * 0x01000193u;
}
#define NAME_HASH_INIT 0x811c9dc5u
uint32_t name_hash(const char *name, size_t len);

/* In the read or write section; no reference. */
struct dentry *d_find(const struct dentry *parent, const char *name, size_t len, uint32_t hash);
/* A new negative dentry that is not in the hash; one reference, and one on the parent. */
struct dentry *d_alloc(struct dentry *parent, const char *name, size_t len);
/* A dentry that stands alone (anonymous files). */
struct dentry *d_alloc_anon(struct super_block *sb, struct inode *inode);
void d_add(struct dentry *d); /* makes it findable */
/* The name was removed; the caller has a reference and the parent's lock. If nobody else uses d it
 * turns negative and stays: its inode's reference is returned. Otherwise it is unhashed: NULL. */
struct inode *d_delete(struct dentry *d);
/* After a rename; the inode locks of both parents and rename_lock are held as VFS rules say. `new`
 * is dropped (or exchanged). */
void d_move(struct dentry *d, struct dentry *new_d, bool exchange);
bool d_is_ancestor(const struct dentry *ancestor, const struct dentry *d); /* read section */
/* The end of a super block: every dentry below root goes. */
void d_kill_tree(struct dentry *root);
void dcache_set_limit(unsigned long dentries);
unsigned long dcache_count(void);

/* mount.c; read section: the mount on (mnt, dentry), or NULL. */
struct mount *mount_lookup(const struct mount *mnt, const struct dentry *dentry);
/* Read section: is what stands at path, seen through its mount, at or below root? */
bool path_is_under(const struct path *path, const struct path *root);
/* Read section: crosses every mount on *path. True if it moved. */
bool follow_mount_walk(struct path *path);

#endif
