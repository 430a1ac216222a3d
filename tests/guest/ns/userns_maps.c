/* User namespaces: who is called what, and who may say so (man 7 user_namespaces). Needs root. */
#include <sys/stat.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "ns/userns.h"

static void capabilities_of(pid_t pid, struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, pid};

	CHECK_EQ(syscall(SYS_capget, &header, data), 0);
}

/* Without maps everybody is "nobody", but has every capability. */
static void unmapped(void)
{
	struct __user_cap_data_struct caps[2];
	char text[256];
	uid_t r, e, s;
	struct stat st;

	become_user(USER);
	CHECK_EQ(unshare(CLONE_NEWUSER), 0);
	CHECK_EQ(getuid(), OVERFLOW);
	CHECK_EQ(geteuid(), OVERFLOW);
	CHECK_EQ(getgid(), OVERFLOW);
	CHECK_EQ(getegid(), OVERFLOW);
	CHECK_EQ(getresuid(&r, &e, &s), 0);
	CHECK(r == OVERFLOW && e == OVERFLOW && s == OVERFLOW);
	CHECK_EQ(stat("/", &st), 0);
	CHECK_EQ(st.st_uid, OVERFLOW);
	CHECK_EQ(st.st_gid, OVERFLOW);
	read_proc("uid_map", text, sizeof(text));
	CHECK(!strcmp(text, ""));
	capabilities_of(0, caps);
	CHECK_EQ(caps[0].effective, 0xffffffffU);
	CHECK_EQ(caps[0].permitted, 0xffffffffU);
	CHECK_EQ(caps[0].inheritable, 0);
	CHECK_EQ(prctl(PR_GET_DUMPABLE), 1);
	/* Whom nobody knows there can nobody become, nor give files to. */
	CHECK_ERRNO(setuid(0), EINVAL);
	CHECK_ERRNO(setgroups(0, NULL), EPERM);
	CHECK_ERRNO(chown("/", 0, 0), EINVAL);
}

static void one_line_map(void)
{
	char text[256], map[64];

	become_user(USER);
	CHECK_EQ(unshare(CLONE_NEWUSER), 0);
	CHECK_ERRNO(write_file("/proc/self/uid_map", ""), EINVAL);
	CHECK_ERRNO(write_file("/proc/self/uid_map", "0 0 1"), EPERM);
	CHECK_ERRNO(write_file("/proc/self/uid_map", "0 12345 2"), EPERM);
	CHECK_ERRNO(write_file("/proc/self/uid_map", "nonsense"), EINVAL);
	CHECK_ERRNO(write_file("/proc/self/uid_map", "0 12345"), EINVAL);
	CHECK_ERRNO(write_file("/proc/self/uid_map", "0 12345 0"), EINVAL);
	CHECK_ERRNO(write_file("/proc/self/uid_map", "0 12345 1 1"), EINVAL);
	CHECK_ERRNO(write_file("/proc/self/uid_map", "-1 12345 1"), EINVAL);
	CHECK_EQ(write_file("/proc/self/uid_map", "  7\t12345 1 \n"), 0);
	CHECK_ERRNO(write_file("/proc/self/uid_map", "7 12345 1"), EPERM);
	CHECK_EQ(getuid(), 7);
	CHECK_EQ(syscall(SYS_geteuid), 7);
	read_proc("uid_map", text, sizeof(text));
	CHECK(!strcmp(text, "         7      12345          1\n"));
	/* Groups: only once setgroups(2) is given up. */
	CHECK_ERRNO(write_file("/proc/self/gid_map", "7 12345 1"), EPERM);
	read_proc("setgroups", text, sizeof(text));
	CHECK(!strcmp(text, "allow\n"));
	CHECK_ERRNO(write_file("/proc/self/setgroups", "denied"), EINVAL);
	CHECK_EQ(write_file("/proc/self/setgroups", "deny\n"), 0);
	CHECK_ERRNO(write_file("/proc/self/setgroups", "allow"), EPERM);
	CHECK_EQ(write_file("/proc/self/gid_map", "7 12345 1"), 0);
	CHECK_ERRNO(write_file("/proc/self/setgroups", "deny"), EPERM);
	CHECK_EQ(getgid(), 7);
	CHECK_ERRNO(setgroups(0, NULL), EPERM);
	/* One below: the parent's names count, and it inherits "deny". */
	CHECK_EQ(unshare(CLONE_NEWUSER), 0);
	read_proc("setgroups", text, sizeof(text));
	CHECK(!strcmp(text, "deny\n"));
	CHECK_ERRNO(write_file("/proc/self/uid_map", "0 12345 1"), EPERM);
	snprintf(map, sizeof(map), "0 7 1");
	CHECK_EQ(write_file("/proc/self/uid_map", map), 0);
	CHECK_EQ(getuid(), 0);
	read_proc("uid_map", text, sizeof(text));
	CHECK(!strcmp(text, "         0          7          1\n"));
}

