/* Probes of system calls: each is made in a way that cannot do anything. */
#include "boot/host/host_probe.h"

#include <errno.h>
#include <linux/futex.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/host.h"
#include "boot/host/host_features.h"
#include "boot/host/landlock.h"
#include "boot/host/spawn.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1ull
#endif

/* Runs fn in a child, whose exit status it is; 255 when it did not end so. */
static int in_child(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn());
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 255;
	return WEXITSTATUS(status);
}

bool probe_linux(char *detail, size_t n)
{
	struct utsname u;
	char err[128];

	uname(&u);
	snprintf(detail, n, "%s", u.release);
	return !host_check_version(err, sizeof(err));
}

bool probe_fsgsbase(char *detail, size_t n)
{
	(void)detail;
	(void)n;
	return getauxval(AT_HWCAP2) & 2; /* HWCAP2_FSGSBASE */
}

/* A listener for a filter that allows all, or -errno. */
static int open_listener(unsigned long flags)
{
	struct sock_filter insn = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {1, &insn};
	long fd;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | flags,
		     &program);
	return fd < 0 ? -errno : (int)fd;
}

static int try_notify(void)
{
	int fd = open_listener(0);

	return fd < 0 ? -fd : 0;
}

bool probe_notify(char *detail, size_t n)
{
	int error = in_child(try_notify);

	if (error)
		snprintf(detail, n, "seccomp: %s", strerror(error));
	return !error;
}

static int try_sync_wake_up(void)
{
	__u64 flags = SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP;
	int fd = open_listener(0);

	return fd < 0 || ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, flags);
}

bool probe_sync_wake_up(char *detail, size_t n)
{
	(void)detail;
	(void)n;
	return !in_child(try_sync_wake_up);
}

static int try_wait_killable(void)
{
	return open_listener(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) < 0;
}

bool probe_wait_killable(char *detail, size_t n)
{
	(void)detail;
	(void)n;
	return !in_child(try_wait_killable);
}

bool probe_process_vm(char *detail, size_t n)
{
	char from = 1, to = 0;
	struct iovec local = {&to, 1}, remote = {&from, 1};

	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1 &&
	    process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == 1)
		return true;
	snprintf(detail, n, "process_vm_readv: %s", strerror(errno));
	return false;
}

/* A child stands still, by PTRACE_TRACEME, and is made to run on to its next system call, which it
 * does not make. It ends with the process that traces it. */
static int try_sysemu(void)
{
	int status, error = 0;
	pid_t pid = fork();

	if (pid < 0)
		return errno;
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(errno);
		raise(SIGSTOP);
		syscall(SYS_exit_group, 0);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
	if (ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)PTRACE_O_EXITKILL) ||
	    ptrace(PTRACE_SYSEMU, pid, NULL, NULL))
		error = errno;
	else if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		error = ENOSYS;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return error;
}

bool probe_ptrace(char *detail, size_t n)
{
	int error = in_child(try_sysemu);

	if (error)
		snprintf(detail, n, "ptrace: %s", strerror(error));
	return !error;
}

bool probe_pidfd(char *detail, size_t n)
{
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (fd >= 0)
		close(fd);
	else
		snprintf(detail, n, "pidfd_open: %s", strerror(errno));
	return fd >= 0;
}

bool probe_memfd(char *detail, size_t n)
{
	int fd = memfd_create("probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *p = MAP_FAILED;

	/* vm.memfd_noexec must not be in the way either. */
	if (fd >= 0 && !ftruncate(fd, 4096) && !fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE))
		p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		snprintf(detail, n, "memfd: %s", strerror(errno));
	else
		munmap(p, 4096);
	if (fd >= 0)
		close(fd);
	return p != MAP_FAILED;
}

/* A call that fails with something else than "no such call" (or a filter's EPERM) exists. */
static bool exists(long result)
{
	return result >= 0 || (errno != ENOSYS && errno != EPERM);
}

bool probe_direct_futex(char *detail, size_t n)
{
	uint32_t word = 0;

	return syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 0;
}

bool probe_clone3(char *detail, size_t n)
{
	(void)detail;
	(void)n;
	return exists(syscall(SYS_clone3, NULL, 0));
}

bool probe_openat2(char *detail, size_t n)
{
	(void)detail;
	(void)n;
	return exists(syscall(SYS_openat2, -1, "", NULL, 0));
}

bool probe_close_range(char *detail, size_t n)
{
	(void)detail;
	(void)n;
	return exists(syscall(SYS_close_range, ~0U, ~0U, 0));
}

bool probe_fsmount(char *detail, size_t n)
{
	(void)detail;
	(void)n;
	/* fsopen asks for rights before it looks at its arguments; fsconfig does not. */
	return exists(syscall(SYS_fsconfig, -1, 0, NULL, NULL, 0));
}

bool probe_open_tree(char *detail, size_t n)
{
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, "/", O_CLOEXEC);

	(void)detail;
	(void)n;
	if (fd >= 0)
		close(fd);
	return fd >= 0 || errno != ENOSYS;
}

bool probe_mount_setattr(char *detail, size_t n)
{
	(void)detail;
	(void)n;
	return exists(syscall(SYS_mount_setattr, -1, "", 0, NULL, 0));
}

bool probe_fchmodat2(char *detail, size_t n)
{
	(void)detail;
	(void)n;
	return exists(syscall(SYS_fchmodat2, -1, "", 0, 0x1000));
}

/* --- namespaces ------------------------------------------------------------------------------ */

/* A child in these namespaces, or -errno. With a user namespace, its ids are mapped as a sandbox's.
 */
static int try_namespaces(unsigned long flags)
{
	pid_t pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
	int ret = 0;

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		for (;;)
			pause();
	}
	if (flags & CLONE_NEWUSER)
		ret = spawn_write_id_maps(pid, geteuid() != 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return ret;
}

bool probe_user_namespaces(char *detail, size_t n)
{
	int ret = try_namespaces(CLONE_NEWUSER);

	if (ret)
		snprintf(detail, n, "%s", strerror(-ret));
	return !ret;
}

static int try_mount(void)
{
	const char *type = "tmpfs";
	long fd = syscall(SYS_fsopen, type, 0);

	return fd < 0 && errno != ENOSYS ? errno : 0;
}

bool probe_namespaces(char *detail, size_t n)
{
	unsigned long flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC |
			      CLONE_NEWUTS | CLONE_NEWCGROUP;
	int ret = try_namespaces(flags | CLONE_NEWUSER);

	if (ret)
		ret = try_namespaces(flags);
	if (!ret && geteuid() == 0)
		ret = -in_child(try_mount);
	if (ret)
		snprintf(detail, n, "%s", strerror(-ret));
	return !ret;
}

bool probe_landlock(char *detail, size_t n)
{
	int version = landlock_version();

	if (version)
		snprintf(detail, n, "version %d", version);
	return version > 0;
}
