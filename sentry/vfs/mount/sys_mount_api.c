/* Mounting in steps (man 2 open_tree, move_mount, fsopen, fsconfig, fsmount, fspick,
 * mount_setattr).
 */
#include <limits.h>
#include <string.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/mount/fs_context.h"
#include "sentry/vfs/mount/mount_ops.h"

#define KEY_MAX 256
/* Those of struct mount_attr that are flags of a mount by another number, or the same. */
#define ATTR_SIMPLE                                                                                \
	(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC |            \
	 MOUNT_ATTR_NODIRATIME)
#define LOOKUP_AT_FLAGS (AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW)
#ifndef FSCONFIG_CMD_CREATE_EXCL
#define FSCONFIG_CMD_CREATE_EXCL 8
#endif

static unsigned lookup_of(unsigned at_flags)
{
	return (at_flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW) |
	       (at_flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0);
}

static long install(struct file *f, bool cloexec)
{
	int fd = fd_install(f, cloexec);

	if (fd < 0)
		file_put(f);
	return fd;
}

SYSCALL_DEFINE3(open_tree, int, dfd, uaddr_t, uname, unsigned, flags)
{
	struct path path __put_path = {0};
	struct mount *copy;
	struct file *f;
	int err;

	if (flags &
	    ~(unsigned)(LOOKUP_AT_FLAGS | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC))
		return -EINVAL;
	if ((flags & AT_RECURSIVE) && !(flags & OPEN_TREE_CLONE))
		return -EINVAL;
	if ((flags & OPEN_TREE_CLONE) && !may_mount())
		return -EPERM;
	err = user_path_at(dfd, uname, lookup_of(flags), &path);
	if (err)
		return err;
	if (flags & OPEN_TREE_CLONE) {
		err = mount_copy(&path, flags & AT_RECURSIVE, &copy);
		if (!err)
			err = mount_detached_file(copy, &f);
	} else {
		err = file_open(&path, O_PATH, &f);
	}
	return err ? err : install(f, flags & OPEN_TREE_CLOEXEC);
}

SYSCALL_DEFINE5(move_mount, int, from_dfd, uaddr_t, ufrom, int, to_dfd, uaddr_t, uto, unsigned,
		flags)
{
	struct path from __put_path = {0}, to __put_path = {0};
	unsigned from_lookup = 0, to_lookup = 0;
	int err;

	if (!may_mount())
		return -EPERM;
	/* Neither mounts beneath others nor copies of sharing groups yet. */
	if (flags & ~(unsigned)(MOVE_MOUNT__MASK & ~MOVE_MOUNT_SET_GROUP))
		return -EINVAL;
	from_lookup |= flags & MOVE_MOUNT_F_SYMLINKS ? LOOKUP_FOLLOW : 0;
	from_lookup |= flags & MOVE_MOUNT_F_EMPTY_PATH ? LOOKUP_EMPTY : 0;
	to_lookup |= flags & MOVE_MOUNT_T_SYMLINKS ? LOOKUP_FOLLOW : 0;
	to_lookup |= flags & MOVE_MOUNT_T_EMPTY_PATH ? LOOKUP_EMPTY : 0;
	err = user_path_at(from_dfd, ufrom, from_lookup, &from);
	if (!err)
		err = user_path_at(to_dfd, uto, to_lookup, &to);
	return err ? err : mount_move(&from, &to);
}

/* --- file systems ----------------------------------------------------------------------------- */

SYSCALL_DEFINE2(fsopen, uaddr_t, uname, unsigned, flags)
{
	const struct fs_type *type;
	char name[KEY_MAX];
	struct file *f;
	ssize_t n;
	int err;

	if (!may_mount())
		return -EPERM;
	if (flags & ~(unsigned)FSOPEN_CLOEXEC)
		return -EINVAL;
	n = strncpy_from_user(name, uname, sizeof(name));
	if (n < 0)
		return n == -ENAMETOOLONG ? -EINVAL : n;
	type = fs_find(name);
	if (!type)
		return -ENODEV;
	err = fs_context_file(type, NULL, &f);
	return err ? err : install(f, flags & FSOPEN_CLOEXEC);
}

