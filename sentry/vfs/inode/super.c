/* File system types and super blocks. */
#include <string.h>

#include "sentry/kernel/core/current.h"
#include "sentry/vfs/inode/inode_internal.h"
#include "sentry/vfs/walk/dcache.h"

#define MAX_FS_TYPES 64

static const struct fs_type *types[MAX_FS_TYPES];
static _Atomic int num_types;
static _Atomic uint32_t last_dev = 20; /* minors of the unnamed devices */

void fs_register(const struct fs_type *type)
{
	BUG_ON(num_types >= MAX_FS_TYPES);
	types[num_types] = type;
	num_types++;
}

const struct fs_type *fs_find(const char *name)
{
	for (int i = 0; i < num_types; i++)
		if (!strcmp(types[i]->name, name))
			return types[i];
	return NULL;
}

const struct fs_type *fs_type_at(int i)
{
	return i < num_types ? types[i] : NULL;
}

struct user_ns *fs_type_owner(const struct fs_type *type)
{
	if (!type || !type->userns_mount)
		return &root_user_ns;
	return type->owner && current ? type->owner() : vfs_cred()->user_ns;
}

/* new_encode_dev of major 0. */
static uint64_t new_unnamed_dev(void)
{
	uint64_t minor = atomic_fetch_add(&last_dev, 1);

	return (minor & 0xff) | ((minor & ~0xffULL) << 12);
}

struct super_block *sb_alloc(const struct fs_type *type, const struct super_operations *ops)
{
	struct super_block *sb = calloc(1, sizeof(*sb));

	if (!sb)
		return NULL;
	refcount_init(&sb->refs);
	refcount_init(&sb->passive);
	sb->type = type;
	sb->ops = ops;
	sb->dev = new_unnamed_dev();
	sb->blksize = 4096;
	sb->user_ns = user_ns_get(fs_type_owner(type));
	sb->nodev = sb->user_ns != &root_user_ns;
	return sb;
}

void sb_of_kernel(struct super_block *sb)
{
	user_ns_put(sb->user_ns);
	sb->user_ns = user_ns_get(&root_user_ns);
	sb->nodev = false;
}

void sb_get(struct super_block *sb)
{
	refcount_inc(&sb->refs);
}

void sb_put_passive(struct super_block *sb)
{
	if (!refcount_dec(&sb->passive))
		return;
	if (sb->ops && sb->ops->put_super)
		sb->ops->put_super(sb);
	user_ns_put(sb->user_ns);
	free(sb->source);
	free(sb);
}

void sb_put(struct super_block *sb)
{
	if (!refcount_dec(&sb->refs))
		return;
	if (sb->root) {
		d_kill_tree(sb->root);
		d_put(sb->root);
	}
	if (sb->ops && sb->ops->shutdown)
		sb->ops->shutdown(sb);
	sb_put_passive(sb);
}
