/* Extended attributes: the lower file's until one is changed, then all in memory. */
#include <errno.h>
#include <string.h>
#include <linux/limits.h>
#include <sys/xattr.h>

#include "sentry/fs/overlay/overlay_internal.h"

#define XATTR_BYTES_MAX (128 * 1024) /* of one inode, names and values */

static struct ovl_xattr *find(struct ovl_inode *oi, const char *name)
{
	struct ovl_xattr *x;

	LIST_FOREACH (x, &oi->xattrs, link)
		if (!strcmp(x->name, name))
			return x;
	return NULL;
}

static void drop(struct ovl_inode *oi, struct ovl_xattr *x)
{
	LIST_REMOVE(x, link);
	oi->xattr_bytes -= x->size + strlen(x->name) + 1;
	free(x);
}

/* Once charged for, pages stay so until the inode goes. */
static int charge(struct ovl_inode *oi, size_t bytes)
{
	uint32_t pages = (bytes + 4095) / 4096;
	int ret;

	if (pages <= oi->xattr_pages)
		return 0;
	ret = tmpfs_quota_charge_pages(ovl_super_of(oi->inode)->quota, pages - oi->xattr_pages);
	if (!ret)
		oi->xattr_pages = pages;
	return ret;
}

static int put(struct ovl_inode *oi, const char *name, const void *value, size_t size)
{
	struct ovl_xattr *old = find(oi, name), *x;
	size_t name_size = strlen(name) + 1;

	if (oi->xattr_bytes + name_size + size > XATTR_BYTES_MAX ||
	    charge(oi, oi->xattr_bytes + name_size + size))
		return -ENOSPC;
	x = malloc(sizeof(*x) + name_size + size);
	if (!x)
		return -ENOMEM;
	x->name = (char *)(x + 1);
	x->value = x->name + name_size;
	x->size = size;
	memcpy(x->name, name, name_size);
	memcpy(x->value, value, size);
	if (old)
		drop(oi, old);
	LIST_INSERT_HEAD(&oi->xattrs, x, link);
	oi->xattr_bytes += name_size + size;
	return 0;
}

void ovl_xattrs_free(struct ovl_inode *oi)
{
	struct ovl_xattr *x;

	while ((x = LIST_FIRST(&oi->xattrs)))
		drop(oi, x);
	if (oi->xattr_pages)
		tmpfs_quota_uncharge_pages(ovl_super_of(oi->inode)->quota, oi->xattr_pages);
}

/* oi->lock held. */
static int copy_up(struct ovl_inode *oi)
{
	char *__free names = NULL, *__free value = NULL;
	ssize_t n, at = 0;

	if (oi->xattrs_up)
		return 0;
	names = malloc(XATTR_LIST_MAX);
	value = malloc(XATTR_SIZE_MAX);
	if (!names || !value)
		return -ENOMEM;
	n = host_listxattr(&oi->lower, names, XATTR_LIST_MAX);
	if (n < 0)
		return n;
	for (; at < n; at += strlen(names + at) + 1) {
		ssize_t size = host_getxattr(&oi->lower, names + at, value, XATTR_SIZE_MAX);
		int ret;

		if (size < 0)
			continue;
		ret = put(oi, names + at, value, size);
		if (ret)
			return ret;
	}
	oi->xattrs_up = true;
	return 0;
}

static bool supported(const char *name)
{
	return !strncmp(name, "user.", 5) || !strncmp(name, "trusted.", 8) ||
	       !strncmp(name, "security.", 9);
}

ssize_t ovl_getxattr(struct inode *inode, const char *name, void *buf, size_t size)
{
	struct ovl_inode *oi = ovl_of(inode);
	struct ovl_xattr *x;

	if (!supported(name))
		return -EOPNOTSUPP;
	MUTEX_GUARD(&oi->lock);
	if (!oi->xattrs_up)
		return host_getxattr(&oi->lower, name, buf, size);
	x = find(oi, name);
	if (!x)
		return -ENODATA;
	if (!size)
		return x->size;
	if (size < x->size)
		return -ERANGE;
	memcpy(buf, x->value, x->size);
	return x->size;
}

ssize_t ovl_listxattr(struct inode *inode, char *buf, size_t size)
{
	struct ovl_inode *oi = ovl_of(inode);
	struct ovl_xattr *x;
	size_t total = 0;

	MUTEX_GUARD(&oi->lock);
	if (!oi->xattrs_up)
		return host_listxattr(&oi->lower, buf, size);
	LIST_FOREACH (x, &oi->xattrs, link) {
		size_t len = strlen(x->name) + 1;

		if (size && total + len > size)
			return -ERANGE;
		if (size)
			memcpy(buf + total, x->name, len);
		total += len;
	}
	return total;
}

int ovl_setxattr(struct inode *inode, const char *name, const void *value, size_t size, int flags)
{
	struct ovl_inode *oi = ovl_of(inode);
	struct ovl_xattr *x;
	int ret;

	if (!supported(name))
		return -EOPNOTSUPP;
	ovl_pin(inode);
	MUTEX_GUARD(&oi->lock);
	ret = copy_up(oi);
	if (ret)
		return ret;
	x = find(oi, name);
	if (!value) {
		if (!x)
			return -ENODATA;
		drop(oi, x);
	} else {
		if (x && flags & XATTR_CREATE)
			return -EEXIST;
		if (!x && flags & XATTR_REPLACE)
			return -ENODATA;
		ret = put(oi, name, value, size);
	}
	if (!ret)
		inode->ctime = current_time();
	return ret;
}
