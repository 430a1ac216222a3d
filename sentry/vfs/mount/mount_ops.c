/* Mounting, binding, moving, unmounting, pivoting. */
#include "sentry/vfs/mount/mount_ops.h"

#include "sentry/kernel/core/current.h"
#include "sentry/vfs/mount/mount_internal.h"
#include "sentry/vfs/mount/propagate_internal.h"
#include "sentry/vfs/walk/dcache.h"

static void put_list(struct mount_list *list)
{
	struct mount *m;

	while ((m = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, m, all_link);
		mnt_put(m);
	}
}

void mount_tree_put(struct mount *top, bool all)
{
	struct mount_list list = TAILQ_HEAD_INITIALIZER(list);

	(void)all;
	write_lock(&mount_lock);
	mount_detach_tree(top, &list);
	write_unlock(&mount_lock);
	put_list(&list);
}

static bool is_mount_root(const struct path *path)
{
	return path->dentry == path->mnt->root;
}

/* mount_lock held. A task may change only what is mounted in its own namespace, though files and
 * /proc/PID/root lead into others; the loader, which runs no task, builds them all. */
static bool may_change(const struct mount *m)
{
	return m->ns && (!current || m->ns == current_mnt_ns());
}

/* Looks through what has been mounted on the place since the caller walked to it. With mount_lock
 * held the answer stays true. The references in *path are the caller's, the result has none. */
static void topmost(const struct path *path, struct mount **mnt, struct dentry **dentry)
{
	struct path p = *path;
	int slot = dcache_read_lock();

	follow_mount_walk(&p);
	dcache_read_unlock(slot);
	*mnt = p.mnt;
	*dentry = p.dentry;
}

/* mount_lock held. Consumes m on success. */
static int graft(struct mount *m, const struct path *to)
{
	struct mount *parent;
	struct dentry *mountpoint;

	topmost(to, &parent, &mountpoint);
	if (!may_change(parent))
		return -EINVAL;
	if (!m->root->inode || !mountpoint->inode ||
	    S_ISDIR(m->root->inode->mode) != S_ISDIR(mountpoint->inode->mode))
		return -ENOTDIR;
	if (!d_is_root(mountpoint) && (atomic_load(&mountpoint->flags) & DCACHE_UNHASHED))
		return -ENOENT;
	return propagate_attach(m, parent, mountpoint);
}

int mount_graft(struct mount *m, const struct path *path)
{
	WRITE_GUARD(&mount_lock);
	return graft(m, path);
}

/* mount_lock held. Is there a mount of the type of m in ns that hides nothing for good, and would m
 * be no freer than it? Then it has the same locks. */
static bool shown_already(const struct mnt_ns *ns, struct mount *m)
{
	const unsigned long atime = MS_NOATIME | MS_NODIRATIME | MS_RELATIME;
	unsigned long flags = atomic_load(&m->flags);
	struct mount *x, *child;

	TAILQ_FOREACH (x, &ns->mounts, ns_link) {
		unsigned long old = atomic_load(&x->flags), locks = x->locked_flags;
		bool covered = false;

		if (x->sb->type != m->sb->type || x->root != x->sb->root)
			continue;
		if (x->sb->flags & MS_RDONLY)
			locks |= MS_RDONLY;
		if ((locks & MS_RDONLY) && !(flags & MS_RDONLY))
			continue;
		if ((locks & atime) && (old & atime) != (flags & atime))
			continue;
		TAILQ_FOREACH (child, &x->children, sibling)
			covered = covered || child->locked;
		if (covered)
			continue;
		m->locked_flags |= locks & (MS_RDONLY | atime);
		return true;
	}
	return false;
}

int mount_may_reveal(struct mount *m)
{
	const struct mnt_ns *ns = current_mnt_ns();

	if (!ns || ns->user_ns == &root_user_ns || !m->sb->type->revealing)
		return 0;
	READ_GUARD(&mount_lock);
	return shown_already(ns, m) ? 0 : -EPERM;
}

int mount_new(const struct path *path, struct super_block *sb, unsigned long flags)
{
	struct mount *m = mount_alloc(sb, sb->root, flags & MNT_FLAGS_MASK);
	int err;

	if (!m)
		return -ENOMEM;
	err = mount_may_reveal(m);
	if (err) {
		mnt_put(m);
		return err;
	}
	write_lock(&mount_lock);
	/* man 2 mount: the same file system twice on one place is EBUSY. */
	if (path->mnt->sb == sb && is_mount_root(path) && path->mnt->root == sb->root)
		err = -EBUSY;
	else
		err = graft(m, path);
	write_unlock(&mount_lock);
	if (err)
		mnt_put(m);
	return err;
}

