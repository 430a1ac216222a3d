/* tmpfs super blocks: mount options (man 5 tmpfs), statfs. */
#include <stdio.h>
#include <string.h>

#include "sentry/fs/tmpfs/node_internal.h"
#include "sentry/kernel/core/machine.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/vfs_init.h"

#define TMPFS_MAGIC 0x01021994

struct options {
	uint64_t size, inodes; /* as given; ~0: not given */
	uint32_t mode;
	uid_t uid;
	gid_t gid;
	bool has_mode, has_uid, has_gid;
};

/* "10", "64k", "1m", "2g", "50%" (of the memory). */
static int parse_size(const char *s, uint64_t *out)
{
	char *end;
	unsigned long long n;
	int shift = 0;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(s, &end, 0);
	if (errno)
		return -EINVAL;
	switch (*end) {
	case 'k':
	case 'K':
		shift = 10;
		break;
	case 'm':
	case 'M':
		shift = 20;
		break;
	case 'g':
	case 'G':
		shift = 30;
		break;
	case 't':
	case 'T':
		shift = 40;
		break;
	case '%':
		if (n > 1000)
			return -EINVAL;
		n = machine.total_memory / 100 * n;
		end++;
		break;
	}
	if (shift) {
		end++;
		if (n > UINT64_MAX >> shift)
			return -EINVAL;
		n <<= shift;
	}
	*out = n;
	return *end ? -EINVAL : 0;
}

static int parse_number(const char *s, int base, uint32_t max, uint32_t *out)
{
	char *end;
	unsigned long n;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	n = strtoul(s, &end, base);
	if (*end || n > max)
		return -EINVAL;
	*out = n;
	return 0;
}

/* A user or group as the caller's namespace calls it. */
static int parse_owner(const char *s, uint32_t (*to_kernel)(uint32_t), uint32_t *out)
{
	uint32_t id;
	int err = parse_number(s, 10, UINT32_MAX - 1, &id);

	if (err)
		return err;
	*out = to_kernel(id);
	return *out == INVALID_ID ? -EINVAL : 0;
}

static int parse_one(struct options *o, const char *key, const char *value)
{
	static const char *const accepted[] = {"huge",	  "mpol",    "noswap", "inode32",
					       "inode64", "context", "rw",     "ro"};
	int err;

	if (value && !strcmp(key, "size"))
		return parse_size(value, &o->size);
	if (value && !strcmp(key, "nr_blocks")) {
		err = parse_size(value, &o->size);
		if (!err && __builtin_mul_overflow(o->size, 4096ULL, &o->size))
			err = -EINVAL;
		return err;
	}
	if (value && !strcmp(key, "nr_inodes"))
		return parse_size(value, &o->inodes);
	if (value && !strcmp(key, "mode")) {
		o->has_mode = true;
		return parse_number(value, 8, 07777, &o->mode);
	}
	if (value && !strcmp(key, "uid")) {
		o->has_uid = true;
		return parse_owner(value, make_kuid, &o->uid);
	}
	if (value && !strcmp(key, "gid")) {
		o->has_gid = true;
		return parse_owner(value, make_kgid, &o->gid);
	}
	for (size_t i = 0; i < ARRAY_SIZE(accepted); i++)
		if (!strcmp(key, accepted[i]))
			return 0;
	return -EINVAL;
}

static int parse_options(struct options *o, const char *text)
{
	char *copy __free = NULL, *next, *item;
	int err;

	*o = (struct options){.size = ~0ULL, .inodes = ~0ULL};
	if (!text)
		return 0;
	copy = next = strdup(text);
	if (!copy)
		return -ENOMEM;
	while ((item = strsep(&next, ","))) {
		char *value = strchr(item, '=');

		if (!*item)
			continue;
		if (value)
			*value++ = 0;
		err = parse_one(o, item, value);
		if (err)
			return err;
	}
	return 0;
}

static void put_super(struct super_block *sb)
{
	struct tmpfs_sb *own = tmpfs_sb(sb);

	if (own) {
		tmpfs_quota_put(own->quota);
		free(own);
	}
}

