/* The gofer's operations. Each resolves its paths beneath the mount's root anew: the gofer keeps no
 * state between requests, so there is none to corrupt. */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/compiler.h"
#include "boot/gofer/gofer.h"
#include "boot/gofer/gofer_path.h"
#include "sentry/fs/host/beneath.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

/* What an operation works with. */
struct op {
	const struct gofer_call *call;
	const struct gofer_request *req;
	struct gofer_reply *reply;
	char *data; /* GOFER_DATA_MAX bytes */
	int *fd;    /* for the reply */
	int root;
};

static int open_node(const struct op *op)
{
	return gofer_open_beneath(op->root, op->call->path, O_PATH | O_NOFOLLOW);
}

static int op_attach(struct op *op)
{
	int __close_fd fd = open_node(op);
	int ret = fd < 0 ? fd : host_statx(fd, "", &op->reply->stat);

	if (ret)
		return ret;
	op->reply->flags = (op->call->mount->readonly ? GOFER_ATTACH_READONLY : 0) |
			   (op->call->squash ? GOFER_ATTACH_SQUASH : 0);
	op->reply->uid = geteuid();
	op->reply->gid = getegid();
	if (op->call->mount->directfs && !op->call->mount->only) {
		*op->fd = fcntl(op->root, F_DUPFD_CLOEXEC, 0);
		if (*op->fd < 0)
			return -errno;
	}
	return 0;
}