SYSCALL_DEFINE3(fspick, int, dfd, uaddr_t, uname, unsigned, flags)
{
	struct path path __put_path = {0};
	unsigned lookup = LOOKUP_FOLLOW;
	struct file *f;
	int err;

	if (!may_mount())
		return -EPERM;
	if (flags & ~(unsigned)(FSPICK_CLOEXEC | FSPICK_SYMLINK_NOFOLLOW | FSPICK_NO_AUTOMOUNT |
				FSPICK_EMPTY_PATH))
		return -EINVAL;
	if (flags & FSPICK_SYMLINK_NOFOLLOW)
		lookup &= ~(unsigned)LOOKUP_FOLLOW;
	if (flags & FSPICK_EMPTY_PATH)
		lookup |= LOOKUP_EMPTY;
	err = user_path_at(dfd, uname, lookup, &path);
	if (err)
		return err;
	/* Behind a namespace's file is the super block of all files without a name. */
	if (path.mnt->root != path.dentry || (path.dentry->inode->flags & S_BINDABLE))
		return -EINVAL;
	err = fs_context_file(path.mnt->sb->type, path.mnt->sb, &f);
	return err ? err : install(f, flags & FSPICK_CLOEXEC);
}

static int set_option(struct fs_context *fc, uaddr_t ukey, uaddr_t uvalue)
{
	char key[KEY_MAX], value[KEY_MAX];
	ssize_t n = strncpy_from_user(key, ukey, sizeof(key));

	if (n >= 0 && uvalue)
		n = strncpy_from_user(value, uvalue, sizeof(value));
	if (n < 0)
		return n == -ENAMETOOLONG ? -EINVAL : (int)n;
	return fs_context_set(fc, key, uvalue ? value : NULL);
}

static bool valid_config(unsigned cmd, uaddr_t ukey, uaddr_t uvalue, int aux)
{
	switch (cmd) {
	case FSCONFIG_SET_FLAG:
		return ukey && !uvalue && !aux;
	case FSCONFIG_SET_STRING:
		return ukey && uvalue && !aux;
	default:
		return !ukey && !uvalue && !aux;
	}
}

/* Values other than strings are for file systems that guests do not mount. */
SYSCALL_DEFINE5(fsconfig, int, fd, unsigned, cmd, uaddr_t, ukey, uaddr_t, uvalue, int, aux)
{
	struct file *__put_file f = NULL;
	struct fs_context *fc;

	if (fd < 0)
		return -EINVAL;
	if (cmd > FSCONFIG_CMD_CREATE_EXCL || (cmd > FSCONFIG_SET_STRING && cmd <= FSCONFIG_SET_FD))
		return -EOPNOTSUPP;
	if (!valid_config(cmd, ukey, uvalue, aux))
		return -EINVAL;
	f = fd_get(fd);
	if (!f)
		return -EBADF;
	fc = fs_context_of(f);
	if (!fc)
		return -EINVAL;
	switch (cmd) {
	case FSCONFIG_CMD_CREATE:
		return fs_context_create(fc);
	case FSCONFIG_CMD_CREATE_EXCL:
		return -EOPNOTSUPP;
	case FSCONFIG_CMD_RECONFIGURE:
		return fs_context_reconfigure(fc);
	default:
		return set_option(fc, ukey, uvalue);
	}
}

/* --- attributes ------------------------------------------------------------------------------- */

/* The flags of a mount that attributes mean, apart from access times. */
static unsigned long simple_flags(uint64_t attr)
{
	static const struct {
		uint64_t attr;
		unsigned long flag;
	} map[] = {{MOUNT_ATTR_RDONLY, MS_RDONLY},
		   {MOUNT_ATTR_NOSUID, MS_NOSUID},
		   {MOUNT_ATTR_NODEV, MS_NODEV},
		   {MOUNT_ATTR_NOEXEC, MS_NOEXEC},
		   {MOUNT_ATTR_NODIRATIME, MS_NODIRATIME}};
	unsigned long flags = 0;

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (attr & map[i].attr)
			flags |= map[i].flag;
	return flags;
}

