/* What the control server's calls do: struct control_backend over containers and processes. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/log.h"
#include "boot/loader/loader_internal.h"
#include "boot/net/egress.h"
#include "boot/net/links.h"
#include "boot/spec/spec_wire.h"
#include "sentry/fs/tty/tty.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/net/inet/show.h"
#include "sentry/syscalls/strace.h"

#define MEMORY_LEAST (1 << 20)

/* Standard descriptors as they came: three, or one for all. */
static void take_stdio(int *stdio, int **fds, bool terminal)
{
	for (int i = 0; i < 3; i++)
		stdio[i] = terminal ? (*fds)[0] : (*fds)[i];
	for (int i = 0; i < (terminal ? 1 : 3); i++)
		(*fds)[i] = -1;
	*fds += terminal ? 1 : 3;
}

static int backend_create(void *ctx, const Moat__Create *create, int *fds, unsigned nfds,
			  struct control_error *err)
{
	struct container_fds parts = {0};
	struct container_spec spec;
	unsigned nextra, ngofer = 1;
	bool program;
	int ret = wire_to_container(create->spec, &spec);

	if (ret) {
		container_spec_free(&spec);
		return control_fail(err, ret, "the specification is not valid: %s", strerror(-ret));
	}
	nextra = spec.process.extra_files;
	for (unsigned i = 0; i < spec.nmounts; i++)
		ngofer += spec.mounts[i].kind == MOUNT_HOST;
	take_stdio(parts.stdio, &fds, spec.process.terminal);
	parts.extra = fds;
	/* Consumed with the container: not the server's to close any more. */
	parts.gofer = fds + nextra;
	parts.ngofer = ngofer;
	ret = container_create(ctx, create->id, &spec, &parts, err, &program);
	for (unsigned i = 0; i < nextra + ngofer; i++)
		fds[i] = -1;
	container_spec_free(&spec);
	return ret;
}

static int backend_start(void *ctx, const char *id, bool root, struct control_error *err)
{
	struct loader *l = ctx;
	struct container *c = container_find(l, id, err);
	int ret;

	if (!c)
		return -err->number;
	if (root != (c == l->root))
		ret = control_fail(err, EINVAL, "'%s' is %sthe root container", id,
				   root ? "not " : "");
	else
		ret = container_start(c, err);
	if (!ret && root) {
		mutex_lock(&l->lock);
		l->start_signal = true;
		mutex_unlock(&l->lock);
		control_server_stop(l->server);
	}
	container_put(c);
	return ret;
}

static int backend_destroy(void *ctx, const char *id, struct control_error *err)
{
	struct container *c = container_find(ctx, id, err);
	int ret;

	if (!c)
		return -err->number;
	ret = container_destroy(c, err);
	container_put(c);
	return ret;
}

static int backend_execute(void *ctx, const Moat__Execute *execute, uint64_t connection, int *fds,
			   unsigned nfds, int *pid, struct control_error *err)
{
	struct container *c = container_find(ctx, execute->id, err);
	struct process_spec spec;
	int stdio[3], ret;

	if (!c)
		return -err->number;
	ret = wire_to_process(execute->process, &spec);
	if (ret) {
		control_fail(err, ret, "the process is not valid: %s", strerror(-ret));
	} else {
		take_stdio(stdio, &fds, spec.terminal);
		ret = process_execute(c, &spec, execute, connection, stdio, fds, pid, err);
		if (spec.terminal)
			stdio[1] = stdio[2] = -1;
		for (int i = 0; i < 3; i++)
			close_fd_ptr(&stdio[i]);
	}
	process_spec_free(&spec);
	container_put(c);
	return ret;
}

static int backend_proceed(void *ctx, const Moat__Proceed *proceed, struct control_error *err)
{
	struct container *c = container_find(ctx, proceed->id, err);
	int ret;

	if (!c)
		return -err->number;
	ret = process_proceed(c, proceed->pid, proceed->veto, err);
	container_put(c);
	return ret;
}

