/* rename(2), renameat2(2). Lock order: rename_lock, then directories (ancestor first, else by
 * address), then nothing: the file system takes what it needs of the children. */
#include <linux/fs.h>
#include <string.h>

#include "base/command_lock.h"
#include "sentry/kernel/core/current.h"
#include "sentry/vfs/inode/attr.h"
#include "sentry/vfs/name/name_internal.h"
#include "sentry/vfs/name/namei.h"
#include "sentry/vfs/notify/fsnotify.h"
#include "sentry/vfs/walk/dcache.h"
#include "sentry/vfs/walk/walk.h"

static struct mutex rename_lock = MUTEX_INIT;

struct rename {
	struct walk from, to;
	struct dentry *from_dir, *to_dir, *from_child, *to_child;
	unsigned flags;
};

/* d lies below (or is) dir's subtree through which child? NULL when ancestor is no ancestor. */
static bool is_below(const struct dentry *ancestor, const struct dentry *d)
{
	int slot;
	bool yes;

	if (ancestor == d)
		return true;
	slot = dcache_read_lock();
	yes = d_is_ancestor(ancestor, d);
	dcache_read_unlock(slot);
	return yes;
}

static void lock_dirs(struct rename *r)
{
	struct inode *a = r->from_dir->inode, *b = r->to_dir->inode;

	if (a == b) {
		command_write_lock(&a->lock);
		return;
	}
	command_lock(&rename_lock);
	if (is_below(r->to_dir, r->from_dir) || (!is_below(r->from_dir, r->to_dir) && b < a)) {
		struct inode *swap = a;

		a = b;
		b = swap;
	}
	command_write_lock(&a->lock);
	command_write_lock(&b->lock);
}

static void unlock_dirs(struct rename *r)
{
	write_unlock(&r->from_dir->inode->lock);
	if (r->from_dir->inode != r->to_dir->inode) {
		write_unlock(&r->to_dir->inode->lock);
		mutex_unlock(&rename_lock);
	}
}

static int check_types(struct rename *r)
{
	struct inode *old = r->from_child->inode, *new = r->to_child->inode;
	bool exchange = r->flags & RENAME_EXCHANGE;

	if (!S_ISDIR(old->mode)) {
		if (r->from.trailing_slash || (!exchange && r->to.trailing_slash))
			return -ENOTDIR;
	}
	if (exchange && !S_ISDIR(new->mode) && r->to.trailing_slash)
		return -ENOTDIR;
	/* Not into itself, and not over an ancestor. */
	if (is_below(r->from_child, r->to_dir))
		return -EINVAL;
	if (is_below(r->to_child, r->from_dir))
		return exchange ? -EINVAL : -ENOTEMPTY;
	return 0;
}

static int check_permissions(struct rename *r)
{
	struct inode *old_dir = r->from_dir->inode, *new_dir = r->to_dir->inode;
	struct inode *old = r->from_child->inode, *new = r->to_child->inode;
	bool is_dir = S_ISDIR(old->mode);
	int err = may_delete(old_dir, r->from_child, is_dir);

	if (err)
		return err;
	if (!new)
		err = may_create(new_dir, r->to_child);
	else
		err = may_delete(new_dir, r->to_child,
				 r->flags & RENAME_EXCHANGE ? S_ISDIR(new->mode) : is_dir);
	if (err)
		return err;
	/* A directory whose ".." changes must be writable itself. */
	if (old_dir != new_dir) {
		if (is_dir)
			err = inode_permission(old, MAY_WRITE);
		if (!err && (r->flags & RENAME_EXCHANGE) && S_ISDIR(new->mode))
			err = inode_permission(new, MAY_WRITE);
	}
	return err;
}

/* A directory that is replaced is locked, so that nothing is made in it while it dies. */
static int call_rename(struct rename *r)
{
	struct inode *dir = r->from_dir->inode, *victim = r->to_child->inode;
	int err;

	if (!victim || (r->flags & RENAME_EXCHANGE) || !S_ISDIR(victim->mode))
		return dir->ops->rename(dir, r->from_child, r->to_dir->inode, r->to_child,
					r->flags);
	command_write_lock(&victim->lock);
	err = dir->ops->rename(dir, r->from_child, r->to_dir->inode, r->to_child, r->flags);
	if (!err)
		victim->flags |= S_DEAD;
	write_unlock(&victim->lock);
	return err;
}

