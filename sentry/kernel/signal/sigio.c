/* Signals on behalf of files (man 2 fcntl: F_SETOWN, F_SETSIG). */
#include <fcntl.h>

#include "sentry/kernel/signal/signal.h"

/* May the one who set the owner signal this process (sigio_perm)? */
static bool may_signal(uid_t uid, uid_t euid, struct thread_group *g)
{
	struct cred *c = g->leader ? task_cred_get(g->leader) : NULL;
	bool yes;

	if (!c)
		return false;
	yes = euid == 0 || euid == c->suid || euid == c->uid || uid == c->suid || uid == c->uid;
	cred_put(c);
	return yes;
}

void task_send_sigpipe(void)
{
	guest_siginfo_t info = {.si_signo = SIGPIPE, .si_code = SI_USER};

	info.si_pid = task_tgid(current);
	info.si_uid = uid_shown_here(current->cred->uid);
	task_send_signal(current, SIGPIPE, &info);
}

void sigio_send(struct pid *pid, int type, uid_t uid, uid_t euid, int sig,
		const guest_siginfo_t *info)
{
	struct thread_group *g;

	READ_GUARD(&kernel.tasklist_lock);
	switch (type) {
	case F_OWNER_TID:
		if (pid->task && may_signal(uid, euid, pid->task->group))
			task_send_signal(pid->task, sig, info);
		break;
	case F_OWNER_PID:
		if (pid->group && may_signal(uid, euid, pid->group))
			group_send_signal(pid->group, sig, info);
		break;
	default:
		TAILQ_FOREACH (g, &pid->pgrp, pgrp_link)
			if (may_signal(uid, euid, g))
				group_send_signal(g, sig, info);
	}
}
