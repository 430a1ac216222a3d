/* Processes that the loader makes: from a specification to a task, and their end. */
#include <ctype.h>
#include <errno.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/lock_order.h"
#include "base/log.h"
#include "boot/loader/loader_internal.h"
#include "sentry/counters/counters.h"
#include "sentry/fs/hostfd/hostfd.h"
#include "sentry/fs/tty/tty.h"
#include "sentry/syscalls/dispatch.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"

struct cred *process_cred(const struct process_spec *spec)
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
	if (spec->label && cred_set_label(cred, spec->label)) {
		cred_put(cred);
		return NULL;
	}
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

/* --- descriptors ------------------------------------------------------------------------------ */

static int build_stdio(const struct process_spec *spec, int *fds, struct file *out[3],
		       struct tty **console)
{
	int ret = 0;

	if (spec->terminal) {
		int fd = steal_fd(&fds[0]);

		fds[1] = fds[2] = -1; /* the same */
		ret = tty_console_create(fd, fd, console, &out[0]);
		if (ret)
			return ret;
		out[1] = file_get(out[0]);
		out[2] = file_get(out[0]);
		return 0;
	}
	for (int i = 0; i < 3 && !ret; i++)
		ret = hostfd_file_create(steal_fd(&fds[i]), i ? HOSTFD_OUTPUT : HOSTFD_INPUT,
					 &out[i]);
	return ret;
}

static int build_extra(unsigned n, int *fds, struct file **out)
{
	int ret = 0;

	for (unsigned i = 0; i < n && !ret; i++)
		ret = hostfd_file_create(steal_fd(&fds[i]), HOSTFD_FULL, &out[i]);
	return ret;
}

static void put_files(struct file **files, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (files[i])
			file_put(files[i]);
}

/* --- making one ------------------------------------------------------------------------------- */

/* In the words that Docker knows the exit statuses 126 and 127 by. */
static void program_error(struct control_error *err, const char *what,
			  const struct init_params *params, int ret)
{
	const char *program = params->path;
	char *__free text = strdup(strerror(-ret));

	if (text)
		*text = (char)tolower((unsigned char)*text);
	if (!strcmp(what, "working directory"))
		control_fail(err, ret, "chdir to cwd (\"%s\") set in config.json failed: %s",
			     params->cwd, text ? text : "");
	else if (what != program)
		control_fail(err, ret, "%s: %s", what, strerror(-ret));
	else if (ret == -ENOENT && !strchr(program, '/'))
		control_fail(err, ret, "exec: \"%s\": executable file not found in $PATH", program);
	else if (ret == -ENOENT)
		control_fail(err, ret, "exec: \"%s\": stat %s: no such file or directory", program,
			     program);
	else if (ret == -EACCES)
		control_fail(err, ret, "exec: \"%s\": permission denied", program);
	else if (ret == -ENOEXEC)
		control_fail(err, ret, "exec %s: exec format error", program);
	else
		control_fail(err, ret, "exec: \"%s\": %s", program, text ? text : "");
}

static int make_group(struct process *p, struct init_params *params,
		      const struct process_spec *spec, int *stdio, int *extra,
		      struct control_error *err, bool *program)
{
	const char *what = NULL;
	int ret;

	params->extra = calloc(spec->extra_files + 1, sizeof(struct file *));
	params->cred = process_cred(spec);
	/* One that lends its task to who reads and writes files: no process of its user's may
	 * signal it, or set its limits. */
	if (params->cred && params->ignore_children)
		params->cred->uid = params->cred->euid = params->cred->suid = 0;

	ret = params->extra && params->cred ? 0 : -ENOMEM;
	/* One that never runs has no use for any. */
	if (!ret && !params->ignore_children)
		ret = build_stdio(spec, stdio, params->stdio, &p->console);
	if (!ret)
		ret = build_extra(spec->extra_files, extra, params->extra);
	params->nextra = spec->extra_files;
	if (ret) {
		put_files(params->stdio, 3);
		if (params->extra)
			put_files(params->extra, spec->extra_files);
		if (params->cred)
			cred_put(params->cred);
		if (params->mnt_ns)
			mnt_ns_put(params->mnt_ns);
		control_fail(err, ret, "standard input and output: %s", strerror(-ret));
	} else {
		params->console = p->console;
		ret = kernel_create_process(params, &p->group, &what);
		if (ret) {
			*program = what == params->path;
			program_error(err, what, params, ret);
		}
	}
	free(params->extra);
	return ret;
}