static int backend_pause(void *ctx, const char *id, bool pause, struct control_error *err)
{
	struct container *c = container_find(ctx, id, err);
	int ret;

	if (!c)
		return -err->number;
	ret = container_pause(c, pause, err);
	container_put(c);
	return ret;
}

static int fill_process(const struct process_info *from, Moat__Process *to)
{
	char terminal[32] = "?";

	moat__process__init(to);
	to->pid = from->pid;
	to->parent = from->parent;
	to->uid = from->uid;
	to->threads = from->threads;
	to->cpu_ns = from->cpu_ns;
	to->started_ns = from->started_ns;
	if (from->tty)
		snprintf(terminal, sizeof(terminal), major(from->tty) == 136 ? "pts/%u" : "console",
			 minor(from->tty));
	to->terminal = strdup(terminal);
	to->command = strdup(from->command);
	return to->terminal && to->command ? 0 : -ENOMEM;
}

static int fill_list(struct container *c, Moat__ProcessList *list)
{
	struct process_info *__free infos = NULL;
	int n;
	MUTEX_GUARD(&c->pausing);

	n = kernel_container_processes(c->mark, c->ns.pid, &infos);
	if (n < 0)
		return n;
	list->processes = calloc((size_t)n + 1, sizeof(Moat__Process *));
	if (!list->processes)
		return -ENOMEM;
	for (int i = 0; i < n; i++) {
		list->processes[i] = calloc(1, sizeof(Moat__Process));
		if (!list->processes[i])
			return -ENOMEM;
		list->n_processes = (size_t)i + 1;
		if (fill_process(&infos[i], list->processes[i]))
			return -ENOMEM;
	}
	return 0;
}

static int backend_processes(void *ctx, const char *id, Moat__ProcessList *list,
			     struct control_error *err)
{
	struct container *c = container_find(ctx, id, err);
	int ret;

	if (!c)
		return -err->number;
	ret = fill_list(c, list);
	container_put(c);
	return ret ? control_fail(err, ret, "no memory") : 0;
}

static int backend_event(void *ctx, const char *id, Moat__Stats *stats, struct control_error *err)
{
	struct container *c = container_find(ctx, id, err);
	int ret;

	if (!c)
		return -err->number;
	ret = container_stats(c, stats);
	container_put(c);
	return ret ? control_fail(err, ret, "statistics: %s", strerror(-ret)) : 0;
}

static int backend_reset(void *ctx, const char *id, struct control_error *err)
{
	struct container *c = container_find(ctx, id, err);
	int ret;

	if (!c)
		return -err->number;
	ret = container_reset(c, err);
	container_put(c);
	return ret;
}

/* --- files ------------------------------------------------------------------------------------ */

static int backend_file_read(void *ctx, const Moat__FileRead *what, unsigned char **data,
			     size_t *size, uint64_t *total, struct control_error *err)
{
	struct container *c = container_find(ctx, what->id, err);
	int ret;

	if (!c)
		return -err->number;
	ret = container_file_read(c, what, data, size, total, err);
	container_put(c);
	return ret;
}

static int backend_file_write(void *ctx, const Moat__FileWrite *what, struct control_error *err)
{
	struct container *c = container_find(ctx, what->id, err);
	int ret;

	if (!c)
		return -err->number;
	ret = container_file_write(c, what, err);
	container_put(c);
	return ret;
}

static int backend_file_delete(void *ctx, const Moat__FileDelete *what, struct control_error *err)
{
	struct container *c = container_find(ctx, what->id, err);
	int ret;

	if (!c)
		return -err->number;
	ret = container_file_delete(c, what, err);
	container_put(c);
	return ret;
}

static int backend_file_list(void *ctx, const Moat__FileName *what, Moat__FileList *list,
			     struct control_error *err)
{
	struct container *c = container_find(ctx, what->id, err);
	int ret;

	if (!c)
		return -err->number;
	ret = container_file_list(c, what, list, err);
	container_put(c);
	return ret;
}

/* --- limits, links, state --------------------------------------------------------------------- */

