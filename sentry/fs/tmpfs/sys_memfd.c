/* memfd_create(2). */
#include <linux/memfd.h>
#include <sys/mman.h>

#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#define MFD_EXEC 0x0010U
#endif
#define NAME_MAX_MEMFD 249 /* without "memfd:" */

SYSCALL_DEFINE2(memfd_create, uaddr_t, uname, unsigned, flags)
{
	char name[NAME_MAX_MEMFD + 1];
	struct file *f;
	ssize_t n;
	long fd;

	/* MFD_HUGETLB: there are no huge pages to reserve. */
	if (flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC))
		return -EINVAL;
	if ((flags & MFD_EXEC) && (flags & MFD_NOEXEC_SEAL))
		return -EINVAL;
	n = strncpy_from_user(name, uname, sizeof(name));
	if (n < 0)
		return n == -ENAMETOOLONG ? -EINVAL : n;
	fd = memfd_file_create(name, flags, &f);
	if (fd)
		return fd;
	fd = fd_install(f, flags & MFD_CLOEXEC);
	if (fd < 0)
		file_put(f);
	return fd;
}
