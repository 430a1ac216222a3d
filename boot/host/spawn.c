#include "boot/host/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/host.h"
#include "base/log.h"
#include "boot/host/cgroup.h"

#define OTHER_NAMESPACES                                                                           \
	(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

#define GOFER_NAMESPACES (CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

/* True in a child that was born into its v2 group. */
static bool born_in_cgroup;

static pid_t clone_into(unsigned long flags, int cgroup, int *pidfd)
{
	struct clone_args args = {
		.flags = flags | CLONE_PIDFD | CLONE_INTO_CGROUP,
		.pidfd = (uint64_t)(uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)cgroup,
	};
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0)
		born_in_cgroup = true;
	return pid;
}

/* fork with namespaces; the child gets 0. *pidfd is set in the parent. */
static pid_t clone_process(const struct sandbox_spec *spec, unsigned long flags, int *pidfd)
{
	pid_t pid = -1;

	/* Before Linux 5.7, and where clone3 is filtered, the child enters all by itself. */
	if (spec->cgroup && spec->cgroup->unified >= 0)
		pid = clone_into(flags, spec->cgroup->unified, pidfd);
	if (pid < 0)
		pid = (pid_t)syscall(SYS_clone, flags | CLONE_PIDFD | SIGCHLD, 0, pidfd, 0, 0);
	return pid < 0 ? -errno : pid;
}

int spawn_enter_cgroup(const struct sandbox_spec *spec)
{
	return spec->cgroup ? cgroup_enter(spec->cgroup, born_in_cgroup) : 0;
}

/* What clone says where it is not to be had: no right, a limit of 0 (user.max_*_namespaces), a
 * kernel without. */
static bool is_refusal(pid_t result)
{
	return result == -EPERM || result == -ENOSPC || result == -EUSERS || result == -EINVAL ||
	       result == -ENOSYS;
}

static void explain(int error, const char *what, char *err, size_t errlen)
{
	const char *hint = "";

	if (error == -EAGAIN)
		hint = ": the limit of processes is reached (ulimit -u, the pids cgroup)";
	else if (error == -ENOMEM)
		hint = ": give the host more memory, or permit overcommitting "
		       "(vm.overcommit_memory)";
	snprintf(err, errlen, "cannot create the %s: %s%s", what, strerror(-error), hint);
}

pid_t spawn_sandbox(struct sandbox_spec *spec, int *pidfd, char *err, size_t errlen)
{
	unsigned long others =
		OTHER_NAMESPACES & ~(spec->network == NETWORK_HOST ? CLONE_NEWNET : 0UL);
	bool user = host_has(HOST_USER_NAMESPACES), any = host_has(HOST_NAMESPACES);
	enum isolation limit = spec->isolation;
	pid_t pid = -EPERM;

	/* Each attempt sets what the child will read. */
	if (limit <= ISOLATION_FULL && user && any) {
		spec->isolation = ISOLATION_FULL;
		pid = clone_process(spec, CLONE_NEWUSER | others, pidfd);
		if (!is_refusal(pid))
			goto out;
	}
	if (limit <= ISOLATION_NO_USER_NS && !spec->rootless && any) {
		spec->isolation = ISOLATION_NO_USER_NS;
		pid = clone_process(spec, others, pidfd);
		if (!is_refusal(pid))
			goto out;
	}
	spec->isolation = ISOLATION_NONE;
	if (spec->require_namespaces) {
		snprintf(err, errlen,
			 "cannot create the sandbox's namespaces: %s, and --require-namespaces "
			 "was given",
			 strerror(-pid));
		return pid;
	}
	pid = clone_process(spec, 0, pidfd);
out:
	if (pid < 0)
		explain(pid, "sandbox's process and namespaces", err, errlen);
	return pid;
}

pid_t spawn_gofer(const struct sandbox_spec *spec, bool own_ids, int *pidfd, char *err,
		  size_t errlen)
{
	unsigned long flags = 0;
	pid_t pid;

	/* Root's gofer goes into its namespaces by itself. */
	if (own_ids)
		flags = CLONE_NEWUSER | CLONE_NEWNS | GOFER_NAMESPACES;
	pid = clone_process(spec, flags, pidfd);
	if (pid < 0)
		explain(pid, "gofer", err, errlen);
	return pid;
}

int spawn_enter_namespaces(const struct sandbox_spec *spec, int sandbox_pidfd)
{
	/* The sandbox is in the caller's. */
	if (spec->network == NETWORK_HOST)
		return unshare(GOFER_NAMESPACES) ? -errno : 0;
	/* The sandbox's: as empty as ones of its own would be, and a network namespace takes half a
	 * millisecond to make. Neither process can make a socket or any IPC object in it. */
	if (!setns(sandbox_pidfd, GOFER_NAMESPACES) || !unshare(GOFER_NAMESPACES))
		return 0;
	return -errno;
}

static int write_file(const char *path, const char *text)
{
	int __close_fd fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

/* The ids that our own user namespace has, each as itself. */
static int own_ids(const char *map, char *text, size_t size)
{
	char path[64];
	FILE *f;
	unsigned first, outside, count;
	size_t n = 0;

	snprintf(path, sizeof(path), "/proc/self/%s", map);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	text[0] = 0;
	while (n < size && fscanf(f, "%u %u %u", &first, &outside, &count) == 3)
		n += (size_t)snprintf(text + n, size - n, "%u %u %u\n", first, first, count);
	fclose(f);
	return n && n < size ? 0 : -E2BIG;
}

static int write_map(pid_t pid, const char *map, bool rootless, unsigned own)
{
	char path[64], text[4096];
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, map);
	snprintf(text, sizeof(text), "%u %u %u\n", rootless ? own : 0, rootless ? own : 0,
		 rootless ? 1 : UINT32_MAX);
	ret = write_file(path, text);
	/* Root of a container that has a part of the ids only. */
	if (ret == -EPERM && !rootless && !own_ids(map, text, sizeof(text)))
		ret = write_file(path, text);
	return ret;
}

int spawn_write_id_maps(pid_t pid, bool rootless)
{
	char path[64];
	int ret;

	if (rootless) {
		snprintf(path, sizeof(path), "/proc/%d/setgroups", pid);
		ret = write_file(path, "deny");
		if (ret)
			return ret;
	}
	ret = write_map(pid, "uid_map", rootless, geteuid());
	return ret ? ret : write_map(pid, "gid_map", rootless, getegid());
}

void spawn_kill(pid_t pid, int *pidfd)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (*pidfd >= 0)
		close(*pidfd);
	*pidfd = -1;
}

bool spawn_has_capability(int cap)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2] = {0};

	if (syscall(SYS_capget, &head, caps))
		return false;
	return caps[cap / 32].effective & (1u << (cap % 32));
}