static int backend_update(void *ctx, const Moat__Update *update, struct control_error *err)
{
	struct loader *l = ctx;
	struct container *c = container_find(ctx, update->id, err);
	int ret = 0;

	if (!c)
		return -err->number;
	if (update->set_memory_limit && !l->args.memory_limit)
		ret = control_fail(err, EOPNOTSUPP,
				   "the sandbox was started without a limit of memory");
	else if (update->set_memory_limit && update->memory_limit < MEMORY_LEAST)
		ret = control_fail(err, EINVAL, "a limit of memory that is too low");
	if (!ret && update->set_memory_limit) {
		__atomic_store_n(&l->args.memory_limit, update->memory_limit, __ATOMIC_RELAXED);
		kernel_change_memory_limit(loader_guest_memory(l, update->memory_limit));
	}
	if (!ret && update->set_pids_max)
		atomic_store(&c->mark->tasks_max, update->pids_max);
	container_put(c);
	return ret;
}

static int give_links(struct container *c, const Moat__CreateLinksAndRoutes *links, int *fds,
		      unsigned nfds, struct control_error *err)
{
	struct loader *l = c->loader;
	struct link_set *set = NULL;
	struct net_ns *ns = NULL;
	struct netstack *s;
	bool again, gone;
	int ret;

	if (!l->args.links && links->n_fd_links)
		return control_fail(err, EPERM,
				    "fd_links: the sandbox was started without a network");
	if (!c->own_net)
		return control_fail(err, EINVAL,
				    "container '%s' has another one's network namespace", c->id);
	mutex_lock(&l->lock);
	again = c->links_made;
	c->links_made = true;
	/* Destroy drops the container's own. */
	if (!again && !c->gone)
		ns = net_ns_get(c->ns.net);
	mutex_unlock(&l->lock);
	if (!ns)
		return control_fail(err, EEXIST, "container '%s' has been given its links before",
				    c->id);
	/* That of the root container has its policy already. */
	ret = c == l->root ? 0 : inet_stack_of(ns, &s);
	if (ret)
		control_fail(err, ret, "network stack: %s", strerror(-ret));
	else if (c != l->root)
		egress_start(s, NULL, l->args.egress_log_fd, l->args.id);
	if (!ret)
		ret = links_create(ns, links, fds, nfds, &set, err);
	net_ns_put(ns);
	if (ret)
		return ret;
	mutex_lock(&l->lock);
	gone = c->gone;
	if (!gone)
		c->links = set;
	mutex_unlock(&l->lock);
	if (gone)
		links_remove(set);
	return 0;
}

static int backend_create_links(void *ctx, const Moat__CreateLinksAndRoutes *links, int *fds,
				unsigned nfds, struct control_error *err)
{
	struct loader *l = ctx;
	struct container *c = container_find(l, *links->id ? links->id : l->root->id, err);
	int ret;

	if (!c)
		return -err->number;
	ret = give_links(c, links, fds, nfds, err);
	container_put(c);
	return ret;
}

/* The stack that links lead out of. */
static int stack_of(struct loader *l, struct netstack **s, struct control_error *err)
{
	int ret;

	if (!l->args.links && !l->args.host_sockets)
		return control_fail(err, EOPNOTSUPP, "the sandbox was started without a network");
	ret = inet_stack_of(l->root->ns.net, s);
	return ret ? control_fail(err, ret, "network stack: %s", strerror(-ret)) : 0;
}

static int backend_set_egress(void *ctx, const Moat__EgressPolicy *policy,
			      struct control_error *err)
{
	struct netstack *s;
	int ret = stack_of(ctx, &s, err);

	return ret ? ret : egress_change(s, policy, err);
}

static int backend_get_egress(void *ctx, Moat__EgressStatus **status, struct control_error *err)
{
	struct netstack *s;
	int ret = stack_of(ctx, &s, err);

	if (ret)
		return ret;
	*status = egress_status(s);
	return *status ? 0 : control_fail(err, ENOMEM, "no memory");
}