/* Root outside gives what it has: as many lines as fit. */
static void wait_in_new_ns(void)
{
	REQUIRE(unshare(CLONE_NEWUSER) == 0);
}

static void maps_from_outside(void)
{
	struct helper h;
	char lines[8192] = "", text[8192], path[64];
	size_t n = 0;
	int fd;

	start(&h, wait_in_new_ns);
	CHECK_ERRNO(write_proc(h.pid, "uid_map", "0 100 10\n5 200 10\n"), EINVAL);
	CHECK_ERRNO(write_proc(h.pid, "uid_map", "0 100 10\n20 105 10\n"), EINVAL);
	CHECK_ERRNO(write_proc(h.pid, "uid_map", "0 4294967295 1\n"), EINVAL);
	CHECK_ERRNO(write_proc(h.pid, "uid_map", "0 4294967290 10\n"), EINVAL);
	CHECK_ERRNO(write_proc(h.pid, "uid_map", "0 100 10\n\n20 200 1"), EINVAL);
	for (int i = 0; i < 341; i++)
		n += (size_t)snprintf(lines + n, sizeof(lines) - n, "%d %d 1\n", i, 2 * i);
	CHECK_ERRNO(write_proc(h.pid, "uid_map", lines), EINVAL);
	n = 0;
	for (int i = 0; i < 300; i++)
		n += (size_t)snprintf(lines + n, sizeof(lines) - n, "%d %d 1\n", i, 2 * i);
	CHECK_EQ(write_proc(h.pid, "uid_map", lines), 0);
	CHECK_EQ(write_proc(h.pid, "gid_map", "0 0 100000"), 0);
	CHECK_EQ(write_proc(h.pid, "projid_map", "0 0 1"), 0);
	snprintf(path, sizeof(path), "/proc/%d/uid_map", (int)h.pid);
	fd = open(path, O_RDWR);
	CHECK(read(fd, text, sizeof(text)) > 0);
	CHECK(!strncmp(text, "         0          0          1\n         1          2          1\n",
		       66));
	/* Not at the start: not at all. */
	CHECK_ERRNO(write(fd, "0 0 1", 5), EINVAL);
	close(fd);
	stop(&h);
}

/* A descriptor of somebody without rights stays without in the hands of root. */
static void opener_counts(void)
{
	struct helper h;
	char path[64];
	int fd;

	start(&h, wait_in_new_ns);
	CHECK_EQ(seteuid(USER), 0);
	snprintf(path, sizeof(path), "/proc/%d/uid_map", (int)h.pid);
	fd = open(path, O_RDONLY);
	CHECK_EQ(seteuid(0), 0);
	CHECK(fd >= 0);
	close(fd);
	CHECK_EQ(write_proc(h.pid, "uid_map", "0 0 10"), 0);
	stop(&h);
}

static void wait_as_user(void)
{
	become_user(USER);
	REQUIRE(unshare(CLONE_NEWUSER) == 0);
}

