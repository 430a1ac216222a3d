/* Mounting in steps: open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr.
 * Needs CAP_SYS_ADMIN; in a mount namespace of its own. */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* The C library has wrappers only since 2.36. */
static int tree(int dfd, const char *path, unsigned flags)
{
	return (int)syscall(SYS_open_tree, dfd, path, flags);
}

static int move(int from, const char *from_path, int to, const char *to_path, unsigned flags)
{
	return (int)syscall(SYS_move_mount, from, from_path, to, to_path, flags);
}

static int config(int fd, unsigned cmd, const char *key, const void *value, int aux)
{
	return (int)syscall(SYS_fsconfig, fd, cmd, key, value, aux);
}

static int setattr(int dfd, const char *path, unsigned flags, struct mount_attr *a, size_t size)
{
	return (int)syscall(SYS_mount_setattr, dfd, path, flags, a, size);
}

static int new_tmpfs(const char *option, const char *value)
{
	int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC), fd;

	REQUIRE(fs >= 0);
	CHECK_EQ(config(fs, FSCONFIG_SET_STRING, "source", "made", 0), 0);
	if (option)
		CHECK_EQ(config(fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, option, value,
				0),
			 0);
	CHECK_EQ(config(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), 0);
	fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID);
	close(fs);
	return fd;
}

static char dir[] = "/tmp/moat-mount-api-XXXXXX";
static char a[64], b[64];

static void made_configured_and_attached(void)
{
	int fs = (int)syscall(SYS_fsopen, "tmpfs", 0), fd;
	struct statvfs st;
	struct stat s;
	char c;

	CHECK(fs >= 0);
	CHECK_EQ(fcntl(fs, F_GETFD), 0);
	CHECK_ERRNO(syscall(SYS_fsmount, fs, 0, 0), EINVAL);
	CHECK_ERRNO(config(fs, FSCONFIG_SET_STRING, "size", NULL, 0), EINVAL);
	CHECK_ERRNO(config(fs, FSCONFIG_SET_FLAG, "ro", "1", 0), EINVAL);
	CHECK_ERRNO(config(fs, FSCONFIG_CMD_CREATE, "x", NULL, 0), EINVAL);
	CHECK_ERRNO(config(fs, 77, NULL, NULL, 0), EOPNOTSUPP);
	CHECK_ERRNO(config(-1, FSCONFIG_SET_FLAG, "ro", NULL, 0), EINVAL);
	CHECK_ERRNO(config(0x7ff, FSCONFIG_SET_FLAG, "ro", NULL, 0), EBADF);
	CHECK_ERRNO(config(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0), EBUSY);
	CHECK_ERRNO(read(fs, &c, 1), ENODATA);
	CHECK_EQ(config(fs, FSCONFIG_SET_STRING, "size", "1m", 0), 0);
	CHECK_EQ(config(fs, FSCONFIG_SET_STRING, "mode", "750", 0), 0);
	CHECK_EQ(config(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), 0);
	CHECK_ERRNO(config(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), EBUSY);
	CHECK_ERRNO(config(fs, FSCONFIG_SET_STRING, "size", "1m", 0), EBUSY);
	CHECK_ERRNO(syscall(SYS_fsmount, fs, 0, 0x8000), EINVAL);
	CHECK_ERRNO(syscall(SYS_fsmount, fs, 8, 0), EINVAL);
	fd = (int)syscall(SYS_fsmount, fs, 0, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME);
	CHECK(fd >= 0);
	CHECK_ERRNO(syscall(SYS_fsmount, fs, 0, 0), EBUSY);
	/* It works before it is anywhere. */
	CHECK_EQ(mkdirat(fd, "sub", 0700), 0);
	CHECK_EQ(fstatvfs(fd, &st), 0);
	CHECK_EQ(st.f_blocks * st.f_frsize, 1 << 20);
	CHECK_EQ(st.f_flag & (ST_NODEV | ST_NOATIME | ST_NOSUID), ST_NODEV | ST_NOATIME);
	CHECK_ERRNO(write(fd, "x", 1), EBADF);
	CHECK_ERRNO(move(fd, "sub", AT_FDCWD, a, 0), EINVAL);
	CHECK_ERRNO(move(fd, "", AT_FDCWD, a, 0), ENOENT);
	CHECK_ERRNO(move(fd, "", AT_FDCWD, a, 0x8000 | MOVE_MOUNT_F_EMPTY_PATH), EINVAL);
	CHECK_EQ(move(fd, "", AT_FDCWD, a, MOVE_MOUNT_F_EMPTY_PATH), 0);
	CHECK_EQ(stat(a, &s), 0);
	CHECK_EQ(s.st_mode & 07777, 0750);
	/* With the descriptor closed it stays. */
	close(fd);
	CHECK_EQ(chdir(a), 0);
	CHECK_EQ(access("sub", F_OK), 0);
	CHECK_EQ(chdir("/"), 0);
	/* The context now changes what it made. */
	CHECK_EQ(config(fs, FSCONFIG_SET_STRING, "size", "2m", 0), 0);
	CHECK_EQ(config(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0), 0);
	CHECK_EQ(statvfs(a, &st), 0);
	CHECK_EQ(st.f_blocks * st.f_frsize, 2 << 20);
	close(fs);
	CHECK_EQ(umount(a), 0);
}

