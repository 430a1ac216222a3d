/* Mount trees that are in no namespace, but in a descriptor's hands: open_tree(2), fsmount(2). */
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount/mount_internal.h"
#include "sentry/vfs/mount/mount_ops.h"

/* The file's: the top of the tree, NULL once that has a place. mount_lock. */
struct detached {
	struct mount *top;
};

static void detached_release(struct file *file)
{
	struct detached *d = file->private;
	struct mount *top;

	write_lock(&mount_lock);
	top = d->top;
	if (top)
		top->holder = NULL;
	write_unlock(&mount_lock);
	if (top)
		mount_tree_put(top, true);
	free(d);
}

static const struct file_operations detached_fops = {.release = detached_release};

struct mount *mount_of_super(struct super_block *sb, unsigned long flags)
{
	return mount_alloc(sb, sb->root, flags & MNT_FLAGS_MASK);
}

int mount_detached_file(struct mount *m, struct file **out)
{
	struct path path = {m, m->root};
	struct detached *d = malloc(sizeof(*d));
	struct file *f;
	int err = d ? file_open(&path, O_PATH, &f) : -ENOMEM;

	if (err) {
		free(d);
		mount_tree_put(m, true);
		return err;
	}
	d->top = m;
	write_lock(&mount_lock);
	m->holder = &d->top;
	write_unlock(&mount_lock);
	f->private = d;
	f->ops = &detached_fops;
	*out = f;
	return 0;
}
