/* What gofer and sandbox process do to see nothing of the host. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/mount.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"
#include "boot/sandbox.h"

static int compare_int(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

void isolate_close_fds(const int *keep, int n)
{
	int sorted[256];
	unsigned from = 3;
	int count = 0;

	for (int i = 0; i < n && count < (int)ARRAY_SIZE(sorted); i++)
		if (keep[i] >= 3)
			sorted[count++] = keep[i];
	qsort(sorted, count, sizeof(int), compare_int);
	for (int i = 0; i < count; i++) {
		if ((unsigned)sorted[i] > from)
			syscall(SYS_close_range, from, sorted[i] - 1, 0);
		from = sorted[i] + 1;
	}
	syscall(SYS_close_range, from, ~0U, 0);
}

int isolate_root(void)
{
	/* Any directory will do to hang the new root on: nothing else sees this namespace. */
	static const char *const places[] = {"/proc", "/tmp", "/dev", "/sys", "/run", "/var"};

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		if (mount("none", places[i], "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
			  "size=4k,nr_inodes=2,mode=555"))
			continue;
		if (chdir(places[i]) || syscall(SYS_pivot_root, ".", ".") ||
		    umount2(".", MNT_DETACH) || chdir("/") ||
		    mount(NULL, "/", NULL,
			  MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
			  NULL))
			return -errno;
		return 0;
	}
	return -errno;
}

int isolate_open_proc(void)
{
	int __close_fd fs = (int)syscall(SYS_fsopen, "proc", FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0)
		return -errno;
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return -errno;
	fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
			  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return fd < 0 ? -errno : fd;
}
