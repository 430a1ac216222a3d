/* struct fs: root, cwd and umask of tasks. fs->lock is a leaf; references are dropped outside it.
 */
#include "sentry/vfs/walk/dcache.h"

struct fs *fs_alloc(const struct path *root, const struct path *cwd, int umask)
{
	struct fs *fs = calloc(1, sizeof(*fs));

	if (!fs)
		return NULL;
	refcount_init(&fs->refs);
	mutex_init(&fs->lock);
	path_get(root);
	path_get(cwd);
	fs->root = *root;
	fs->cwd = *cwd;
	fs->umask = umask;
	return fs;
}

struct fs *fs_dup(struct fs *fs)
{
	struct path root, cwd;
	struct fs *copy;
	int umask;

	mutex_lock(&fs->lock);
	root = fs->root;
	cwd = fs->cwd;
	path_get(&root);
	path_get(&cwd);
	umask = fs->umask;
	mutex_unlock(&fs->lock);
	copy = fs_alloc(&root, &cwd, umask);
	path_put(&root);
	path_put(&cwd);
	return copy;
}

struct fs *fs_get(struct fs *fs)
{
	refcount_inc(&fs->refs);
	return fs;
}

void fs_put(struct fs *fs)
{
	if (!fs || !refcount_dec(&fs->refs))
		return;
	path_put(&fs->root);
	path_put(&fs->cwd);
	mutex_destroy(&fs->lock);
	free(fs);
}

void fs_get_root(struct fs *fs, struct path *root)
{
	MUTEX_GUARD(&fs->lock);
	*root = fs->root;
	path_get(root);
}

void fs_get_cwd(struct fs *fs, struct path *cwd)
{
	MUTEX_GUARD(&fs->lock);
	*cwd = fs->cwd;
	path_get(cwd);
}

static void fs_set(struct fs *fs, struct path *which, const struct path *path)
{
	struct path old;

	path_get(path);
	mutex_lock(&fs->lock);
	atomic_fetch_add(&fs->seq, 1);
	old = *which;
	__atomic_store_n(&which->mnt, path->mnt, __ATOMIC_RELEASE);
	__atomic_store_n(&which->dentry, path->dentry, __ATOMIC_RELEASE);
	atomic_fetch_add(&fs->seq, 1);
	mutex_unlock(&fs->lock);
	path_put(&old);
}

void fs_set_root(struct fs *fs, const struct path *root)
{
	fs_set(fs, &fs->root, root);
}

void fs_set_cwd(struct fs *fs, const struct path *cwd)
{
	fs_set(fs, &fs->cwd, cwd);
}

/* --- paths ---------------------------------------------------------------------------------- */

void path_get(const struct path *p)
{
	mnt_get(p->mnt);
	d_get(p->dentry);
}

void path_put(struct path *p)
{
	struct path old = *p;

	p->mnt = NULL;
	p->dentry = NULL;
	if (old.dentry)
		d_put(old.dentry);
	if (old.mnt)
		mnt_put(old.mnt);
}

bool path_equal(const struct path *a, const struct path *b)
{
	return a->mnt == b->mnt && a->dentry == b->dentry;
}