/* mount_lock held. Something below d is covered for good. */
static bool has_locked_children(struct mount *m, struct dentry *d)
{
	struct mount *child;
	bool found = false;
	int slot = dcache_read_lock();

	TAILQ_FOREACH (child, &m->children, sibling)
		if (child->locked &&
		    (child->mountpoint == d || d_is_ancestor(d, child->mountpoint)))
			found = true;
	dcache_read_unlock(slot);
	return found;
}

/* mount_lock held. */
static int copy_for_bind(const struct path *from, bool recursive, struct mount **out)
{
	if (!may_change(from->mnt) && !(from->dentry->inode->flags & S_BINDABLE))
		return -EINVAL;
	if (from->mnt->unbindable || (!recursive && has_locked_children(from->mnt, from->dentry)))
		return -EINVAL;
	*out = mount_copy_tree(from->mnt, from->dentry, recursive, false, COPY_BIND);
	if (!*out)
		return -ENOMEM;
	(*out)->locked = false;
	return 0;
}

int mount_copy(const struct path *from, bool recursive, struct mount **out)
{
	WRITE_GUARD(&mount_lock);
	return copy_for_bind(from, recursive, out);
}

int mount_bind(const struct path *from, const struct path *to, bool recursive)
{
	struct mount *m = NULL;
	int err;

	write_lock(&mount_lock);
	err = copy_for_bind(from, recursive, &m);
	if (!err)
		err = graft(m, to);
	if (err && m) {
		struct mount_list list = TAILQ_HEAD_INITIALIZER(list);

		mount_detach_tree(m, &list);
		write_unlock(&mount_lock);
		put_list(&list);
		return err;
	}
	write_unlock(&mount_lock);
	return err;
}

int mount_move(const struct path *from, const struct path *to)
{
	struct mount *m = from->mnt, *parent, *old_parent;
	struct dentry *mountpoint;
	int err = -EINVAL;

	write_lock(&mount_lock);
	topmost(to, &parent, &mountpoint);
	old_parent = m->parent;
	if (!is_mount_root(from) || !may_change(parent) || m->locked)
		goto out;
	if (!m->holder && (!old_parent || !may_change(m) || old_parent->peer_group))
		goto out;
	if (S_ISDIR(m->root->inode->mode) != S_ISDIR(mountpoint->inode->mode)) {
		err = -ENOTDIR;
		goto out;
	}
	for (struct mount *p = parent; p; p = p->parent)
		if (p == m) {
			err = -ELOOP;
			goto out;
		}
	if (parent->peer_group)
		for (struct mount *i = m; i; i = mount_next(i, m))
			if (i->unbindable)
				goto out;
	err = propagate_attach(m, parent, mountpoint);
	if (!err && m->holder) {
		*m->holder = NULL;
		m->holder = NULL;
	}
out:
	write_unlock(&mount_lock);
	return err;
}

/* mount_lock held. */
static int may_set_flags(const struct mount *m, unsigned long flags)
{
	const unsigned long atime = MS_NOATIME | MS_NODIRATIME | MS_RELATIME;
	unsigned long old = atomic_load(&m->flags);

	if ((m->locked_flags & ~atime & ~flags) ||
	    ((m->locked_flags & atime) && ((old ^ flags) & atime)))
		return -EPERM;
	return 0;
}

/* mount_lock held. */
static int set_flags(struct mount *m, unsigned long flags)
{
	unsigned long old = atomic_load(&m->flags);
	int err = may_set_flags(m, flags);

	if (err)
		return err;
	flags &= MNT_FLAGS_MASK;
	atomic_store(&m->flags, flags);
	/* A writer that came before the store is seen here; one that comes after sees the flag. */
	if ((flags & MS_RDONLY) && !(old & MS_RDONLY) && atomic_load(&m->writers)) {
		atomic_store(&m->flags, old);
		return -EBUSY;
	}
	mnt_ns_changed(m->ns);
	return 0;
}

int mount_set_flags(const struct path *path, unsigned long flags)
{
	if (!is_mount_root(path))
		return -EINVAL;
	WRITE_GUARD(&mount_lock);
	return may_change(path->mnt) ? set_flags(path->mnt, flags) : -EINVAL;
}