static void unattached_goes_with_its_descriptor(void)
{
	int fd = new_tmpfs("mode", "700"), copy;

	CHECK(fd >= 0);
	copy = dup(fd);
	close(fd);
	CHECK_EQ(mkdirat(copy, "x", 0700), 0);
	fd = openat(copy, "x", O_RDONLY | O_DIRECTORY);
	CHECK(fd >= 0);
	close(copy);
	/* Others keep what they have of it, but it cannot be put anywhere any more. */
	CHECK_EQ(mkdirat(fd, "y", 0700), 0);
	CHECK_ERRNO(move(fd, "..", AT_FDCWD, a, 0), EINVAL);
	close(fd);
}

static void unknown_types_and_options(void)
{
	int fs;

	CHECK_ERRNO(syscall(SYS_fsopen, "nosuchfs", 0), ENODEV);
	CHECK_ERRNO(syscall(SYS_fsopen, "tmpfs", 8), EINVAL);
	CHECK_ERRNO(syscall(SYS_fsopen, (char *)8, 0), EFAULT);
	fs = (int)syscall(SYS_fsopen, "proc", 0);
	CHECK(fs >= 0);
	CHECK_EQ(config(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0), 0);
	CHECK_EQ(config(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), 0);
	close(fs);
}

static void picked_and_changed(void)
{
	int fd = new_tmpfs(NULL, NULL), fs;
	struct statvfs st;

	CHECK_EQ(move(fd, "", AT_FDCWD, a, MOVE_MOUNT_F_EMPTY_PATH), 0);
	close(fd);
	CHECK_EQ(mkdirat(AT_FDCWD, b + 0, 0700) == 0 || errno == EEXIST, 1);
	CHECK_ERRNO(syscall(SYS_fspick, AT_FDCWD, dir, 0), EINVAL);
	CHECK_ERRNO(syscall(SYS_fspick, AT_FDCWD, a, 0x100), EINVAL);
	fs = (int)syscall(SYS_fspick, AT_FDCWD, a, FSPICK_CLOEXEC);
	CHECK(fs >= 0);
	CHECK_ERRNO(config(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), EBUSY);
	CHECK_EQ(config(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0), 0);
	CHECK_EQ(config(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0), 0);
	CHECK_EQ(statvfs(a, &st), 0);
	CHECK(st.f_flag & ST_RDONLY);
	close(fs);
	CHECK_EQ(umount(a), 0);
}

