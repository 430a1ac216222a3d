/* Starting gofer and sandbox: the processes, their namespaces, what connects them. */
#include "boot/sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "boot/host/host_features.h"
#include "boot/sandbox/keeper.h"
#include "boot/sandbox/link.h"
#include "boot/host/spawn.h"
#include "control/client.h"
#include "control/frame.h"

void sandbox_kill(struct sandbox *sb)
{
	/* The sandbox is the init of its pid namespace: every process in it goes with it. Without
	 * one, whoever is left becomes ours. */
	if (sb->sandbox_pid > 0)
		kill(sb->sandbox_pid, SIGKILL); /* first: it would complain of the gofer's death */
	if (sb->gofer_pid > 0)
		kill(sb->gofer_pid, SIGKILL);
	spawn_kill(sb->sandbox_pid, &sb->sandbox_pidfd);
	spawn_kill(sb->gofer_pid, &sb->gofer_pidfd);
	if (sb->sweep)
		keeper_sweep();
	close_fd_ptr(&sb->link);
	control_client_free(sb->client);
	sb->client = NULL;
}

/* The sentry opens many host files: raise what is inherited as far as the system lets us. */
static void raise_limits(void)
{
	struct rlimit nofile = {1 << 20, 1 << 20}, old;
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};

	if (setrlimit(RLIMIT_NOFILE, &nofile) && !getrlimit(RLIMIT_NOFILE, &old)) {
		old.rlim_cur = old.rlim_max;
		setrlimit(RLIMIT_NOFILE, &old);
	}
	setrlimit(RLIMIT_NPROC, &unlimited);
	setrlimit(RLIMIT_FSIZE, &unlimited);
	setrlimit(RLIMIT_CPU, &unlimited);
	setrlimit(RLIMIT_AS, &unlimited);
}

/* --- the gofer -------------------------------------------------------------------------------- */

int gofer_make_sockets(const struct container_spec *spec, int *sandbox_ends, int *gofer_ends,
		       int *n)
{
	unsigned wanted = 1;
	int ret = 0;

	for (unsigned i = 0; i < spec->nmounts; i++)
		wanted += spec->mounts[i].kind == MOUNT_HOST;
	if (wanted > MAX_GOFER_FDS)
		return -E2BIG;
	*n = 0;
	while (!ret && (unsigned)*n < wanted) {
		int sv[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv)) {
			ret = -errno;
			break;
		}
		sandbox_ends[*n] = sv[0];
		gofer_ends[*n] = sv[1];
		++*n;
	}
	if (ret) {
		close_fds(sandbox_ends, (unsigned)*n);
		close_fds(gofer_ends, (unsigned)*n);
		*n = 0;
	}
	return ret;
}

static int write_ids(pid_t pid, bool rootless, char *err, size_t errlen)
{
	int ret = spawn_write_id_maps(pid, rootless);

	if (ret)
		snprintf(err, errlen, "cannot write the sandbox's id maps: %s", strerror(-ret));
	return ret;
}

pid_t gofer_start(const struct sandbox_spec *spec, int sandbox_pidfd, const int *gofer_ends, int n,
		  int *pidfd, char *err, size_t errlen)
{
	/* Root without CAP_SYS_ADMIN, in a container, gets its namespaces like an ordinary user. */
	bool own_ids = spec->isolation == ISOLATION_FULL &&
		       (spec->rootless || !spawn_has_capability(CAP_SYS_ADMIN));
	struct gofer_surroundings around = {
		.through_gofer = spec->through_gofer,
		.isolation = spec->isolation,
		.detached = spec->detached,
		.sandbox_pidfd = own_ids ? -1 : sandbox_pidfd,
	};
	pid_t pid = spawn_gofer(spec, own_ids, pidfd, err, errlen);
	int ret;

	if (pid == 0) {
		if (spawn_enter_cgroup(spec) && spec->cgroup_required)
			_exit(1);
		if (!own_ids && spec->isolation != ISOLATION_NONE &&
		    spawn_enter_namespaces(spec, sandbox_pidfd))
			_exit(1);
		gofer_child_main(&spec->container, &around, gofer_ends, n);
	}
	if (pid < 0 || !own_ids)
		return pid;
	ret = write_ids(pid, spec->rootless, err, errlen);
	if (!ret)
		return pid;
	spawn_kill(pid, pidfd);
	return ret;
}

