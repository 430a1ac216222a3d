/* User and group ids, capabilities, prctl. Most needs root; the rest is checked without. */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "check.h"

static struct __user_cap_data_struct caps[2];

static int get_caps(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capget, &h, caps);
}

static int set_caps(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capset, &h, caps);
}

/* Each test changes what cannot be changed back: in a child. */
static void in_child(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		fn();
		fflush(stdout);
		_exit(check_failures ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	if (status) {
		printf("a child failed with status %#x\n", status);
		check_failures++;
	}
}

static void setuid_drops_everything(void)
{
	uid_t r, e, s;

	CHECK_EQ(setuid(1000), 0);
	CHECK_EQ(getresuid(&r, &e, &s), 0);
	CHECK(r == 1000 && e == 1000 && s == 1000);
	CHECK_EQ(get_caps(), 0);
	CHECK_EQ(caps[0].effective, 0);
	CHECK_EQ(caps[0].permitted, 0);
	CHECK_ERRNO(setuid(0), EPERM);
	CHECK_ERRNO(setgid(7), EPERM);
	CHECK_ERRNO(setgroups(0, NULL), EPERM);
}

static void seteuid_comes_back(void)
{
	CHECK_EQ(get_caps(), 0);
	unsigned had = caps[0].permitted;

	CHECK_EQ(seteuid(1000), 0);
	CHECK_EQ(get_caps(), 0);
	CHECK_EQ(caps[0].effective, 0);
	CHECK_EQ(caps[0].permitted, had);
	CHECK_EQ(seteuid(0), 0);
	CHECK_EQ(get_caps(), 0);
	CHECK_EQ(caps[0].effective, had);
	CHECK_EQ(setreuid(1000, 2000), 0);
	CHECK_EQ(setreuid(2000, 1000), 0);
	CHECK_EQ(getuid(), 2000);
	CHECK_EQ(geteuid(), 1000);
}

static void keep_caps(void)
{
	CHECK_EQ(get_caps(), 0);
	unsigned had = caps[0].permitted;

	CHECK_EQ(prctl(PR_SET_KEEPCAPS, 1), 0);
	CHECK_EQ(prctl(PR_GET_KEEPCAPS), 1);
	CHECK_EQ(setuid(1000), 0);
	CHECK_EQ(get_caps(), 0);
	CHECK_EQ(caps[0].effective, 0);
	CHECK_EQ(caps[0].permitted, had);
	caps[0].effective = 1U << CAP_SETUID;
	CHECK_EQ(set_caps(), 0);
	CHECK_EQ(setuid(0), 0);
}

static void capset_only_shrinks(void)
{
	CHECK_EQ(get_caps(), 0);
	caps[0].permitted &= ~(1U << CAP_NET_RAW);
	caps[0].effective = caps[0].permitted;
	CHECK_EQ(set_caps(), 0);
	caps[0].permitted |= 1U << CAP_NET_RAW;
	CHECK_ERRNO(set_caps(), EPERM);
	caps[0].permitted = 0;
	CHECK_ERRNO(set_caps(), EPERM); /* effective beyond permitted */
}

static void bounding_and_ambient(void)
{
	CHECK_EQ(prctl(PR_CAPBSET_READ, CAP_CHOWN), 1);
	CHECK_EQ(prctl(PR_CAPBSET_DROP, CAP_CHOWN), 0);
	CHECK_EQ(prctl(PR_CAPBSET_READ, CAP_CHOWN), 0);
	CHECK_ERRNO(prctl(PR_CAPBSET_READ, 1000), EINVAL);
	CHECK_EQ(get_caps(), 0);
	CHECK_ERRNO(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0), EPERM);
	caps[0].inheritable |= 1U << CAP_KILL;
	CHECK_EQ(set_caps(), 0);
	CHECK_EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0), 0);
	CHECK_EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0), 1);
	CHECK_EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), 0);
	CHECK_EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0), 0);
}

static void supplementary_groups(void)
{
	gid_t in[3] = {30, 10, 20}, out[3];

	CHECK_EQ(setgroups(3, in), 0);
	CHECK_EQ(getgroups(0, NULL), 3);
	CHECK_ERRNO(getgroups(2, out), EINVAL);
	CHECK_EQ(getgroups(3, out), 3);
	CHECK(out[0] == 10 && out[1] == 20 && out[2] == 30);
	CHECK_ERRNO(syscall(SYS_setgroups, 70000, in), EINVAL);
}

