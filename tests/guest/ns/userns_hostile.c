/* The root of a user namespace gains nothing over what belongs to its parent: files, processes,
 * mounts, the network, the host's name (man 7 user_namespaces). Needs root. */
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <linux/capability.h>
#include <netinet/in.h>

#include "ns/userns.h"

static char dir[] = "/tmp/moat-userns-hostile-XXXXXX";

static const char *in_dir(const char *name)
{
	static char path[2][128];
	static int n;

	n = !n;
	snprintf(path[n], sizeof(path[n]), "%s/%s", dir, name);
	return path[n];
}

static void inner_root(int more)
{
	become_user(USER);
	become_inner_root(more);
}

static void files_of_others(void)
{
	char buf[16];
	struct vfs_cap_data caps = {.magic_etc = VFS_CAP_REVISION_2};

	inner_root(CLONE_NEWNS);
	CHECK_ERRNO(open(in_dir("secret"), O_RDONLY), EACCES);
	CHECK_ERRNO(chmod(in_dir("secret"), 0666), EPERM);
	CHECK_ERRNO(chown(in_dir("secret"), 0, 0), EPERM);
	CHECK_ERRNO(unlink(in_dir("secret")), EACCES);
	CHECK_ERRNO(rename(in_dir("secret"), in_dir("mine")), EACCES);
	CHECK_ERRNO(truncate(in_dir("secret"), 0), EACCES);
	CHECK_ERRNO(link(in_dir("secret"), in_dir("open/secret")), EPERM);
	CHECK_ERRNO(utimensat(AT_FDCWD, in_dir("secret"), NULL, 0), EACCES);
	CHECK_ERRNO(open(in_dir("closed/x"), O_RDONLY), EACCES);
	CHECK_ERRNO(open(in_dir("closed"), O_RDONLY | O_DIRECTORY), EACCES);
	CHECK_ERRNO(unlink(in_dir("sticky/roots")), EPERM);
	CHECK_ERRNO(setxattr(in_dir("secret"), "trusted.x", "1", 1, 0), EPERM);
	CHECK_ERRNO(setxattr(in_dir("secret"), "security.capability", &caps, XATTR_CAPS_SZ_2, 0),
		    EPERM);
	CHECK_ERRNO(setxattr(in_dir("own"), "trusted.x", "1", 1, 0), EPERM);
	/* Not even one's own are given to those without a name inside. */
	CHECK_ERRNO(chown(in_dir("own"), 1, 1), EINVAL);
	CHECK_EQ(chown(in_dir("own"), 0, 0), 0);
	CHECK_EQ(chmod(in_dir("own"), 0600), 0);
	CHECK_ERRNO(mknod(in_dir("open/null"), S_IFCHR | 0666, makedev(1, 3)), EPERM);
	CHECK_ERRNO(chroot(in_dir("closed")), EACCES);
	CHECK_ERRNO(getxattr(in_dir("secret"), "trusted.x", buf, sizeof(buf)), ENODATA);
}

/* A set-id file whose owner has no name inside runs as whoever runs it. */
static void set_id_files(void)
{
	inner_root(0);
	execl(in_dir("setuid"), "sh", "-pc",
	      "test $(id -u) = 0 && grep -q '^Uid:.0.0.0' /proc/self/status", NULL);
	CHECK(0);
}

