/* Reading the overlay's directories: the lower listing and the names that differ, merged. */
#include <dirent.h>
#include <errno.h>

#include "sentry/fs/overlay/overlay_internal.h"

/* file->private: the listing that this reader is in the middle of. What is made or removed
 * meanwhile does not move its positions; rewinding reads anew. */
struct ovl_dir_file {
	struct mutex lock;
	struct dirlist *list;
};

static unsigned dirent_type(const struct inode *inode)
{
	return IFTODT(atomic_load(&inode->mode));
}

/* oi->lock held. */
static int add_lower(struct ovl_inode *od, struct dirlist *lower, struct dirlist *l)
{
	for (uint32_t i = 0; i < lower->nr; i++) {
		const struct dirlist_entry *e = &lower->entries[i];
		const char *name = lower->names + e->name;
		int ret;

		if (ovl_name_find(od, name))
			continue;
		ret = dirlist_add(l, name, e->len, e->ino, e->type);
		if (ret)
			return ret;
	}
	return 0;
}

/* oi->lock held. */
static int add_upper(struct ovl_inode *od, struct dirlist *l)
{
	struct ovl_name *n;

	RB_FOREACH (n, ovl_names, &od->names) {
		int ret;

		if (!n->inode)
			continue;
		ret = dirlist_add(l, n->name, n->len, n->inode->ino, dirent_type(n->inode));
		if (ret)
			return ret;
	}
	return 0;
}

/* Makes od->merged, if there is none. oi->lock held. */
static int merge(struct ovl_inode *od, struct dirlist *lower)
{
	struct dirlist *l;
	int ret = 0;

	if (od->merged)
		return 0;
	l = dirlist_alloc();
	if (!l)
		return -ENOMEM;
	if (lower)
		ret = add_lower(od, lower, l);
	if (!ret)
		ret = add_upper(od, l);
	if (ret)
		dirlist_put(l);
	else
		od->merged = l;
	return ret;
}

/* What is visible in the directory now. Reference, or -errno. */
static int list(struct inode *dir, struct dirlist **out)
{
	struct ovl_inode *od = ovl_of(dir);
	struct dirlist *lower = NULL;
	bool differs;
	int ret = 0;

	if (ovl_has_lower(od)) {
		ret = host_dirlist(&od->lower, &lower);
		if (ret)
			return ret;
		mutex_lock(&od->lock);
		differs = !RB_EMPTY(&od->names);
		mutex_unlock(&od->lock);
		if (!differs) {
			*out = lower; /* as it is, shared with all other readers */
			return 0;
		}
	}
	mutex_lock(&od->lock);
	ret = merge(od, lower);
	if (!ret)
		*out = dirlist_get(od->merged);
	mutex_unlock(&od->lock);
	dirlist_put(lower);
	return ret;
}

int ovl_check_empty(struct inode *dir)
{
	struct ovl_inode *od = ovl_of(dir);
	struct dirlist *lower = NULL;
	int ret;

	if (ovl_has_lower(od)) {
		ret = host_dirlist(&od->lower, &lower);
		if (ret)
			return ret;
	}
	mutex_lock(&od->lock);
	ret = od->live_names ? -ENOTEMPTY : 0;
	for (uint32_t i = 0; !ret && lower && i < lower->nr; i++)
		if (!ovl_name_find(od, lower->names + lower->entries[i].name))
			ret = -ENOTEMPTY;
	mutex_unlock(&od->lock);
	dirlist_put(lower);
	return ret;
}

static int open_op(struct inode *inode, struct file *file)
{
	struct ovl_dir_file *df = calloc(1, sizeof(*df));

	if (!df)
		return -ENOMEM;
	mutex_init(&df->lock);
	file->private = df;
	return 0;
}

static void release(struct file *file)
{
	struct ovl_dir_file *df = file->private;

	if (!df)
		return;
	dirlist_put(df->list);
	mutex_destroy(&df->lock);
	free(df);
}

static int iterate(struct file *file, struct dir_context *ctx)
{
	struct ovl_dir_file *df = file->private;

	MUTEX_GUARD(&df->lock);
	if (!df->list || ctx->pos == 0) {
		struct dirlist *l;
		int ret;

		if (!atomic_load(&file->inode->nlink))
			return -ENOENT; /* removed */
		ret = list(file->inode, &l);
		if (ret)
			return ret;
		dirlist_put(df->list);
		df->list = l;
	}
	return dirlist_emit(df->list, file, ctx);
}

static int fsync_op(struct file *file, int64_t start, int64_t end, bool datasync)
{
	return 0; /* memory */
}

const struct file_operations ovl_dir_fops = {
	.open = open_op,
	.release = release,
	.iterate = iterate,
	.fsync = fsync_op,
};