static void fs_ids(void)
{
	CHECK_EQ(setfsuid(1000), 0);
	CHECK_EQ(setfsuid(-1), 1000);
	CHECK_EQ(setfsuid(0), 1000);
	CHECK_EQ(setfsuid(-1), 0);
	CHECK_EQ(setfsgid(5), 0);
	CHECK_EQ(setfsgid(-1), 5);
}

static void resuid(void)
{
	uid_t r, e, s;

	CHECK_EQ(setresuid(1, 2, 3), 0);
	CHECK_EQ(getresuid(&r, &e, &s), 0);
	CHECK(r == 1 && e == 2 && s == 3);
	CHECK_ERRNO(setresuid(4, -1, -1), EPERM);
	CHECK_EQ(setresuid(-1, 3, -1), 0);
	CHECK_EQ(geteuid(), 3);
	CHECK_EQ(setresgid(-1, -1, -1), 0);
}

static void kill_needs_permission(void)
{
	pid_t root = fork(), other;
	int status;

	if (root == 0) {
		for (;;)
			pause();
	}
	other = fork();
	if (other == 0) {
		setuid(1000);
		CHECK_ERRNO(kill(root, SIGTERM), EPERM);
		CHECK_ERRNO(kill(root, 0), EPERM);
		CHECK_ERRNO(syscall(SYS_tgkill, root, root, SIGTERM), EPERM);
		/* Same session: SIGCONT is allowed. */
		CHECK_EQ(kill(root, SIGCONT), 0);
		fflush(stdout);
		_exit(check_failures ? 1 : 0);
	}
	waitpid(other, &status, 0);
	CHECK_EQ(status, 0);
	kill(root, SIGKILL);
	waitpid(root, NULL, 0);
}

