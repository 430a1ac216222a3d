/* kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal. */
#include <string.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/signal/signal_internal.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/pidfd.h"
#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"

/* man 2 kill: real or effective uid equals the target's real or saved one; or CAP_KILL; SIGCONT
 * within the session. tasklist_lock held. */
static int may_kill(struct task *target, int sig)
{
	const struct cred *mine = current->cred;
	struct cred *theirs;
	bool ok;

	if (target->group == current->group)
		return 0;
	theirs = task_cred_get(target);
	ok = mine->euid == theirs->suid || mine->euid == theirs->uid || mine->uid == theirs->suid ||
	     mine->uid == theirs->uid;
	ok = ok || ns_capable(theirs->user_ns, CAP_KILL);
	cred_put(theirs);
	if (ok)
		return 0;
	return sig == SIGCONT && target->group->session == current->group->session ? 0 : -EPERM;
}

/* siginfo of a user's signal, with the sender as the target's namespace sees it. */
static void user_info(guest_siginfo_t *info, int sig, int code, struct task *target)
{
	memset(info, 0, sizeof(*info));
	info->si_signo = sig;
	info->si_code = code;
	info->si_pid = group_nr_ns(current->group, task_pid_ns(target));
	info->si_uid = task_shown_uid(target, current->cred->uid);
}

/* tasklist_lock held. `given` is the caller's siginfo, or NULL. */
static int kill_group(struct thread_group *g, int sig, const guest_siginfo_t *given)
{
	guest_siginfo_t info;
	int err = may_kill(g->leader, sig);

	if (err || !sig)
		return err;
	if (given)
		return group_send_signal(g, sig, given);
	user_info(&info, sig, SI_USER, g->leader);
	return group_send_signal(g, sig, &info);
}

/* The process that a number means, which may be that of any of its threads (man 2 kill names only
 * processes, but Linux takes both). tasklist_lock held. */
static struct thread_group *pid_process(const struct pid *pid)
{
	if (pid->group)
		return pid->group;
	return pid->task ? pid->task->group : NULL;
}

static int kill_pid(const struct pid *pid, int sig, const guest_siginfo_t *given)
{
	struct thread_group *g = pid_process(pid);

	return g ? kill_group(g, sig, given) : -ESRCH;
}

/* tasklist_lock held. Success if any could be signalled. */
static int kill_pgrp(struct pid *pgrp, int sig)
{
	struct thread_group *g;
	int ret = -ESRCH;

	TAILQ_FOREACH (g, &pgrp->pgrp, pgrp_link) {
		int err = kill_group(g, sig, NULL);

		if (ret)
			ret = err;
	}
	return ret;
}

static int kill_everybody(int sig)
{
	struct pid_ns *ns = task_pid_ns(current);
	struct thread_group *g;
	int ret = -ESRCH;

	TAILQ_FOREACH (g, &kernel.groups, all_link) {
		int err;

		if (g == current->group || group_nr_ns(g, ns) <= 1)
			continue;
		err = kill_group(g, sig, NULL);
		/* Linux: what may not be signalled does not count. */
		if (err != -EPERM && ret)
			ret = err;
	}
	return ret;
}

static int kill_number(int nr, int sig)
{
	struct pid *pid;
	int ret = -ESRCH;

	if (nr == INT32_MIN)
		return -ESRCH;
	pid = nr > 0 || nr < -1 ? pid_find(task_pid_ns(current), nr > 0 ? nr : -nr) : NULL;
	read_lock(&kernel.tasklist_lock);
	if (nr == 0)
		ret = kill_pgrp(current->group->pgrp, sig);
	else if (nr == -1)
		ret = kill_everybody(sig);
	else if (pid && nr > 0)
		ret = kill_pid(pid, sig, NULL);
	else if (pid)
		ret = kill_pgrp(pid, sig);
	read_unlock(&kernel.tasklist_lock);
	if (pid)
		pid_put(pid);
	return ret;
}

static bool valid_or_zero(int sig)
{
	return sig >= 0 && sig <= GUEST_NSIG;
}