static int backend_status(void *ctx, const char *id, Moat__Status *status,
			  struct control_error *err)
{
	static const Moat__Status__State states[] = {
		[CONTAINER_CREATED] = MOAT__STATUS__STATE__CREATED,
		[CONTAINER_RUNNING] = MOAT__STATUS__STATE__RUNNING,
		[CONTAINER_PAUSED] = MOAT__STATUS__STATE__PAUSED,
		[CONTAINER_STOPPED] = MOAT__STATUS__STATE__STOPPED,
	};
	struct loader *l = ctx;
	struct container *c = container_find(l, id, err);

	if (!c)
		return -err->number;
	mutex_lock(&l->lock);
	status->state = states[c->state];
	status->pid = c->init->pid;
	mutex_unlock(&l->lock);
	container_put(c);
	return 0;
}

static int backend_signal(void *ctx, const struct control_target *to, int sig,
			  struct control_error *err)
{
	struct container *c = container_find(ctx, to->id, err);
	int ret;

	if (!c)
		return -err->number;
	ret = container_signal(c, to, sig, err);
	container_put(c);
	return ret;
}

static int backend_resize(void *ctx, const char *id, int pid, struct control_error *err)
{
	struct loader *l = ctx;
	struct container *c = container_find(l, id, err);
	struct process *p;
	struct tty *console = NULL;

	if (!c)
		return -err->number;
	mutex_lock(&l->lock);
	p = pid ? process_find(c, pid) : c->init;
	if (p && p->console)
		console = tty_get(p->console);
	mutex_unlock(&l->lock);
	if (console) {
		tty_console_winch(console);
		tty_put(console);
	}
	container_put(c);
	return console ? 0 : control_fail(err, ENOTTY, "the process has no terminal");
}

static int backend_wait(void *ctx, const char *id, int pid, bool bound, struct control_call *call,
			struct control_error *err)
{
	struct container *c = container_find(ctx, id, err);
	int ret;

	if (!c)
		return -err->number;
	ret = process_wait(c, pid, bound, call, err);
	container_put(c);
	return ret;
}

static char *backend_stacks(void *ctx)
{
	struct loader *l = ctx;
	struct container *c;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	MUTEX_GUARD(&l->lock);

	if (!f)
		return NULL;
	LIST_FOREACH (c, &l->containers, link) {
		struct process_info *__free infos = NULL;
		int n = kernel_container_processes(c->mark, c->ns.pid, &infos);

		fprintf(f, "container %s:\n", c->id);
		for (int i = 0; i < n; i++)
			fprintf(f, "  %d %s: %d threads\n", infos[i].pid, infos[i].command,
				infos[i].threads);
	}
	fclose(f);
	return text;
}

static void backend_set_strace(void *ctx, bool on)
{
	strace_enabled = on;
}

static void backend_disconnected(void *ctx, uint64_t connection)
{
	process_connection_ended(ctx, connection);
}

static void backend_abandoned(void *ctx)
{
	struct loader *l = ctx;

	log_info("whoever owned the sandbox is gone: it ends");
	mutex_lock(&l->lock);
	l->root_exited = l->start_signal = true;
	mutex_unlock(&l->lock);
	control_server_stop(l->server);
}

const struct control_backend loader_backend = {
	.create = backend_create,
	.start = backend_start,
	.destroy = backend_destroy,
	.execute = backend_execute,
	.proceed = backend_proceed,
	.pause = backend_pause,
	.processes = backend_processes,
	.event = backend_event,
	.reset = backend_reset,
	.file_read = backend_file_read,
	.file_write = backend_file_write,
	.file_delete = backend_file_delete,
	.file_list = backend_file_list,
	.update = backend_update,
	.create_links = backend_create_links,
	.set_egress = backend_set_egress,
	.get_egress = backend_get_egress,
	.status = backend_status,
	.signal = backend_signal,
	.resize = backend_resize,
	.wait = backend_wait,
	.stacks = backend_stacks,
	.set_strace = backend_set_strace,
	.disconnected = backend_disconnected,
	.abandoned = backend_abandoned,
};
