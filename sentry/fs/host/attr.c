/* Attributes of host files: read through open fds or with the look-up, changed by the gofer. */
#include <errno.h>
#include <string.h>

#include "sentry/fs/host/host_internal.h"

int host_getattr(struct inode *inode, struct kstat *stat, uint32_t mask, unsigned flags)
{
	struct host_object *o = host_object_of(inode);

	/* A name was revalidated on the way here; an open file may have none any more. */
	if (!o->mount->cache && !atomic_load(&o->deleted))
		host_refresh(o);
	generic_fillattr(inode, stat);
	stat->blocks = atomic_load(&o->blocks);
	return 0;
}

static struct gofer_time gofer_time_of(const struct timespec *t)
{
	return (struct gofer_time){.sec = t->tv_sec, .nsec = t->tv_nsec};
}

static void fill_request(struct gofer_request *r, const struct iattr *attr)
{
	if (attr->valid & ATTR_MODE)
		r->valid |= GOFER_SET_MODE;
	if (attr->valid & ATTR_UID)
		r->valid |= GOFER_SET_UID;
	if (attr->valid & ATTR_GID)
		r->valid |= GOFER_SET_GID;
	if (attr->valid & ATTR_ATIME)
		r->valid |= GOFER_SET_ATIME;
	if (attr->valid & ATTR_MTIME)
		r->valid |= GOFER_SET_MTIME;
	r->mode = attr->mode & 07777;
	r->uid = attr->uid;
	r->gid = attr->gid;
	r->atime = gofer_time_of(&attr->atime);
	r->mtime = gofer_time_of(&attr->mtime);
}

static int set_size(struct host_object *o, int64_t size)
{
	int fd = host_fd_get(o, true), ret;

	if (fd < 0)
		return fd;
	ret = ftruncate(fd, size) ? -errno : 0;
	host_fd_put(o, true);
	if (!ret)
		atomic_store(&o->inode->size, size);
	return ret;
}

int host_setattr(struct inode *inode, struct iattr *attr)
{
	struct host_object *o = host_object_of(inode);
	char path[GOFER_PATH_MAX + 1];
	struct gofer_transaction t = {.req.op = GOFER_SETATTR, .path = path};
	int ret = 0;

	if (o->mount->readonly)
		return -EROFS;
	if (attr->valid & ATTR_SIZE) {
		ret = set_size(o, attr->size);
		if (ret)
			return ret;
		host_refresh(o);
		attr->valid &= ~ATTR_MTIME; /* ftruncate has seen to it */
	}
	fill_request(&t.req, attr);
	if (!t.req.valid)
		return 0;
	/* Of a file without a name only its holders see the attributes: they are kept here. */
	if (atomic_load(&o->deleted))
		return generic_setattr(inode, attr);
	ret = host_node_path(o->mount, o->node, NULL, path);
	if (!ret)
		ret = gofer_call(o->mount, &t);
	if (ret)
		return ret;
	if (!host_object_is(o, &t.reply.stat))
		return -ESTALE;
	host_inode_fill(inode, o, &t.reply.stat);
	return 0;
}

int host_setxattr(struct inode *inode, const char *name, const void *value, size_t size, int flags)
{
	struct host_object *o = host_object_of(inode);
	char path[GOFER_PATH_MAX + 1];
	struct gofer_transaction t = {.req.op = value ? GOFER_SETXATTR : GOFER_REMOVEXATTR,
				      .req.flags = value ? flags : 0,
				      .path = path,
				      .path2 = name,
				      .data = value,
				      .data_len = value ? size : 0};
	int ret;

	if (o->mount->readonly)
		return -EROFS;
	ret = host_node_path(o->mount, o->node, NULL, path);
	if (!ret)
		ret = gofer_call(o->mount, &t);
	if (!ret)
		o->no_xattrs = false;
	return ret;
}

ssize_t host_inode_getxattr(struct inode *inode, const char *name, void *buf, size_t size)
{
	return host_getxattr(host_object_of(inode), name, buf, size);
}

ssize_t host_inode_listxattr(struct inode *inode, char *buf, size_t size)
{
	return host_listxattr(host_object_of(inode), buf, size);
}