SYSCALL_DEFINE2(kill, int, nr, int, sig)
{
	/* Linux looks for the target first; a bad number with a bad target is ESRCH or EINVAL. */
	if (!valid_or_zero(sig))
		return -EINVAL;
	return kill_number(nr, sig);
}

/* To one thread; tgid 0: of any process. `given` or an SI_TKILL siginfo. */
static int kill_thread(int tgid, int tid, int sig, const guest_siginfo_t *given)
{
	struct task *target;
	guest_siginfo_t info;
	int err;

	if (!valid_or_zero(sig))
		return -EINVAL;
	target = task_find(tid);
	if (!target)
		return -ESRCH;
	read_lock(&kernel.tasklist_lock);
	if (tgid && group_nr_ns(target->group, task_pid_ns(current)) != tgid)
		err = -ESRCH;
	else
		err = may_kill(target, sig);
	read_unlock(&kernel.tasklist_lock);
	if (!err && sig) {
		user_info(&info, sig, SI_TKILL, target);
		err = task_send_signal(target, sig, given ? given : &info);
	}
	task_put(target);
	return err;
}

SYSCALL_DEFINE2(tkill, int, tid, int, sig)
{
	return tid <= 0 ? -EINVAL : kill_thread(0, tid, sig, NULL);
}

SYSCALL_DEFINE3(tgkill, int, tgid, int, tid, int, sig)
{
	return tid <= 0 || tgid <= 0 ? -EINVAL : kill_thread(tgid, tid, sig, NULL);
}

/* Nobody may pretend to others that a signal came from the kernel, or from kill or tgkill. */
static int read_siginfo(guest_siginfo_t *info, uaddr_t uinfo, int sig, bool to_self)
{
	if (copy_from_user(info, uinfo, sizeof(*info)))
		return -EFAULT;
	if ((info->si_code >= 0 || info->si_code == SI_TKILL) && !to_self)
		return -EPERM;
	info->si_signo = sig;
	return 0;
}

SYSCALL_DEFINE3(rt_sigqueueinfo, int, nr, int, sig, uaddr_t, uinfo)
{
	guest_siginfo_t info;
	struct pid *pid;
	int err = read_siginfo(&info, uinfo, sig, nr == task_tgid(t));

	if (err)
		return err;
	if (!valid_or_zero(sig))
		return -EINVAL;
	pid = nr > 0 ? pid_find(task_pid_ns(t), nr) : NULL;
	if (!pid)
		return -ESRCH;
	read_lock(&kernel.tasklist_lock);
	err = kill_pid(pid, sig, &info);
	read_unlock(&kernel.tasklist_lock);
	pid_put(pid);
	return err;
}

SYSCALL_DEFINE4(rt_tgsigqueueinfo, int, tgid, int, tid, int, sig, uaddr_t, uinfo)
{
	guest_siginfo_t info;
	int err = read_siginfo(&info, uinfo, sig, tgid == task_tgid(t));

	if (err)
		return err;
	if (tid <= 0 || tgid <= 0)
		return -EINVAL;
	return kill_thread(tgid, tid, sig, &info);
}

SYSCALL_DEFINE4(pidfd_send_signal, int, fd, int, sig, uaddr_t, uinfo, unsigned, flags)
{
	struct file *__put_file file = NULL;
	guest_siginfo_t info;
	struct pid *pid;
	int err = 0;

	if (flags)
		return -EINVAL;
	file = fd_get(fd);
	if (!file)
		return -EBADF;
	pid = pidfd_or_proc_pid(file);
	if (!pid)
		return -EBADF;
	if (!pid_nr_ns(pid, task_pid_ns(t)) || !valid_or_zero(sig))
		err = -EINVAL;
	if (!err && uinfo) {
		err = copy_from_user(&info, uinfo, sizeof(info));
		if (!err && info.si_signo != sig)
			err = -EINVAL;
		if (!err && pid != t->group->tgid &&
		    (info.si_code >= 0 || info.si_code == SI_TKILL))
			err = -EPERM;
	}
	if (!err) {
		read_lock(&kernel.tasklist_lock);
		err = kill_pid(pid, sig, uinfo ? &info : NULL);
		read_unlock(&kernel.tasklist_lock);
	}
	pid_put(pid);
	return err;
}