static void prctl_basics(void)
{
	char name[16] = "";
	int v = -1;

	CHECK_EQ(prctl(PR_SET_NAME, "a-very-long-name-indeed"), 0);
	CHECK_EQ(prctl(PR_GET_NAME, name), 0);
	CHECK(!strcmp(name, "a-very-long-nam"));
	CHECK_EQ(prctl(PR_SET_PDEATHSIG, SIGUSR1), 0);
	CHECK_EQ(prctl(PR_GET_PDEATHSIG, &v), 0);
	CHECK_EQ(v, SIGUSR1);
	CHECK_ERRNO(prctl(PR_SET_PDEATHSIG, 100), EINVAL);
	CHECK_EQ(prctl(PR_SET_PDEATHSIG, 0), 0);
	CHECK_EQ(prctl(PR_GET_DUMPABLE), 1);
	CHECK_EQ(prctl(PR_SET_DUMPABLE, 0), 0);
	CHECK_EQ(prctl(PR_GET_DUMPABLE), 0);
	CHECK_ERRNO(prctl(PR_SET_DUMPABLE, 2), EINVAL);
	CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
	CHECK_ERRNO(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
	CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
	CHECK_ERRNO(prctl(9999), EINVAL);
	CHECK_ERRNO(prctl(PR_SET_NAME, 16), EFAULT);
}

static void capget_versions(void)
{
	struct __user_cap_header_struct h = {.version = 0x1234};

	CHECK_EQ(syscall(SYS_capget, &h, NULL), 0);
	CHECK_EQ(h.version, _LINUX_CAPABILITY_VERSION_3);
	h.version = 0x1234;
	CHECK_ERRNO(syscall(SYS_capget, &h, caps), EINVAL);
	h.version = _LINUX_CAPABILITY_VERSION_3;
	h.pid = -1;
	CHECK_ERRNO(syscall(SYS_capget, &h, caps), EINVAL);
	h.pid = 30001;
	CHECK_ERRNO(syscall(SYS_capget, &h, caps), ESRCH);
}

/* --- file capabilities ------------------------------------------------------------------------ */

static char program[] = "/tmp/creds_test_XXXXXX";

static void copy_program(void)
{
	char buf[65536];
	int from = open("/proc/self/exe", O_RDONLY), to = mkstemp(program);
	ssize_t n;

	REQUIRE(from >= 0 && to >= 0);
	while ((n = read(from, buf, sizeof(buf))) > 0)
		REQUIRE(write(to, buf, (size_t)n) == n);
	REQUIRE(fchmod(to, 0755) == 0);
	close(from);
	close(to);
}

static int set_file_caps(uint32_t permitted, uint32_t inheritable, bool effective)
{
	struct vfs_cap_data d = {
		.magic_etc = VFS_CAP_REVISION_2 | (effective ? VFS_CAP_FLAGS_EFFECTIVE : 0),
		.data = {{permitted, inheritable}},
	};

	return setxattr(program, "security.capability", &d, sizeof(d), 0);
}

/* The program as user 1000: checks that it has these, and AT_SECURE. */
static int run_as_user(uint32_t permitted, uint32_t effective, int secure, bool nnp)
{
	char want[3][16];
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char *argv[] = {program, want[0], want[1], want[2], NULL};

		snprintf(want[0], 16, "%x", permitted);
		snprintf(want[1], 16, "%x", effective);
		snprintf(want[2], 16, "%d", secure);
		REQUIRE(setgroups(0, NULL) == 0 && setgid(1000) == 0 && setuid(1000) == 0);
		if (nnp)
			prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		execv(program, argv);
		_exit(errno == EPERM ? 99 : 98);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int check_own_caps(char **argv)
{
	CHECK_EQ(get_caps(), 0);
	CHECK_EQ(caps[0].permitted, strtoul(argv[1], NULL, 16));
	CHECK_EQ(caps[0].effective, strtoul(argv[2], NULL, 16));
	CHECK_EQ(getauxval(AT_SECURE), strtoul(argv[3], NULL, 10));
	CHECK_DONE();
}

static void files_give_capabilities(void)
{
	const uint32_t raw = 1U << CAP_NET_RAW, chown_cap = 1U << CAP_CHOWN;

	copy_program();
	CHECK_EQ(run_as_user(0, 0, 0, false), 0);
	if (set_file_caps(raw, 0, true) == 0) {
		CHECK_EQ(run_as_user(raw, raw, 1, false), 0);
		CHECK_EQ(run_as_user(0, 0, 1, true), 0);
		CHECK_EQ(set_file_caps(raw | chown_cap, 0, false), 0);
		CHECK_EQ(run_as_user(raw | chown_cap, 0, 1, false), 0);
		/* Inheritable by the file, but not by the process: nothing. */
		CHECK_EQ(set_file_caps(0, raw, false), 0);
		CHECK_EQ(run_as_user(0, 0, 0, false), 0);
		/* What the bounding set keeps from an unknowing program stops it. */
		CHECK_EQ(set_file_caps(raw | chown_cap, 0, true), 0);
		CHECK_EQ(prctl(PR_CAPBSET_DROP, CAP_CHOWN), 0);
		CHECK_EQ(run_as_user(0, 0, 0, false), 99);
		CHECK_EQ(set_file_caps(raw | chown_cap, 0, false), 0);
		CHECK_EQ(run_as_user(raw, 0, 1, false), 0);
		/* Set-user-ID root as well: root in name, with these only. */
		CHECK_EQ(chmod(program, 04755), 0);
		CHECK_EQ(set_file_caps(raw, 0, true), 0);
		CHECK_EQ(run_as_user(raw, raw, 1, false), 0);
	}
	unlink(program);
}

int main(int argc, char **argv)
{
	if (argc == 4)
		return check_own_caps(argv);
	in_child(prctl_basics);
	in_child(capget_versions);
	CHECK_EQ(syscall(SYS_getpgid, 0), getpgrp());
	if (geteuid() == 0) {
		in_child(setuid_drops_everything);
		in_child(seteuid_comes_back);
		in_child(keep_caps);
		in_child(capset_only_shrinks);
		in_child(bounding_and_ambient);
		in_child(supplementary_groups);
		in_child(fs_ids);
		in_child(resuid);
		in_child(kill_needs_permission);
		in_child(files_give_capabilities);
	}
	CHECK_DONE();
}
