/*
 * Who is told when a file becomes ready (man 2 fcntl: O_ASYNC, F_SETOWN, F_SETSIG).
 *
 * With O_ASYNC set, the file is watched as poll(2) would watch it. A wake-up comes with the queue's
 * lock held, where no signal can be sent: it arms a timer that is due at once, and the timer's
 * thread sends.
 *
 * A socket that has an owner is watched in the same way without O_ASYNC, for urgent data only
 * (SIGURG, man 7 socket).
 */
#include "sentry/vfs/file/fcntl_internal.h"

#include <string.h>
#include <sys/epoll.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/ktimer.h"
#include "sentry/kernel/core/pid.h"
#include "sentry/kernel/core/signals.h"

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

static int fasync_start(struct file *f);

int file_set_owner(struct file *f, int type, pid_t id)
{
	struct pid *pid = NULL, *old;

	if (id) {
		pid = pid_find(task_pid_ns(current), id);
		if (!pid)
			return -ESRCH;
	}
	if (id && S_ISSOCK(f->inode->mode)) {
		int err = fasync_start(f);

		if (err) {
			pid_put(pid);
			return err;
		}
	}
	mutex_lock(&f->owner_lock);
	old = f->owner_pid;
	f->owner_pid = pid;
	f->owner_type = type;
	f->owner_uid = vfs_cred()->uid;
	f->owner_euid = vfs_cred()->euid;
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

/* One reason, and what poll(2) says of that: for these, whatever else there may be. The end of a
 * connection comes before the end of file that it is; pipes have no connection. */
static void fill_info(siginfo_t *info, int sig, int fd, uint32_t band, bool connection)
{
	static const struct {
		uint32_t when, band;
		int code;
	} reasons[] = {
		{EPOLLHUP, EPOLLHUP | EPOLLERR, POLL_HUP},
		{EPOLLIN, EPOLLIN | EPOLLRDNORM, POLL_IN},
		{EPOLLOUT, EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND, POLL_OUT},
		{EPOLLPRI, EPOLLPRI | EPOLLRDBAND, POLL_PRI},
		{EPOLLHUP, EPOLLHUP | EPOLLERR, POLL_HUP},
		{~0U, EPOLLERR, POLL_ERR},
	};
	size_t i = connection ? 0 : 1;

	while (!(band & reasons[i].when))
		i++;
	memset(info, 0, sizeof(*info));
	info->si_signo = sig;
	info->si_band = reasons[i].band;
	info->si_fd = fd;
	info->si_code = reasons[i].code;
}

/* With O_ASYNC the file's signal, and without it what urgent data is announced by. */
static void send_to_owner(struct file *f, uint32_t band, bool urgent)
{
	struct pid *pid;
	siginfo_t info;
	uid_t uid, euid;
	int type, sig;

	mutex_lock(&f->owner_lock);
	pid = f->owner_pid ? pid_get(f->owner_pid) : NULL;
	type = f->owner_type;
	sig = f->owner_sig;
	uid = f->owner_uid;
	euid = f->owner_euid;
	mutex_unlock(&f->owner_lock);
	if (!pid)
		return;
	if (urgent)
		sigio_send(pid, type, uid, euid, SIGURG, NULL);
	if (!(atomic_load(&f->flags) & O_ASYNC)) {
		pid_put(pid);
		return;
	}
	fill_info(&info, sig ? sig : SIGIO, atomic_load(&f->async_fd), band,
		  S_ISSOCK(f->inode->mode));
	sigio_send(pid, type, uid, euid, info.si_signo, sig ? &info : NULL);
	pid_put(pid);
}

void file_send_sigio(struct file *f, uint32_t band)
{
	if (atomic_load(&f->flags) & O_ASYNC)
		send_to_owner(f, band, false);
}

/* --- O_ASYNC -----------------------------------------------------------------------------------
 */

#define FASYNC_QUEUES 4

struct fasync {
	struct poll_table table;
	struct ktimer timer;
	struct file *file; /* not counted: the file owns this */
	struct wait_entry entries[FASYNC_QUEUES];
	int num_entries;
	_Atomic uint32_t band;
};

static bool fasync_wake(struct wait_entry *entry, uint32_t events)
{
	struct fasync *fa = entry->data;

	if (!(atomic_load(&fa->file->flags) & O_ASYNC) && (events == ~0u || !(events & EPOLLPRI)))
		return false;
	atomic_fetch_or(&fa->band, events);
	ktimer_arm(&fa->timer, 0);
	return false;
}

static void fasync_send(struct ktimer *timer)
{
	struct fasync *fa = container_of(timer, struct fasync, timer);
	uint32_t band = atomic_exchange(&fa->band, 0);
	bool urgent = band != ~0u && (band & EPOLLPRI) && S_ISSOCK(fa->file->inode->mode);

	/* "~0" is a wake-up that does not say what happened. */
	if (band == ~0u)
		band = fa->file->ops->poll(fa->file, NULL);
	if (band)
		send_to_owner(fa->file, band, urgent);
}

static void fasync_queue(struct poll_table *pt, struct wait_queue *q)
{
	struct fasync *fa = container_of(pt, struct fasync, table);
	struct wait_entry *e = &fa->entries[fa->num_entries];

	if (fa->num_entries == FASYNC_QUEUES)
		return;
	fa->num_entries++;
	wait_entry_init_func(e, fasync_wake, fa,
			     EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLHUP | EPOLLERR | EPOLLRDNORM |
				     EPOLLWRNORM | EPOLLRDHUP);
	wait_queue_add(q, e);
}

static int fasync_start(struct file *f)
{
	struct fasync *fa;

	if (!f->ops->poll)
		return 0;
	fa = calloc(1, sizeof(*fa));
	if (!fa)
		return -ENOMEM;
	fa->file = f;
	fa->table.queue_fn = fasync_queue;
	fa->table.events = ~0u;
	ktimer_init(&fa->timer, fasync_send);
	mutex_lock(&f->owner_lock);
	if (f->fasync) { /* another thread was first */
		mutex_unlock(&f->owner_lock);
		free(fa);
		return 0;
	}
	f->fasync = fa;
	mutex_unlock(&f->owner_lock);
	f->ops->poll(f, &fa->table);
	return 0;
}

/* No task uses the file any more, or O_ASYNC was cleared: but for a socket's, whose owner is still
 * told of urgent data. */
void file_fasync_stop(struct file *f)
{
	struct fasync *fa;

	mutex_lock(&f->owner_lock);
	fa = f->fasync;
	f->fasync = NULL;
	mutex_unlock(&f->owner_lock);
	if (!fa)
		return;
	for (int i = 0; i < fa->num_entries; i++)
		wait_queue_remove(&fa->entries[i]);
	ktimer_cancel_sync(&fa->timer);
	free(fa);
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
	if ((new & ~old) & O_ASYNC)
		return fasync_start(f);
	if (((old & ~new) & O_ASYNC) && !S_ISSOCK(f->inode->mode))
		file_fasync_stop(f);
	return 0;
}
