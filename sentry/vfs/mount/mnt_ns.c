/* Mount namespaces: life, and what the loader builds them with. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/command_lock.h"
#include "sentry/vfs/mount/mount_internal.h"
#include "sentry/vfs/mount/mount_ops.h"
#include "sentry/vfs/name/namei.h"
#include "sentry/vfs/walk/dcache.h"

struct mnt_ns *mnt_ns_alloc(struct user_ns *owner)
{
	struct mnt_ns *ns = calloc(1, sizeof(*ns));

	if (!ns)
		return NULL;
	ns->user_ns = user_ns_own(owner);
	if (!ns->user_ns) {
		free(ns);
		return NULL;
	}
	refcount_init(&ns->refs);
	ns->inum = ns_next_inum();
	TAILQ_INIT(&ns->mounts);
	wait_queue_init(&ns->poll);
	return ns;
}

struct mnt_ns *mnt_ns_get(struct mnt_ns *ns)
{
	refcount_inc(&ns->refs);
	return ns;
}

void mnt_ns_put(struct mnt_ns *ns)
{
	struct mount *root;

	if (!ns || !refcount_dec(&ns->refs))
		return;
	root = ns->root;
	ns->root = NULL;
	if (root)
		mount_tree_put(root, true);
	user_ns_disown(ns->user_ns);
	free(ns);
}

/* The atime rule that mount(2) gives when none is asked for. */
static unsigned long with_relatime(unsigned long flags)
{
	return flags & (MS_NOATIME | MS_STRICTATIME) ? flags : flags | MS_RELATIME;
}

int mnt_ns_create(struct super_block *sb, unsigned long flags, struct mnt_ns **out)
{
	struct mnt_ns *ns = mnt_ns_alloc(&root_user_ns);
	struct mount *m = ns ? mount_alloc(sb, sb->root, with_relatime(flags)) : NULL;

	sb_put(sb);
	if (!m) {
		mnt_ns_put(ns);
		return -ENOMEM;
	}
	write_lock(&mount_lock);
	mount_attach(m, NULL, NULL, ns);
	ns->root = m;
	write_unlock(&mount_lock);
	*out = ns;
	return 0;
}

void mnt_ns_root(struct mnt_ns *ns, struct path *out)
{
	read_lock(&mount_lock);
	out->mnt = mnt_get(ns->root);
	out->dentry = d_get(ns->root->root);
	read_unlock(&mount_lock);
	follow_mount(out);
}

/* A place in a namespace that is being made: where we are, without symlinks, and what is left to
 * go. */
struct walk_target {
	const struct path *root;
	char done[PATH_MAX], rest[PATH_MAX];
	int links;
};

/* Takes the first component off what is left; its length, 0 at the end. *last: nothing follows. */
static size_t next_name(struct walk_target *w, char *name, bool *last)
{
	char *p = w->rest + strspn(w->rest, "/");
	size_t n = strcspn(p, "/");

	if (n > NAME_MAX)
		n = NAME_MAX + 1; /* no file system takes it */
	memcpy(name, p, n);
	name[n] = 0;
	p += strcspn(p, "/");
	*last = !p[strspn(p, "/")];
	memmove(w->rest, p, strlen(p) + 1);
	return n;
}

/* What a symlink says comes before what is left. */
static int go_on_at(struct walk_target *w, const struct path *link)
{
	char *target, joined[PATH_MAX];
	int err = ++w->links > 40 ? -ELOOP : vfs_readlink(link, &target);

	if (err)
		return err;
	if (snprintf(joined, sizeof(joined), "%s/%s", target, w->rest) >= (int)sizeof(joined))
		err = -ENAMETOOLONG;
	else
		strcpy(w->rest, joined);
	if (*target == '/')
		w->done[0] = 0;
	free(target);
	return err;
}

/* One component: followed if it is a symlink, made if there is none. */
static int step(struct walk_target *w, const char *name, bool dir)
{
	struct path at __put_path = {0};
	size_t n = strlen(w->done);
	int err;

	if (!strcmp(name, "."))
		return 0;
	if (!strcmp(name, "..")) {
		char *slash = strrchr(w->done, '/');

		if (slash)
			*slash = 0;
		return 0;
	}
	if (n + strlen(name) + 2 > sizeof(w->done))
		return -ENAMETOOLONG;
	sprintf(w->done + n, "/%s", name);
	err = path_lookup_from(w->root, w->root, w->done, 0, &at);
	if (!err && S_ISLNK(at.dentry->inode->mode)) {
		w->done[n] = 0;
		return go_on_at(w, &at);
	}
	if (err != -ENOENT)
		return err;
	return dir ? vfs_mkdir_from(w->root, w->root, w->done, 0755)
		   : vfs_mknod_from(w->root, w->root, w->done, S_IFREG | 0644, 0);
}

/* Makes the directories of `target` that are missing, and an empty file or directory at its end.
 * Symlinks are followed, those of which the end is missing too, and never out of root. */
