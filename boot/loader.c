/*
 * The loader: runs in the sandbox process after it has given everything up. Builds the kernel and
 * the mounts of the first container, starts its first process, and reports how it ended.
 *
 * Threads: this one becomes the control thread (it reads the link); the waiter thread sleeps until
 * the first process ends. If the link closes, the caller is gone and the sandbox ends.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/log.h"
#include "boot/link.h"
#include "boot/sandbox.h"
#include "sentry/fs/fs.h"
#include "sentry/fs/hostfd/hostfd.h"
#include "sentry/fs/host/host.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/fs/tty/tty.h"
#include "sentry/kernel/strace.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/vfs_init.h"

struct loader {
	const struct sandbox_spec *spec;
	int link;
	const int *gofer_fds;
	struct thread_group *init;
	struct tty *console;
};

static void fail(struct loader *l, int status, const char *text) __attribute__((noreturn));
static void fail(struct loader *l, int status, const char *text)
{
	link_send(l->link, LINK_ERROR, status, text);
	_exit(1);
}

static void fail_errno(struct loader *l, const char *what, const char *name, int err)
	__attribute__((noreturn));
static void fail_errno(struct loader *l, const char *what, const char *name, int err)
{
	char text[240];

	snprintf(text, sizeof(text), "%s%s%s: %s", what, name ? " " : "", name ? name : "",
		 strerror(-err));
	fail(l, EXIT_MOAT_FAILED, text);
}

/* The super block behind a MOUNT_HOST mount: the host's files, under an upper layer in memory if
 * the spec says so. */
static int host_super(struct loader *l, const struct spec_mount *m, struct super_block **out)
{
	struct host_mount_arg host = {
		.gofer_sock = l->gofer_fds[m->gofer],
		.directfs = true,
		.readonly = m->overlay || (m->flags & MS_RDONLY),
		.cache = m->overlay,
	};
	const struct fs_type *type = fs_find("host");
	struct super_block *lower;
	int ret;

	if (!type)
		return -ENODEV;
	ret = type->get_super(type, m->overlay ? MS_RDONLY : m->flags, m->source, NULL, &host,
			      &lower);
	if (ret || !m->overlay) {
		*out = lower;
		return ret;
	}
	struct overlay_arg overlay = {.lower = lower};
	type = fs_find("overlay");
	if (!type)
		return -ENODEV;
	ret = type->get_super(type, m->flags, "overlay", NULL, &overlay, out);
	sb_put(lower);
	return ret;
}

static struct mnt_ns *build_mounts(struct loader *l)
{
	const struct sandbox_spec *spec = l->spec;
	struct super_block *sb;
	struct mnt_ns *ns;
	int ret;

	ret = host_super(l, &spec->mounts[0], &sb);
	if (ret)
		fail_errno(l, "cannot open the root file system", spec->mounts[0].source, ret);
	ret = mnt_ns_create(sb, spec->mounts[0].flags, &ns);
	if (ret)
		fail_errno(l, "cannot mount", "/", ret);
	for (unsigned i = 1; i < spec->nmounts; i++) {
		const struct spec_mount *m = &spec->mounts[i];

		if (m->kind == MOUNT_HOST) {
			ret = host_super(l, m, &sb);
			if (ret)
				fail_errno(l, "cannot open volume", m->source, ret);
			ret = mnt_ns_mount_super(ns, m->target, sb, m->flags, true);
		} else {
			ret = mnt_ns_mount(ns, m->target, m->fstype, m->source, m->flags,
					   m->options, NULL, true);
		}
		if (ret == -ENODEV && m->optional) {
			log_info("no file system %s for %s", m->fstype, m->target);
			continue;
		}
		if (ret)
			fail_errno(l, "cannot mount", m->target, ret);
	}
	for (char **p = spec->masked_paths; p && *p; p++) {
		ret = mnt_ns_mask(ns, *p);
		if (ret && ret != -ENOENT && ret != -ENOTDIR)
			fail_errno(l, "cannot mask", *p, ret);
	}
	for (char **p = spec->readonly_paths; p && *p; p++) {
		ret = mnt_ns_bind(ns, *p, *p, MS_RDONLY, true);
		if (ret && ret != -ENOENT && ret != -ENOTDIR)
			fail_errno(l, "cannot make read-only", *p, ret);
	}
	if (spec->root_readonly) {
		ret = mnt_ns_remount_root(ns, MS_RDONLY);
		if (ret)
			fail_errno(l, "cannot make read-only", "/", ret);
	}
	return ns;
}

static struct cred *build_cred(const struct sandbox_spec *spec)
{
	struct cred *cred = cred_alloc();