/* mount_lock held. */
static int remount_super(struct super_block *sb, unsigned long flags, const char *options)
{
	unsigned long sb_flags = flags & MS_RDONLY;
	struct mount *m;
	int err = 0;

	if (!vfs_ns_capable(sb->user_ns, CAP_SYS_ADMIN))
		return -EPERM;
	if (sb_flags & ~sb->flags)
		TAILQ_FOREACH (m, &all_mounts, all_link)
			if (m->sb == sb && atomic_load(&m->writers))
				err = -EBUSY;
	if (!err)
		err = sb->ops && sb->ops->remount ? sb->ops->remount(sb, flags, options) : 0;
	if (err)
		return err;
	sb->flags = (sb->flags & ~(unsigned long)MS_RDONLY) | sb_flags;
	return 0;
}

int mount_remount(const struct path *path, unsigned long flags, const char *options)
{
	int err;

	if (!is_mount_root(path))
		return -EINVAL;
	WRITE_GUARD(&mount_lock);
	/* Behind a bound namespace is the super block of all anonymous files. */
	if (!may_change(path->mnt) || (path->dentry->inode->flags & S_BINDABLE))
		return -EINVAL;
	err = may_set_flags(path->mnt, flags);
	if (!err)
		err = remount_super(path->mnt->sb, flags, options);
	return err ? err : set_flags(path->mnt, flags);
}

int mount_reconfigure(struct super_block *sb, unsigned long flags, const char *options)
{
	WRITE_GUARD(&mount_lock);
	return remount_super(sb, flags, options);
}

/* mount_lock held. type: MS_SHARED and so on. */
static void change_type(struct mount *m, unsigned long type)
{
	struct mount *x;
	bool peers = false;

	switch (type) {
	case MS_SHARED:
		if (!m->peer_group)
			m->peer_group = peer_group_new();
		m->unbindable = false;
		break;
	case MS_SLAVE:
		if (!m->peer_group)
			break;
		/* The last of its group has no master to follow but its own. */
		TAILQ_FOREACH (x, &all_mounts, all_link)
			if (x != m && x->peer_group == m->peer_group) {
				peers = true;
				break;
			}
		if (peers)
			m->master_group = m->peer_group;
		m->peer_group = 0;
		break;
	default:
		m->peer_group = m->master_group = 0;
		m->unbindable = type == MS_UNBINDABLE;
	}
}

int mount_change_type(const struct path *path, unsigned long type)
{
	struct mount *top = path->mnt;
	bool recursive = type & MS_REC;

	if (!is_mount_root(path))
		return -EINVAL;
	type &= ~(unsigned long)MS_REC;
	if (type != MS_SHARED && type != MS_SLAVE && type != MS_PRIVATE && type != MS_UNBINDABLE)
		return -EINVAL;
	WRITE_GUARD(&mount_lock);
	/* In any namespace: what others receive from there is not theirs to say either. */
	if (!top->ns)
		return -EINVAL;
	for (struct mount *m = top; m; m = recursive ? mount_next(m, top) : NULL)
		change_type(m, type);
	mnt_ns_changed(top->ns);
	return 0;
}

/* mount_lock held. Would the changes do, for m? */
static int may_set_attr(const struct mount *m, const struct mount_change *c)
{
	unsigned long old = atomic_load(&m->flags), flags = (old & ~c->clear) | c->set;
	int err = may_set_flags(m, flags);

	if (!err && (flags & MS_RDONLY) && !(old & MS_RDONLY) && atomic_load(&m->writers))
		err = -EBUSY;
	return err;
}

int mount_set_attr(const struct path *path, bool recursive, const struct mount_change *c)
{
	struct mount *top = path->mnt, *m;
	int err = 0;

	if (!is_mount_root(path))
		return -EINVAL;
	WRITE_GUARD(&mount_lock);
	if (!top->holder && !may_change(top))
		return -EINVAL;
	/* All or nothing, but for writers that come while it is being done. */
	for (m = top; m && !err; m = recursive ? mount_next(m, top) : NULL)
		err = may_set_attr(m, c);
	for (m = top; m && !err; m = recursive ? mount_next(m, top) : NULL) {
		err = set_flags(m, (atomic_load(&m->flags) & ~c->clear) | c->set);
		if (!err && c->propagation)
			change_type(m, c->propagation);
	}
	return err;
}