static int do_rename(struct rename *r)
{
	struct inode *dir = r->from_dir->inode, *new = r->to_child->inode;
	int err;

	if (!r->from_child->inode)
		return -ENOENT;
	if ((r->flags & RENAME_NOREPLACE) && new)
		return -EEXIST;
	if ((r->flags & RENAME_EXCHANGE) && !new)
		return -ENOENT;
	err = check_types(r);
	if (err)
		return err;
	if (r->from_child->inode == new)
		return 1; /* the same file: nothing happens */
	err = check_permissions(r);
	if (err)
		return err;
	if (!dir->ops->rename)
		return -EPERM;
	if (atomic_load(&r->from_child->mounted) || (new &&atomic_load(&r->to_child->mounted)))
		return -EBUSY;
	err = vfs_copy_up(r->from_child);
	if (!err && (r->flags & RENAME_EXCHANGE))
		err = vfs_copy_up(r->to_child);
	if (err)
		return err;
	return call_rename(r);
}

static void notify(struct rename *r, const char *old_name, const char *new_name,
		   struct inode *moved, struct inode *target)
{
	static _Atomic uint32_t next_cookie;
	uint32_t cookie;

	if (!fsnotify_active())
		return;
	cookie = atomic_fetch_add(&next_cookie, 1) + 1;
	fsnotify_name(IN_MOVED_FROM, r->from_dir->inode, old_name, moved, cookie);
	fsnotify_name(IN_MOVED_TO, r->to_dir->inode, new_name, moved, cookie);
	fsnotify_inode(IN_MOVE_SELF, moved);
	if (target && !(r->flags & RENAME_EXCHANGE) && !S_ISDIR(target->mode))
		fsnotify_inode(IN_ATTRIB, target);
}

/* Both parents are known; they are on one mount. */
static int rename_in(struct rename *r)
{
	char old_name[NAME_MAX_LEN + 1], new_name[NAME_MAX_LEN + 1];
	struct inode *moved, *target;
	int err;

	if (r->from.last_len > NAME_MAX_LEN || r->to.last_len > NAME_MAX_LEN)
		return -ENAMETOOLONG;
	if (!S_ISDIR(r->from_dir->inode->mode) || !S_ISDIR(r->to_dir->inode->mode))
		return -ENOTDIR;
	err = vfs_copy_up(r->from_dir);
	if (!err)
		err = vfs_copy_up(r->to_dir);
	if (err)
		return err;
	lock_dirs(r);
	r->from_child = lookup_locked(r->from_dir, r->from.last, r->from.last_len);
	r->to_child = IS_ERR(r->from_child) ? ERR_PTR(-ENOENT)
					    : lookup_locked(r->to_dir, r->to.last, r->to.last_len);
	if (IS_ERR(r->to_child)) {
		err = IS_ERR(r->from_child) ? PTR_ERR(r->from_child) : PTR_ERR(r->to_child);
		unlock_dirs(r);
		if (!IS_ERR(r->from_child))
			d_put(r->from_child);
		return err;
	}
	err = do_rename(r);
	if (!err) {
		moved = r->from_child->inode;
		target = r->to_child->inode;
		strcpy(old_name, r->from_child->name);
		strcpy(new_name, r->to_child->name);
		if (target && !(r->flags & RENAME_EXCHANGE) && S_ISDIR(target->mode))
			d_prune_children(r->to_child);
		d_move(r->from_child, r->to_child, r->flags & RENAME_EXCHANGE);
		notify(r, old_name, new_name, moved, target);
	}
	unlock_dirs(r);
	d_put(r->from_child);
	d_put(r->to_child);
	return err < 0 ? err : 0;
}

static int walk_to(struct walk *w, int dfd, const char *name)
{
	int err = walk_begin(w, dfd, name, 0);

	if (err)
		return err;
	err = *name ? walk_parent(w, name) : -ENOENT;
	if (!err)
		err = walk_unlazy(w);
	if (err)
		walk_end(w, NULL);
	return err;
}

int vfs_rename(int old_dfd, const char *old_name, int new_dfd, const char *new_name, unsigned flags)
{
	struct rename r = {.flags = flags};
	struct path path;
	int err;

	if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
		return -EINVAL;
	if ((flags & RENAME_EXCHANGE) && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)))
		return -EINVAL;
	if ((flags & RENAME_WHITEOUT) && !vfs_capable(CAP_MKNOD))
		return -EPERM;
	err = walk_to(&r.from, old_dfd, old_name);
	if (err)
		return err;
	err = walk_to(&r.to, new_dfd, new_name);
	if (err) {
		walk_end(&r.from, NULL);
		return err;
	}
	path = r.from.path;
	r.from_dir = r.from.path.dentry;
	r.to_dir = r.to.path.dentry;
	if (r.from.path.mnt != r.to.path.mnt)
		err = -EXDEV;
	else if (r.from.last_kind != LAST_NORM)
		err = -EBUSY;
	else if (r.to.last_kind != LAST_NORM)
		err = flags & RENAME_NOREPLACE ? -EEXIST : -EBUSY;
	else
		err = mnt_want_write(&path);
	if (!err) {
		err = rename_in(&r);
		mnt_drop_write(&path);
	}
	walk_end(&r.to, NULL);
	walk_end(&r.from, NULL);
	return err;
}