	if (!cred)
		return NULL;
	cred->uid = cred->euid = cred->suid = cred->fsuid = spec->uid;
	cred->gid = cred->egid = cred->sgid = cred->fsgid = spec->gid;
	cred->cap_bset = spec->caps.bounding;
	cred->cap_effective = spec->caps.effective;
	cred->cap_permitted = spec->caps.permitted;
	cred->cap_inheritable = spec->caps.inheritable;
	cred->cap_ambient = spec->caps.ambient;
	if (spec->ngroups) {
		cred->groups = malloc(spec->ngroups * sizeof(gid_t));
		if (!cred->groups) {
			cred_put(cred);
			return NULL;
		}
		memcpy(cred->groups, spec->groups, spec->ngroups * sizeof(gid_t));
		cred->ngroups = spec->ngroups;
		cred_sort_groups(cred);
	}
	return cred;
}

/* The first process's descriptors 0 to 2. */
static int build_stdio(struct loader *l, struct file *stdio[3])
{
	const struct sandbox_spec *spec = l->spec;
	int ret;

	if (spec->terminal) {
		ret = tty_console_create(spec->stdio[0], spec->stdio[1], &l->console, &stdio[0]);
		if (ret)
			return ret;
		stdio[1] = file_get(stdio[0]);
		stdio[2] = file_get(stdio[0]);
		return 0;
	}
	for (int i = 0; i < 3; i++) {
		ret = hostfd_file_create(spec->stdio[i], i == 0, i != 0, &stdio[i]);
		if (ret)
			return ret;
	}
	return 0;
}

static void start_init(struct loader *l, struct mnt_ns *ns)
{
	const struct sandbox_spec *spec = l->spec;
	struct init_params params = {
		.path = spec->argv[0],
		.argv = spec->argv,
		.envp = spec->envp,
		.cwd = spec->cwd ? spec->cwd : "/",
		.hostname = spec->hostname ? spec->hostname : "moat",
		.domainname = spec->domainname,
		.cred = build_cred(spec),
		.rlim = spec->rlim,
		.umask = spec->umask,
		.no_new_privs = spec->no_new_privs,
		.mnt_ns = ns,
		.oom_score_adj = spec->oom_score_adj,
	};
	char text[240];
	const char *what = NULL;
	int ret;

	if (!params.cred)
		fail_errno(l, "credentials", NULL, -ENOMEM);
	ret = build_stdio(l, params.stdio);
	if (ret)
		fail_errno(l, "standard input and output", NULL, ret);
	params.console = l->console;
	ret = kernel_create_init(&params, &l->init, &what);
	if (!ret)
		return;
	snprintf(text, sizeof(text), "%s: %s", what ? what : spec->argv[0], strerror(-ret));
	fail(l,
	     ret == -ENOENT || ret == -ENOTDIR	? EXIT_NOT_FOUND
	     : ret == -ENOMEM || ret == -EAGAIN ? EXIT_MOAT_FAILED
						: EXIT_NOT_EXECUTABLE,
	     text);
}

static void *waiter_main(void *arg)
{
	struct loader *l = arg;
	int status = kernel_wait_group(l->init);

	if (l->console)
		tty_console_drain(l->console);
	link_send(l->link, LINK_EXIT, status, NULL);
	/* The init of the pid namespace: every stub goes with it. */
	_exit(0);
}

static void serve_link(struct loader *l) __attribute__((noreturn));
static void serve_link(struct loader *l)
{
	struct link_message msg;

	for (;;) {
		int ret = link_receive(l->link, &msg);

		if (ret == -EPIPE)
			_exit(1);
		if (ret)
			continue;
		switch (msg.kind) {
		case LINK_SIGNAL:
			if (msg.value > 0 && msg.value <= GUEST_NSIG)
				kernel_signal_group(l->init, msg.value);
			break;
		case LINK_WINCH:
			if (l->console)
				tty_console_winch(l->console);
			break;
		}
	}
}

static uint64_t host_memory(void)
{
	struct sysinfo si;

	return sysinfo(&si) ? 1ULL << 30 : (uint64_t)si.totalram * si.mem_unit;
}

void loader_main(const struct sandbox_spec *spec, int link, const int *gofer_fds, int ngofer)
{
	struct loader l = {.spec = spec, .link = link, .gofer_fds = gofer_fds};
	uint64_t memory = host_memory();
	struct mnt_ns *ns;
	pthread_t waiter;
	int ret;

	if (spec->memory && spec->memory < memory)
		memory = spec->memory;
	ret = kernel_init(spec->num_cpus, memory);
	if (ret)
		fail_errno(&l, "kernel", NULL, ret);
	vfs_init();
	fs_register_all();
	strace_enabled = spec->strace;
	ns = build_mounts(&l);
	ret = kernel_start();
	if (ret)
		fail_errno(&l, "kernel threads", NULL, ret);
	if (spec->memory) {
		ret = kernel_limit_memory();
		if (ret)
			fail_errno(&l, "memory limit", NULL, ret);
	}
	start_init(&l, ns);
	ret = pthread_create(&waiter, NULL, waiter_main, &l);
	if (ret)
		fail_errno(&l, "waiter thread", NULL, -ret);
	link_send(link, LINK_STARTED, 0, NULL);
	serve_link(&l);
}
