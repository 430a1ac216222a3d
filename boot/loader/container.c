/* A container's life inside the sandbox: created, running, stopped, destroyed. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "boot/loader/loader_internal.h"
#include "boot/net/links.h"
#include "control/frame.h"
#include "sentry/vfs/mount.h"

/* How long Destroy waits for what it has killed. */
#define DESTROY_SECONDS 10

void container_put(struct container *c)
{
	struct process *p;

	if (!refcount_dec(&c->refs))
		return;
	while ((p = LIST_FIRST(&c->processes))) {
		LIST_REMOVE(p, link);
		process_free(p);
	}
	container_ns_put(&c->ns);
	container_mark_put(c->mark);
	container_forget_lowers(c);
	if (c->files_cred)
		cred_put(c->files_cred);
	mutex_destroy(&c->pausing);
	free(c->seccomp);
	free(c->id);
	free(c);
}

struct container *container_find(struct loader *l, const char *id, struct control_error *err)
{
	struct container *c;
	MUTEX_GUARD(&l->lock);

	LIST_FOREACH (c, &l->containers, link)
		if (!strcmp(c->id, id)) {
			refcount_inc(&c->refs);
			return c;
		}
	control_fail(err, ENOENT, "there is no container '%s' in this sandbox", id);
	return NULL;
}

/* The end of the lifeline: the gofer is gone. Nobody else will serve the container's files. */
static bool gofer_ended(void *arg)
{
	struct container *c = arg;
	struct loader *l = c->loader;
	bool over;

	mutex_lock(&l->lock);
	over = c->gone || c->state == CONTAINER_STOPPED;
	mutex_unlock(&l->lock);
	if (!over) {
		log_error("container %s: its gofer has died", c->id);
		if (c == l->root)
			loader_give_up(l);
		else
			kernel_signal_container(c->mark, SIGKILL);
	}
	close_fd_ptr(&c->lifeline);
	container_put(c);
	return false;
}

static struct container *container_alloc(struct loader *l, const char *id)
{
	struct container *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	refcount_init(&c->refs);
	c->loader = l;
	c->id = strdup(id);
	c->mark = container_mark_new();
	c->lifeline = -1;
	LIST_INIT(&c->processes);
	/* Taken by the control server's workers alone, for whom no guest's task waits. */
	mutex_init_as(&c->pausing, LOCK_OVER_COMMANDS);
	if (!c->id || !c->mark) {
		if (c->mark)
			container_mark_put(c->mark);
		free(c->id);
		free(c);
		return NULL;
	}
	return c;
}

static int build(struct container *c, const struct container_spec *spec, struct container_fds *fds,
		 struct control_error *err, bool *program)
{
	const struct process_spec *p = &spec->process;
	struct mnt_ns *mnt_ns;
	struct process *init;
	int ret = 0;

	if (spec->driven) {
		c->lowers = calloc(spec->nmounts + 1, sizeof(struct super_block *));
		c->files_cred = process_cred(p);
		ret = c->lowers && c->files_cred ? 0 : control_fail(err, ENOMEM, "no memory");
	}
	if (ret) {
		close_fds((int *)(uintptr_t)fds->gofer + 1, fds->ngofer - 1);
		return ret;
	}
	ret = container_build_mounts(c, spec, fds->gofer + 1, &mnt_ns, err);
	if (ret)
		return ret;
	atomic_store(&c->mark->tasks_max, spec->pids_max);
	if (p->seccomp_len) {
		c->seccomp = malloc(p->seccomp_len);
		if (!c->seccomp) {
			mnt_ns_put(mnt_ns);
			return control_fail(err, ENOMEM, "no memory");
		}
		memcpy(c->seccomp, p->seccomp, p->seccomp_len);
		c->seccomp_len = p->seccomp_len;
	}
	ret = process_create_first(c, spec, mnt_ns, fds->stdio, fds->extra, &init, err, program);
	if (ret)
		return ret;
	container_ns_get(init->group, &c->ns);
	if (c->own_net)
		loader_apply_sysctls(c->ns.net, spec->sysctls);
	c->init = init;
	LIST_INSERT_HEAD(&c->processes, init, link);
	return 0;
}

static int enlist(struct loader *l, struct container *c, struct control_error *err)
{
	struct container *other;
	MUTEX_GUARD(&l->lock);

	LIST_FOREACH (other, &l->containers, link)
		if (!strcmp(other->id, c->id))
			return control_fail(err, EEXIST, "there is a container '%s' already",
					    c->id);
	LIST_INSERT_HEAD(&l->containers, c, link);
	return 0;
}

int container_create(struct loader *l, const char *id, const struct container_spec *spec,
		     struct container_fds *fds, struct control_error *err, bool *program)
{
	struct container *c = container_alloc(l, id);
	unsigned nextra = spec->process.extra_files;
	int ret;