/* names, share: of the container whose first process it is, or NULL. program_fd: the program's, or
 * NULL. Consumes run, also on error. */
static int process_make(struct container *c, const struct container_spec *names,
			const struct container_ns *share, const struct process_spec *spec,
			struct mnt_ns *mnt_ns, struct run *run, int *stdio, int *extra,
			int *program_fd, struct process **out, struct control_error *err,
			bool *program)
{
	struct process *p = calloc(1, sizeof(*p));
	/* A run's; that of a container is all its processes'. */
	bool own = run && spec->seccomp_len;
	struct init_params params = {
		.path = spec->argv[0],
		.argv = spec->argv,
		.envp = spec->envp,
		.cwd = spec->cwd ? spec->cwd : "/",
		.hostname = names && names->hostname ? names->hostname : "moat",
		.domainname = names ? names->domainname : NULL,
		.rlim = spec->rlim,
		.umask = spec->umask,
		.no_new_privs = spec->no_new_privs,
		.seccomp = own ? spec->seccomp : c->seccomp,
		.nseccomp = (unsigned)((own ? spec->seccomp_len : c->seccomp_len) /
				       sizeof(struct sock_filter)),
		.mnt_ns = mnt_ns,
		.join = mnt_ns ? NULL : &c->ns,
		.share = share,
		.container = run ? run_mark(run) : c->mark,
		.ignore_children = names && names->driven,
		.sched_policy = spec->sched_policy,
		.sched_priority = spec->sched_priority,
		.sched_reset_on_fork = spec->sched_reset_on_fork,
		.nice = spec->nice,
		.ioprio = spec->ioprio,
		.make_program = program_fd ? process_copy_program : NULL,
		.make_program_arg = program_fd,
		.oom_score_adj = spec->oom_score_adj,
		.unkillable = names && names->init_unkillable && !(share && share->pid),
	};
	int ret;

	if (!p) {
		if (mnt_ns)
			mnt_ns_put(mnt_ns);
		if (run)
			run_put(run);
		return control_fail(err, ENOMEM, "no memory");
	}
	STAILQ_INIT(&p->waiters);
	p->container = c;
	p->run = run;
	ret = make_group(p, &params, spec, stdio, extra, err, program);
	if (ret) {
		process_free(p);
		return ret;
	}
	p->pid = pid_nr_ns(p->group->tgid, p->group->tgid->ns);
	*out = p;
	return 0;
}

int process_create_first(struct container *c, const struct container_spec *spec,
			 struct mnt_ns *mnt_ns, int *stdio, int *extra, struct process **out,
			 struct control_error *err, bool *program)
{
	struct container_ns share = {0};
	int ret = container_share_ns(c, spec, &share, err);

	if (ret) {
		mnt_ns_put(mnt_ns);
		return ret;
	}
	ret = process_make(c, spec, &share, &spec->process, mnt_ns, NULL, stdio, extra, NULL, out,
			   err, program);
	c->own_net = !share.net;
	container_ns_put(&share);
	return ret;
}

void process_free(struct process *p)
{
	if (p->run)
		run_put(p->run);
	if (p->console)
		tty_console_end(p->console);
	if (p->group)
		group_put(p->group);
	free(p);
}

struct process *process_find(struct container *c, int pid)
{
	struct process *p;

	LIST_FOREACH (p, &c->processes, link)
		if (p->pid == pid)
			return p;
	return NULL;
}

int process_execute(struct container *c, const struct process_spec *spec, const Moat__Execute *how,
		    uint64_t connection, int *stdio, int *extra, int *pid,
		    struct control_error *err)
{
	const Moat__RunLimits *limits = how->limits;
	struct loader *l = c->loader;
	struct process *p, *old;
	struct run *run = NULL;
	bool program = false;
	int ret;
	MUTEX_GUARD(&c->pausing);