static void trees_cloned(void)
{
	char in_a[80], in_b[80];
	int fd, plain;

	CHECK_EQ(mount("none", a, "tmpfs", 0, NULL), 0);
	snprintf(in_a, sizeof(in_a), "%s/in", a);
	snprintf(in_b, sizeof(in_b), "%s/in", b);
	CHECK_EQ(mkdir(in_a, 0700), 0);
	CHECK_EQ(mount("none", in_a, "tmpfs", 0, "mode=711"), 0);
	CHECK_ERRNO(tree(AT_FDCWD, a, AT_RECURSIVE), EINVAL);
	CHECK_ERRNO(tree(AT_FDCWD, a, 2), EINVAL);
	plain = tree(AT_FDCWD, a, OPEN_TREE_CLOEXEC);
	CHECK(plain >= 0);
	CHECK_EQ(fcntl(plain, F_GETFL) & O_PATH, O_PATH);
	fd = tree(AT_FDCWD, a, OPEN_TREE_CLONE | AT_RECURSIVE);
	CHECK(fd >= 0);
	CHECK_EQ(move(fd, "", AT_FDCWD, b, MOVE_MOUNT_F_EMPTY_PATH), 0);
	close(fd);
	struct stat st;
	CHECK_EQ(stat(in_b, &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0711);
	CHECK_EQ(umount(in_b), 0);
	CHECK_EQ(umount(b), 0);
	/* Of one mount only, and of a directory below its root. */
	fd = tree(AT_FDCWD, a, OPEN_TREE_CLONE);
	CHECK_EQ(fstatat(fd, "in", &st, 0), 0);
	CHECK_EQ(st.st_mode & 0777, 0700);
	close(fd);
	fd = tree(plain, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
	CHECK(fd >= 0);
	close(fd);
	close(plain);
	CHECK_EQ(umount2(a, MNT_DETACH), 0);
}

/* An attached mount moves as by mount(2). */
static void attached_moved(void)
{
	CHECK_EQ(mount("none", a, "tmpfs", 0, "mode=701"), 0);
	CHECK_ERRNO(move(AT_FDCWD, dir, AT_FDCWD, b, 0), EINVAL);
	CHECK_EQ(move(AT_FDCWD, a, AT_FDCWD, b, 0), 0);
	struct stat st;
	CHECK_EQ(stat(b, &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0701);
	CHECK_ERRNO(umount(a), EINVAL);
	CHECK_EQ(umount(b), 0);
}

static void attributes(void)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC};
	char in_a[80];
	struct statvfs st;
	char big[128] = "";
	int fd;

	CHECK_EQ(mount("none", a, "tmpfs", 0, NULL), 0);
	snprintf(in_a, sizeof(in_a), "%s/in", a);
	CHECK_EQ(mkdir(in_a, 0700), 0);
	CHECK_EQ(mount("none", in_a, "tmpfs", MS_NOSUID, NULL), 0);
	CHECK_ERRNO(setattr(AT_FDCWD, a, 0, &attr, 16), EINVAL);
	CHECK_ERRNO(setattr(AT_FDCWD, a, 1, &attr, sizeof(attr)), EINVAL);
	CHECK_ERRNO(setattr(AT_FDCWD, a, 0, &attr, 1 << 20), E2BIG);
	memcpy(big, &attr, sizeof(attr));
	big[127] = 1;
	CHECK_ERRNO(setattr(AT_FDCWD, a, 0, (struct mount_attr *)big, sizeof(big)), E2BIG);
	CHECK_ERRNO(setattr(AT_FDCWD, dir, 0, &attr, sizeof(attr)), EINVAL);
	CHECK_EQ(setattr(AT_FDCWD, a, AT_RECURSIVE, &attr, sizeof(attr)), 0);
	CHECK_EQ(statvfs(in_a, &st), 0);
	CHECK_EQ(st.f_flag & (ST_RDONLY | ST_NOEXEC | ST_NOSUID),
		 ST_RDONLY | ST_NOEXEC | ST_NOSUID);
	attr = (struct mount_attr){.attr_clr = MOUNT_ATTR_RDONLY};
	CHECK_EQ(setattr(AT_FDCWD, a, 0, &attr, sizeof(attr)), 0);
	CHECK_EQ(statvfs(a, &st), 0);
	CHECK_EQ(st.f_flag & (ST_RDONLY | ST_NOEXEC), ST_NOEXEC);
	CHECK_EQ(statvfs(in_a, &st), 0);
	CHECK(st.f_flag & ST_RDONLY);
	/* Access times are one value. */
	attr = (struct mount_attr){.attr_set = MOUNT_ATTR_NOATIME};
	CHECK_ERRNO(setattr(AT_FDCWD, a, 0, &attr, sizeof(attr)), EINVAL);
	attr.attr_clr = MOUNT_ATTR_NOATIME;
	CHECK_ERRNO(setattr(AT_FDCWD, a, 0, &attr, sizeof(attr)), EINVAL);
	attr.attr_clr = MOUNT_ATTR__ATIME;
	CHECK_EQ(setattr(AT_FDCWD, a, 0, &attr, sizeof(attr)), 0);
	CHECK_EQ(statvfs(a, &st), 0);
	CHECK_EQ(st.f_flag & (ST_NOATIME | ST_RELATIME), ST_NOATIME);
	attr = (struct mount_attr){.propagation = MS_SHARED | MS_SLAVE};
	CHECK_ERRNO(setattr(AT_FDCWD, a, 0, &attr, sizeof(attr)), EINVAL);
	attr = (struct mount_attr){.propagation = MS_SHARED};
	CHECK_EQ(setattr(AT_FDCWD, a, 0, &attr, sizeof(attr)), 0);
	attr = (struct mount_attr){.propagation = MS_PRIVATE};
	CHECK_EQ(setattr(AT_FDCWD, a, AT_RECURSIVE, &attr, sizeof(attr)), 0);
	/* All or nothing: somebody writes below. */
	attr = (struct mount_attr){.attr_clr = MOUNT_ATTR_RDONLY};
	CHECK_EQ(setattr(AT_FDCWD, a, AT_RECURSIVE, &attr, sizeof(attr)), 0);
	strcat(in_a, "/f");
	fd = open(in_a, O_CREAT | O_WRONLY, 0600);
	CHECK(fd >= 0);
	attr = (struct mount_attr){.attr_set = MOUNT_ATTR_RDONLY};
	CHECK_ERRNO(setattr(AT_FDCWD, a, AT_RECURSIVE, &attr, sizeof(attr)), EBUSY);
	CHECK_EQ(statvfs(a, &st), 0);
	CHECK_EQ(st.f_flag & ST_RDONLY, 0);
	close(fd);
	CHECK_EQ(umount2(a, MNT_DETACH), 0);
	/* Before it has a place. */
	fd = new_tmpfs(NULL, NULL);
	CHECK_EQ(setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)), 0);
	CHECK_ERRNO(mkdirat(fd, "x", 0700), EROFS);
	close(fd);
}

