/*
 * The path walk (man 7 path_resolution, man 2 openat2). walk.h says how its two modes work.
 *
 * Locks: fast mode is inside the dcache's read section; ref mode takes a directory's inode lock
 * only around a lookup by the file system.
 */
#include "base/command_lock.h"
#include "sentry/vfs/walk/walk.h"

#include <limits.h>
#include <string.h>

#include "sentry/kernel/core/current.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/walk/dcache.h"

#define SCOPED (LOOKUP_BENEATH | LOOKUP_IN_ROOT)

/* --- beginning, changing mode, ending ---------------------------------------------------------
 */

static void walk_init(struct walk *w, unsigned flags)
{
	w->flags = flags;
	w->slot = -1;
	w->links = w->depth = w->num_held = 0;
	w->trailing_slash = false;
}

/* Reads the task's root and, if wanted, cwd. In the read section; false: they are changing. */
static bool read_fs(struct fs *fs, struct path *root, struct path *cwd)
{
	uint32_t seq = atomic_load(&fs->seq);

	if (seq & 1)
		return false;
	root->mnt = __atomic_load_n(&fs->root.mnt, __ATOMIC_ACQUIRE);
	root->dentry = __atomic_load_n(&fs->root.dentry, __ATOMIC_ACQUIRE);
	cwd->mnt = __atomic_load_n(&fs->cwd.mnt, __ATOMIC_ACQUIRE);
	cwd->dentry = __atomic_load_n(&fs->cwd.dentry, __ATOMIC_ACQUIRE);
	return atomic_load(&fs->seq) == seq;
}

static int start_at_fd(struct walk *w, int dfd, const char *name)
{
	struct file *f = fd_get_raw(dfd);
	struct path root;

	if (!f)
		return -EBADF;
	if (*name && !S_ISDIR(atomic_load(&f->inode->mode))) {
		file_put(f);
		return -ENOTDIR;
	}
	w->path = f->path;
	path_get(&w->path);
	file_put(f);
	if (w->flags & SCOPED) {
		root = w->path;
		path_get(&root);
	} else {
		fs_get_root(current_fs(), &root);
	}
	w->root = root;
	return 0;
}

int walk_begin(struct walk *w, int dfd, const char *name, unsigned flags)
{
	struct path cwd;
	int err;

	walk_init(w, flags);
	if (*name == '/' && (flags & LOOKUP_BENEATH))
		return -EXDEV;
	if (dfd != AT_FDCWD && (*name != '/' || (flags & LOOKUP_IN_ROOT))) {
		err = start_at_fd(w, dfd, name);
		if (!err && *name == '/') {
			path_put(&w->path);
			w->path = w->root;
			path_get(&w->path);
		}
		return err;
	}
	w->slot = dcache_read_lock();
	while (!read_fs(current_fs(), &w->root, &cwd)) {
		dcache_read_unlock(w->slot);
		sched_yield();
		w->slot = dcache_read_lock();
	}
	if (flags & SCOPED)
		w->root = cwd;
	w->path = *name == '/' ? w->root : cwd;
	return 0;
}

void walk_begin_at(struct walk *w, const struct path *root, const struct path *start,
		   const char *name, unsigned flags)
{
	walk_init(w, flags);
	w->root = *root;
	w->path = *name == '/' ? *root : *start;
	path_get(&w->root);
	path_get(&w->path);
}

static void get_in_section(const struct path *p)
{
	mnt_get(p->mnt);
	d_get_cached(p->dentry);
}

int walk_unlazy(struct walk *w)
{
	if (w->slot < 0)
		return 0;
	get_in_section(&w->path);
	get_in_section(&w->root);
	dcache_read_unlock(w->slot);
	w->slot = -1;
	return w->flags & LOOKUP_CACHED ? -EAGAIN : 0;
}