	mutex_lock(&l->lock);
	ret = c->state == CONTAINER_PAUSED ? -EBUSY : 0;
	mutex_unlock(&l->lock);
	if (ret)
		return control_fail(err, EBUSY, "container '%s' is paused", c->id);
	if (limits && spec->seccomp_len && c->seccomp_len)
		return control_fail(err, EINVAL, "container '%s' has a seccomp profile already",
				    c->id);
	if (spec->seccomp_len % sizeof(struct sock_filter))
		return control_fail(err, EINVAL, "the seccomp profile is not valid");
	if (limits && !(run = run_new(c->mark, limits)))
		return control_fail(err, ENOMEM, "no memory");
	ret = process_make(c, NULL, NULL, spec, NULL, run, stdio, extra,
			   how->executable ? &extra[spec->extra_files] : NULL, &p, err, &program);
	if (ret == -ESRCH)
		return control_fail(err, ESRCH, "container '%s' has ended", c->id);
	if (ret)
		return ret;
	p->connection = connection;
	p->held = how->hold;
	*pid = p->pid;
	mutex_lock(&l->lock);
	/* Its number was free: who had it has ended, and nobody asked. */
	old = process_find(c, p->pid);
	if (old && old != c->init) {
		LIST_REMOVE(old, link);
		process_free(old);
	}
	LIST_INSERT_HEAD(&c->processes, p, link);
	mutex_unlock(&l->lock);
	return how->hold ? 0 : process_start(p, err);
}

int process_start(struct process *p, struct control_error *err)
{
	int ret;

	if (p->run)
		run_start(p->run);
	ret = kernel_start_process(p->group);
	return ret ? control_fail(err, ret, "cannot start the process: %s", strerror(-ret)) : 0;
}

/* Adds the calls of a run that counts them. What is returned, if anything, has them. */
static struct container_mark *count_calls(const struct process *p, struct control_exit *how)
{
	struct container_mark *mark = p->run ? run_mark(p->run) : NULL;

	if (!mark || !mark->calls)
		return NULL;
	how->calls = (const uint64_t *)mark->calls;
	for (how->ncalls = MARK_CALLS; how->ncalls && !mark->calls[how->ncalls - 1];)
		how->ncalls--;
	return container_mark_get(mark);
}

int process_wait(struct container *c, int pid, bool bound, struct control_call *call,
		 struct control_error *err)
{
	struct waiter *w = calloc(1, sizeof(*w));
	struct loader *l = c->loader;
	struct container_mark *counted;
	struct process *p;
	struct control_exit how;

	if (!w)
		return control_fail(err, ENOMEM, "no memory");
	mutex_lock(&l->lock);
	p = pid ? process_find(c, pid) : c->init;
	if (p && !p->exited) {
		if (bound)
			p->connection = control_call_connection(call);
		w->call = call;
		STAILQ_INSERT_TAIL(&p->waiters, w, link);
		mutex_unlock(&l->lock);
		return 0;
	}
	free(w);
	if (!p) {
		mutex_unlock(&l->lock);
		return control_fail(err, ECHILD, "%d is no process that was executed in '%s'", pid,
				    c->id);
	}
	how = p->how;
	counted = count_calls(p, &how);
	if (p != c->init) {
		LIST_REMOVE(p, link);
		process_free(p);
	}
	mutex_unlock(&l->lock);
	control_reply_exit(call, &how);
	if (counted)
		container_mark_put(counted);
	return 0;
}

static void abandon(struct container *c, uint64_t connection)
{
	struct process *p, *next;

	for (p = LIST_FIRST(&c->processes); p; p = next) {
		next = LIST_NEXT(p, link);
		if (p->connection != connection)
			continue;
		p->abandoned = true;
		if (p->held) {
			process_discard_later(p);
		} else if (!p->exited && p->run) {
			run_kill(p->run, MOAT__EXIT_STATUS__REASON__CANCELLED);
		} else if (!p->exited) {
			kernel_signal_group(p->group, SIGKILL);
		} else if (p != c->init) {
			LIST_REMOVE(p, link);
			process_free(p);
		}
	}
}

