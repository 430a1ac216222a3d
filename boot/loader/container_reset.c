/* A fresh world for a driven container: nothing of what ran in it, or was written, is left. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "boot/loader/loader_internal.h"
#include "sentry/vfs/mount.h"

/* How long what has been killed may take to end. */
#define END_NS (10 * NSEC_PER_SEC)
#define PAUSE_MIN_NS 20000
#define PAUSE_MAX_NS 2000000

/* Kills every process, and waits until none is left; those that fork meanwhile cannot. */
static int end_all(struct container *c)
{
	int64_t until = monotonic_ns() + END_NS;
	struct timespec pause = {.tv_nsec = PAUSE_MIN_NS};
	uint64_t max = atomic_load(&c->mark->tasks_max);
	int ret = 0;

	atomic_store(&c->mark->tasks_max, 1);
	kernel_discard_process(c->init->group);
	process_discard_held(c);
	while (atomic_load(&c->mark->tasks)) {
		kernel_signal_container(c->mark, SIGKILL);
		if (monotonic_ns() > until) {
			ret = -ETIMEDOUT;
			break;
		}
		nanosleep(&pause, NULL);
		pause.tv_nsec = MIN(pause.tv_nsec * 2, PAUSE_MAX_NS);
	}
	atomic_store(&c->mark->tasks_max, max);
	return ret;
}

/* What is over goes now, the rest when the loop comes to it. Loader's lock held. */
static void forget_processes(struct container *c)
{
	struct process *p, *next;

	for (p = LIST_FIRST(&c->processes); p; p = next) {
		next = LIST_NEXT(p, link);
		p->abandoned = true;
		if (!p->exited || !STAILQ_EMPTY(&p->waiters))
			continue;
		LIST_REMOVE(p, link);
		process_free(p);
	}
}

static int begin_anew(struct container *c, struct control_error *err)
{
	const struct container_spec *spec = c->loader->args.spec;
	int stdio[3] = {-1, -1, -1}, none = -1, ret;
	struct container_ns old = c->ns, new;
	struct process *init;
	struct mnt_ns *mnt_ns;
	bool program;

	ret = container_build_mounts(c, spec, NULL, &mnt_ns, err);
	if (!ret)
		ret = process_create_first(c, spec, mnt_ns, stdio, &none, &init, err, &program);
	if (ret)
		return ret;
	container_ns_get(init->group, &new);
	mutex_lock(&c->loader->lock);
	forget_processes(c);
	c->init = init;
	c->ns = new;
	LIST_INSERT_HEAD(&c->processes, init, link);
	c->resetting = false;
	mutex_unlock(&c->loader->lock);
	container_ns_put(&old);
	return 0;
}

int container_reset(struct container *c, struct control_error *err)
{
	struct loader *l = c->loader;
	int ret;
	MUTEX_GUARD(&c->pausing);

	if (!c->lowers)
		return control_fail(err, EOPNOTSUPP, "container '%s' cannot be reset", c->id);
	mutex_lock(&l->lock);
	ret = c->state != CONTAINER_CREATED || c->discarded ? -EINVAL
	      : c->links_made				    ? -EOPNOTSUPP
							    : 0;
	c->resetting = !ret;
	mutex_unlock(&l->lock);
	if (ret == -EOPNOTSUPP)
		return control_fail(err, EOPNOTSUPP, "a sandbox with a network cannot be reset");
	if (ret)
		return control_fail(err, EINVAL, "container '%s' has ended", c->id);
	ret = end_all(c);
	if (ret)
		control_fail(err, EBUSY, "container '%s' does not end", c->id);
	else
		ret = begin_anew(c, err);
	/* Without a first process nothing can be done here any more. */
	if (ret) {
		log_error("reset: %s", err->text);
		loader_give_up(l);
	}
	return ret;
}