int mount_umount(const struct path *path, int flags)
{
	struct mount_list list = TAILQ_HEAD_INITIALIZER(list);
	struct mount *m = path->mnt;
	struct mnt_ns *ns;
	int err = 0;

	write_lock(&mount_lock);
	ns = m->ns;
	if (!is_mount_root(path) || !may_change(m) || !m->parent) {
		err = -EINVAL;
	} else if (m->locked) {
		err = -EINVAL;
	} else if (!(flags & MNT_DETACH)) {
		/* Two references are the tree's and the caller's. */
		if (!TAILQ_EMPTY(&m->children) || refcount_read(&m->refs) > 2) {
			err = -EBUSY;
		} else if (flags & MNT_EXPIRE) {
			err = m->expiry_mark ? 0 : -EAGAIN;
			m->expiry_mark = true;
		}
	}
	if (!err) {
		propagate_detach(m, &list);
		mnt_ns_changed(ns);
	}
	write_unlock(&mount_lock);
	put_list(&list);
	return err;
}

struct root_move {
	const struct path *from, *to;
};

/* A task whose root or cwd is the old root moves to the new one. */
static void move_root(struct fs *fs, void *arg)
{
	const struct root_move *move = arg;

	if (path_equal(&fs->root, move->from))
		fs_set_root(fs, move->to);
	if (path_equal(&fs->cwd, move->from))
		fs_set_cwd(fs, move->to);
}

static bool is_reachable(struct mount *m, struct dentry *d, const struct path *root)
{
	struct path path = {m, d};
	int slot = dcache_read_lock();
	bool yes = path_is_under(&path, root);

	dcache_read_unlock(slot);
	return yes;
}

int mount_pivot_root(const struct path *new_root, const struct path *put_old,
		     const struct path *old_root)
{
	struct mount *nm = new_root->mnt, *om = old_root->mnt, *root_parent, *pm;
	struct dentry *root_mountpoint, *pd;
	struct mnt_ns *ns;
	int err = -EINVAL;

	write_lock(&mount_lock);
	ns = om->ns;
	topmost(put_old, &pm, &pd);
	root_parent = om->parent;
	root_mountpoint = om->mountpoint;
	if (!is_mount_root(new_root) || !is_mount_root(old_root) || !may_change(om) || nm->locked ||
	    nm->ns != ns || pm->ns != ns || !nm->parent || nm->parent->peer_group ||
	    pm->peer_group || (root_parent && root_parent->peer_group))
		goto out;
	err = -EBUSY;
	if (nm == om || pm == om)
		goto out;
	/* put_old at or below new_root, and that below the root: mounts must not form a circle. */
	err = -EINVAL;
	if (!is_reachable(pm, pd, new_root) || !is_reachable(nm, new_root->dentry, old_root))
		goto out;
	if (root_parent) {
		mnt_get(root_parent);
		d_get(root_mountpoint);
	}
	nm->locked = om->locked;
	om->locked = false;
	mount_detach(nm);
	mount_detach(om);
	if (root_parent)
		mount_attach(nm, root_parent, root_mountpoint, ns);
	else
		mount_attach(nm, NULL, NULL, ns);
	if (ns->root == om)
		ns->root = nm;
	mount_attach(om, pm, pd, ns);
	if (root_parent) {
		d_put(root_mountpoint);
		mnt_put(root_parent);
	}
	mnt_ns_changed(ns);
	err = 0;
out:
	write_unlock(&mount_lock);
	if (!err)
		each_task_fs(move_root, &(struct root_move){old_root, new_root});
	return err;
}

static void move_fs(struct fs *fs, const struct path *old,
		    void (*set)(struct fs *, const struct path *))
{
	struct path p = {old->mnt->copy, old->dentry};

	if (p.mnt)
		set(fs, &p);
}

int mnt_ns_copy(struct mnt_ns *ns, struct user_ns *owner, struct fs *fs, struct mnt_ns **out)
{
	bool others = owner != ns->user_ns;
	struct mnt_ns *copy = mnt_ns_alloc(owner);
	struct path root = {0}, cwd = {0};
	struct mount *top, *m;

	if (!copy)
		return -ENOSPC;
	if (fs) {
		fs_get_root(fs, &root);
		fs_get_cwd(fs, &cwd);
	}
	write_lock(&mount_lock);
	TAILQ_FOREACH (m, &all_mounts, all_link)
		m->copy = NULL;
	top = mount_copy_tree(ns->root, ns->root->root, true, true,
			      others ? COPY_TO_OTHERS : COPY_BIND);
	if (top) {
		if (others)
			mount_lock_tree(top);
		mount_attach(top, NULL, NULL, copy);
		copy->root = top;
		if (fs) {
			move_fs(fs, &root, fs_set_root);
			move_fs(fs, &cwd, fs_set_cwd);
		}
	}
	write_unlock(&mount_lock);
	path_put(&root);
	path_put(&cwd);
	if (!top) {
		mnt_ns_put(copy);
		return -ENOMEM;
	}
	*out = copy;
	return 0;
}
