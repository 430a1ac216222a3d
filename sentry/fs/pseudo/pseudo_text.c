/* Files whose text is generated when they are read. */
#include <errno.h>
#include <stdlib.h>

#include "base/command_lock.h"
#include "sentry/fs/pseudo/pseudo.h"

extern const struct file_operations pseudo_text_fops;

struct generated {
	struct mutex lock;
	struct text text;
	bool made;
};

static int text_open(struct inode *inode, struct file *file)
{
	const struct pseudo_node *node = pseudo(inode)->node;
	struct generated *g;
	int err = node->may_open ? node->may_open(inode) : 0;

	if (err)
		return err;
	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	mutex_init(&g->lock);
	file->private = g;
	return 0;
}

static void text_release(struct file *file)
{
	struct generated *g = file->private;

	if (!g)
		return;
	text_free(&g->text);
	mutex_destroy(&g->lock);
	free(g);
}

static int make_text(struct generated *g, struct inode *inode)
{
	const struct pseudo_node *node = pseudo(inode)->node;
	int err = 0;

	g->text.len = 0;
	g->text.failed = false;
	if (node->show)
		err = node->show(&g->text, inode);
	else if (node->content)
		text_puts(&g->text, node->content);
	else
		err = -EINVAL;
	if (!err && g->text.failed)
		err = -ENOMEM;
	g->made = !err;
	return err;
}

static ssize_t text_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	struct generated *g = file->private;
	size_t left;
	ssize_t n;
	int err;

	COMMAND_GUARD(&g->lock);
	if (*pos == 0 || !g->made) {
		err = make_text(g, file->inode);
		if (err)
			return err;
	}
	if ((uint64_t)*pos >= g->text.len)
		return 0;
	left = MIN(iov_iter_count(to), g->text.len - (size_t)*pos);
	n = copy_to_iter(to, g->text.buf + *pos, left);
	if (n > 0)
		*pos += n;
	return n;
}

static ssize_t text_write_op(struct file *file, struct iov_iter *from, int64_t *pos, int rwf)
{
	const struct pseudo_node *node = pseudo(file->inode)->node;
	char buf[PSEUDO_WRITE_MAX + 1];
	ssize_t n;

	if (!node->write)
		return -EIO;
	if (iov_iter_count(from) > PSEUDO_WRITE_MAX)
		return -EINVAL;
	n = copy_from_iter(from, buf, iov_iter_count(from));
	if (n < 0)
		return n;
	buf[n] = 0;
	n = node->write(file->inode, buf, (size_t)n);
	if (n > 0)
		*pos += n;
	return n;
}

/* The size is not known: SEEK_END is refused, as seq_file does. */
static int64_t text_llseek(struct file *file, int64_t offset, int whence)
{
	if (whence == SEEK_CUR)
		offset += file->pos;
	else if (whence != SEEK_SET)
		return -EINVAL;
	if (offset < 0)
		return -EINVAL;
	file->pos = offset;
	return offset;
}

const struct file_operations pseudo_text_fops = {
	.open = text_open,
	.release = text_release,
	.read = text_read,
	.write = text_write_op,
	.llseek = text_llseek,
};