/* Capabilities inside do not make a tracer of a program that gains some outside. */
static void tracer_inside(void)
{
	int status, p[2];
	char c;
	pid_t pid;

	become_user(USER);
	REQUIRE(pipe(p) == 0);
	pid = fork();
	if (pid == 0) {
		CHECK_EQ(read(p[0], &c, 1), 1);
		CHECK_ERRNO(ptrace(PTRACE_TRACEME, 0, 0, 0), EPERM);
		_exit(check_failures ? 1 : 0);
	}
	become_inner_root(0);
	CHECK_EQ(write(p[1], "x", 1), 1);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

static pid_t outsider;

static void outside(void)
{
	REQUIRE(setresuid(OTHER, OTHER, OTHER) == 0);
	prctl(PR_SET_DUMPABLE, 1);
}

static void processes_of_others(void)
{
	char buf[8];
	struct iovec here = {buf, sizeof(buf)}, there = {(void *)&outsider, 4};
	struct rlimit limit;
	char path[64];
	int fd;

	inner_root(CLONE_NEWNS);
	CHECK_ERRNO(kill(outsider, SIGKILL), EPERM);
	CHECK_ERRNO(kill(outsider, 0), EPERM);
	CHECK_EQ(ptrace(PTRACE_ATTACH, outsider, 0, 0), -1);
	CHECK_ERRNO(process_vm_readv(outsider, &here, 1, &there, 1, 0), EPERM);
	CHECK_ERRNO(prlimit(outsider, RLIMIT_NOFILE, NULL, &limit), EPERM);
	CHECK_ERRNO(setpriority(PRIO_PROCESS, (id_t)outsider, 5), EPERM);
	fd = (int)syscall(SYS_pidfd_open, outsider, 0);
	CHECK(fd >= 0);
	CHECK_ERRNO(syscall(SYS_pidfd_getfd, fd, 0, 0), EPERM);
	CHECK_ERRNO(setns(fd, CLONE_NEWUTS), EPERM);
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)outsider);
	CHECK_ERRNO(open(path, O_RDONLY), EACCES);
	snprintf(path, sizeof(path), "/proc/%d/uid_map", (int)outsider);
	CHECK_ERRNO(open(path, O_WRONLY), EACCES);
	CHECK_EQ(readlink("/proc/1/exe", path, sizeof(path)), -1);
	CHECK_ERRNO(setpriority(PRIO_PROCESS, 0, -5), EACCES);
	limit = (struct rlimit){1 << 20, RLIM_INFINITY};
	CHECK_ERRNO(setrlimit(RLIMIT_NOFILE, &limit), EPERM);
}

/* In the namespaces of the parent, which the caller is still in. */
static void system_of_the_parent(void)
{
	struct sockaddr_in low = {.sin_family = AF_INET, .sin_port = htons(1)};
	struct ifreq req = {.ifr_name = "lo"};
	int s = socket(AF_INET, SOCK_DGRAM, 0), mark = 1, uts = ns_fd(getpid(), "uts");

	inner_root(0);
	CHECK_ERRNO(sethostname("taken", 5), EPERM);
	CHECK_ERRNO(setdomainname("taken", 5), EPERM);
	CHECK_ERRNO(mount("none", "/mnt", "tmpfs", 0, NULL), EPERM);
	CHECK_ERRNO(umount("/proc"), EPERM);
	CHECK_ERRNO(umount2("/proc", MNT_DETACH), EPERM);
	CHECK_ERRNO(mount("/tmp", "/mnt", NULL, MS_BIND, NULL), EPERM);
	CHECK_ERRNO(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), EPERM);
	CHECK_ERRNO(syscall(SYS_pivot_root, "/tmp", "/tmp"), EPERM);
	CHECK_ERRNO(ioctl(s, SIOCSIFFLAGS, &req), EPERM);
	CHECK_ERRNO(setsockopt(s, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), EPERM);
	CHECK_ERRNO(bind(s, (struct sockaddr *)&low, sizeof(low)), EACCES);
	CHECK_ERRNO(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), EPERM);
	CHECK_ERRNO(setns(uts, CLONE_NEWUTS), EPERM);
	CHECK_ERRNO(reboot(RB_AUTOBOOT), EPERM);
}

/* With namespaces of its own: sockets made before stay the parent's. */
static void own_namespaces(void)
{
	struct sockaddr_in low = {.sin_family = AF_INET, .sin_port = htons(1)};
	struct ifreq req = {.ifr_name = "lo"};
	int old = socket(AF_INET, SOCK_DGRAM, 0), mark = 1, s;

	inner_root(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWIPC);
	CHECK_ERRNO(ioctl(old, SIOCSIFFLAGS, &req), EPERM);
	CHECK_ERRNO(setsockopt(old, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), EPERM);
	CHECK_ERRNO(bind(old, (struct sockaddr *)&low, sizeof(low)), EACCES);
	CHECK_EQ(sethostname("inner", 5), 0);
	s = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK_EQ(ioctl(s, SIOCGIFFLAGS, &req), 0);
	CHECK_EQ(req.ifr_flags & IFF_UP, 0);
	req.ifr_flags |= IFF_UP;
	CHECK_EQ(ioctl(s, SIOCSIFFLAGS, &req), 0);
	CHECK_EQ(setsockopt(s, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), 0);
	CHECK_EQ(bind(s, (struct sockaddr *)&low, sizeof(low)), 0);
	CHECK(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) >= 0);
}

