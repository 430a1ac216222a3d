/*
 * The gofer process, from its first instruction to gofer_main(): opens the host's side of every
 * mount, gives up everything else, and serves. Here too: the host's tree is cloned mount by mount,
 * never recursively, so that what is mounted below a volume (a procfs, say) is not shown with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/log.h"
#include "boot/gofer.h"
#include "boot/sandbox.h"
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
static int open_host_root(const struct spec_mount *m, bool readonly)
{
	int fd = clone_tree(m->source, readonly, 0);

	if (fd == -EINVAL)
		fd = clone_tree(m->source, readonly, AT_RECURSIVE);
	if (fd != -EPERM && fd != -EINVAL && fd != -ENOSYS)
		return fd;
	fd = open(m->source, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

/* A volume that is a file is served out of its directory, by its name alone. */
static int open_mount(const struct spec_mount *m, struct gofer_mount *g)
{
	const char *slash = strrchr(m->source, '/');
	struct spec_mount dir = *m;
	char *__free parent = NULL;
	struct stat st;

	g->directfs = true;
	g->readonly = m->overlay || (m->flags & MS_RDONLY);
	if (lstat(m->source, &st) || S_ISDIR(st.st_mode) || !slash || !slash[1]) {
		g->root_fd = open_host_root(m, g->readonly);
		return g->root_fd < 0 ? g->root_fd : 0;
	}
	parent = strndup(m->source, slash == m->source ? 1 : slash - m->source);
	if (!parent)
		return -ENOMEM;
	dir.source = parent;
	g->only = slash + 1;
	g->directfs = false;
	g->root_fd = open_host_root(&dir, g->readonly);
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
	isolate_close_fds(keep, n);
}

void gofer_child_main(const struct sandbox_spec *spec, const int *gofer_fds, int ngofer)
{
	struct gofer_mount *mounts = calloc(ngofer + 1, sizeof(*mounts));
	int keep[256], n = 0, ret;

	if (!mounts)
		_exit(1);
	setsid();
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NAME, "moat-gofer");
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	keep[n++] = spec->log_fd;
	for (int i = 0; i < ngofer; i++)
		keep[n++] = gofer_fds[i];
	keep_only(keep, n);
	for (unsigned i = 0; i < spec->nmounts; i++) {
		const struct spec_mount *m = &spec->mounts[i];
		struct gofer_mount *g;

		if (m->kind != MOUNT_HOST)
			continue;
		g = &mounts[m->gofer];
		ret = open_mount(m, g);
		if (ret) {
			log_error("gofer: cannot open %s: %s", m->source, strerror(-ret));
			_exit(1);
		}
	}
	_exit(gofer_main(mounts, ngofer, gofer_fds, filter_install_gofer));
}