static int tmpfs_statfs(struct super_block *sb, struct statfs *buf)
{
	struct tmpfs_quota *q = tmpfs_sb(sb)->quota;
	uint64_t pages = atomic_load(&q->pages), inodes = atomic_load(&q->inodes);

	buf->f_type = TMPFS_MAGIC;
	buf->f_bsize = 4096;
	buf->f_frsize = 4096;
	buf->f_namelen = NAME_MAX_LEN;
	buf->f_blocks = atomic_load(&q->max_pages);
	buf->f_bfree = buf->f_bavail = buf->f_blocks > pages ? buf->f_blocks - pages : 0;
	buf->f_files = atomic_load(&q->max_inodes);
	buf->f_ffree = buf->f_files > inodes ? buf->f_files - inodes : 0;
	return 0;
}

static int tmpfs_remount(struct super_block *sb, unsigned long flags, const char *text)
{
	struct tmpfs_quota *q = tmpfs_sb(sb)->quota;
	struct options o;
	int err = parse_options(&o, text);

	if (err)
		return err;
	if (o.size != ~0ULL && o.size / 4096 + !!(o.size % 4096) < atomic_load(&q->pages))
		return -EINVAL;
	if (o.inodes != ~0ULL && o.inodes < atomic_load(&q->inodes))
		return -EINVAL;
	if (o.size != ~0ULL && o.size)
		atomic_store(&q->max_pages, o.size / 4096 + !!(o.size % 4096));
	if (o.inodes != ~0ULL && o.inodes)
		atomic_store(&q->max_inodes, o.inodes);
	return 0;
}

static void show_options(struct super_block *sb, char *buf, size_t size)
{
	struct tmpfs_sb *own = tmpfs_sb(sb);
	uint64_t total = machine.total_memory / 2;
	size_t n = 0;

	buf[0] = 0;
	if (atomic_load(&own->quota->max_pages) != total / 4096 + !!(total % 4096))
		n += snprintf(buf + n, size - n, ",size=%luk",
			      (unsigned long)atomic_load(&own->quota->max_pages) * 4);
	if (atomic_load(&own->quota->max_inodes) != total / 4096)
		n += snprintf(buf + n, size - n, ",nr_inodes=%lu",
			      (unsigned long)atomic_load(&own->quota->max_inodes));
	if (own->root_mode != 01777)
		n += snprintf(buf + n, size - n, ",mode=%03o", own->root_mode);
	if (own->uid)
		n += snprintf(buf + n, size - n, ",uid=%u", own->uid);
	if (own->gid)
		n += snprintf(buf + n, size - n, ",gid=%u", own->gid);
}

static const struct super_operations tmpfs_s_ops = {
	.evict_inode = tmpfs_evict_inode,
	.statfs = tmpfs_statfs,
	.put_super = put_super,
	.remount = tmpfs_remount,
	.show_options = show_options,
};

static void release_dentry(struct dentry *d)
{
	free(d->private); /* its directory entry */
}

static const struct dentry_operations tmpfs_d_ops = {.release = release_dentry};

static int tmpfs_get_super(const struct fs_type *type, unsigned long flags, const char *source,
			   const char *data, void *arg, struct super_block **out)
{
	struct super_block *sb;
	struct tmpfs_sb *own;
	struct inode *root;
	struct options o;
	int err = parse_options(&o, data);

	if (err)
		return err;
	sb = sb_alloc(type, &tmpfs_s_ops);
	if (!sb)
		return -ENOMEM;
	own = sb->private = calloc(1, sizeof(*own));
	sb->d_ops = &tmpfs_d_ops;
	sb->magic = TMPFS_MAGIC;
	sb->flags = flags & MS_RDONLY;
	err = -ENOMEM;
	if (own)
		own->quota = tmpfs_quota_create(o.size == ~0ULL ? 0 : o.size,
						o.inodes == ~0ULL ? 0 : o.inodes);
	if (own && own->quota) {
		own->root_mode = o.has_mode ? o.mode : 01777;
		own->uid = o.has_uid ? o.uid : vfs_cred()->fsuid;
		own->gid = o.has_gid ? o.gid : vfs_cred()->fsgid;
		err = tmpfs_inode_new(sb, NULL, S_IFDIR | own->root_mode, 0, &root);
	}
	if (!err) {
		root->uid = own->uid;
		root->gid = own->gid;
		sb->root = d_make_root(sb, root);
		err = sb->root ? 0 : -ENOMEM;
	}
	if (err) {
		sb_put(sb);
		return err;
	}
	*out = sb;
	return 0;
}

static const struct fs_type tmpfs_type = {
	.name = "tmpfs",
	.nodev = true,
	.guest_mount = true,
	.userns_mount = true,
	.get_super = tmpfs_get_super,
};

void tmpfs_init(void)
{
	vfs_init();
	fs_register(&tmpfs_type);
}
