/* What gofer and sandbox process do to see nothing of the host. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/host.h"
#include "boot/sandbox/sandbox.h"

/* -errno if nothing can be mounted at this place. */
static int take_place(const char *place)
{
	return mount("none", place, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		     "size=4k,nr_inodes=2,mode=555") ||
			       chdir(place)
		       ? -errno
		       : 0;
}

/* Any folder will do to hang the new root on: nothing else sees this namespace. */
static int take_any_place(void)
{
	static const char *const usual[] = {"/proc", "/tmp", "/dev", "/sys", "/run", "/var"};
	int ret = -ENOENT;
	struct dirent *e;
	DIR *root;

	for (unsigned i = 0; i < ARRAY_SIZE(usual); i++) {
		ret = take_place(usual[i]);
		if (!ret)
			return 0;
	}
	root = opendir("/");
	while (root && ret && (e = readdir(root))) {
		char path[sizeof(e->d_name) + 1];

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/%s", e->d_name);
		ret = take_place(path);
	}
	if (root)
		closedir(root);
	return ret;
}

int isolate_enter_root(void)
{
	/* pivot_root(".", "."): the old root ends up on top of the new one, and goes. man 2
	 * pivot_root. */
	if (!syscall(SYS_pivot_root, ".", "."))
		return umount2(".", MNT_DETACH) || chdir("/") ? -errno : 0;
	if (errno != EPERM && errno != EINVAL)
		return -errno;
	/* Container engines forbid that call even to who may mount (EPERM), and an initramfs cannot
	 * be the old root (EINVAL). What is below the new root then
	 * is out of reach without CAP_SYS_CHROOT and without a descriptor from outside. */
	return mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/") ? -errno : 0;
}

int isolate_root(void)
{
	int ret;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	ret = take_any_place();
	if (ret)
		return ret;
	ret = isolate_enter_root();
	if (ret)
		return ret;
	return mount(NULL, "/", NULL,
		     MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL)
		       ? -errno
		       : 0;
}

int isolate_chroot(void)
{
	char path[64];
	pid_t pid = fork();
	int ret;

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		for (;;)
			pause();
	}
	/* The folder of a process that is gone stays empty for good, and cannot be entered again.
	 */
	snprintf(path, sizeof(path), "/proc/%d/fdinfo", pid);
	ret = chdir(path) || chroot(".") ? -errno : 0;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return ret;
}

/* Before Linux 5.2, or where a filter forbids fsopen: mounted somewhere for a moment. The mount
 * namespace is our own. */
static int mount_proc_and_open(void)
{
	int fd;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		return -errno;
	fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (umount2("/proc", MNT_DETACH) && fd >= 0) {
		close(fd);
		return -EPERM;
	}
	return fd < 0 ? -errno : fd;
}

static int fsmount_proc(void)
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

int isolate_open_proc(void)
{
	int fd;

	if (host_has(HOST_FSMOUNT)) {
		fd = fsmount_proc();
		if (fd != -ENOSYS && fd != -EPERM)
			return fd;
	}
	return mount_proc_and_open();
}