/* --- the sandbox ------------------------------------------------------------------------------ */

/* What connects the CLI with the sandbox; [0] is the CLI's. */
struct wires {
	int link[2], control[2];
	int sandbox_ends[MAX_GOFER_FDS], gofer_ends[MAX_GOFER_FDS], n;
};

static int fail(int ret, const char *what, char *err, size_t errlen)
{
	snprintf(err, errlen, "%s: %s", what, strerror(-ret));
	return ret;
}

static int make_wires(const struct sandbox_spec *spec, struct wires *w, char *err, size_t errlen)
{
	int ret;

	w->link[0] = w->link[1] = w->control[0] = w->control[1] = -1;
	w->n = 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, w->link))
		return fail(-errno, "socketpair", err, errlen);
	if (spec->controller >= 0)
		w->control[1] = fcntl(spec->controller, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->control))
		w->control[1] = -1;
	if (w->control[1] < 0)
		return fail(-errno, "control connection", err, errlen);
	ret = gofer_make_sockets(&spec->container, w->sandbox_ends, w->gofer_ends, &w->n);
	return ret ? fail(ret, "gofer sockets", err, errlen) : 0;
}

/* Hooks, and whatever the sandbox forks, find it in its groups. */
static int wait_joined(const struct sandbox_spec *spec, int link, char *err, size_t errlen)
{
	struct link_message msg;
	int ret = link_receive(link, &msg);

	if (!ret && msg.kind != LINK_JOINED)
		ret = -EPROTO;
	if (!ret && spec->cgroup_required)
		ret = msg.value;
	return ret ? fail(ret, "cannot join the cgroup", err, errlen) : 0;
}

static int start_processes(struct sandbox_spec *spec, struct sandbox *sb, struct wires *w,
			   char *err, size_t errlen)
{
	int ret;

	raise_limits();
	/* The sandbox first: it is the longer way. */
	sb->sandbox_pid = spawn_sandbox(spec, &sb->sandbox_pidfd, err, errlen);
	if (sb->sandbox_pid == 0)
		sandbox_child_main(spec, w->link[1], w->control[1], w->sandbox_ends, w->n);
	if (sb->sandbox_pid < 0)
		return sb->sandbox_pid;
	close_fd_ptr(&w->link[1]); /* or nobody would see its end */
	ret = spec->isolation == ISOLATION_FULL
		      ? write_ids(sb->sandbox_pid, spec->rootless, err, errlen)
		      : 0;
	if (!ret && spec->cgroup)
		ret = wait_joined(spec, w->link[0], err, errlen);
	/* The gofer is to see what hooks do to the host's files. */
	if (!ret && spec->before_files)
		ret = spec->before_files(spec->before_files_arg, sb->sandbox_pid, err, errlen);
	if (ret)
		return ret;
	ret = link_send(w->link[0], LINK_GO, 0, NULL);
	if (ret)
		return fail(ret, "the sandbox did not start", err, errlen);
	sb->gofer_pid = gofer_start(spec, sb->sandbox_pidfd, w->gofer_ends, w->n, &sb->gofer_pidfd,
				    err, errlen);
	return sb->gofer_pid < 0 ? sb->gofer_pid : 0;
}

int sandbox_start(struct sandbox_spec *spec, struct sandbox *sb, char *err, size_t errlen)
{
	struct wires w;
	int ret = host_check_version(err, errlen);

	if (ret)
		return ret;
	*sb = (struct sandbox){.gofer_pidfd = -1, .sandbox_pidfd = -1, .link = -1};
	spec->owner = geteuid();
	ret = make_wires(spec, &w, err, errlen);
	if (!ret)
		ret = start_processes(spec, sb, &w, err, errlen);
	close_fds(w.sandbox_ends, (unsigned)w.n);
	close_fds(w.gofer_ends, (unsigned)w.n);
	close_fd_ptr(&w.link[1]);
	close_fd_ptr(&w.control[1]);
	sb->link = w.link[0];
	if (spec->isolation == ISOLATION_NONE) {
		keeper_adopt();
		sb->sweep = true;
	}
	if (ret) {
		close_fd_ptr(&w.control[0]);
	} else if (w.control[0] >= 0) {
		ret = control_client_new(w.control[0], NULL, &sb->client);
		if (ret)
			fail(ret, "control connection", err, errlen);
	}
	if (ret)
		sandbox_kill(sb);
	return ret;
}
