/* File descriptions: opening a path, the last close. */
#include <string.h>

#include "sentry/kernel/core/current.h"
#include "sentry/vfs/file/fcntl_internal.h"
#include "sentry/vfs/file/file_internal.h"
#include "sentry/vfs/inode/attr.h"
#include "sentry/vfs/lock/leases.h"
#include "sentry/vfs/lock/locks.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/notify/fsnotify.h"

/* fs/pipe, fs/epoll: a build without them has no fifos and no epoll. */

/* What F_GETFL shows of open's flags. */
#define FILE_FLAGS_MASK                                                                            \
	(O_ACCMODE | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC | O_ASYNC | O_DIRECT | O_LARGEFILE | \
	 O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_PATH | __O_TMPFILE)
#define KERNEL_O_LARGEFILE 0100000 /* the C library's is 0 on x86-64 */

static _Atomic long open_files; /* in the whole sandbox */
#define MAX_OPEN_FILES 1048576	/* Linux: fs.file-max; memory that guests can make us hold */

struct file *file_alloc(uint32_t flags)
{
	struct file *f;

	if (atomic_fetch_add(&open_files, 1) >= MAX_OPEN_FILES) {
		atomic_fetch_sub(&open_files, 1);
		return NULL;
	}
	f = calloc(1, sizeof(*f));
	if (!f) {
		atomic_fetch_sub(&open_files, 1);
		return NULL;
	}
	refcount_init(&f->refs);
	/* O_NOCTTY is for ops->open only: file_open drops it. */
	atomic_init(&f->flags, flags & (FILE_FLAGS_MASK | KERNEL_O_LARGEFILE | O_NOCTTY));
	mutex_init(&f->pos_lock);
	mutex_init(&f->owner_lock);
	mutex_init_as(&f->epoll_lock, LOCK_NESTS);
	if (current)
		f->cred = cred_get(current_cred());
	return f;
}

static void file_free(struct file *f)
{
	file_owner_clear(f);
	if (f->inode)
		inode_put(f->inode);
	path_put(&f->path);
	if (f->cred)
		cred_put(f->cred);
	mutex_destroy(&f->pos_lock);
	mutex_destroy(&f->owner_lock);
	mutex_destroy(&f->epoll_lock);
	free(f);
	atomic_fetch_sub(&open_files, 1);
}

/* Gives back what open counted. */
static void drop_counts(struct file *f)
{
	if (f->read_counted)
		atomic_fetch_sub(&f->inode->read_count, 1);
	f->read_counted = false;
	if (!f->write_counted)
		return;
	f->write_counted = false;
	inode_put_write_access(f->inode);
	mnt_drop_write(&f->path);
}

static int take_write(struct file *f)
{
	int err;

	if (!f->can_write || !(S_ISREG(f->inode->mode) || S_ISDIR(f->inode->mode)))
		return 0;
	err = mnt_want_write(&f->path);
	if (err)
		return err;
	err = vfs_copy_up(f->path.dentry);
	if (!err && f->inode != f->path.dentry->inode) {
		inode_put(f->inode);
		f->inode = inode_get(f->path.dentry->inode);
	}
	if (!err)
		err = inode_get_write_access(f->inode);
	if (err)
		mnt_drop_write(&f->path);
	else
		f->write_counted = true;
	return err;
}

static int open_by_type(struct file *f)
{
	struct inode *inode = f->inode;

	if ((inode->flags & S_APPEND_FL) && f->can_write && !(atomic_load(&f->flags) & O_APPEND))
		return -EPERM;
	f->ops = inode->fops;
	switch (inode->mode & S_IFMT) {
	case S_IFREG:
		f->has_pos = true;
		break;
	case S_IFDIR:
		f->has_pos = true;
		if (f->can_write)
			return -EISDIR;
		break;
	case S_IFLNK:
		return -ELOOP;
	case S_IFSOCK:
		if (!f->ops || (inode->flags & S_PRIVATE))
			return f->ops && f->ops->open ? f->ops->open(inode, f) : -ENXIO;
		break;
	case S_IFIFO:
		if (!f->ops)
			f->ops = device_fifo();
		break;
	case S_IFCHR:
	case S_IFBLK:
		if (inode->sb->nodev ||
		    ((atomic_load(&f->path.mnt->flags) & MS_NODEV) && f->path.mnt->ns))
			return -EACCES;
		f->has_pos = true; /* devices that are streams clear it in open */
		if (!f->ops)
			return device_open(inode, f);
		break;
	}
	if (!f->ops)
		return -ENXIO;
	if (!f->ops->open)
		return inode->flags & S_PRIVATE ? -ENXIO : 0;
	return f->ops->open(inode, f);
}

/* Leases of others are broken. What is copied up to be written may be another inode then, of which
 * there are none. */
static int break_leases(struct file *f)
{
	bool nonblock = atomic_load(&f->flags) & O_NONBLOCK;

	if (f->can_read && !f->can_write && S_ISREG(f->inode->mode)) {
		f->read_counted = true;
		atomic_fetch_add(&f->inode->read_count, 1);
	}
	return lease_break(f->inode, f->can_write, nonblock);
}

int file_open(const struct path *path, uint32_t flags, struct file **out)
{
	struct file *f = file_alloc(flags);
	static const struct file_operations no_ops;
	int err = 0;

	if (!f)
		return -ENFILE;
	path_get(path);
	f->path = *path;
	f->inode = inode_get(path->dentry->inode);
	f->ops = &no_ops;
	if (flags & O_PATH) {
		f->is_path = true;
		atomic_store(&f->flags, flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW));
		*out = f;
		return 0;
	}
	f->can_read = (flags & O_ACCMODE) != O_WRONLY;
	f->can_write = (flags & O_ACCMODE) == O_WRONLY || (flags & O_ACCMODE) == O_RDWR;
	if ((flags & O_ACCMODE) == 3)
		f->can_read = false; /* ioctl only */
	if (f->can_write)
		err = lease_break(f->inode, true, flags & O_NONBLOCK);
	if (!err)
		err = take_write(f);
	if (!err)
		err = break_leases(f);
	if (!err)
		err = open_by_type(f);
	if (err) {
		drop_counts(f);
		file_free(f);
		return err;
	}
	atomic_fetch_and(&f->flags, ~(uint32_t)O_NOCTTY);
	fsnotify_file(IN_OPEN, f);
	*out = f;
	return 0;
}

struct file *file_get(struct file *f)
{
	refcount_inc(&f->refs);
	return f;
}

void file_put(struct file *f)
{
	if (!f || !refcount_dec(&f->refs))
		return;
	if (!f->is_path) {
		fsnotify_file(f->can_write ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE, f);
		if (f->epoll_items)
			f->epoll_release(f);
		if (atomic_load(&f->flags) & O_ASYNC && f->ops->set_flags)
			f->ops->set_flags(f, atomic_load(&f->flags) & ~(uint32_t)O_ASYNC);
		if (f->fasync)
			file_fasync_stop(f);
		file_locks_release_file(f);
		lease_release_file(f);
		if (f->ops->release)
			f->ops->release(f);
		drop_counts(f);
	} else if (f->ops && f->ops->release) {
		f->ops->release(f);
	}
	file_free(f);
}

const char *file_name_for_log(struct file *f)
{
	return f->path.dentry->name;
}
