/*
 * Leases: who holds one is told before somebody else opens the file in a way that conflicts, and
 * has some time to let go of it.
 *
 * There are few, so one list has them all. A lease is its description's: it goes with that. Opening
 * counts first (inode->write_count, read_count) and looks for leases then; setting one puts it into
 * the list first and looks at the counts then: at least one of the two sees the other.
 */
#include "sentry/vfs/lock/leases.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "sentry/kernel/core/pid.h"
#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/core/wait.h"
#include "sentry/vfs/lock/lock_internal.h"

struct lease {
	TAILQ_ENTRY(lease) link;
	struct file *file; /* not counted: it outlives its lease */
	int fd;		   /* through which it was set: si_fd */
	int type;
	int becomes;	    /* unlike type: it is being broken */
	int64_t break_time; /* then it is what it becomes by itself; NO_DEADLINE */
};

_Atomic int leases_enabled = 1, lease_break_time = 45;

static struct mutex lock = MUTEX_INIT;
static TAILQ_HEAD(, lease) leases = TAILQ_HEAD_INITIALIZER(leases);
static struct wait_queue changed;

void leases_init(void)
{
	wait_queue_init(&changed);
}

/* All static functions but those that say otherwise: `lock` held. */

static struct lease *lease_of(const struct file *f)
{
	struct lease *l;

	TAILQ_FOREACH (l, &leases, link)
		if (l->file == f)
			return l;
	return NULL;
}

/* It is of this type now, whatever it was to become. */
static void become(struct lease *l, int type)
{
	l->type = l->becomes = type;
	if (type == F_UNLCK) {
		TAILQ_REMOVE(&leases, l, link);
		atomic_fetch_sub(&l->file->inode->leases, 1);
		free(l);
	}
	wake_up_all(&changed, ~0u);
}

static void time_out(const struct inode *inode)
{
	int64_t now = monotonic_ns();
	struct lease *l, *next;

	TAILQ_FOREACH_SAFE (l, &leases, link, next)
		if (l->file->inode == inode && l->becomes != l->type && now >= l->break_time)
			become(l, l->becomes);
}

static bool in_the_way(const struct lease *l, const struct inode *inode, bool write)
{
	return l->file->inode == inode && (write || l->type == F_WRLCK);
}

static struct lease *conflict(const struct inode *inode, bool write)
{
	struct lease *l;

	TAILQ_FOREACH (l, &leases, link)
		if (in_the_way(l, inode, write))
			return l;
	return NULL;
}

/* --- breaking -----------------------------------------------------------------------------------
 */

/* SIGIO, or what F_SETSIG has chosen, to the holder. */
struct notice {
	struct pid *pid;
	int type, sig, fd;
	uid_t uid, euid;
};

static void prepare_notice(const struct lease *l, struct notice *n)
{
	struct file *f = l->file;
	MUTEX_GUARD(&f->owner_lock);

	*n = (struct notice){.pid = f->owner_pid ? pid_get(f->owner_pid) : NULL,
			     .type = f->owner_type,
			     .sig = f->owner_sig,
			     .fd = l->fd,
			     .uid = f->owner_uid,
			     .euid = f->owner_euid};
}

/* No locks held. */
static void send_notice(struct notice *n)
{
	guest_siginfo_t info;

	if (!n->pid)
		return;
	memset(&info, 0, sizeof(info));
	info.si_signo = n->sig ? n->sig : SIGIO;
	info.si_code = POLL_MSG;
	info.si_band = EPOLLIN | EPOLLRDNORM | EPOLLMSG;
	info.si_fd = n->fd;
	sigio_send(n->pid, n->type, n->uid, n->euid, info.si_signo, n->sig ? &info : NULL);
	pid_put(n->pid);
}

/* Begins to break the next lease that is in the way and does not know it yet. False: there is none.
 */
static bool begin_break(const struct inode *inode, bool write, struct notice *n)
{
	int becomes = write ? F_UNLCK : F_RDLCK, seconds = atomic_load(&lease_break_time);
	struct lease *l;

	TAILQ_FOREACH (l, &leases, link) {
		if (!in_the_way(l, inode, write) || l->becomes == becomes ||
		    (l->becomes != l->type && !write))
			continue;
		l->becomes = becomes;
		l->break_time = seconds > 0 ? monotonic_ns() + seconds * NSEC_PER_SEC : NO_DEADLINE;
		prepare_notice(l, n);
		return true;
	}
	return false;
}

