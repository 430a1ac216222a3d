/*
 * The gofer process, from its first instruction to gofer_main(): opens the host's side of every
 * mount, gives up everything else, and serves. Here too: the host's tree is cloned mount by mount,
 * never recursively, so that what is mounted below a volume (a procfs, say) is not shown with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/fds.h"
#include "base/host.h"
#include "base/log.h"
#include "boot/gofer/gofer.h"
#include "boot/host/landlock.h"
#include "boot/sandbox/sandbox.h"
#include "filter/filter.h"

/* A detached clone of what is mounted at path, or -errno. `recursive` is AT_RECURSIVE or 0. */
static int clone_tree(const char *path, bool readonly, int recursive)
{
	struct mount_attr attr = {
		.attr_set =
			MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (readonly ? MOUNT_ATTR_RDONLY : 0),
		/* What the host mounts later is not to appear. */
		.propagation = MS_PRIVATE,
	};
	int __close_fd fd =
		(int)syscall(SYS_open_tree, AT_FDCWD, path,
			     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW | recursive);

	if (fd < 0)
		return -errno;
	if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | recursive, &attr, sizeof(attr)))
		return -errno;
	return steal_fd(&fd);
}

/*
 * The root of a mount: the root of a detached clone where the kernel permits (then read-only means
 * that not even the holder of the fd can write), else a plain O_PATH fd: without CAP_SYS_ADMIN over
 * the mount namespace. In a user namespace the mounts below are locked to it, and only all of them
 * can be cloned together.
 */
static int open_host_root(const struct spec_mount *m, bool readonly, int recursive, bool *cloned)
{
	int fd = -ENOSYS;

	*cloned = true;
	if (host_has(HOST_OPEN_TREE) && host_has(HOST_MOUNT_SETATTR)) {
		fd = clone_tree(m->source, readonly, recursive);
		if (fd == -EINVAL)
			fd = clone_tree(m->source, readonly, AT_RECURSIVE);
	}
	if (fd == -ENOSYS)
		fd = gofer_bind_tree(m->source, readonly);
	if (fd != -EPERM && fd != -EACCES && fd != -EINVAL && fd != -ENOSYS)
		return fd;
	*cloned = false;
	fd = open(m->source, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

/* A volume that is a file is served out of its directory, by its name alone. */
static int open_mount(const struct spec_mount *m, bool donate, struct gofer_mount *g)
{
	const char *slash = strrchr(m->source, '/');
	struct spec_mount dir = *m;
	char *__free parent = NULL;
	struct stat st;
	bool cloned;

	g->readonly = m->overlay || (m->flags & MS_RDONLY);
	g->nosuid = m->flags & MS_NOSUID;
	if (lstat(m->source, &st) || S_ISDIR(st.st_mode) || !slash || !slash[1]) {
		g->root_fd = open_host_root(m, g->readonly, 0, &cloned);
		/* A plain descriptor leads out of the mount, and to writing where the files permit
		 * it: the sentry is not given one. */
		g->directfs = cloned && donate;
		return g->root_fd < 0 ? g->root_fd : 0;
	}
	parent = strndup(m->source, slash == m->source ? 1 : slash - m->source);
	if (!parent)
		return -ENOMEM;
	dir.source = parent;
	g->only = slash + 1;
	g->directfs = false;
	/* With what is mounted in there: the file itself may be. */
	g->root_fd = open_host_root(&dir, g->readonly, AT_RECURSIVE, &cloned);
	return g->root_fd < 0 ? g->root_fd : 0;
}

static void keep_only(const int *keep, int n)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* Messages go to stderr or the log; the guest's input and output are none of ours. */
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		if (log_fd() != STDERR_FILENO)
			dup2(null, STDERR_FILENO);
	}
	fds_close_others(keep, n);
}

/* Without namespaces the host's tree stays in sight: Landlock, where there is any, leaves the
 * mounts of it, and makes the read-only ones so. */
static void confine(const struct gofer_mount *mounts, int n)
{
	struct landlock_place *places = calloc(n + 1, sizeof(*places));
	int used = 0, ret = -ENOMEM;

	for (int i = 0; places && i < n; i++)
		if (mounts[i].root_fd >= 0)
			places[used++] =
				(struct landlock_place){mounts[i].root_fd, !mounts[i].readonly};
	if (places)
		ret = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno
							     : landlock_confine(places, used);
	free(places);
	if (!ret || ret == -EOPNOTSUPP)
		return;
	log_error("gofer: Landlock: %s", strerror(-ret));
	_exit(1);
}

/*
 * Leaves the host's root for the sandbox's, which is empty and read-only, and spares making another
 * (pivot_root looks at every thread of the host). A request comes only from a sandbox that has made
 * its root, and before any guest runs. False where that is not permitted: an ordinary user's gofer
 * is not in the sandbox's user namespace.
 */
static bool enter_sandbox_root(int sandbox_pidfd, const int *sockets, int n)
{
	struct pollfd *__free polls = calloc(n + 1, sizeof(*polls));

	if (sandbox_pidfd < 0 || !polls)
		return false;
	for (int i = 0; i < n; i++)
		polls[i] = (struct pollfd){.fd = sockets[i], .events = POLLIN};
	while (poll(polls, n, -1) < 0 && errno == EINTR)
		;
	if (setns(sandbox_pidfd, CLONE_NEWNS))
		return false;
	close(sandbox_pidfd);
	return true;
}

/* Opens the host's side of each MOUNT_HOST mount, in order; sockets of those that are done without
 * become -1. How many there are. */
static int open_mounts(const struct container_spec *spec, bool donate, struct gofer_mount *mounts,
		       int *sockets)
{
	int used = 0;

	for (unsigned i = 0; i < spec->nmounts; i++) {
		const struct spec_mount *m = &spec->mounts[i];
		int ret;

		if (m->kind != MOUNT_HOST)
			continue;
		ret = open_mount(m, donate, &mounts[used]);
		if (ret && m->optional) {
			log_info("gofer: without %s: %s", m->source, strerror(-ret));
			close(sockets[used]);
			sockets[used] = -1;
		} else if (ret) {
			log_error("gofer: cannot open %s: %s", m->source, strerror(-ret));
			_exit(1);
		}
		used++;
	}
	return used;
}

void gofer_child_main(const struct container_spec *spec, const struct gofer_surroundings *around,
		      const int *gofer_fds, int ngofer)
{
	struct gofer_mount *mounts = calloc((size_t)ngofer + 1, sizeof(*mounts));
	int *sockets = calloc((size_t)ngofer + 1, sizeof(*sockets));
	int keep[MAX_GOFER_FDS + 3], n = 0, used;
	bool shared = false;

	if (!mounts || !sockets)
		_exit(1);
	/* [0] is the lifeline, which is only held open. */
	memcpy(sockets, gofer_fds + 1, (size_t)(ngofer - 1) * sizeof(*sockets));
	setsid();
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NAME, "moat-gofer");
	if (!around->detached)
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	keep[n++] = log_fd();
	keep[n++] = around->sandbox_pidfd;
	for (int i = 0; i < ngofer; i++)
		keep[n++] = gofer_fds[i];
	keep_only(keep, n);
	used = open_mounts(spec, !around->through_gofer, mounts, sockets);
	if (around->isolation == ISOLATION_NONE)
		confine(mounts, used);
	else
		shared = enter_sandbox_root(around->sandbox_pidfd, sockets, used);
	_exit(gofer_main(mounts, used, sockets, shared, filter_install_gofer));
}
