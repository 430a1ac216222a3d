#include "boot/loader/loader.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/log.h"
#include "boot/loader/loader_internal.h"
#include "boot/net/egress.h"
#include "control/frame.h"
#include "sentry/fs/fs.h"
#include "sentry/fs/tty/tty.h"
#include "sentry/net/inet/host.h"
#include "sentry/net/inet/show.h"
#include "sentry/syscalls/strace.h"
#include "sentry/vfs/vfs_init.h"

static uint64_t host_memory(void)
{
	struct sysinfo si;

	return sysinfo(&si) ? 1ULL << 30 : (uint64_t)si.totalram * si.mem_unit;
}

/* A group counts memory of the host's kernel, too, and once it is full of what no process's end
 * gives back (files in memory), the sentry itself would wait for ever: guests must come to their
 * end first. */
uint64_t loader_guest_memory(const struct loader *l, uint64_t limit)
{
	return l->args.oom_spared ? limit - limit / 16 : limit;
}

static int build_kernel(struct loader *l, struct control_error *err)
{
	const struct loader_args *a = &l->args;
	uint64_t memory = a->total_memory ? a->total_memory : host_memory();
	int ret;

	if (a->memory_limit && a->memory_limit < memory)
		memory = loader_guest_memory(l, a->memory_limit);
	ret = kernel_init(a->num_cpus, memory);
	if (ret)
		return control_fail(err, ret, "kernel: %s", strerror(-ret));
	vfs_init();
	fs_register_all();
	strace_enabled = a->strace;
	kernel_set_exit_fd(l->exit_fd);
	ret = kernel_start();
	if (ret)
		return control_fail(err, ret, "kernel threads: %s", strerror(-ret));
	ret = a->memory_limit ? kernel_limit_memory() : 0;
	return ret ? control_fail(err, ret, "memory limit: %s", strerror(-ret)) : 0;
}

/* --- the terminal's size ---------------------------------------------------------------------- */

static bool winch(void *arg)
{
	struct loader *l = arg;
	struct tty *console = l->root ? l->root->init->console : NULL;
	uint64_t n;

	if (read(l->args.winch_fd, &n, sizeof(n)) < 0)
		return errno == EAGAIN;
	if (console)
		tty_console_winch(console);
	return true;
}

/* --- life ------------------------------------------------------------------------------------- */

static int build_server(struct loader *l, struct control_error *err)
{
	struct control_server_config config = {
		.backend = &loader_backend,
		.ctx = l,
		.path_listener = l->args.listeners[0],
		.abstract_listener = l->args.listeners[1],
		.uid = l->args.owner,
		.owner = l->args.controller_fd,
	};
	int ret;

	memcpy(config.token, l->args.token, sizeof(config.token));
	ret = control_server_new(&config, &l->server);
	if (!ret)
		ret = control_server_watch(l->server, l->exit_fd, process_reap, l);
	if (!ret && l->args.winch_fd >= 0)
		ret = control_server_watch(l->server, l->args.winch_fd, winch, l);
	return ret ? control_fail(err, ret, "control server: %s", strerror(-ret)) : 0;
}

int loader_new(const struct loader_args *args, struct loader **out, struct control_error *err)
{
	struct loader *l = calloc(1, sizeof(*l));
	int ret;

	if (!l)
		return control_fail(err, ENOMEM, "no memory");
	l->args = *args;
	mutex_init(&l->lock);
	mutex_init(&l->mounts_lock);
	LIST_INIT(&l->shared_mounts);
	pthread_cond_init(&l->changed, NULL);
	LIST_INIT(&l->containers);
	l->root_status = SIGKILL;
	l->exit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = l->exit_fd < 0 ? control_fail(err, errno, "eventfd: %s", strerror(errno)) : 0;
	if (!ret)
		ret = build_kernel(l, err);
	if (!ret)
		ret = build_server(l, err);
	if (!ret)
		*out = l;
	return ret;
}

void loader_apply_sysctls(struct net_ns *ns, char *const *v)
{
	struct netstack *s;
	char name[128];

	if (!v || !*v || inet_stack_of(ns, &s))
		return;
	for (; *v; v++) {
		const char *value = strchr(*v, '=');
		size_t n = (size_t)(value - *v) - 4;
		int ret = -ENOENT;

		if (n < sizeof(name)) {
			memcpy(name, *v + 4, n);
			name[n] = 0;
			ret = inet_sysctl_set(s, name, value + 1);
		}
		/* Every group may ping. */
		if (ret && strncmp(*v, "net.ipv4.ping_group_range=", 26))
			log_warn("linux.sysctl: %s: %s", *v, strerror(-ret));
	}
}

/* Before there is a link. */
static int start_policy(struct loader *l, struct control_error *err)
{
	struct netstack *s;
	int ret = inet_stack_of(l->root->ns.net, &s);

	if (!ret)
		ret = egress_start(s, l->args.egress, l->args.egress_log_fd, l->args.id);
	return ret ? control_fail(err, ret, "egress policy: %s", strerror(-ret)) : 0;
}

int loader_run(struct loader *l, struct control_error *err, bool *program)
{
	const struct loader_args *a = &l->args;
	unsigned nextra = a->spec->process.extra_files;
	int *__free extra = calloc(nextra + 1, sizeof(int));
	struct container_fds fds = {
		.stdio = {a->stdio_fds[0], a->stdio_fds[1], a->stdio_fds[2]},
		.extra = extra,
		.gofer = a->gofer_fds,
		.ngofer = a->ngofer,
	};
	int ret;

	*program = false;
	if (!extra)
		return control_fail(err, ENOMEM, "no memory");
	if (nextra)
		memcpy(extra, a->extra_fds, nextra * sizeof(int));
	ret = container_create(l, a->id, a->spec, &fds, err, program);
	if (ret)
		return ret;
	l->root = container_find(l, a->id, err);
	if (!l->root)
		return -ENOENT;
	if (a->host_sockets)
		inet_host_enable(l->root->ns.net);
	return a->links || a->host_sockets ? start_policy(l, err) : 0;
}

void loader_wait_for_start_signal(struct loader *l)
{
	for (;;) {
		bool started;

		mutex_lock(&l->lock);
		started = l->start_signal;
		mutex_unlock(&l->lock);
		if (started)
			return;
		control_server_run(l->server);
	}
}

int loader_wait_exit(struct loader *l)
{
	for (;;) {
		bool exited;
		int status;

		mutex_lock(&l->lock);
		exited = l->root_exited;
		status = l->root_status;
		mutex_unlock(&l->lock);
		if (exited)
			return status;
		control_server_run(l->server);
	}
}

void loader_give_up(struct loader *l)
{
	mutex_lock(&l->lock);
	l->root_exited = l->start_signal = true;
	l->root_status = EXIT_MOAT_FAILED << 8;
	mutex_unlock(&l->lock);
	control_server_stop(l->server);
}

void loader_destroy(struct loader *l)
{
	/* Containers, kernel and what runs in it stay until the process ends: they are its memory
	 * and its children. */
	control_server_free(l->server);
}