int walk_end(struct walk *w, struct path *out)
{
	if (w->slot >= 0) {
		if (out) {
			get_in_section(&w->path);
			*out = w->path;
		}
		dcache_read_unlock(w->slot);
		w->slot = -1;
	} else {
		if (out)
			*out = w->path;
		else
			path_put(&w->path);
		path_put(&w->root);
	}
	for (int i = 0; i < w->num_held; i++) {
		if (w->held[i].inode)
			inode_put(w->held[i].inode);
		free(w->held[i].text);
	}
	w->num_held = 0;
	return 0;
}

/* --- one step ----------------------------------------------------------------------------------
 */

/* Ref mode, or with the caller's reference on dir: the child from the cache, checked with the file
 * system where it wants that. Referenced, or NULL. */
static struct dentry *cached_child(struct dentry *dir, const char *name, size_t len)
{
	struct dentry *d = d_lookup(dir, name, len);

	if (d && d->sb->d_ops && d->sb->d_ops->revalidate && !d->sb->d_ops->revalidate(d)) {
		d_drop(d);
		d_prune_children(d);
		d_put(d);
		return NULL;
	}
	return d;
}

struct dentry *lookup_locked(struct dentry *dir, const char *name, size_t len)
{
	struct inode *inode = dir->inode;
	struct dentry *d;
	int err;

	if (inode->flags & S_DEAD)
		return ERR_PTR(-ENOENT);
	d = cached_child(dir, name, len);
	if (d)
		return d;
	if (!inode->ops || !inode->ops->lookup)
		return ERR_PTR(-ENOTDIR);
	d = d_alloc(dir, name, len);
	if (!d)
		return ERR_PTR(-ENOMEM);
	err = inode->ops->lookup(inode, d);
	if (err) {
		d_put(d);
		return ERR_PTR(err);
	}
	if (d->inode || !(d->sb->flags & SB_NO_NEGATIVE))
		d_add(d);
	return d;
}

static struct dentry *lookup_child(struct dentry *dir, const char *name, size_t len)
{
	struct dentry *d = cached_child(dir, name, len);

	if (d)
		return d;
	COMMAND_WRITE_GUARD(&dir->inode->lock);
	return lookup_locked(dir, name, len);
}

/* In the section: *p to its parent directory, across mounts; -EXDEV by w->flags. */
static int step_up(const struct walk *w, struct path *p)
{
	for (;;) {
		if (p->dentry == w->root.dentry && p->mnt == w->root.mnt)
			return w->flags & LOOKUP_BENEATH ? -EXDEV : 0;
		if (p->dentry != p->mnt->root) {
			/* Renamed out of what is mounted: there is no way up that the mount shows.
			 */
			if (p->mnt->root != p->mnt->sb->root &&
			    !d_is_ancestor(p->mnt->root, p->dentry))
				return -ENOENT;
			p->dentry = p->dentry->parent;
			break;
		}
		if (!p->mnt->parent)
			return 0;
		if (w->flags & LOOKUP_NO_XDEV)
			return -EXDEV;
		p->dentry = p->mnt->mountpoint;
		p->mnt = p->mnt->parent;
	}
	if (follow_mount_walk(p) && (w->flags & LOOKUP_NO_XDEV))
		return -EXDEV;
	return 0;
}

/* In the section. A rename may move where the walk stands out of the root that it must not leave;
 * ".." from there would lead anywhere. Linux cannot tell whether one has (it compares sequence
 * counts of renames and mounts) and has the caller try again after any; here the tree stands still,
 * so that only a walk that was led outside is told -EAGAIN. */
static int check_scope(const struct walk *w, const struct path *p)
{
	return !(w->flags & SCOPED) || path_is_under(p, &w->root) ? 0 : -EAGAIN;
}

static int walk_dotdot(struct walk *w)
{
	struct path p;
	int slot, err;

	if (w->slot >= 0) /* everything has stood still since the root */
		return step_up(w, &w->path);
	slot = dcache_read_lock();
	p = w->path;
	err = step_up(w, &p);
	if (!err)
		err = check_scope(w, &p);
	if (!err)
		get_in_section(&p);
	dcache_read_unlock(slot);
	if (!err) {
		path_put(&w->path);
		w->path = p;
	}
	return err;
}