	if (!c) {
		close_fds((int *)(uintptr_t)fds->gofer, fds->ngofer);
		ret = control_fail(err, ENOMEM, "no memory");
	} else {
		c->lifeline = fds->gofer[0];
		ret = build(c, spec, fds, err, program);
	}
	if (spec->process.terminal)
		fds->stdio[1] = fds->stdio[2] = -1; /* the same as the first */
	close_fds(fds->stdio, 3);
	close_fds(fds->extra, nextra);
	if (!ret) {
		ret = enlist(l, c, err);
		if (ret)
			kernel_discard_process(c->init->group);
	}
	if (ret) {
		if (c) {
			close_fd_ptr(&c->lifeline);
			container_put(c);
		}
		return ret;
	}
	/* The watch has a reference. */
	refcount_inc(&c->refs);
	ret = control_server_watch(l->server, c->lifeline, gofer_ended, c);
	if (ret) {
		log_error("container %s: cannot watch the gofer: %s", id, strerror(-ret));
		container_put(c);
	}
	return 0;
}

int container_start(struct container *c, struct control_error *err)
{
	struct loader *l = c->loader;
	int ret;

	mutex_lock(&l->lock);
	if (c->state != CONTAINER_CREATED || c->discarded) {
		mutex_unlock(&l->lock);
		return control_fail(err, EINVAL, "container '%s' is not in the state created",
				    c->id);
	}
	c->state = CONTAINER_RUNNING;
	mutex_unlock(&l->lock);
	ret = kernel_start_process(c->init->group);
	return ret ? control_fail(err, ret, "cannot start the first process: %s", strerror(-ret))
		   : 0;
}

/* Kills what has not been started; true if that was so. Lock held on entry, released if so. */
static bool discard_if_created(struct container *c)
{
	if (c->state != CONTAINER_CREATED || c->discarded)
		return false;
	c->discarded = true;
	mutex_unlock(&c->loader->lock);
	kernel_discard_process(c->init->group);
	return true;
}

static int signal_process(struct container *c, const struct control_target *to, int sig,
			  struct control_error *err)
{
	struct thread_group *g;
	int ret;

	mutex_lock(&c->loader->lock);
	g = to->pid ? kernel_container_process(c->mark, c->ns.pid, to->pid)
		    : group_get(c->init->group);
	mutex_unlock(&c->loader->lock);
	if (!g)
		return control_fail(err, ESRCH, "no process %d in container '%s'", to->pid, c->id);
	if (to->delivery == MOAT__DELIVERY__FOREGROUND_PROCESS_GROUP)
		ret = kernel_signal_foreground(g, sig);
	else
		ret = kernel_signal_group(g, sig);
	group_put(g);
	return ret ? control_fail(err, ret, "container '%s': %s", c->id, strerror(-ret)) : 0;
}

int container_signal(struct container *c, const struct control_target *to, int sig,
		     struct control_error *err)
{
	mutex_lock(&c->loader->lock);
	if (sig == SIGKILL && !to->pid && discard_if_created(c))
		return 0;
	mutex_unlock(&c->loader->lock);
	if (to->delivery != MOAT__DELIVERY__ALL)
		return signal_process(c, to, sig, err);
	if (!kernel_signal_container(c->mark, sig))
		return control_fail(err, ESRCH, "container '%s' has no processes", c->id);
	return 0;
}

int container_pause(struct container *c, bool pause, struct control_error *err)
{
	enum container_state from = pause ? CONTAINER_RUNNING : CONTAINER_PAUSED;
	struct loader *l = c->loader;
	int ret;
	MUTEX_GUARD(&c->pausing);

	mutex_lock(&l->lock);
	if (c->state != from) {
		mutex_unlock(&l->lock);
		return control_fail(err, EINVAL, "container '%s' is not %s", c->id,
				    pause ? "running" : "paused");
	}
	if (pause && process_any_held(c)) {
		mutex_unlock(&l->lock);
		return control_fail(err, EBUSY, "a process of '%s' has not been started yet",
				    c->id);
	}
	c->state = pause ? CONTAINER_PAUSED : CONTAINER_RUNNING;
	mutex_unlock(&l->lock);
	ret = kernel_park_container(c->mark, pause);
	if (!ret)
		return 0;
	mutex_lock(&l->lock);
	if (c->state == CONTAINER_PAUSED)
		c->state = CONTAINER_RUNNING;
	mutex_unlock(&l->lock);
	return control_fail(err, ret, "container '%s' does not stand still: %s", c->id,
			    strerror(-ret));
}

/* Lock held. True once no process that the loader made is left. */
static bool wait_for_end(struct container *c)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += DESTROY_SECONDS;
	while (c->state != CONTAINER_STOPPED)
		if (mutex_wait_until(&c->loader->lock, &c->loader->changed, &until))
			return false;
	return true;
}

int container_destroy(struct container *c, struct control_error *err)
{
	struct loader *l = c->loader;
	struct link_set *links;
	bool ended;

	mutex_lock(&l->lock);
	if (discard_if_created(c))
		mutex_lock(&l->lock);
	mutex_unlock(&l->lock);
	kernel_signal_container(c->mark, SIGKILL);
	mutex_lock(&l->lock);
	ended = wait_for_end(c);
	if (!ended || c == l->root || c->gone) {
		mutex_unlock(&l->lock);
		/* The root container goes with the sandbox. */
		return ended ? 0 : control_fail(err, EBUSY, "container '%s' does not end", c->id);
	}
	c->gone = true;
	links = c->links;
	c->links = NULL;
	LIST_REMOVE(c, link);
	mutex_unlock(&l->lock);
	if (links)
		links_remove(links);
	/* Closes the gofer's sockets: it ends, and the lifeline's watch lets go of the container.
	 */
	container_ns_put(&c->ns);
	container_put(c);
	return 0;
}
