/* /proc/PID/map_files: a link for each mapping of a file, named "START-END". */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "sentry/fs/proc/proc_internal.h"
#include "sentry/mm/mm.h"

/* Positions: pages of the address space, behind "." and "..". */
#define FIRST_POS 2

/* Two hexadecimal numbers as the names have them: no leading zeros, no signs. */
static bool parse_name(const char *name, uint64_t *start, uint64_t *end)
{
	char again[64];

	if (sscanf(name, "%lx-%lx", start, end) != 2)
		return false;
	snprintf(again, sizeof(again), "%lx-%lx", *start, *end);
	return !strcmp(name, again);
}

/* The mapping at `start`; mm->lock held. */
static struct vm_area *file_mapping(struct mm *mm, uint64_t start)
{
	struct vm_area *vma = vma_find(mm, start);

	return vma && vma->start == start && vma->file ? vma : NULL;
}

static int mapping_link(struct inode *inode, char **target, struct path *jump)
{
	struct vm_area *vma;
	int err;
	struct mm *__put_mm mm = proc_mm_get(inode, &err);

	if (!mm)
		return err ? err : -ENOENT;
	COMMAND_GUARD(&mm->lock);
	vma = file_mapping(mm, (uint64_t)pseudo(inode)->number);
	if (!vma)
		return -ENOENT;
	*jump = vma->file->path;
	path_get(jump);
	return 0;
}

/* What can be done with the mapping shows in a link's mode bits. */
static const struct pseudo_node link_nodes[4] = {
	{.name = "", .mode = S_IFLNK, .get_link = mapping_link},
	{.name = "r", .mode = S_IFLNK | 0400, .get_link = mapping_link},
	{.name = "w", .mode = S_IFLNK | 0200, .get_link = mapping_link},
	{.name = "rw", .mode = S_IFLNK | 0600, .get_link = mapping_link},
};

static int map_files_lookup(struct inode *dir, struct dentry *dentry)
{
	struct pseudo_inode *p = pseudo(dir);
	uint64_t start, end;
	struct inode *inode;
	struct vm_area *vma;
	int err, prot;
	struct mm *__put_mm mm = proc_mm_get(dir, &err);

	if (!mm || !parse_name(dentry->name, &start, &end))
		return -ENOENT;
	command_lock(&mm->lock);
	vma = file_mapping(mm, start);
	prot = vma && vma->end == end ? vma->prot : -1;
	mutex_unlock(&mm->lock);
	if (prot < 0)
		return -ENOENT;
	inode = pseudo_inode_new(dir->sb, &link_nodes[prot & (PROT_READ | PROT_WRITE)], p->pid,
				 (int64_t)start, pseudo_ino(dir->ino, dentry->name));
	if (!inode)
		return -ENOMEM;
	inode->uid = dir->uid;
	inode->gid = dir->gid;
	inode->size = 64;
	d_instantiate(dentry, inode);
	return 0;
}

static int map_files_iterate(struct file *file, struct dir_context *ctx)
{
	struct vm_area *vma;
	int err;
	struct mm *__put_mm mm = proc_mm_get(file->inode, &err);

	if (!dir_emit_dots(file, ctx) || !mm)
		return err;
	/* The buffer that is filled is the sentry's. */
	COMMAND_GUARD(&mm->lock);
	for (vma = vma_find(mm, (uint64_t)(ctx->pos - FIRST_POS) << PAGE_SHIFT); vma;
	     vma = vma_next(vma)) {
		int64_t next = (int64_t)(vma->start >> PAGE_SHIFT) + FIRST_POS + 1;
		char name[64];

		if (!vma->file || next <= ctx->pos)
			continue;
		snprintf(name, sizeof(name), "%lx-%lx", vma->start, vma->end);
		if (!ctx->actor(ctx, name, strlen(name), next, pseudo_ino(file->inode->ino, name),
				DT_LNK))
			break;
		ctx->pos = next;
	}
	return 0;
}

/* Whose it is may look; others by the rules of ptrace. */
const struct inode_operations proc_map_files_iops = {
	.lookup = map_files_lookup,
	.permission = proc_private_permission,
	.setattr = pseudo_setattr,
};
const struct file_operations proc_map_files_fops = {.iterate = map_files_iterate};