/* The directory in w->path may be searched. */
static int may_search(struct walk *w)
{
	struct inode *inode = w->path.dentry->inode;
	int err;

	if (!inode)
		return -ENOENT;
	if (!S_ISDIR(atomic_load_explicit(&inode->mode, memory_order_relaxed)))
		return -ENOTDIR;
	if (inode->ops && inode->ops->permission) {
		err = walk_unlazy(w);
		return err ? err : inode->ops->permission(inode, MAY_EXEC);
	}
	return generic_permission(inode, MAY_EXEC);
}

static int link_allowed(struct walk *w)
{
	if (w->flags & LOOKUP_NO_SYMLINKS)
		return -ELOOP;
	return ++w->links > MAX_SYMLINKS ? -ELOOP : 0;
}

/* w->link is set: an absolute target starts at the root. Returns 1, or an error. */
static int enter_target(struct walk *w)
{
	struct path old;

	if (!*w->link)
		return -ENOENT;
	if (*w->link != '/')
		return 1;
	if (w->flags & LOOKUP_BENEATH)
		return -EXDEV;
	if ((w->flags & LOOKUP_NO_XDEV) && w->path.mnt != w->root.mnt)
		return -EXDEV;
	if (w->slot >= 0) {
		w->path = w->root;
		return 1;
	}
	old = w->path;
	w->path = w->root;
	path_get(&w->path);
	path_put(&old);
	return 1;
}

/* Which symbolic links a step follows: none, one in the middle of a name, one at its end. */
enum follow { FOLLOW_NONE, FOLLOW_INNER, FOLLOW_LAST };

/* protected_symlinks (man 5 proc): in a sticky directory that all may write, a link at the end of a
 * name leads only its owner, and everybody if it is the directory owner's. w->path is the
 * directory; either mode. */
static int may_follow(const struct walk *w, const struct inode *link)
{
	const struct inode *dir = w->path.dentry->inode;
	const uint32_t shared = S_ISVTX | S_IWOTH;

	if (vfs_cred()->fsuid == link->uid || (dir->mode & shared) != shared ||
	    dir->uid == link->uid)
		return 0;
	return -EACCES;
}

/* The text is cached by the inode: no allocation, either mode. */
static int follow_cached(struct walk *w, struct inode *inode)
{
	int err = link_allowed(w);

	if (err)
		return err;
	w->held[w->num_held].text = NULL;
	w->held[w->num_held++].inode = inode_get(inode);
	w->link = atomic_load_explicit(&inode->link, memory_order_acquire);
	return enter_target(w);
}

/* Ref mode; `link` is the symlink's own inode, kept by the caller. 1: w->link is to be walked;
 * 0: a magic link took w->path to its end. */
static int follow_slow(struct walk *w, struct inode *inode)
{
	struct path jump = {0};
	char *text = NULL, *none = NULL;
	int err;

	if (atomic_load(&inode->link))
		return follow_cached(w, inode);
	err = link_allowed(w);
	if (err)
		return err;
	if (!inode->ops || !inode->ops->get_link)
		return -EINVAL;
	err = inode->ops->get_link(inode, &text, &jump);
	if (err)
		return err;
	if (jump.dentry) {
		free(text);
		if (w->flags & (LOOKUP_NO_MAGICLINKS | SCOPED | LOOKUP_NO_XDEV))
			err = w->flags & LOOKUP_NO_MAGICLINKS ? -ELOOP : -EXDEV;
		if (err) {
			path_put(&jump);
			return err;
		}
		path_put(&w->path);
		w->path = jump;
		return 0;
	}
	if (!text)
		return -ENOENT;
	if ((inode->flags & S_CACHE_LINK) &&
	    atomic_compare_exchange_strong(&inode->link, &none, text)) {
		w->held[w->num_held].text = NULL;
		w->held[w->num_held++].inode = inode_get(inode);
	} else {
		w->held[w->num_held].inode = NULL;
		w->held[w->num_held++].text = text;
	}
	w->link = text;
	return enter_target(w);
}

