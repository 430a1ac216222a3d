/* mounts, mountinfo, mountstats. The text is made when read from the start; poll tells of changes
 * (EPOLLERR | EPOLLPRI), as programs that watch mounts expect. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "sentry/fs/proc/proc_internal.h"
#include "sentry/vfs/mount.h"

struct mounts_file {
	struct mutex lock;
	struct mnt_ns *ns; /* counted */
	struct path root;  /* of the process, at the time of the open */
	struct text text;
	bool made;
	uint64_t event; /* ns->event that the last poll reported */
};

static int mounts_open(struct inode *inode, struct file *file)
{
	struct task *__put_task t = proc_task_get(inode);
	struct mounts_file *m;
	struct fs *fs;

	if (!t)
		return -ESRCH;
	fs = task_fs_get(t);
	if (!fs)
		return -EINVAL;
	m = calloc(1, sizeof(*m));
	if (!m) {
		fs_put(fs);
		return -ENOMEM;
	}
	mutex_init(&m->lock);
	fs_get_root(fs, &m->root);
	fs_put(fs);
	mutex_lock(&t->group->lock);
	m->ns = t->mnt_ns ? mnt_ns_get(t->mnt_ns) : NULL;
	mutex_unlock(&t->group->lock);
	if (!m->ns) {
		path_put(&m->root);
		free(m);
		return -EINVAL;
	}
	m->event = m->ns->event;
	file->private = m;
	return 0;
}

static void mounts_release(struct file *file)
{
	struct mounts_file *m = file->private;

	if (!m)
		return;
	path_put(&m->root);
	mnt_ns_put(m->ns);
	text_free(&m->text);
	mutex_destroy(&m->lock);
	free(m);
}

/* "dev dir type ..." lines to "device dev mounted on dir with fstype type". */
static void mounts_to_stats(struct text *out, char *mounts)
{
	char *rest = mounts, *line;

	while ((line = strsep(&rest, "\n")) && *line) {
		char *dev = strsep(&line, " "), *dir = strsep(&line, " ");
		char *type = strsep(&line, " ");

		if (dev && dir && type)
			text_printf(out, "device %s mounted on %s with fstype %s\n", dev, dir,
				    type);
	}
}

static int make_mounts(struct mounts_file *m, int kind)
{
	char *__free s = mnt_ns_show(m->ns, &m->root, kind == 1);

	if (!s)
		return -ENOMEM;
	m->text.len = 0;
	if (kind == 2)
		mounts_to_stats(&m->text, s);
	else
		text_puts(&m->text, s);
	m->made = !m->text.failed;
	return m->made ? 0 : -ENOMEM;
}

static ssize_t mounts_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	struct mounts_file *m = file->private;
	ssize_t n;

	MUTEX_GUARD(&m->lock);
	if (*pos == 0 || !m->made) {
		int err = make_mounts(m, (int)pseudo(file->inode)->node->arg);

		if (err)
			return err;
	}
	if ((uint64_t)*pos >= m->text.len)
		return 0;
	n = copy_to_iter(to, m->text.buf + *pos,
			 MIN(iov_iter_count(to), m->text.len - (size_t)*pos));
	if (n > 0)
		*pos += n;
	return n;
}

static uint32_t mounts_poll(struct file *file, struct poll_table *pt)
{
	struct mounts_file *m = file->private;
	uint32_t mask = EPOLLIN | EPOLLRDNORM;

	poll_wait(pt, &m->ns->poll);
	MUTEX_GUARD(&m->lock);
	if (m->event != m->ns->event) {
		m->event = m->ns->event;
		mask |= EPOLLERR | EPOLLPRI;
	}
	return mask;
}

const struct file_operations proc_mounts_fops = {
	.open = mounts_open,
	.release = mounts_release,
	.read = mounts_read,
	.poll = mounts_poll,
};
