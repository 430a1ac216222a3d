/* dup family, fcntl. */
#include <sys/resource.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/pid.h"
#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file/fcntl_internal.h"
#include "sentry/vfs/file/fd.h"
#include "sentry/vfs/lock/leases.h"
#include "sentry/vfs/lock/locks.h"

#ifndef F_DUPFD_QUERY
#define F_DUPFD_QUERY (1024 + 3)
#endif
#define SETFL_MASK (O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME)

static long dup_from(struct file *f, int min, bool cloexec)
{
	long fd = fd_install_from(current_files(), min, file_get(f), cloexec);

	if (fd < 0)
		file_put(f);
	return fd;
}

SYSCALL_DEFINE1(dup, int, fd)
{
	struct file *__put_file f = fd_get_raw(fd);

	return f ? dup_from(f, 0, false) : -EBADF;
}

static long do_dup3(int old, int new, int flags)
{
	struct file *__put_file f = fd_get_raw(old);

	return f ? fd_install_at(current_files(), new, f, flags & O_CLOEXEC) : -EBADF;
}

SYSCALL_DEFINE2(dup2, int, old, int, new)
{
	if (old == new) {
		struct file *__put_file f = fd_get_raw(old);

		return f ? new : -EBADF;
	}
	return do_dup3(old, new, 0);
}

SYSCALL_DEFINE3(dup3, int, old, int, new, int, flags)
{
	if ((flags & ~O_CLOEXEC) || old == new)
		return -EINVAL;
	return do_dup3(old, new, flags);
}

static long set_flags(struct file *f, int fd, uint32_t flags)
{
	uint32_t old = atomic_load(&f->flags), mask = SETFL_MASK;

	if (((old ^ flags) & O_APPEND) && (f->inode->flags & S_APPEND_FL))
		return -EPERM;
	if ((flags & O_NOATIME) && !(old & O_NOATIME) && !inode_owner_or_capable(f->inode))
		return -EPERM;
	if ((flags & O_DIRECT) && !S_ISREG(f->inode->mode) && !S_ISFIFO(f->inode->mode))
		return -EINVAL;
	if (!f->ops->can_async)
		mask &= ~(uint32_t)O_ASYNC;
	/* Signals name the descriptor through which they were switched on. */
	if ((flags & ~old) & mask & O_ASYNC)
		atomic_store(&f->async_fd, fd);
	return file_set_flags(f, flags, mask);
}

/* What is written is to live how long: a hint, kept with the inode and not used (man 2 fcntl). */
static long rw_hint(struct file *f, bool set, uaddr_t arg)
{
	uint64_t hint = atomic_load(&f->inode->rw_hint);

	if (!set)
		return put_user(arg, hint);
	if (get_user(&hint, arg))
		return -EFAULT;
	if (hint > RWH_WRITE_LIFE_EXTREME)
		return -EINVAL;
	if (!inode_owner_or_capable(f->inode))
		return -EPERM;
	atomic_store(&f->inode->rw_hint, (uint8_t)hint);
	return 0;
}

/* F_SETOWN: negative ids are process groups. */
static long set_owner(struct file *f, int id)
{
	int type = F_OWNER_PID;

	if (id < 0) {
		if (id == INT32_MIN)
			return -EINVAL;
		type = F_OWNER_PGRP;
		id = -id;
	}
	return file_set_owner(f, type, id);
}

static long get_owner(struct file *f)
{
	int type;
	pid_t id;

	file_get_owner(f, &type, &id);
	return type == F_OWNER_PGRP ? -id : id;
}

struct owner_ex {
	int type;
	pid_t pid;
};

static long set_owner_ex(struct file *f, uaddr_t arg)
{
	struct owner_ex o;

	if (get_user(&o, arg))
		return -EFAULT;
	if (o.type != F_OWNER_TID && o.type != F_OWNER_PID && o.type != F_OWNER_PGRP)
		return -EINVAL;
	return file_set_owner(f, o.type, o.pid);
}

static long get_owner_ex(struct file *f, uaddr_t arg)
{
	struct owner_ex o;

	file_get_owner(f, &o.type, &o.pid);
	return put_user(arg, o);
}

static long set_signal(struct file *f, uint64_t sig)
{
	if (sig > GUEST_NSIG)
		return -EINVAL;
	MUTEX_GUARD(&f->owner_lock);
	f->owner_sig = sig;
	return 0;
}

/* Who takes the first lease hears of its end, unless somebody else is to. */
static long set_lease(struct file *f, int fd, int type)
{
	long ret = lease_set(f, fd, type);
	int owner_type;
	pid_t id;

	if (ret || type == F_UNLCK)
		return ret;
	file_get_owner(f, &owner_type, &id);
	return id ? 0
		  : file_set_owner(f, F_OWNER_PID, pid_nr_ns(current_tgid(), task_pid_ns(current)));
}

static bool allowed_on_path(unsigned cmd)
{
	return cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC || cmd == F_GETFD || cmd == F_SETFD ||
	       cmd == F_GETFL || cmd == F_DUPFD_QUERY;
}

static long dup_query(struct file *f, int other)
{
	struct file *__put_file g = fd_get_raw(other);

	return g ? g == f : -EBADF;
}

SYSCALL_DEFINE3(fcntl, int, fd, unsigned, cmd, uint64_t, arg)
{
	struct file *__put_file f = fd_get_raw(fd);

	if (!f || (f->is_path && !allowed_on_path(cmd)))
		return -EBADF;
	switch (cmd) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		if (arg >= current_rlimit(RLIMIT_NOFILE) || arg > INT32_MAX)
			return -EINVAL;
		return dup_from(f, arg, cmd == F_DUPFD_CLOEXEC);
	case F_DUPFD_QUERY:
		return dup_query(f, arg);
	case F_GETFD:
		return fd_get_cloexec(current_files(), fd);
	case F_SETFD:
		return fd_set_cloexec(current_files(), fd, arg & FD_CLOEXEC);
	case F_GETFL:
		return atomic_load(&f->flags);
	case F_SETFL:
		return set_flags(f, fd, arg);
	case F_GET_RW_HINT:
	case F_SET_RW_HINT:
		return rw_hint(f, cmd == F_SET_RW_HINT, arg);
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_GETLK:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
		return fcntl_lock(f, fd, cmd, arg);
	case F_SETOWN:
		return set_owner(f, arg);
	case F_GETOWN:
		return get_owner(f);
	case F_SETOWN_EX:
		return set_owner_ex(f, arg);
	case F_GETOWN_EX:
		return get_owner_ex(f, arg);
	case F_SETSIG:
		return set_signal(f, arg);
	case F_GETSIG:
		return f->owner_sig;
	case F_NOTIFY:
		/* To watch for nothing is to stop watching; there is no dnotify to start. */
		if (!(arg & ~(uint64_t)DN_MULTISHOT))
			return 0;
		return S_ISDIR(f->inode->mode) ? -EINVAL : -ENOTDIR;
	case F_GETLEASE:
		return lease_get(f);
	case F_SETLEASE:
		return set_lease(f, fd, (int)arg);
	}
	if (f->ops->fcntl)
		return f->ops->fcntl(f, cmd, arg);
	return cmd == F_SETPIPE_SZ || cmd == F_GETPIPE_SZ ? -EBADF : -EINVAL;
}