int walk_into_link(struct walk *w, struct dentry *dentry)
{
	int err = may_follow(w, dentry->inode);

	if (!err)
		err = follow_slow(w, dentry->inode);
	if (err <= 0) {
		w->last_kind = LAST_DOT; /* the path is where it should be */
		return err;
	}
	return walk_parent(w, w->link);
}

static int arrive(const struct walk *w, const struct path *p)
{
	return (w->flags & LOOKUP_NO_XDEV) && p->mnt != w->path.mnt ? -EXDEV : 0;
}

/* Fast mode. 1: a symlink's target is in w->link; 0: done; -ECHILD: go on in ref mode. */
static int step_fast(struct walk *w, const char *name, size_t len, uint32_t hash,
		     enum follow follow)
{
	struct dentry *d = d_find(w->path.dentry, name, len, hash);
	struct path p = {w->path.mnt, d};
	struct inode *inode;
	int err;

	if (!d || (d->sb->d_ops && d->sb->d_ops->revalidate))
		return -ECHILD;
	if (!d->inode)
		return -ENOENT;
	follow_mount_walk(&p);
	err = arrive(w, &p);
	if (err)
		return err;
	inode = p.dentry->inode;
	if (follow && S_ISLNK(atomic_load_explicit(&inode->mode, memory_order_relaxed))) {
		if (!atomic_load_explicit(&inode->link, memory_order_relaxed))
			return -ECHILD;
		err = follow == FOLLOW_LAST ? may_follow(w, inode) : 0;
		return err ? err : follow_cached(w, inode);
	}
	w->path = p;
	return 0;
}

static int step_ref(struct walk *w, const char *name, size_t len, enum follow follow)
{
	struct dentry *d = lookup_child(w->path.dentry, name, len);
	struct path p;
	int err;

	if (IS_ERR(d))
		return PTR_ERR(d);
	/* With our reference it does not become negative any more, but may stop being so. */
	if (!__atomic_load_n(&d->inode, __ATOMIC_ACQUIRE)) {
		d_put(d);
		return -ENOENT;
	}
	p.mnt = mnt_get(w->path.mnt);
	p.dentry = d;
	follow_mount(&p);
	err = arrive(w, &p);
	if (!err && follow && S_ISLNK(atomic_load(&p.dentry->inode->mode))) {
		if (follow == FOLLOW_LAST)
			err = may_follow(w, p.dentry->inode);
		if (!err)
			err = follow_slow(w, p.dentry->inode);
		path_put(&p);
		return err;
	}
	if (err) {
		path_put(&p);
		return err;
	}
	path_put(&w->path);
	w->path = p;
	return 0;
}

static int walk_step(struct walk *w, const char *name, size_t len, uint32_t hash,
		     enum last_kind kind, enum follow follow)
{
	int err;

	if (kind == LAST_DOTDOT)
		return walk_dotdot(w);
	if (kind != LAST_NORM)
		return 0;
	if (len > NAME_MAX_LEN)
		return -ENAMETOOLONG;
	if (w->slot >= 0) {
		err = step_fast(w, name, len, hash, follow);
		if (err != -ECHILD)
			return err;
		err = walk_unlazy(w);
		if (err)
			return err;
	}
	return step_ref(w, name, len, follow);
}

/* --- whole names -------------------------------------------------------------------------------
 */

