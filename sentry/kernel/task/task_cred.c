/* Changing the current task's credentials, and what its own thread answers of them. */
#include <errno.h>
#include <linux/sched.h>

#include "sentry/kernel/ns/namespaces.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/mm/mm.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"

static void count_for(struct task *t, uid_t uid)
{
	uint64_t limit = t->group->rlim[RLIMIT_NPROC].rlim_cur;
	struct ucount *u = ucount_get(uid);

	if (!u)
		return;
	/* Counted in any case; execve fails when it is too many (man 2 setuid). */
	t->nproc_exceeded = ucount_tasks(u) >= limit && uid != 0;
	ucount_charge_task(u, UINT64_MAX);
	task_account(t, u);
}

/* May whoever has `old` have got at everything that `fresh` may do? Also in a namespace that it
 * owns. */
static bool covers(const struct cred *old, const struct cred *fresh)
{
	const struct user_ns *ns = fresh->user_ns;

	if (ns == old->user_ns)
		return !(fresh->cap_permitted & ~old->cap_permitted);
	for (; ns->parent; ns = ns->parent)
		if (ns->parent == old->user_ns && ns->owner == old->euid)
			return true;
	return false;
}

void task_set_cred(struct task *t, struct cred *fresh)
{
	struct cred *old = t->cred;

	if (fresh->uid != old->uid)
		count_for(t, fresh->uid);
	if (fresh->euid != old->euid || fresh->egid != old->egid || fresh->fsuid != old->fsuid ||
	    fresh->fsgid != old->fsgid || !covers(old, fresh)) {
		if (t->mm)
			t->mm->dumpable = 0;
		t->pdeath_signal = 0;
	}
	mutex_lock(&t->cred_lock);
	t->cred = fresh;
	mutex_unlock(&t->cred_lock);
	task_update_identity(t);
	cred_put(old);
}

uid_t task_shown_uid(struct task *t, uid_t kuid)
{
	struct cred *c = task_cred_get(t);
	uid_t uid = uid_shown(c->user_ns, kuid);

	cred_put(c);
	return uid;
}

bool task_capable(struct task *t, int cap)
{
	struct cred *c = task_cred_get(t);
	bool yes = ns_capable(c->user_ns, cap);

	cred_put(c);
	return yes;
}

void task_show_identity(struct task *t)
{
	struct cred *c = task_cred_get(t);
	struct platform_identity id = {
		.ppid = t->group->parent ? group_nr_ns(t->group->parent, task_pid_ns(t)) : 0,
		.pid = task_tgid(t),
		.tid = task_tid(t),
		.uid = uid_shown(c->user_ns, c->uid),
		.euid = uid_shown(c->user_ns, c->euid),
		.gid = gid_shown(c->user_ns, c->gid),
		.egid = gid_shown(c->user_ns, c->egid),
		.direct = !kernel.watched && !t->entry_work,
	};

	cred_put(c);
	if (t->ctx)
		platform_set_identity(t->ctx, &id);
}

void task_update_identity(struct task *t)
{
	READ_GUARD(&kernel.tasklist_lock);
	task_show_identity(t);
}

void tasks_show_user_ns(const struct user_ns *ns)
{
	struct thread_group *g;
	struct task *t;
	/* For writing: whoever looked the ids up before the map was there has shown them by now. */
	WRITE_GUARD(&kernel.tasklist_lock);

	TAILQ_FOREACH (g, &kernel.groups, all_link)
		for_each_thread (g, t) {
			struct cred *c = task_cred_get(t);
			bool member = c->user_ns == ns;

			cred_put(c);
			if (member)
				task_show_identity(t);
		}
}

/* --- user namespaces -------------------------------------------------------------------------- */

static bool is_chrooted(struct task *t)
{
	struct path top, root;
	bool yes;

	mnt_ns_root(t->mnt_ns, &top);
	fs_get_root(t->fs, &root);
	yes = !path_equal(&top, &root);
	path_put(&top);
	path_put(&root);
	return yes;
}

int cred_in_new_user_ns(struct task *t, struct cred **out)
{
	struct user_ns *ns;
	struct cred *c;
	int err;

	if (is_chrooted(t))
		return -EPERM;
	err = user_ns_create(t->cred, &ns);
	if (err)
		return err;
	c = cred_dup(t->cred);
	if (!c) {
		user_ns_put(ns);
		return -ENOMEM;
	}
	cred_enter_user_ns(c, ns);
	*out = c;
	return 0;
}

struct user_ns *namespace_owner(unsigned type, const void *ns)
{
	switch (type) {
	case CLONE_NEWNS:
		return ((const struct mnt_ns *)ns)->user_ns;
	case CLONE_NEWUTS:
		return ((const struct uts_ns *)ns)->user_ns;
	case CLONE_NEWIPC:
		return ((const struct ipc_ns *)ns)->user_ns;
	case CLONE_NEWNET:
		return ((const struct net_ns *)ns)->user_ns;
	case CLONE_NEWPID:
		return ((const struct pid_ns *)ns)->user_ns;
	case CLONE_NEWCGROUP:
		return ns ? ((const struct cgroup_ns *)ns)->user_ns : &root_user_ns;
	case CLONE_NEWTIME:
		return &root_user_ns;
	case CLONE_NEWUSER:
		return ((const struct user_ns *)ns)->parent;
	default:
		return NULL;
	}
}