/* What is sent and told across: the receiver's names. */
static void seen_from_both_sides(void)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int sv[2], on = 1, status;
	siginfo_t info;
	char c, control[256];
	struct iovec iov = {&c, 1};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = 256};
	pid_t pid;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	CHECK_EQ(setsockopt(sv[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
	pid = fork();
	if (pid == 0) {
		become_user(USER);
		become_inner_root(0);
		CHECK_EQ(getsockopt(sv[1], SOL_SOCKET, SO_PEERCRED, &cred, &len), 0);
		CHECK_EQ(cred.uid, OVERFLOW);
		write(sv[1], "x", 1);
		_exit(check_failures);
	}
	CHECK_EQ(recvmsg(sv[0], &msg, 0), 1);
	memcpy(&cred, CMSG_DATA((struct cmsghdr *)control), sizeof(cred));
	CHECK_EQ(cred.uid, USER);
	CHECK_EQ(cred.pid, pid);
	CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	CHECK_EQ(info.si_uid, USER);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	close(sv[0]);
	close(sv[1]);
}

/* A map with a whole range: ids change inside, and files show it. */
static void range_inside(void)
{
	char dir[] = "/tmp/moat-userns-XXXXXX", name[64];
	struct helper h;
	struct stat st;
	int p[2], status, fd;
	char c;
	pid_t pid;

	REQUIRE(mkdtemp(dir));
	CHECK_EQ(chown(dir, 100000, 100000), 0);
	REQUIRE(pipe(p) == 0);
	pid = fork();
	if (pid == 0) {
		int q[2];

		REQUIRE(unshare(CLONE_NEWUSER) == 0);
		(void)q;
		kill(getpid(), SIGSTOP);
		CHECK_EQ(read(p[0], &c, 1), 1);
		CHECK_EQ(setgroups(0, NULL), 0);
		CHECK_EQ(setresgid(0, 0, 0), 0);
		CHECK_EQ(setresuid(0, 0, 0), 0);
		snprintf(name, sizeof(name), "%s/f", dir);
		fd = open(name, O_CREAT | O_WRONLY, 0600);
		CHECK(fd >= 0);
		CHECK_EQ(fstat(fd, &st), 0);
		CHECK_EQ(st.st_uid, 0);
		CHECK_EQ(fchown(fd, 1000, 1000), 0);
		CHECK_ERRNO(fchown(fd, 70000, 0), EINVAL);
		CHECK_ERRNO(setuid(70000), EINVAL);
		CHECK_EQ(setresuid(1000, 1000, 1000), 0);
		CHECK_EQ(getuid(), 1000);
		CHECK_EQ(fchmod(fd, 0640), 0);
		_exit(check_failures);
	}
	h.pid = pid;
	CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
	CHECK(WIFSTOPPED(status));
	CHECK_EQ(write_proc(pid, "uid_map", "0 100000 65536"), 0);
	CHECK_EQ(write_proc(pid, "gid_map", "0 100000 65536"), 0);
	kill(pid, SIGCONT);
	write(p[1], "x", 1);
	CHECK_EQ(waitpid(h.pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	snprintf(name, sizeof(name), "%s/f", dir);
	CHECK_EQ(stat(name, &st), 0);
	CHECK_EQ(st.st_uid, 101000);
	CHECK_EQ(st.st_gid, 101000);
	unlink(name);
	rmdir(dir);
}

/* 33 deep, no deeper. */
static void depth(void)
{
	int n = 0;

	become_user(USER);
	while (n < 100 && unshare(CLONE_NEWUSER) == 0) {
		char map[32];

		snprintf(map, sizeof(map), "%u %u 1", USER, USER);
		if (write_file("/proc/self/uid_map", map) ||
		    write_file("/proc/self/setgroups", "deny") ||
		    write_file("/proc/self/gid_map", map))
			break;
		n++;
	}
	CHECK_EQ(errno, ENOSPC);
	/* The test may itself be in one. */
	CHECK(n <= 33 && n >= 28);
}

static void flags(void)
{
	become_user(USER);
	CHECK_ERRNO(syscall(SYS_clone, CLONE_NEWUSER | CLONE_FS | SIGCHLD, 0, 0, 0, 0), EINVAL);
	CHECK_ERRNO(syscall(SYS_clone,
			    CLONE_NEWUSER | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | SIGCHLD, 0, 0,
			    0, 0),
		    EINVAL);
	CHECK_ERRNO(unshare(CLONE_NEWUTS), EPERM);
	/* Unmapped ids have no name, so their owner could not be told. */
	CHECK_EQ(unshare(CLONE_NEWUSER | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET |
			 CLONE_NEWCGROUP | CLONE_NEWNS | CLONE_NEWPID),
		 0);
	CHECK_ERRNO(unshare(CLONE_NEWUSER), EPERM);
	CHECK_EQ(sethostname("inner", 5), 0);
}

static void chrooted(void)
{
	CHECK_EQ(chroot("/tmp"), 0);
	CHECK_ERRNO(unshare(CLONE_NEWUSER), EPERM);
}

/* exec: root of the namespace keeps what it has, others lose it. */
static void through_exec(void)
{
	become_user(USER);
	become_inner_root(0);
	CHECK_EQ(prctl(PR_CAPBSET_READ, 0), 1);
	execl("/bin/sh", "sh", "-c",
	      "test $(id -u) = 0 && grep -q 'CapEff:.*1[0-9a-f]*ffffff' /proc/self/status", NULL);
	CHECK(0);
}

/* man 2 ioctl_ns */
static void relations(void)
{
	int user = ns_fd(getpid(), "user"), mine, uts, fd;
	struct stat a, b;
	uid_t owner = 0;

	become_user(USER);
	become_inner_root(CLONE_NEWUTS);
	mine = ns_fd(getpid(), "user");
	uts = ns_fd(getpid(), "uts");
	CHECK(mine >= 0 && uts >= 0);
	CHECK_EQ(ioctl(mine, NS_GET_NSTYPE), CLONE_NEWUSER);
	fd = ioctl(uts, NS_GET_USERNS);
	CHECK(fd >= 0);
	CHECK(!fstat(fd, &a) && !fstat(mine, &b) && a.st_ino == b.st_ino);
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	CHECK_EQ(ioctl(mine, NS_GET_OWNER_UID, &owner), 0);
	CHECK_EQ(owner, 0);
	CHECK_ERRNO(ioctl(uts, NS_GET_OWNER_UID, &owner), EINVAL);
	CHECK_ERRNO(ioctl(uts, NS_GET_PARENT), EINVAL);
	/* Not up, out of one's own. */
	CHECK_ERRNO(ioctl(mine, NS_GET_PARENT), EPERM);
	CHECK_ERRNO(ioctl(user, NS_GET_USERNS), EPERM);
	CHECK_ERRNO(setns(user, CLONE_NEWUSER), EPERM);
	CHECK_ERRNO(setns(mine, CLONE_NEWUSER), EINVAL);
	CHECK_EQ(unshare(CLONE_NEWUSER), 0);
	fd = ns_fd(getpid(), "user");
	CHECK_ERRNO(ioctl(fd, NS_GET_PARENT), EPERM);
	CHECK_ERRNO(setns(mine, CLONE_NEWUSER), EPERM);
}

static void as_inner_root(void)
{
	become_user(USER);
	become_inner_root(CLONE_NEWUTS);
	sethostname("joined", 6);
}

static void setns_in(void)
{
	struct helper h;
	int user, uts, fd;
	char name[65] = "";

	start(&h, as_inner_root);
	become_user(USER);
	user = ns_fd(h.pid, "user");
	uts = ns_fd(h.pid, "uts");
	CHECK(user >= 0 && uts >= 0);
	/* The owner outside has every capability inside, but is not yet in there. */
	CHECK_ERRNO(setns(uts, 0), EPERM);
	CHECK_EQ(setns(user, 0), 0);
	CHECK_EQ(getuid(), 0);
	CHECK_EQ(setns(uts, 0), 0);
	gethostname(name, sizeof(name));
	CHECK(!strcmp(name, "joined"));
	fd = (int)syscall(SYS_pidfd_open, h.pid, 0);
	CHECK(fd >= 0);
	CHECK_ERRNO(setns(fd, CLONE_NEWUSER | CLONE_NEWUTS), EINVAL);
	stop(&h);
}

static void setns_by_pidfd(void)
{
	struct helper h;
	int fd;

	start(&h, as_inner_root);
	become_user(USER);
	fd = (int)syscall(SYS_pidfd_open, h.pid, 0);
	CHECK_EQ(setns(fd, CLONE_NEWUSER | CLONE_NEWUTS), 0);
	CHECK_EQ(getuid(), 0);
	CHECK_EQ(sethostname("again", 5), 0);
	stop(&h);
}

static void setns_of_others(void)
{
	struct helper h;
	int user, status;
	pid_t pid;

	start(&h, wait_as_user);
	user = ns_fd(h.pid, "user");
	CHECK(user >= 0);
	pid = fork();
	if (pid == 0) {
		become_user(OTHER);
		_exit(setns(user, 0) == -1 && errno == EPERM ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	/* Root of the parent has every capability below it. */
	CHECK_EQ(setns(user, 0), 0);
	CHECK_EQ(getuid(), OVERFLOW);
	stop(&h);
}

int main(void)
{
	if (geteuid() != 0)
		return 0;
	CHECK_EQ(in_child(unmapped), 0);
	CHECK_EQ(in_child(one_line_map), 0);
	CHECK_EQ(in_child(maps_from_outside), 0);
	CHECK_EQ(in_child(opener_counts), 0);
	CHECK_EQ(in_child(seen_from_both_sides), 0);
	CHECK_EQ(in_child(range_inside), 0);
	CHECK_EQ(in_child(depth), 0);
	CHECK_EQ(in_child(flags), 0);
	CHECK_EQ(in_child(chrooted), 0);
	CHECK_EQ(in_child(through_exec), 0);
	CHECK_EQ(in_child(relations), 0);
	CHECK_EQ(in_child(setns_in), 0);
	CHECK_EQ(in_child(setns_by_pidfd), 0);
	CHECK_EQ(in_child(setns_of_others), 0);
	CHECK_DONE();
}