int walk_parent(struct walk *w, const char *name)
{
	for (;;) {
		enum last_kind kind;
		const char *start, *p;
		uint32_t hash;
		size_t len;
		int err;

		while (*name == '/')
			name++;
		if (!*name) {
			if (w->depth) {
				name = w->rest[--w->depth];
				continue;
			}
			w->last = name;
			w->last_len = 0;
			w->last_kind = LAST_ROOT;
			return 0;
		}
		err = may_search(w);
		if (err)
			return err;
		start = name;
		hash = NAME_HASH_INIT;
		for (p = name; *p && *p != '/'; p++)
			hash = name_hash_step(hash, (unsigned char)*p);
		len = p - start;
		kind = LAST_NORM;
		if (start[0] == '.' && (len == 1 || (len == 2 && start[1] == '.')))
			kind = len == 1 ? LAST_DOT : LAST_DOTDOT;
		name = p;
		while (*name == '/')
			name++;
		if (!*name && !w->depth) {
			w->last = start;
			w->last_len = len;
			w->last_hash = hash;
			w->last_kind = kind;
			w->trailing_slash |= *p == '/';
			return 0;
		}
		err = walk_step(w, start, len, hash, kind, FOLLOW_INNER);
		if (err < 0)
			return err;
		if (err == 1) {
			if (*name) {
				BUG_ON(w->depth >= MAX_SYMLINKS);
				w->rest[w->depth++] = name;
			} else {
				/* The end of a link's own target: what is left is on the stack. */
			}
			name = w->link;
		}
	}
}

int walk_last(struct walk *w, bool follow)
{
	for (;;) {
		int err = walk_step(w, w->last, w->last_len, w->last_hash, w->last_kind,
				    follow || w->trailing_slash ? FOLLOW_LAST : FOLLOW_NONE);

		if (err <= 0)
			return err;
		err = walk_parent(w, w->link);
		if (err)
			return err;
	}
}

int walk_check_scope(const struct walk *w, const struct path *path)
{
	int slot, err;

	if (!(w->flags & SCOPED) || w->slot >= 0)
		return 0;
	slot = dcache_read_lock();
	err = check_scope(w, path);
	dcache_read_unlock(slot);
	return err ? -EXDEV : 0;
}

int walk_all(struct walk *w, const char *name)
{
	struct inode *inode;
	int err;

	if (!*name)
		return w->flags & LOOKUP_EMPTY ? 0 : -ENOENT;
	err = walk_parent(w, name);
	if (!err)
		err = walk_last(w, w->flags & LOOKUP_FOLLOW);
	if (!err)
		err = walk_check_scope(w, &w->path);
	if (err)
		return err;
	inode = w->path.dentry->inode;
	if (((w->flags & LOOKUP_DIRECTORY) || w->trailing_slash) &&
	    !S_ISDIR(atomic_load_explicit(&inode->mode, memory_order_relaxed)))
		return -ENOTDIR;
	return 0;
}

static int finish(struct walk *w, int err, struct path *out)
{
	if (err) {
		walk_end(w, NULL);
		return err;
	}
	return walk_end(w, out);
}

int path_lookupat(int dfd, const char *name, unsigned flags, struct path *out)
{
	struct walk w;
	int err;

	if (!*name && !(flags & LOOKUP_EMPTY))
		return -ENOENT;
	err = walk_begin(&w, dfd, name, flags);
	if (err)
		return err;
	return finish(&w, walk_all(&w, name), out);
}

int path_lookup_from(const struct path *root, const struct path *start, const char *name,
		     unsigned flags, struct path *out)
{
	struct walk w;

	walk_begin_at(&w, root, start, name, flags);
	return finish(&w, walk_all(&w, name), out);
}

int path_parent(int dfd, const char *name, unsigned flags, struct path *parent, const char **last,
		size_t *len)
{
	struct walk w;
	int err;

	if (!*name)
		return -ENOENT;
	err = walk_begin(&w, dfd, name, flags);
	if (err)
		return err;
	err = walk_parent(&w, name);
	if (!err) {
		*last = w.last;
		*len = w.last_len;
	}
	return finish(&w, err, parent);
}

int user_path_at(int dfd, uint64_t uname, unsigned lookup_flags, struct path *out)
{
	char name[PATH_MAX];
	ssize_t n = strncpy_from_user(name, uname, sizeof(name));

	if (n < 0)
		return n;
	return path_lookupat(dfd, name, lookup_flags, out);
}