/* Takes `lock`. */
static bool is_free(const struct inode *inode, bool write)
{
	MUTEX_GUARD(&lock);
	return !conflict(inode, write);
}

int lease_break_slow(struct inode *inode, bool write, bool nonblock)
{
	for (;;) {
		int64_t deadline = NO_DEADLINE;
		struct notice n = {0};
		struct lease *l;
		bool told;
		int err;

		mutex_lock(&lock);
		time_out(inode);
		told = begin_break(inode, write, &n);
		l = conflict(inode, write);
		if (l)
			deadline = l->break_time;
		mutex_unlock(&lock);
		if (told) {
			send_notice(&n);
			continue;
		}
		if (!l)
			return 0;
		if (nonblock)
			return -EWOULDBLOCK;
		err = wait_event_interruptible(&changed, is_free(inode, write), deadline);
		if (err && err != -ETIMEDOUT)
			return err;
	}
}

/* --- holding ------------------------------------------------------------------------------------
 */

/* Any locks. Nobody but f itself has it open in a way that the lease would have to hold up. */
static bool opens_allow(const struct file *f, int type)
{
	struct inode *inode = f->inode;

	if (type == F_RDLCK)
		return atomic_load(&inode->write_count) <= 0;
	return atomic_load(&inode->write_count) == f->write_counted &&
	       atomic_load(&inode->read_count) == f->read_counted;
}

/* *used: `fresh` is in the list now. */
static int set_locked(struct file *f, int type, struct lease *fresh, bool *used)
{
	struct lease *l, *mine = NULL;

	*used = false;
	time_out(f->inode);
	if (!opens_allow(f, type))
		return -EAGAIN;
	TAILQ_FOREACH (l, &leases, link) {
		if (l->file->inode != f->inode)
			continue;
		if (l->file == f)
			mine = l;
		else if (type == F_WRLCK || (l->becomes != l->type && l->becomes == F_UNLCK))
			return -EAGAIN;
	}
	if (mine) {
		become(mine, type);
		return 0;
	}
	atomic_fetch_add(&f->inode->leases, 1);
	if (!opens_allow(f, type)) {
		atomic_fetch_sub(&f->inode->leases, 1);
		return -EAGAIN;
	}
	TAILQ_INSERT_TAIL(&leases, fresh, link);
	*used = true;
	return 0;
}

/* Takes `lock`. */
static int give_up(struct file *f)
{
	struct lease *l;
	MUTEX_GUARD(&lock);

	time_out(f->inode);
	l = lease_of(f);
	if (!l)
		return -EAGAIN;
	become(l, F_UNLCK);
	return 0;
}

int lease_set(struct file *f, int fd, int type)
{
	struct lease *fresh;
	bool used;
	int err;

	if (type == F_UNLCK)
		return give_up(f);
	if (type != F_RDLCK && type != F_WRLCK)
		return -EINVAL;
	if (f->inode->uid != vfs_cred()->fsuid && !vfs_capable(CAP_LEASE))
		return -EACCES;
	if (!S_ISREG(f->inode->mode) || !atomic_load(&leases_enabled) || is_mirrored(f->inode))
		return -EINVAL;
	fresh = calloc(1, sizeof(*fresh));
	if (!fresh)
		return -ENOMEM;
	fresh->file = f;
	fresh->fd = fd;
	fresh->type = fresh->becomes = type;
	fresh->break_time = NO_DEADLINE;
	mutex_lock(&lock);
	err = set_locked(f, type, fresh, &used);
	mutex_unlock(&lock);
	if (!used)
		free(fresh);
	return err;
}

int lease_get(struct file *f)
{
	struct lease *l;
	MUTEX_GUARD(&lock);

	if (!f->inode)
		return F_UNLCK;
	time_out(f->inode);
	l = lease_of(f);
	return l ? l->becomes : F_UNLCK;
}

void lease_release_file(struct file *f)
{
	struct lease *l;

	if (!f->inode || !atomic_load(&f->inode->leases))
		return;
	MUTEX_GUARD(&lock);
	l = lease_of(f);
	if (l)
		become(l, F_UNLCK);
}
