/* open, openat, openat2, creat, close, close_range. */
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <string.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file/fd.h"
#include "sentry/vfs/name/namei.h"

#define LARGEFILE 0100000 /* the C library has it as 0: 64-bit programs always mean it */
#define VALID_OPEN_FLAGS                                                                           \
	(O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |      \
	 O_DSYNC | O_ASYNC | O_DIRECT | LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME |         \
	 O_CLOEXEC | O_PATH | __O_TMPFILE)

/* Opens and installs: the fd or -errno. */
static long open_fd(int dfd, uaddr_t uname, uint64_t flags, uint32_t mode, unsigned lookup)
{
	char name[PATH_MAX];
	struct file *f;
	ssize_t n;
	long err;

	n = strncpy_from_user(name, uname, sizeof(name));
	if (n < 0)
		return n;
	err = fd_check_room(current_files());
	if (!err)
		err = vfs_open(dfd, name, flags, mode, lookup, &f);
	if (err)
		return err;
	err = fd_install(f, flags & O_CLOEXEC);
	if (err < 0)
		file_put(f);
	return err;
}

SYSCALL_DEFINE4(openat, int, dfd, uaddr_t, name, int, flags, uint32_t, mode)
{
	return open_fd(dfd, name, ((uint32_t)flags & VALID_OPEN_FLAGS) | LARGEFILE, mode, 0);
}

SYSCALL_DEFINE3(open, uaddr_t, name, int, flags, uint32_t, mode)
{
	return open_fd(AT_FDCWD, name, ((uint32_t)flags & VALID_OPEN_FLAGS) | LARGEFILE, mode, 0);
}

SYSCALL_DEFINE2(creat, uaddr_t, name, uint32_t, mode)
{
	return open_fd(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC | LARGEFILE, mode, 0);
}

static int resolve_to_lookup(uint64_t resolve, unsigned *lookup)
{
	static const struct {
		uint64_t resolve;
		unsigned lookup;
	} map[] = {
		{RESOLVE_NO_XDEV, LOOKUP_NO_XDEV},
		{RESOLVE_NO_MAGICLINKS, LOOKUP_NO_MAGICLINKS},
		{RESOLVE_NO_SYMLINKS, LOOKUP_NO_SYMLINKS | LOOKUP_NO_MAGICLINKS},
		{RESOLVE_BENEATH, LOOKUP_BENEATH},
		{RESOLVE_IN_ROOT, LOOKUP_IN_ROOT},
		{RESOLVE_CACHED, LOOKUP_CACHED},
	};

	*lookup = 0;
	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (resolve & map[i].resolve) {
			*lookup |= map[i].lookup;
			resolve &= ~map[i].resolve;
		}
	if (resolve || (*lookup & LOOKUP_BENEATH && *lookup & LOOKUP_IN_ROOT))
		return -EINVAL;
	return 0;
}

SYSCALL_DEFINE4(openat2, int, dfd, uaddr_t, name, uaddr_t, uhow, size_t, size)
{
	char buf[4096];
	struct open_how how;
	unsigned lookup;
	int err;

	if (size < sizeof(how))
		return -EINVAL;
	if (size > sizeof(buf))
		return -E2BIG;
	if (copy_from_user(buf, uhow, size))
		return -EFAULT;
	memcpy(&how, buf, sizeof(how));
	for (size_t i = sizeof(how); i < size; i++)
		if (buf[i])
			return -E2BIG;
	if (how.flags & ~(uint64_t)VALID_OPEN_FLAGS)
		return -EINVAL;
	if ((how.flags & O_CREAT) || (how.flags & O_TMPFILE) == O_TMPFILE) {
		if (how.mode & ~07777ULL)
			return -EINVAL;
	} else if (how.mode) {
		return -EINVAL;
	}
	if ((how.flags & O_PATH) &&
	    (how.flags & ~(uint64_t)(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)))
		return -EINVAL;
	err = resolve_to_lookup(how.resolve, &lookup);
	if (err)
		return err;
	if ((lookup & LOOKUP_CACHED) &&
	    (how.flags & (O_TRUNC | O_CREAT | (__O_TMPFILE & ~O_DIRECTORY))))
		return -EAGAIN;
	return open_fd(dfd, name, how.flags, how.mode, lookup);
}

SYSCALL_DEFINE1(close, int, fd)
{
	int err = fd_close(current_files(), fd);

	/* The fd is gone whatever flush says: never restart. */
	if (err == -ERESTARTSYS || err == -ERESTARTNOINTR || err == -ERESTARTNOHAND ||
	    err == -ERESTART_RESTARTBLOCK)
		err = -EINTR;
	return err;
}

SYSCALL_DEFINE3(close_range, unsigned, first, unsigned, last, unsigned, flags)
{
	if (flags & ~(unsigned)(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC))
		return -EINVAL;
	if (first > last)
		return -EINVAL;
	if ((flags & CLOSE_RANGE_UNSHARE) && refcount_read(&current_files()->refs) > 1) {
		/* What will be closed need not be copied when it is the end of the table. */
		bool tail = !(flags & CLOSE_RANGE_CLOEXEC) && last == ~0U;
		struct files *old = current_files();
		struct files *copy = tail ? files_dup_below(old, first) : files_dup(old);

		if (!copy)
			return -ENOMEM;
		files_put(current_replace_files(copy));
	}
	fd_close_range(current_files(), first, last, flags & CLOSE_RANGE_CLOEXEC);
	return 0;
}