static int op_open(struct op *op)
{
	unsigned flags = op->req->flags;

	if (flags & ~(unsigned)(O_ACCMODE | O_DIRECTORY | O_PATH) ||
	    (flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	if (op->call->mount->readonly && (flags & O_ACCMODE) != O_RDONLY)
		return -EROFS;
	if (flags & O_PATH) {
		if ((flags & O_ACCMODE) != O_RDONLY)
			return -EINVAL;
		*op->fd = gofer_open_beneath(op->root, op->call->path, flags | O_NOFOLLOW);
	} else {
		*op->fd = gofer_open_plain(op->root, op->call->path, flags);
	}
	if (*op->fd < 0)
		return *op->fd;
	return host_statx(*op->fd, "", &op->reply->stat);
}

static int op_stat(struct op *op)
{
	int __close_fd fd = open_node(op);

	return fd < 0 ? fd : host_statx(fd, "", &op->reply->stat);
}

static int op_readlink(struct op *op)
{
	int __close_fd fd = open_node(op);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = readlinkat(fd, "", op->data, GOFER_PATH_MAX);
	if (n < 0)
		return errno == ENOENT ? -EINVAL : -errno;
	op->reply->data_len = n;
	return 0;
}

static int op_readdir(struct op *op)
{
	int __close_fd fd = gofer_open_plain(op->root, op->call->path, O_RDONLY | O_DIRECTORY);
	long n;

	if (fd < 0)
		return fd;
	if (op->req->arg && lseek(fd, op->req->arg, SEEK_SET) < 0)
		return -errno;
	n = syscall(SYS_getdents64, fd, op->data, GOFER_DATA_MAX);
	if (n < 0)
		return -errno;
	op->reply->data_len = n;
	return 0;
}

static int op_statfs(struct op *op)
{
	int __close_fd fd = open_node(op);
	struct statfs st;

	if (fd < 0)
		return fd;
	if (fstatfs(fd, &st))
		return -errno;
	memcpy(op->data, &st, sizeof(st));
	op->reply->data_len = sizeof(st);
	return 0;
}

/* The owner of something just made. Who may not give files away keeps them. */
static int give(const struct op *op, int fd)
{
	if (fchownat(fd, "", op->req->uid, op->req->gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	return op->call->squash && errno == EPERM ? 0 : -errno;
}

/* Opens the name that an operation just made, which nobody else can have replaced by a symbolic
 * link that leads out; hands it to its owner, and reports its attributes. */
static int settle(struct op *op, int parent, const char *name, int type)
{
	int __close_fd fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int ret;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		return -errno;
	if ((st.st_mode & S_IFMT) != (unsigned)type)
		return -ESTALE;
	ret = give(op, fd);
	return ret ? ret : host_statx(fd, "", &op->reply->stat);
}

/* The mode that a file of this type may get. On directories setgid is about groups only. */
static mode_t permitted_mode(const struct op *op, mode_t type)
{
	mode_t mode = op->req->mode & 07777;

	return op->call->mount->nosuid && type != S_IFDIR ? mode & ~(S_ISUID | S_ISGID) : mode;
}

static int op_create(struct op *op)
{
	const char *name;
	int __close_fd parent = gofer_open_parent(op->root, op->call->path, &name);
	int __close_fd fd = -1;
	int ret;

	if (parent < 0)
		return parent;
	/* Nobody's but the gofer's until it has its owner; then the mode, which chown may change.
	 */
	fd = openat(parent, name,
		    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC | O_NONBLOCK,
		    0600);
	if (fd < 0)
		return -errno;
	ret = give(op, fd);
	if (!ret && fchmod(fd, permitted_mode(op, S_IFREG)))
		ret = -errno;
	if (!ret)
		ret = host_statx(fd, "", &op->reply->stat);
	if (ret) {
		unlinkat(parent, name, 0);
		return ret;
	}
	*op->fd = steal_fd(&fd);
	return 0;
}

static int op_mkdir(struct op *op)
{
	const char *name;
	int __close_fd parent = gofer_open_parent(op->root, op->call->path, &name);
	int __close_fd fd = -1;
	int ret;

	if (parent < 0)
		return parent;
	if (mkdirat(parent, name, 0700))
		return -errno;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = give(op, fd);
	if (!ret && fchmod(fd, permitted_mode(op, S_IFDIR)))
		ret = -errno;
	if (!ret)
		ret = host_statx(fd, "", &op->reply->stat);
	if (ret)
		unlinkat(parent, name, AT_REMOVEDIR);
	return ret;
}

static int op_mknod(struct op *op)
{
	unsigned type = op->req->mode & S_IFMT;
	const char *name;
	int __close_fd parent = -1;
	int ret;

	if (type != S_IFIFO && type != S_IFSOCK && type != S_IFREG)
		return -EPERM;
	parent = gofer_open_parent(op->root, op->call->path, &name);
	if (parent < 0)
		return parent;
	if (mknodat(parent, name, type | (op->req->mode & 0777), 0))
		return -errno;
	ret = settle(op, parent, name, type);
	if (ret)
		unlinkat(parent, name, 0);
	return ret;
}

static int op_symlink(struct op *op)
{
	char target[GOFER_PATH_MAX + 1];
	const char *name;
	int __close_fd parent = -1;
	int ret;

	if (op->req->data_len == 0 || op->req->data_len > GOFER_PATH_MAX ||
	    memchr(op->call->data, 0, op->req->data_len))
		return -EINVAL;
	memcpy(target, op->call->data, op->req->data_len);
	target[op->req->data_len] = 0;
	parent = gofer_open_parent(op->root, op->call->path, &name);
	if (parent < 0)
		return parent;
	if (symlinkat(target, parent, name))
		return -errno;
	ret = settle(op, parent, name, S_IFLNK);
	if (ret)
		unlinkat(parent, name, 0);
	return ret;
}

static int op_link(struct op *op)
{
	const char *old_name, *new_name;
	int __close_fd old_parent = gofer_open_parent(op->root, op->call->path, &old_name);
	int __close_fd new_parent = -1;
	int __close_fd fd = -1;

	if (old_parent < 0)
		return old_parent;
	new_parent = gofer_open_parent(op->root, op->call->path2, &new_name);
	if (new_parent < 0)
		return new_parent;
	if (linkat(old_parent, old_name, new_parent, new_name, 0))
		return -errno;
	fd = openat(new_parent, new_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : host_statx(fd, "", &op->reply->stat);
}

static int op_unlink(struct op *op)
{
	const char *name;
	int __close_fd parent = -1;

	if (op->req->flags & ~(unsigned)AT_REMOVEDIR)
		return -EINVAL;
	parent = gofer_open_parent(op->root, op->call->path, &name);
	if (parent < 0)
		return parent;
	return unlinkat(parent, name, op->req->flags) ? -errno : 0;
}

static int op_rename(struct op *op)
{
	const char *old_name, *new_name;
	int __close_fd old_parent = -1;
	int __close_fd new_parent = -1;

	if (op->req->flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	old_parent = gofer_open_parent(op->root, op->call->path, &old_name);
	if (old_parent < 0)
		return old_parent;
	new_parent = gofer_open_parent(op->root, op->call->path2, &new_name);
	if (new_parent < 0)
		return new_parent;
	/* Not the C library's: without flags it makes a renameat of it, which the filter forbids.
	 */
	return syscall(SYS_renameat2, old_parent, old_name, new_parent, new_name, op->req->flags)
		       ? -errno
		       : 0;
}

static struct timespec set_time(unsigned valid, unsigned bit, const struct gofer_time *t)
{
	if (!(valid & bit))
		return (struct timespec){.tv_nsec = UTIME_OMIT};
	return (struct timespec){.tv_sec = t->sec, .tv_nsec = t->nsec};
}

static int set_mode(const struct op *op, int node)
{
	int __close_fd fd = -1;
	struct stat st;
	mode_t mode;

	if (fstat(node, &st))
		return -errno;
	mode = permitted_mode(op, st.st_mode & S_IFMT);
	if (syscall(SYS_fchmodat2, node, "", mode, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno != ENOSYS && errno != EPERM)
		return -errno;
	/* Before Linux 6.6: chmod takes an fd that was really opened. */
	fd = gofer_open_plain(op->root, op->call->path, O_RDONLY);
	if (fd < 0)
		return fd;
	return fchmod(fd, mode) ? -errno : 0;
}

static int set_size(const struct op *op)
{
	int __close_fd fd = gofer_open_plain(op->root, op->call->path, O_WRONLY);

	if (fd < 0)
		return fd;
	return ftruncate(fd, op->req->arg) ? -errno : 0;
}

static int op_setattr(struct op *op)
{
	const struct gofer_request *req = op->req;
	int __close_fd node = -1;
	int ret = 0;

	if (req->valid & ~GOFER_SET_ALL || req->atime.nsec > 999999999 ||
	    req->mtime.nsec > 999999999)
		return -EINVAL;
	node = open_node(op);
	if (node < 0)
		return node;
	if (req->valid & GOFER_SET_SIZE)
		ret = set_size(op);
	/* -1: as it is (man 2 chown). */
	if (!ret && req->valid & (GOFER_SET_UID | GOFER_SET_GID) &&
	    fchownat(node, "", req->valid & GOFER_SET_UID ? req->uid : (uid_t)-1,
		     req->valid & GOFER_SET_GID ? req->gid : (gid_t)-1, AT_EMPTY_PATH))
		ret = -errno;
	if (!ret && req->valid & GOFER_SET_MODE)
		ret = set_mode(op, node);
	if (!ret && req->valid & (GOFER_SET_ATIME | GOFER_SET_MTIME)) {
		struct timespec times[2] = {set_time(req->valid, GOFER_SET_ATIME, &req->atime),
					    set_time(req->valid, GOFER_SET_MTIME, &req->mtime)};

		if (utimensat(node, "", times, AT_EMPTY_PATH))
			ret = -errno;
	}
	return ret ? ret : host_statx(node, "", &op->reply->stat);
}

/* The fd of whose attributes an xattr operation is about, its name checked. */
static int open_for_xattr(const struct op *op, bool need_name)
{
	size_t len = strlen(op->call->path2);

	if (need_name && (len == 0 || len > XATTR_NAME_MAX))
		return -ERANGE;
	/* What the guest means by these is not what the host would. */
	if (need_name && strncmp(op->call->path2, "user.", 5) != 0 &&
	    strcmp(op->call->path2, "security.capability") != 0)
		return -EOPNOTSUPP;
	return gofer_open_plain(op->root, op->call->path, O_RDONLY);
}

static int op_getxattr(struct op *op)
{
	int __close_fd fd = open_for_xattr(op, true);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = fgetxattr(fd, op->call->path2, op->data, GOFER_DATA_MAX);
	if (n < 0)
		return -errno;
	op->reply->data_len = n;
	return 0;
}

static int op_listxattr(struct op *op)
{
	int __close_fd fd = open_for_xattr(op, false);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = flistxattr(fd, op->data, GOFER_DATA_MAX);
	if (n < 0)
		return -errno;
	op->reply->data_len = n;
	return 0;
}

static int op_setxattr(struct op *op)
{
	int __close_fd fd = -1;

	if (op->req->flags & ~(unsigned)(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	if (op->call->mount->nosuid && strcmp(op->call->path2, "security.capability") == 0)
		return -EOPNOTSUPP;
	fd = open_for_xattr(op, true);
	if (fd < 0)
		return fd;
	return fsetxattr(fd, op->call->path2, op->call->data, op->req->data_len, op->req->flags)
		       ? -errno
		       : 0;
}

static int op_removexattr(struct op *op)
{
	int __close_fd fd = open_for_xattr(op, true);

	if (fd < 0)
		return fd;
	return fremovexattr(fd, op->call->path2) ? -errno : 0;
}

/* On a mount that is one file, what works on names does not apply. */
static int check_only(const struct gofer_call *call)
{
	switch (call->req->op) {
	case GOFER_ATTACH:
	case GOFER_OPEN:
	case GOFER_STAT:
	case GOFER_STATFS:
	case GOFER_SETATTR:
	case GOFER_GETXATTR:
	case GOFER_LISTXATTR:
	case GOFER_SETXATTR:
	case GOFER_REMOVEXATTR:
		return *call->path ? -ENOTDIR : 0;
	default:
		return -ENOTDIR;
	}
}

static const struct {
	int (*run)(struct op *op);
	bool changes;
} operations[GOFER_OP_END] = {
	[GOFER_ATTACH] = {op_attach, false},	 [GOFER_OPEN] = {op_open, false},
	[GOFER_STAT] = {op_stat, false},	 [GOFER_READLINK] = {op_readlink, false},
	[GOFER_READDIR] = {op_readdir, false},	 [GOFER_STATFS] = {op_statfs, false},
	[GOFER_CREATE] = {op_create, true},	 [GOFER_MKDIR] = {op_mkdir, true},
	[GOFER_MKNOD] = {op_mknod, true},	 [GOFER_SYMLINK] = {op_symlink, true},
	[GOFER_LINK] = {op_link, true},		 [GOFER_UNLINK] = {op_unlink, true},
	[GOFER_RENAME] = {op_rename, true},	 [GOFER_SETATTR] = {op_setattr, true},
	[GOFER_GETXATTR] = {op_getxattr, false}, [GOFER_LISTXATTR] = {op_listxattr, false},
	[GOFER_SETXATTR] = {op_setxattr, true},	 [GOFER_REMOVEXATTR] = {op_removexattr, true},
};

void gofer_run(const struct gofer_call *call, struct gofer_reply *reply, void *data, int *reply_fd)
{
	struct gofer_call one = *call;
	struct op op = {
		.call = &one,
		.req = call->req,
		.reply = reply,
		.data = data,
		.fd = reply_fd,
		.root = call->mount->root_fd,
	};

	*reply_fd = -1;
	reply->data_len = 0;
	if (call->mount->only) {
		reply->error = check_only(call);
		if (reply->error)
			return;
		one.path = call->mount->only;
	}
	if (!operations[call->req->op].run)
		reply->error = -ENOSYS;
	else if (operations[call->req->op].changes && call->mount->readonly)
		reply->error = -EROFS;
	else
		reply->error = operations[call->req->op].run(&op);
}
