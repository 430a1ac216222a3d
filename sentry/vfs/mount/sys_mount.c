/* mount, umount2, pivot_root (man 2). */
#include <limits.h>
#include <string.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount/mount_ops.h"

#define MS_MAGIC 0xc0ed0000UL
#define OPTIONS_MAX 4096

#define TYPE_FLAGS (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE)

/* An optional string argument: *out NULL for a null pointer. */
static int get_string(char **out, uaddr_t usrc, size_t max)
{
	ssize_t n;

	*out = NULL;
	if (!usrc)
		return 0;
	*out = malloc(max);
	if (!*out)
		return -ENOMEM;
	n = strncpy_from_user(*out, usrc, max);
	if (n >= 0)
		return 0;
	free(*out);
	*out = NULL;
	return n == -ENAMETOOLONG ? -EINVAL : n;
}

/* Mount data: a page that need not end with NUL. */
static int get_options(char **out, uaddr_t usrc)
{
	ssize_t n;

	*out = NULL;
	if (!usrc)
		return 0;
	*out = calloc(1, OPTIONS_MAX + 1);
	if (!*out)
		return -ENOMEM;
	n = copy_from_user_partial(*out, usrc, OPTIONS_MAX);
	if (n > 0)
		return 0;
	free(*out);
	*out = NULL;
	return -EFAULT;
}

static unsigned long mount_flags(unsigned long flags)
{
	unsigned long m = flags & MNT_FLAGS_MASK;

	/* relatime is the default; strictatime is the absence of both. */
	if (!(flags & (MS_NOATIME | MS_STRICTATIME)))
		m |= MS_RELATIME;
	if (flags & (MS_NOATIME | MS_STRICTATIME))
		m &= ~(unsigned long)MS_RELATIME;
	return m;
}

/* A remount that says nothing of access times leaves them. */
static unsigned long remount_flags(const struct path *path, unsigned long flags)
{
	const unsigned long atime = MS_NOATIME | MS_NODIRATIME | MS_RELATIME;

	if (flags & (atime | MS_STRICTATIME))
		return mount_flags(flags);
	return (flags & MNT_FLAGS_MASK) | (atomic_load(&path->mnt->flags) & atime);
}

bool may_mount(void)
{
	return ns_capable(current_mnt_ns()->user_ns, CAP_SYS_ADMIN);
}

static int do_new_mount(const struct path *path, const char *type_name, const char *source,
			unsigned long flags, const char *options)
{
	const struct fs_type *type;
	struct super_block *sb;
	int err;

	if (!type_name)
		return -EINVAL;
	type = fs_find(type_name);
	if (!type)
		return -ENODEV;
	if (!type->guest_mount || !vfs_ns_capable(fs_type_owner(type), CAP_SYS_ADMIN))
		return -EPERM;
	err = type->get_super(type, flags, source, options, NULL, &sb);
	if (err)
		return err;
	if (!sb->source)
		sb->source = strdup(source ? source : "none");
	err = mount_new(path, sb, mount_flags(flags));
	sb_put(sb);
	return err;
}

static int from_path(uaddr_t usource, struct path *from)
{
	if (!usource)
		return -EINVAL;
	return user_path_at(AT_FDCWD, usource, LOOKUP_FOLLOW, from);
}

SYSCALL_DEFINE5(mount, uaddr_t, usource, uaddr_t, utarget, uaddr_t, utype, unsigned long, flags,
		uaddr_t, udata)
{
	char *type __free = NULL, *source __free = NULL, *options __free = NULL;
	struct path path __put_path = {0}, from __put_path = {0};
	int err;

	if ((flags & 0xffff0000) == MS_MAGIC)
		flags &= 0xffff;
	err = get_string(&type, utype, 4096);
	if (!err)
		err = get_options(&options, udata);
	if (!err)
		err = user_path_at(AT_FDCWD, utarget, LOOKUP_FOLLOW, &path);
	if (err)
		return err;
	if (!may_mount())
		return -EPERM;
	if ((flags & (MS_REMOUNT | MS_BIND)) == (MS_REMOUNT | MS_BIND))
		return mount_set_flags(&path, remount_flags(&path, flags));
	if (flags & MS_REMOUNT)
		return mount_remount(&path, remount_flags(&path, flags), options);
	if (flags & MS_BIND) {
		err = from_path(usource, &from);
		return err ? err : mount_bind(&from, &path, flags & MS_REC);
	}
	if (flags & TYPE_FLAGS) {
		unsigned long kind = flags & TYPE_FLAGS;

		if ((kind & (kind - 1)) || (flags & ~(TYPE_FLAGS | MS_REC | MS_SILENT)))
			return -EINVAL;
		return mount_change_type(&path, kind | (flags & MS_REC));
	}
	if (flags & MS_MOVE) {
		err = from_path(usource, &from);
		return err ? err : mount_move(&from, &path);
	}
	err = get_string(&source, usource, PATH_MAX);
	return err ? err : do_new_mount(&path, type, source, flags, options);
}

SYSCALL_DEFINE2(umount2, uaddr_t, utarget, int, flags)
{
	struct path path __put_path = {0};
	int err;

	if (flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW))
		return -EINVAL;
	if ((flags & MNT_EXPIRE) && (flags & (MNT_FORCE | MNT_DETACH)))
		return -EINVAL;
	if (!may_mount())
		return -EPERM;
	err = user_path_at(AT_FDCWD, utarget, flags & UMOUNT_NOFOLLOW ? 0 : LOOKUP_FOLLOW, &path);
	return err ? err : mount_umount(&path, flags);
}

SYSCALL_DEFINE2(pivot_root, uaddr_t, unew_root, uaddr_t, uput_old)
{
	struct path new_root __put_path = {0}, put_old __put_path = {0}, root __put_path = {0};
	int err;

	if (!may_mount())
		return -EPERM;
	err = user_path_at(AT_FDCWD, unew_root, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &new_root);
	if (!err)
		err = user_path_at(AT_FDCWD, uput_old, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &put_old);
	if (err)
		return err;
	fs_get_root(current_fs(), &root);
	return mount_pivot_root(&new_root, &put_old, &root);
}