static int segment;

static void ipc_of_others(void)
{
	struct shmid_ds ds;

	inner_root(0);
	CHECK_ERRNO(shmctl(segment, IPC_STAT, &ds), EACCES);
	CHECK_ERRNO(shmctl(segment, IPC_RMID, NULL), EPERM);
	CHECK_EQ((long)shmat(segment, NULL, 0), -1);
}

/* One that came with the mount namespace keeps its restrictions and what it covers. */
static void locked_mounts(void)
{
	struct stat st;

	REQUIRE(unshare(CLONE_NEWNS) == 0);
	REQUIRE(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	REQUIRE(mount("none", in_dir("closed"), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		      "mode=777") == 0);
	REQUIRE(mount(NULL, in_dir("closed"), NULL,
		      MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		      NULL) == 0);
	inner_root(CLONE_NEWNS);
	CHECK_ERRNO(umount(in_dir("closed")), EINVAL);
	CHECK_ERRNO(umount2(in_dir("closed"), MNT_DETACH), EINVAL);
	CHECK_ERRNO(mount(NULL, in_dir("closed"), NULL,
			  MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL),
		    EPERM);
	CHECK_ERRNO(mount(NULL, in_dir("closed"), NULL,
			  MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NODEV | MS_NOEXEC, NULL),
		    EPERM);
	CHECK_ERRNO(mount(NULL, in_dir("closed"), NULL,
			  MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC |
				  MS_NOATIME,
			  NULL),
		    EPERM);
	CHECK_EQ(mount(NULL, in_dir("closed"), NULL,
		       MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL),
		 0);
	/* The super block is the parent's, too. */
	CHECK_ERRNO(mount(NULL, in_dir("closed"), NULL, MS_REMOUNT | MS_RDONLY, "size=1m"), EPERM);
	CHECK_ERRNO(mount(in_dir("closed"), in_dir("open"), NULL, MS_MOVE, NULL), EINVAL);
	/* A bind of what is above would show what the mount covers, unless it takes it along. */
	CHECK_ERRNO(mount(dir, in_dir("open"), NULL, MS_BIND, NULL), EINVAL);
	CHECK_EQ(mount(dir, in_dir("open"), NULL, MS_BIND | MS_REC, NULL), 0);
	CHECK_ERRNO(umount(in_dir("open/closed")), EINVAL);
	CHECK_EQ(umount2(in_dir("open"), MNT_DETACH), 0);
	CHECK_EQ(stat(in_dir("closed"), &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0777);
}

/* What its root mounts itself is its own: but no devices, nor other file systems than these. */
static void own_mounts(void)
{
	struct stat st;
	int fd;

	inner_root(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC);
	CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	CHECK_ERRNO(mount("none", in_dir("open"), "devtmpfs", 0, NULL), EPERM);
	CHECK_ERRNO(mount("none", in_dir("open"), "tmpfs", 0, "uid=1"), EINVAL);
	CHECK_EQ(mount("none", in_dir("open"), "tmpfs", 0, "uid=0,mode=755"), 0);
	CHECK_EQ(stat(in_dir("open"), &st), 0);
	CHECK_EQ(st.st_uid, 0);
	fd = open(in_dir("open/f"), O_CREAT | O_WRONLY, 0644);
	CHECK(fd >= 0);
	CHECK_EQ(fchown(fd, 0, 0), 0);
	CHECK_ERRNO(fchown(fd, 1, 0), EINVAL);
	close(fd);
	CHECK_ERRNO(mknod(in_dir("open/null"), S_IFCHR | 0666, makedev(1, 3)), EPERM);
	CHECK_EQ(mount(NULL, in_dir("open"), NULL, MS_REMOUNT, "size=1m"), 0);
	CHECK_EQ(mount("/dev/null", in_dir("open/f"), NULL, MS_BIND, NULL), 0);
	fd = open(in_dir("open/f"), O_WRONLY);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, "x", 1), 1);
	close(fd);
	CHECK_EQ(umount(in_dir("open/f")), 0);
	CHECK_EQ(mkdir(in_dir("open/q"), 0755), 0);
	CHECK_EQ(mount("mqueue", in_dir("open/q"), "mqueue", 0, NULL), 0);
	/* proc shows the pid namespace of the caller, which is still the parent's. */
	CHECK_EQ(mkdir(in_dir("open/proc"), 0755), 0);
	CHECK_ERRNO(mount("proc", in_dir("open/proc"), "proc", 0, NULL), EPERM);
	if (fork() == 0) {
		CHECK_EQ(mount("proc", in_dir("open/proc"), "proc", 0, NULL), 0);
		CHECK_EQ(access(in_dir("open/proc/1/stat"), F_OK), 0);
		_exit(check_failures);
	}
	int status = -1;
	wait(&status);
	CHECK_EQ(status, 0);
}