static int create_target(const struct path *root, const char *target, bool dir)
{
	struct walk_target *w = calloc(1, sizeof(*w));
	char name[NAME_MAX + 2];
	bool last;
	int err = w ? 0 : -ENOMEM;

	if (!err && snprintf(w->rest, sizeof(w->rest), "%s", target) >= (int)sizeof(w->rest))
		err = -ENAMETOOLONG;
	if (!err)
		w->root = root;
	while (!err && next_name(w, name, &last))
		err = step(w, name, dir || !last);
	free(w);
	return err;
}

static int find_target(struct mnt_ns *ns, const char *target, bool create, bool dir,
		       struct path *out)
{
	struct path root __put_path = {0};
	int err;

	mnt_ns_root(ns, &root);
	err = path_lookup_from(&root, &root, target, LOOKUP_FOLLOW, out);
	if (err == -ENOENT && create) {
		err = create_target(&root, target, dir);
		if (!err)
			err = path_lookup_from(&root, &root, target, LOOKUP_FOLLOW, out);
	}
	return err;
}

int mnt_ns_make_dir(struct mnt_ns *ns, const char *name)
{
	struct path path __put_path = {0};

	return find_target(ns, name, true, true, &path);
}

int mnt_ns_mount_super(struct mnt_ns *ns, const char *target, struct super_block *sb,
		       unsigned long flags, bool create)
{
	struct path path __put_path = {0};
	int err = find_target(ns, target, create, S_ISDIR(sb->root->inode->mode), &path);

	if (!err)
		err = mount_new(&path, sb, with_relatime(flags));
	if (!err)
		sb_put(sb);
	return err;
}

int mnt_ns_mount(struct mnt_ns *ns, const char *target, const char *fstype, const char *source,
		 unsigned long flags, const char *options, void *arg, bool create)
{
	const struct fs_type *type = fs_find(fstype);
	struct super_block *sb;
	int err;

	if (!type)
		return -ENODEV;
	err = type->get_super(type, flags, source, options, arg, &sb);
	if (err)
		return err;
	if (source && !sb->source)
		sb->source = strdup(source);
	err = mnt_ns_mount_super(ns, target, sb, flags, create);
	if (err)
		sb_put(sb);
	return err;
}

/* A mount whose root is a null device: what covers a masked file. */
static int mount_null(const struct path *over, struct super_block *sb)
{
	struct inode *dir = sb->root->inode;
	struct dentry *d;
	struct mount *m;
	int err;

	command_write_lock(&dir->lock);
	d = d_alloc_child(sb->root, "null");
	err = d ? dir->ops->mknod(dir, d, S_IFCHR | 0666, 1 << 8 | 3) : -ENOMEM;
	write_unlock(&dir->lock);
	m = err ? NULL : mount_alloc(sb, d, MS_RDONLY | MS_NOSUID | MS_NOEXEC);
	if (d)
		d_put(d);
	if (!m)
		return err ? err : -ENOMEM;
	err = mount_graft(m, over);
	if (err)
		mnt_put(m);
	return err;
}

int mnt_ns_mask(struct mnt_ns *ns, const char *target)
{
	struct path root __put_path = {0}, path __put_path = {0};
	const struct fs_type *type = fs_find("tmpfs");
	struct super_block *sb;
	int err;

	mnt_ns_root(ns, &root);
	err = path_lookup_from(&root, &root, target, LOOKUP_FOLLOW, &path);
	if (!err)
		err = type ? type->get_super(type, 0, "tmpfs", "mode=755,size=4k", NULL, &sb)
			   : -ENODEV;
	if (err)
		return err;
	if (!sb->source)
		sb->source = strdup("tmpfs");
	if (S_ISDIR(path.dentry->inode->mode))
		err = mount_new(&path, sb, MS_RDONLY | MS_RELATIME);
	else
		err = mount_null(&path, sb);
	sb_put(sb);
	return err;
}

int mnt_ns_remount_root(struct mnt_ns *ns, unsigned long flags)
{
	struct path root __put_path = {0};

	mnt_ns_root(ns, &root);
	return mount_set_flags(&root, with_relatime(flags));
}

int mnt_ns_bind(struct mnt_ns *ns, const char *source, const char *target, unsigned long flags,
		bool recursive)
{
	struct path root __put_path = {0}, from __put_path = {0}, to __put_path = {0};
	int err;

	mnt_ns_root(ns, &root);
	err = path_lookup_from(&root, &root, source, LOOKUP_FOLLOW, &from);
	if (!err)
		err = path_lookup_from(&root, &root, target, LOOKUP_FOLLOW, &to);
	if (!err)
		err = mount_bind(&from, &to, recursive);
	if (err || !flags)
		return err;
	/* The bind is now on top of `to`. */
	follow_mount(&to);
	return mount_set_flags(&to, with_relatime(flags | atomic_load(&to.mnt->flags)));
}
