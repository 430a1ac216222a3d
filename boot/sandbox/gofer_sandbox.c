/* How the gofer gives up what it does not need, and how the roots that it serves are opened. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/log.h"
#include "boot/gofer/gofer.h"
#include "boot/sandbox/sandbox.h"

/* <sys/mount.h> and <linux/mount.h> do not go together in glibc 2.36. */
#define MNT_DETACH 2
int mount(const char *source, const char *target, const char *type, unsigned long flags,
	  const void *data);
int umount2(const char *target, int flags);

#define KEPT_CAPS                                                                                  \
	(1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_DAC_READ_SEARCH |              \
	 1ull << CAP_FOWNER | 1ull << CAP_FSETID | 1ull << CAP_SETFCAP)

int gofer_mount_open(const char *path, bool readonly, struct gofer_mount *mount_out, bool *cloned)
{
	struct mount_attr attr = {
		.attr_set =
			MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (readonly ? MOUNT_ATTR_RDONLY : 0),
		/* Not part of the sandbox's view, and must not change with the host's. */
		.propagation = MS_PRIVATE,
	};
	int __close_fd fd = -1;

	*mount_out = (struct gofer_mount){.root_fd = -1, .readonly = readonly, .directfs = true};
	if (cloned)
		*cloned = false;
	fd = syscall(SYS_open_tree, AT_FDCWD, path,
		     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (fd >= 0 && syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr,
			       sizeof(attr)) == 0) {
		struct stat st;

		if (fstat(fd, &st))
			return -errno;
		if (!S_ISDIR(st.st_mode))
			return -ENOTDIR;
		if (cloned)
			*cloned = true;
		mount_out->root_fd = steal_fd(&fd);
		return 0;
	}
	if (fd < 0 && errno != EPERM && errno != ENOSYS && errno != EINVAL)
		return -errno;
	mount_out->root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return mount_out->root_fd < 0 ? -errno : 0;
}

int gofer_bind_tree(const char *path, bool readonly)
{
	/* Covered for a moment only, and nobody else sees this namespace. */
	static const char place[] = "/proc";
	unsigned long flags = MS_NOSUID | MS_NODEV | (readonly ? MS_RDONLY : 0);
	static bool own;
	int fd, error;

	if (!own && (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)))
		return -errno;
	own = true;
	if (mount(path, place, NULL, MS_BIND, NULL))
		return -errno;
	error = mount(NULL, place, NULL, MS_REMOUNT | MS_BIND | flags, NULL) ? errno : 0;
	fd = error ? -1 : open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (!error && fd < 0)
		error = errno;
	if (umount2(place, MNT_DETACH) && !error)
		error = errno;
	if (error && fd >= 0)
		close(fd);
	return error ? -error : fd;
}

/* An empty, read-only root in a mount namespace of its own. */
static int leave_host_root(void)
{
	if (unshare(CLONE_NEWNS))
		return -errno;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	/* Any directory does as the place to mount the new root on; /proc exists everywhere. */
	if (mount("gofer", "/proc", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "size=4k,nr_inodes=2,mode=555"))
		return -errno;
	if (chdir("/proc"))
		return -errno;
	return isolate_enter_root();
}

static int keep_capabilities(uint64_t kept)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2] = {0};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
		return -errno;
	/* Dropping from the bounding set takes CAP_SETPCAP; who has none has little to drop. */
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno != EINVAL && errno != EPERM)
			return -errno;
	if (syscall(SYS_capget, &head, caps))
		return -errno;
	for (int i = 0; i < 2; i++) {
		caps[i].permitted &= (uint32_t)(kept >> (32 * i));
		caps[i].effective = caps[i].permitted;
		caps[i].inheritable = 0;
	}
	return syscall(SYS_capset, &head, caps) ? -errno : 0;
}

int gofer_sandbox(bool in_empty_root)
{
	int ret;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	ret = in_empty_root ? 0 : leave_host_root();
	if (ret) {
		if (ret != -EPERM)
			return ret;
		log_info("gofer: keeps the host's root: not permitted to leave it");
	}
	return keep_capabilities(KEPT_CAPS);
}
