/* Who is told when a file becomes ready. */
#include "sentry/vfs/fcntl.h"

#include <string.h>
#include <sys/epoll.h>

#include "sentry/kernel/task.h"

void file_owner_clear(struct file *f)
{
	struct pid *old;

	mutex_lock(&f->owner_lock);
	old = f->owner_pid;
	f->owner_pid = NULL;
	mutex_unlock(&f->owner_lock);
	if (old)
		pid_put(old);
}

int file_set_owner(struct file *f, int type, pid_t id)
{
	struct pid *pid = NULL, *old;

	if (id) {
		pid = pid_find(task_pid_ns(current), id);
		if (!pid)
			return -ESRCH;
	}
	mutex_lock(&f->owner_lock);
	old = f->owner_pid;
	f->owner_pid = pid;
	f->owner_type = type;
	mutex_unlock(&f->owner_lock);
	if (old)
		pid_put(old);
	return 0;
}

void file_get_owner(struct file *f, int *type, pid_t *id)
{
	MUTEX_GUARD(&f->owner_lock);
	*type = f->owner_type;
	*id = f->owner_pid ? pid_nr_ns(f->owner_pid, task_pid_ns(current)) : 0;
}

static void fill_info(siginfo_t *info, int sig, uint32_t band)
{
	memset(info, 0, sizeof(*info));
	info->si_signo = sig;
	info->si_band = band;
	info->si_code = band & EPOLLIN	  ? POLL_IN
			: band & EPOLLOUT ? POLL_OUT
			: band & EPOLLPRI ? POLL_PRI
			: band & EPOLLHUP ? POLL_HUP
					  : POLL_ERR;
}

void file_send_sigio(struct file *f, uint32_t band)
{
	struct task *t = NULL;
	struct thread_group *g = NULL;
	struct pid *pid;
	siginfo_t info;
	int type, sig;
	pid_t pgid;

	if (!(atomic_load(&f->flags) & O_ASYNC))
		return;
	mutex_lock(&f->owner_lock);
	pid = f->owner_pid ? pid_get(f->owner_pid) : NULL;
	type = f->owner_type;
	sig = f->owner_sig;
	mutex_unlock(&f->owner_lock);
	if (!pid)
		return;
	fill_info(&info, sig ? sig : SIGIO, band);
	read_lock(&kernel.tasklist_lock);
	if (type == F_OWNER_TID && pid->task)
		t = task_get(pid->task);
	else if (type == F_OWNER_PID && pid->group)
		g = group_get(pid->group);
	read_unlock(&kernel.tasklist_lock);
	if (t) {
		task_send_signal(t, info.si_signo, sig ? &info : NULL);
		task_put(t);
	} else if (g) {
		group_send_signal(g, info.si_signo, sig ? &info : NULL);
		group_put(g);
	} else if (type == F_OWNER_PGRP && current) {
		pgid = pid_nr_ns(pid, task_pid_ns(current));
		if (pgid)
			pgrp_send_signal(current, pgid, info.si_signo, sig ? &info : NULL);
	}
	pid_put(pid);
}

int file_set_flags(struct file *f, uint32_t set, uint32_t mask)
{
	uint32_t old = atomic_load(&f->flags), new;
	int err;

	do {
		new = (old & ~mask) | (set & mask);
		if (new != old && f->ops->set_flags) {
			err = f->ops->set_flags(f, new);
			if (err)
				return err;
		}
	} while (!atomic_compare_exchange_weak(&f->flags, &old, new));
	return 0;
}