void process_connection_ended(struct loader *l, uint64_t connection)
{
	struct container *c;
	MUTEX_GUARD(&l->lock);

	LIST_FOREACH (c, &l->containers, link)
		abandon(c, connection);
}

/* --- their end -------------------------------------------------------------------------------- */

/* The next process that has ended and has not been seen so; its container is referenced. */
static struct process *next_ended(struct loader *l)
{
	struct container *c;
	struct process *p;
	MUTEX_GUARD(&l->lock);

	LIST_FOREACH (c, &l->containers, link)
		LIST_FOREACH (p, &c->processes, link) {
			int status;

			if (p->exited || !kernel_group_ended(p->group, &status))
				continue;
			p->how.wait_status = (uint32_t)status;
			refcount_inc(&c->refs);
			return p;
		}
	return NULL;
}

static void root_has_ended(struct loader *l, uint32_t status)
{
	mutex_lock(&l->lock);
	l->root_exited = l->start_signal = true;
	l->root_status = (int)status;
	mutex_unlock(&l->lock);
	control_server_stop(l->server);
}

/* What the container has used by the time that its first process has ended. */
static void describe_end(struct container *c, struct process *p)
{
	struct container_usage usage;

	if (kernel_container_usage(c->mark, &usage))
		return;
	p->how.user_ns = usage.user_ns;
	p->how.kernel_ns = usage.kernel_ns;
	p->how.wall_ns = (uint64_t)(monotonic_ns() - p->group->start_time);
	p->how.memory_peak = MAX(kernel_group_peak(p->group), usage.memory);
	if (atomic_load(&c->mark->oom))
		p->how.reason = MOAT__EXIT_STATUS__REASON__MEMORY_LIMIT;
}

static void announce(struct loader *l, struct process *p)
{
	STAILQ_HEAD(, waiter) waiters = STAILQ_HEAD_INITIALIZER(waiters);
	struct container *c = p->container;
	bool init, waited;
	struct container_mark *counted;
	struct control_exit how;
	struct waiter *w;

	mutex_lock(&l->lock);
	init = p == c->init;
	mutex_unlock(&l->lock);
	if (p->run)
		run_ended(p->run, p->group, &p->how);
	else if (init)
		describe_end(c, p);
	how = p->how;
	counted = count_calls(p, &how);
	if (p->console) {
		tty_console_drain(p->console);
		tty_console_end(p->console);
		p->console = NULL;
	}
	mutex_lock(&l->lock);
	p->exited = true;
	/* One that makes way for another at a reset is no end of the container. */
	init = p == c->init && !c->resetting;
	if (init)
		c->state = CONTAINER_STOPPED;
	STAILQ_CONCAT(&waiters, &p->waiters);
	waited = !STAILQ_EMPTY(&waiters);
	/* Who has been told will not ask again; the first process stays as long as the container.
	 */
	if (p != c->init && (waited || p->abandoned)) {
		LIST_REMOVE(p, link);
		process_free(p);
	}
	pthread_cond_broadcast(&l->changed);
	mutex_unlock(&l->lock);
	/* Whoever waits for the root container ends the sandbox with the answer. */
	if (init && c == l->root && l->args.stats) {
		counters_print(log_fd(), syscall_name);
		lock_order_print(log_fd());
	}
	while ((w = STAILQ_FIRST(&waiters))) {
		STAILQ_REMOVE_HEAD(&waiters, link);
		control_reply_exit(w->call, &how);
		free(w);
	}
	if (counted)
		container_mark_put(counted);
	if (init && c == l->root)
		root_has_ended(l, how.wait_status);
}

bool process_reap(void *loader)
{
	struct loader *l = loader;
	struct process *p;
	uint64_t n;

	if (read(l->exit_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		log_error("loader: exit eventfd: %s", strerror(errno));
	while ((p = next_ended(l))) {
		struct container *c = p->container;

		announce(l, p);
		container_put(c);
	}
	return true;
}