static int atime_flag(uint64_t attr, unsigned long *flag)
{
	switch (attr & MOUNT_ATTR__ATIME) {
	case MOUNT_ATTR_RELATIME:
		*flag = MS_RELATIME;
		return 0;
	case MOUNT_ATTR_NOATIME:
		*flag = MS_NOATIME;
		return 0;
	case MOUNT_ATTR_STRICTATIME:
		*flag = 0;
		return 0;
	default:
		return -EINVAL;
	}
}

SYSCALL_DEFINE3(fsmount, int, fd, unsigned, flags, unsigned, attr)
{
	struct file *__put_file f = NULL, *made;
	struct super_block *sb;
	unsigned long atime;
	struct mount *m;
	int err;

	if (!may_mount())
		return -EPERM;
	if ((flags & ~(unsigned)FSMOUNT_CLOEXEC) ||
	    (attr & ~(unsigned)(ATTR_SIMPLE | MOUNT_ATTR__ATIME)) || atime_flag(attr, &atime))
		return -EINVAL;
	f = fd_get(fd);
	if (!f)
		return -EBADF;
	if (!fs_context_of(f))
		return -EINVAL;
	err = fs_context_take(fs_context_of(f), &sb);
	if (err)
		return err;
	m = mount_of_super(sb, simple_flags(attr) | atime);
	sb_put(sb);
	if (!m)
		return -ENOMEM;
	err = mount_may_reveal(m);
	if (err) {
		mnt_put(m);
		return err;
	}
	err = mount_detached_file(m, &made);
	return err ? err : install(made, flags & FSMOUNT_CLOEXEC);
}

static int read_attr(struct mount_attr *attr, uaddr_t uattr, size_t size)
{
	char buf[4096];

	if (size < MOUNT_ATTR_SIZE_VER0)
		return -EINVAL;
	if (size > sizeof(buf))
		return -E2BIG;
	if (!may_mount())
		return -EPERM;
	if (copy_from_user(buf, uattr, size))
		return -EFAULT;
	memcpy(attr, buf, sizeof(*attr));
	for (size_t i = sizeof(*attr); i < size; i++)
		if (buf[i])
			return -E2BIG;
	return 0;
}

/* None of our file systems can be idmapped, which Linux answers by EINVAL, too. */
static int parse_attr(const struct mount_attr *attr, struct mount_change *c)
{
	uint64_t all = attr->attr_set | attr->attr_clr;
	const uint64_t types = MS_SHARED | MS_SLAVE | MS_PRIVATE | MS_UNBINDABLE;
	unsigned long atime;

	if ((attr->propagation & ~types) || (attr->propagation & (attr->propagation - 1)))
		return -EINVAL;
	if (all & ~(uint64_t)(ATTR_SIMPLE | MOUNT_ATTR__ATIME))
		return -EINVAL;
	c->propagation = attr->propagation;
	c->clear = simple_flags(attr->attr_clr);
	c->set = simple_flags(attr->attr_set);
	if (attr->attr_clr & MOUNT_ATTR__ATIME) {
		/* One value of several: it is replaced as a whole. */
		if ((attr->attr_clr & MOUNT_ATTR__ATIME) != MOUNT_ATTR__ATIME ||
		    atime_flag(attr->attr_set, &atime))
			return -EINVAL;
		c->clear |= MS_NOATIME | MS_RELATIME;
		c->set |= atime;
	} else if (attr->attr_set & MOUNT_ATTR__ATIME) {
		return -EINVAL;
	}
	return 0;
}

SYSCALL_DEFINE5(mount_setattr, int, dfd, uaddr_t, uname, unsigned, flags, uaddr_t, uattr, size_t,
		size)
{
	struct path path __put_path = {0};
	struct mount_change change = {0};
	struct mount_attr attr;
	int err;

	if (flags & ~(unsigned)(LOOKUP_AT_FLAGS | AT_RECURSIVE))
		return -EINVAL;
	err = read_attr(&attr, uattr, size);
	if (err)
		return err;
	if (!attr.attr_set && !attr.attr_clr && !attr.propagation)
		return 0;
	err = parse_attr(&attr, &change);
	if (!err)
		err = user_path_at(dfd, uname, lookup_of(flags), &path);
	return err ? err : mount_set_attr(&path, flags & AT_RECURSIVE, &change);
}
