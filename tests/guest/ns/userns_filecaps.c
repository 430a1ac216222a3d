/* Capabilities of files that the root of a user namespace gives: they count in there, and nowhere
 * else (man 7 capabilities, "Namespaced file capabilities"). Needs root. */
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "ns/userns.h"

#define ROOT_INSIDE 100000

static char dir[] = "/tmp/moat-filecaps-XXXXXX", file[64];

static void copy_self(void)
{
	char buf[65536];
	int from = open("/proc/self/exe", O_RDONLY), to;
	ssize_t n;

	to = open(file, O_CREAT | O_WRONLY, 0755);
	while ((n = read(from, buf, sizeof(buf))) > 0)
		REQUIRE(write(to, buf, (size_t)n) == n);
	REQUIRE(fchown(to, ROOT_INSIDE, ROOT_INSIDE) == 0 && fchmod(to, 0755) == 0);
	close(from);
	close(to);
}

/* The program itself, once executed: its effective capabilities. */
static int report(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		return 99;
	return data[0].effective == 1U << CAP_NET_ADMIN ? 42 : data[0].effective ? 43 : 41;
}

static int run_as(uid_t uid)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
			_exit(90);
		execl(file, file, "report", NULL);
		_exit(91);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static void inside(int go)
{
	struct vfs_ns_cap_data caps = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
				       .data[0].permitted = 1U << CAP_NET_ADMIN};
	char c;

	CHECK_EQ(read(go, &c, 1), 1);
	CHECK_EQ(setgroups(0, NULL), 0);
	CHECK_EQ(setresgid(0, 0, 0), 0);
	CHECK_EQ(setresuid(0, 0, 0), 0);
	CHECK_ERRNO(setxattr(file, "security.capability", &caps, 8, 0), EINVAL);
	CHECK_EQ(setxattr(file, "security.capability", &caps, XATTR_CAPS_SZ_2, 0), 0);
	/* What it gave is read as it was given. */
	memset(&caps, 0, sizeof(caps));
	CHECK_EQ(getxattr(file, "security.capability", &caps, sizeof(caps)), XATTR_CAPS_SZ_2);
	CHECK_EQ(caps.magic_etc, VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE);
	CHECK_EQ(getxattr(file, "security.capability", NULL, 0), XATTR_CAPS_SZ_2);
	CHECK_ERRNO(getxattr(file, "security.capability", &caps, 4), ERANGE);
	CHECK_EQ(run_as(5), 42);
	/* In one below, too, where it is a parent's. */
	CHECK_EQ(unshare(CLONE_NEWUSER), 0);
	CHECK_EQ(getxattr(file, "security.capability", &caps, sizeof(caps)), XATTR_CAPS_SZ_2);
}

int main(int argc, char **argv)
{
	struct vfs_ns_cap_data caps;
	int go[2], ready[2], status;
	pid_t pid;
	char c;

	if (argc > 1)
		return report();
	if (geteuid() != 0)
		return 0;
	REQUIRE(mkdtemp(dir) && chmod(dir, 0755) == 0);
	snprintf(file, sizeof(file), "%s/program", dir);
	copy_self();
	REQUIRE(pipe(go) == 0 && pipe(ready) == 0);
	pid = fork();
	if (pid == 0) {
		REQUIRE(unshare(CLONE_NEWUSER) == 0);
		write(ready[1], "r", 1);
		inside(go[0]);
		fflush(stdout);
		_exit(check_failures ? 1 : 0);
	}
	CHECK_EQ(read(ready[0], &c, 1), 1);
	CHECK_EQ(write_proc(pid, "uid_map", "0 100000 10"), 0);
	CHECK_EQ(write_proc(pid, "gid_map", "0 100000 10"), 0);
	CHECK_EQ(write(go[1], "g", 1), 1);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	/* Outside it says whose it is, and gives nothing. */
	CHECK_EQ(getxattr(file, "security.capability", &caps, sizeof(caps)), XATTR_CAPS_SZ_3);
	CHECK_EQ(caps.rootid, ROOT_INSIDE);
	CHECK_EQ(run_as(USER), 41);
	/* Root's own says nothing of namespaces, and counts. */
	caps.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE;
	CHECK_EQ(setxattr(file, "security.capability", &caps, XATTR_CAPS_SZ_2, 0), 0);
	CHECK_EQ(getxattr(file, "security.capability", &caps, sizeof(caps)), XATTR_CAPS_SZ_2);
	CHECK_EQ(run_as(USER), 42);
	unlink(file);
	CHECK_EQ(rmdir(dir), 0);
	CHECK_DONE();
}
