/* Inodes and directories made of static nodes. */
#include "sentry/fs/pseudo/pseudo.h"

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/arch/regs.h"
#include "sentry/kernel/task/task.h"

static int link_get_link(struct inode *inode, char **target, struct path *jump)
{
	const struct pseudo_node *node = pseudo(inode)->node;

	if (node->get_link)
		return node->get_link(inode, target, jump);
	*target = strdup(node->content);
	return *target ? 0 : -ENOMEM;
}

/* Modes and owners are the kernel's to say. */
int pseudo_setattr(struct inode *inode, struct iattr *attr)
{
	return attr->valid & (ATTR_MODE | ATTR_UID | ATTR_GID) ? -EPERM : 0;
}

/* In proc a name that is not there is an error even for those who want to create it. */
int pseudo_absent(struct inode *dir, struct dentry *dentry)
{
	return !dentry->inode && dir->sb->magic == PROC_SUPER_MAGIC ? -ENOENT : 0;
}

static int dir_lookup(struct inode *dir, struct dentry *dentry)
{
	int err = pseudo_lookup_in(pseudo(dir)->node->children, dir, dentry);

	return err ? err : pseudo_absent(dir, dentry);
}

static int dir_iterate(struct file *file, struct dir_context *ctx)
{
	if (dir_emit_dots(file, ctx))
		pseudo_emit(pseudo(file->inode)->node->children, file->inode, ctx, 2);
	return 0;
}

const struct inode_operations pseudo_dir_iops = {
	.lookup = dir_lookup,
	.setattr = pseudo_setattr,
};
const struct file_operations pseudo_dir_fops = {.iterate = dir_iterate};
static const struct inode_operations pseudo_link_iops = {
	.get_link = link_get_link,
	.setattr = pseudo_setattr,
};
static const struct inode_operations pseudo_file_iops = {.setattr = pseudo_setattr};

uint64_t pseudo_ino(uint64_t parent_ino, const char *name)
{
	uint64_t h = parent_ino * 0x9e3779b97f4a7c15ULL + 0xcbf29ce484222325ULL;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3ULL;
	return ((h ^ (h >> 32)) & 0xffffffffULL) | 0x100000000ULL;
}

/* Of a directory: "." and its name, and ".." of those in it. */
static uint32_t count_links(const struct pseudo_node *node)
{
	uint32_t n = 2;

	for (const struct pseudo_node *c = node->children; c && c->name; c++)
		n += S_ISDIR(c->mode);
	return n;
}

struct inode *pseudo_inode_new(struct super_block *sb, const struct pseudo_node *node,
			       struct pid *pid, int64_t number, uint64_t ino)
{
	struct pseudo_inode *p = calloc(1, sizeof(*p));
	struct inode *inode = p ? inode_alloc(sb, node->mode) : NULL;

	if (!inode) {
		free(p);
		return NULL;
	}
	p->node = node;
	p->pid = pid ? pid_get(pid) : NULL;
	p->number = number;
	inode->private = p;
	inode->ino = ino;
	if (S_ISDIR(node->mode)) {
		inode->nlink = count_links(node);
		inode->ops = node->iops ? node->iops : &pseudo_dir_iops;
		inode->fops = node->fops ? node->fops : &pseudo_dir_fops;
	} else if (S_ISLNK(node->mode)) {
		inode->ops = node->iops ? node->iops : &pseudo_link_iops;
	} else {
		inode->ops = node->iops ? node->iops : &pseudo_file_iops;
		inode->fops = node->fops ? node->fops : &pseudo_text_fops;
	}
	return inode;
}

void pseudo_evict(struct inode *inode)
{
	struct pseudo_inode *p = pseudo(inode);

	if (!p)
		return;
	if (p->pid)
		pid_put(p->pid);
	free(p);
}

static bool present(const struct pseudo_node *node, struct inode *dir)
{
	return !node->present || node->present(dir);
}

int pseudo_lookup_in(const struct pseudo_node *nodes, struct inode *dir, struct dentry *dentry)
{
	struct pseudo_inode *p = pseudo(dir);
	struct inode *inode;

	for (; nodes && nodes->name; nodes++) {
		if (strcmp(nodes->name, dentry->name) || !present(nodes, dir))
			continue;
		inode = pseudo_inode_new(dir->sb, nodes, p->pid, p->number,
					 pseudo_ino(dir->ino, nodes->name));
		if (!inode)
			return -ENOMEM;
		inode->uid = dir->uid;
		inode->gid = dir->gid;
		d_instantiate(dentry, inode);
		break;
	}
	return 0;
}

bool pseudo_emit(const struct pseudo_node *nodes, struct inode *dir, struct dir_context *ctx,
		 int64_t base)
{
	for (int64_t i = 0; nodes && nodes[i].name; i++) {
		if (i < ctx->pos - base)
			continue;
		if (present(&nodes[i], dir) &&
		    !ctx->actor(ctx, nodes[i].name, strlen(nodes[i].name), base + i + 1,
				pseudo_ino(dir->ino, nodes[i].name), IFTODT(nodes[i].mode)))
			return false;
		ctx->pos = base + i + 1;
	}
	return true;
}

int pseudo_sb_create(const struct fs_type *type, const struct super_operations *ops,
		     const struct pseudo_node *root, uint64_t magic, struct super_block **out)
{
	struct super_block *sb = sb_alloc(type, ops);
	struct inode *inode;

	if (!sb)
		return -ENOMEM;
	sb->magic = magic;
	sb->flags = SB_NO_NEGATIVE;
	inode = pseudo_inode_new(sb, root, NULL, 0, 1);
	sb->root = inode ? d_make_root(sb, inode) : NULL;
	if (!sb->root) {
		sb_put(sb);
		return -ENOMEM;
	}
	*out = sb;
	return 0;
}

int pseudo_statfs(struct super_block *sb, struct statfs *buf)
{
	memset(buf, 0, sizeof(*buf));
	buf->f_type = (__fsword_t)sb->magic;
	buf->f_bsize = buf->f_frsize = PAGE_SIZE;
	buf->f_namelen = NAME_MAX_LEN;
	return 0;
}

int pseudo_parse_int(const char *s, int64_t min, int64_t max, int64_t *out)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(s, &end, 0);
	if (end == s || errno || n < min || n > max)
		return -EINVAL;
	end += strspn(end, " \t\n");
	if (*end)
		return -EINVAL;
	*out = n;
	return 0;
}
