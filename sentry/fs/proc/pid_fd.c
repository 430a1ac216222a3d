/* /proc/PID/fd and fdinfo. An entry's inode has the descriptor's number in pseudo_inode.number. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sentry/fs/proc/proc_internal.h"
#include "sentry/vfs/mount.h"

static int parse_fd(const char *name)
{
	int64_t n;

	if (*name < '0' || *name > '9' || (*name == '0' && name[1]) ||
	    pseudo_parse_int(name, 0, INT32_MAX - 1, &n))
		return -1;
	return (int)n;
}

static struct file *inode_file_get(struct inode *inode, int fd)
{
	struct task *__put_task t = proc_task_get(inode);
	struct files *files = t ? task_files_get(t) : NULL;
	struct file *f;

	if (!files)
		return NULL;
	f = files_fd_get(files, fd);
	files_put(files);
	return f;
}

static int fd_get_link(struct inode *inode, char **target, struct path *jump)
{
	struct file *f = inode_file_get(inode, (int)pseudo(inode)->number);

	if (!f)
		return -ENOENT;
	*jump = f->path;
	path_get(jump);
	file_put(f);
	return 0;
}

static int show_fdinfo(struct text *out, struct inode *inode)
{
	int fd = (int)pseudo(inode)->number;
	struct task *__put_task t = proc_task_get(inode);
	struct files *files = t ? task_files_get(t) : NULL;
	struct file *__put_file f = NULL;
	bool cloexec = false;
	int at = fd;
	char extra[2048];
	int n;

	if (!files)
		return -ENOENT;
	f = files_next(files, &at, &cloexec);
	if (!f || at != fd) {
		files_put(files);
		return -ENOENT;
	}
	text_printf(out, "pos:\t%lld\nflags:\t0%o\nmnt_id:\t%d\nino:\t%lu\n",
		    (long long)(f->pos > 0 ? f->pos : 0), f->flags | (cloexec ? O_CLOEXEC : 0),
		    f->path.mnt ? f->path.mnt->id : 0, f->inode->ino);
	proc_show_file_locks(out, inode, f, files);
	files_put(files);
	if (f->ops && f->ops->show_fdinfo) {
		n = f->ops->show_fdinfo(f, extra, sizeof(extra));
		if (n > 0)
			text_write(out, extra, MIN((size_t)n, sizeof(extra)));
	}
	return 0;
}

/* Which way it can be used shows in a link's mode bits. */
static const struct pseudo_node fd_nodes[4] = {
	{.name = "", .mode = S_IFLNK, .get_link = fd_get_link},
	{.name = "r", .mode = S_IFLNK | 0500, .get_link = fd_get_link},
	{.name = "w", .mode = S_IFLNK | 0300, .get_link = fd_get_link},
	{.name = "rw", .mode = S_IFLNK | 0700, .get_link = fd_get_link},
};
static const struct pseudo_node fdinfo_node = {
	.name = "fdinfo",
	.mode = S_IFREG | 0444,
	.show = show_fdinfo,
	.may_open = NULL,
};

static int entry_lookup(struct inode *dir, struct dentry *dentry, bool info)
{
	struct pseudo_inode *p = pseudo(dir);
	int fd = parse_fd(dentry->name);
	struct file *f = fd < 0 ? NULL : inode_file_get(dir, fd);
	const struct pseudo_node *node;
	struct inode *inode;

	if (!f)
		return 0;
	node = info ? &fdinfo_node : &fd_nodes[f->can_read + 2 * f->can_write];
	file_put(f);
	inode = pseudo_inode_new(dir->sb, node, p->pid, fd, pseudo_ino(dir->ino, dentry->name));
	if (!inode)
		return -ENOMEM;
	inode->uid = dir->uid;
	inode->gid = dir->gid;
	inode->size = info ? 0 : 64;
	d_instantiate(dentry, inode);
	return 0;
}

static int fd_lookup(struct inode *dir, struct dentry *dentry)
{
	return entry_lookup(dir, dentry, false);
}

static int fdinfo_lookup(struct inode *dir, struct dentry *dentry)
{
	return entry_lookup(dir, dentry, true);
}

static int fd_iterate(struct file *file, struct dir_context *ctx)
{
	struct task *__put_task t = proc_task_get(file->inode);
	struct files *files;
	struct file *f;
	bool info = pseudo(file->inode)->node->iops == &proc_fdinfo_iops;

	if (!t)
		return -ENOENT;
	if (!dir_emit_dots(file, ctx))
		return 0;
	files = task_files_get(t);
	if (!files)
		return 0;
	for (int fd = (int)(ctx->pos - 2); (f = files_next(files, &fd, NULL)); fd++) {
		char name[16];

		file_put(f);
		snprintf(name, sizeof(name), "%d", fd);
		if (!ctx->actor(ctx, name, strlen(name), fd + 3, pseudo_ino(file->inode->ino, name),
				info ? DT_REG : DT_LNK))
			break;
		ctx->pos = fd + 3;
	}
	files_put(files);
	return 0;
}

/* Its size is the number of descriptors. */
static int fd_dir_getattr(struct inode *inode, struct kstat *stat, uint32_t mask, unsigned flags)
{
	struct task *__put_task t = proc_task_get(inode);
	struct files *files = t ? task_files_get(t) : NULL;

	generic_fillattr(inode, stat);
	if (!files)
		return 0;
	mutex_lock(&files->lock);
	for (int fd = 0; fd < files->size; fd++)
		stat->size += files->slots[fd].file != NULL;
	mutex_unlock(&files->lock);
	files_put(files);
	return 0;
}

const struct inode_operations proc_fd_iops = {
	.getattr = fd_dir_getattr,
	.lookup = fd_lookup,
	.permission = proc_private_permission,
};
const struct inode_operations proc_fdinfo_iops = {
	.lookup = fdinfo_lookup,
	.permission = proc_private_permission,
};
const struct file_operations proc_fd_fops = {.iterate = fd_iterate};
const struct file_operations proc_fdinfo_fops = {.iterate = fd_iterate};