static void without_privilege(void)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};

	CHECK_EQ(setresuid(12345, 12345, 12345), 0);
	CHECK_ERRNO(syscall(SYS_fsopen, "tmpfs", 0), EPERM);
	CHECK_ERRNO(tree(AT_FDCWD, "/", OPEN_TREE_CLONE), EPERM);
	CHECK_ERRNO(move(AT_FDCWD, a, AT_FDCWD, b, 0), EPERM);
	CHECK_ERRNO(syscall(SYS_fspick, AT_FDCWD, "/", 0), EPERM);
	CHECK_ERRNO(setattr(AT_FDCWD, "/", 0, &attr, sizeof(attr)), EPERM);
	int fd = tree(AT_FDCWD, "/", 0);
	CHECK(fd >= 0);
	close(fd);
}

static void in_own_namespace(void)
{
	REQUIRE(unshare(CLONE_NEWNS) == 0);
	REQUIRE(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	made_configured_and_attached();
	unattached_goes_with_its_descriptor();
	unknown_types_and_options();
	picked_and_changed();
	trees_cloned();
	attached_moved();
	attributes();
	without_privilege();
}

int main(void)
{
	int status;

	if (geteuid() != 0)
		return 0;
	REQUIRE(mkdtemp(dir));
	chmod(dir, 0755);
	snprintf(a, sizeof(a), "%s/a", dir);
	snprintf(b, sizeof(b), "%s/b", dir);
	REQUIRE(mkdir(a, 0755) == 0 && mkdir(b, 0755) == 0);
	if (fork() == 0) {
		in_own_namespace();
		fflush(stdout);
		_exit(check_failures ? 1 : 0);
	}
	wait(&status);
	CHECK_EQ(status, 0);
	rmdir(a);
	rmdir(b);
	CHECK_EQ(rmdir(dir), 0);
	CHECK_DONE();
}