/* Where the parent hid a part of proc, a new mount of it would show that. */
static void covered_proc(void)
{
	int status = -1;

	REQUIRE(unshare(CLONE_NEWNS) == 0);
	REQUIRE(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	REQUIRE(mount("/dev/null", "/proc/uptime", NULL, MS_BIND, NULL) == 0);
	inner_root(CLONE_NEWNS | CLONE_NEWPID);
	if (fork() == 0) {
		CHECK_ERRNO(mount("proc", "/mnt", "proc", 0, NULL), EPERM);
		_exit(check_failures);
	}
	wait(&status);
	CHECK_EQ(status, 0);
}

/* Outside, root of a deeper namespace stays what its user is; its owner rules over it. */
static void owner_rules(void)
{
	struct helper h;
	int status;
	pid_t pid;

	become_user(USER);
	pid = fork();
	if (pid == 0) {
		become_inner_root(0);
		for (;;)
			pause();
	}
	(void)h;
	CHECK_EQ(setpriority(PRIO_PROCESS, (id_t)pid, 5), 0);
	CHECK_EQ(kill(pid, SIGKILL), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
}

static void make(const char *name, uid_t uid, mode_t mode)
{
	int fd = open(in_dir(name), O_CREAT | O_WRONLY, 0600);

	REQUIRE(fd >= 0 && fchown(fd, uid, uid) == 0 && fchmod(fd, mode) == 0);
	close(fd);
}

static void copy_shell(void)
{
	char buf[65536];
	int from = open("/bin/sh", O_RDONLY), to;
	ssize_t n;

	make("setuid", 0, 0755);
	to = open(in_dir("setuid"), O_WRONLY);
	while ((n = read(from, buf, sizeof(buf))) > 0)
		REQUIRE(write(to, buf, (size_t)n) == n);
	REQUIRE(fchmod(to, 06755) == 0);
	close(from);
	close(to);
}

int main(void)
{
	struct helper h;

	if (geteuid() != 0)
		return 0;
	umask(0);
	REQUIRE(mkdtemp(dir));
	REQUIRE(chmod(dir, 0755) == 0 && mkdir(in_dir("open"), 0777) == 0);
	REQUIRE(mkdir(in_dir("closed"), 0700) == 0 && mkdir(in_dir("sticky"), 01777) == 0);
	make("secret", 0, 0600);
	make("own", USER, 0600);
	make("sticky/roots", 0, 0666);
	copy_shell();
	segment = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
	start(&h, outside);
	outsider = h.pid;
	CHECK_EQ(in_child(files_of_others), 0);
	CHECK_EQ(in_child(set_id_files), 0);
	CHECK_EQ(in_child(tracer_inside), 0);
	CHECK_EQ(in_child(processes_of_others), 0);
	CHECK_EQ(in_child(system_of_the_parent), 0);
	CHECK_EQ(in_child(own_namespaces), 0);
	CHECK_EQ(in_child(ipc_of_others), 0);
	CHECK_EQ(in_child(locked_mounts), 0);
	CHECK_EQ(in_child(own_mounts), 0);
	CHECK_EQ(in_child(covered_proc), 0);
	CHECK_EQ(in_child(owner_rules), 0);
	stop(&h);
	shmctl(segment, IPC_RMID, NULL);
	for (size_t i = 0; i < 4; i++)
		unlink(in_dir(((const char *[]){"secret", "own", "sticky/roots", "setuid"})[i]));
	rmdir(in_dir("open"));
	rmdir(in_dir("closed"));
	rmdir(in_dir("sticky"));
	CHECK_EQ(rmdir(dir), 0);
	CHECK_DONE();
}
