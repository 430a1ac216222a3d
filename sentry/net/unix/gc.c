/*
 * Descriptors in flight, and the collection of what only they keep alive.
 *
 * A unix socket whose file is referenced by messages alone (as many references as times in flight)
 * and by no message outside of such sockets' queues is garbage: nobody can ever receive from it.
 * The collector finds those by trial deletion, as Linux did, and drops the messages with
 * descriptors in their queues; the rest follows from reference counts.
 *
 * What keeps the picture still while it looks (gc_lock held): descriptors enter a queue only after
 * they were counted in flight, and are taken from a message only together with that count, under
 * gc_lock. So a descriptor between a count and a queue is taken for one that is used elsewhere: the
 * collector may miss garbage for a while, but never takes what is in use. A socket that has lost
 * its last user cannot get a new one, since that would take receiving from it.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "sentry/kernel/core/user_quota.h"
#include "sentry/kernel/task/task.h"
#include "sentry/net/net_upcalls.h"
#include "sentry/net/unix/unix_internal.h"

/* A privileged sender's limit, where Linux has none: what is in flight costs us memory. */
#define INFLIGHT_PRIVILEGED 16384L

static struct mutex gc_lock = MUTEX_INIT;
static struct unix_sock_queue inflight_socks = TAILQ_HEAD_INITIALIZER(inflight_socks);
static _Atomic unsigned total_inflight;
/* The last run's end and length: runs that take long are spaced out. gc_lock. */
static int64_t last_end, last_took;

void unix_gc_lock(void)
{
	mutex_lock(&gc_lock);
}

void unix_gc_unlock(void)
{
	mutex_unlock(&gc_lock);
}

unsigned unix_total_inflight(void)
{
	return total_inflight;
}

static void run_gc(bool force);

static struct unix_sock *file_unix(struct file *file)
{
	struct socket *sock = file_socket(file);

	return sock && sock->family == AF_UNIX ? sock->sk : NULL;
}

int unix_fds_charge(struct scm_fds *fds)
{
	long limit = (long)MIN(current->group->rlim[RLIMIT_NOFILE].rlim_cur, (rlim_t)1 << 20);
	struct user_quota *quota = user_quota_get(current->cred->uid);

	if (!quota)
		return -ENOMEM;
	if (capable(CAP_SYS_RESOURCE) || capable(CAP_SYS_ADMIN))
		limit = MAX(limit, INFLIGHT_PRIVILEGED);
	if (!user_quota_charge(quota, QUOTA_INFLIGHT_FDS, fds->n, limit)) {
		/* Perhaps most of them are garbage. */
		run_gc(true);
		if (!user_quota_charge(quota, QUOTA_INFLIGHT_FDS, fds->n, limit)) {
			user_quota_put(quota);
			return -ETOOMANYREFS;
		}
	}
	fds->quota = quota;
	return 0;
}

void unix_fds_inflight(struct scm_fds *fds)
{
	MUTEX_GUARD(&gc_lock);
	for (unsigned i = 0; i < fds->n; i++) {
		struct unix_sock *u = file_unix(fds->files[i]);

		if (!u)
			continue;
		if (u->inflight++ == 0) {
			u->file = fds->files[i];
			TAILQ_INSERT_TAIL(&inflight_socks, u, inflight_link);
		}
		total_inflight++;
	}
	fds->in_flight = true;
}

void unix_fds_landed_locked(struct scm_fds *fds)
{
	if (!fds->in_flight)
		return;
	fds->in_flight = false;
	for (unsigned i = 0; i < fds->n; i++) {
		struct unix_sock *u = file_unix(fds->files[i]);

		if (!u)
			continue;
		if (--u->inflight == 0)
			TAILQ_REMOVE(&inflight_socks, u, inflight_link);
		total_inflight--;
	}
}

void unix_gc_forget(struct unix_sock *u)
{
	MUTEX_GUARD(&gc_lock);
	u->file = NULL;
}

/* Dropping a file may drop a queue that holds files, and so on without end: only the outermost
 * call drops them, one set after the other. */
static __thread TAILQ_HEAD(fds_list, scm_fds) * dropping;

void scm_fds_free(struct scm_fds *fds)
{
	struct fds_list list = TAILQ_HEAD_INITIALIZER(list);

	if (fds->in_flight) {
		mutex_lock(&gc_lock);
		unix_fds_landed_locked(fds);
		mutex_unlock(&gc_lock);
	}
	if (fds->quota) {
		user_quota_uncharge(fds->quota, QUOTA_INFLIGHT_FDS, fds->n);
		user_quota_put(fds->quota);
		fds->quota = NULL;
	}
	if (dropping) {
		TAILQ_INSERT_TAIL(dropping, fds, link);
		return;
	}
	dropping = &list;
	TAILQ_INSERT_TAIL(&list, fds, link);
	while ((fds = TAILQ_FIRST(&list))) {
		TAILQ_REMOVE(&list, fds, link);
		for (unsigned i = 0; i < fds->n; i++)
			file_put(fds->files[i]);
		free(fds);
	}
	dropping = NULL;
}

/* Calls fn for each unix socket that is in a message of u's queue, or of a connection that waits in
 * it to be accepted. */
static void for_each_child(struct unix_sock *u, void (*fn)(struct unix_sock *child, void *arg),
			   void *arg)
{
	struct unix_sock *embryo;
	struct unix_msg *msg;

	MUTEX_GUARD(&u->lock);
	TAILQ_FOREACH (msg, &u->queue, link) {
		for (unsigned i = 0; msg->scm.fds && i < msg->scm.fds->n; i++) {
			struct unix_sock *child = file_unix(msg->scm.fds->files[i]);

			if (child)
				fn(child, arg);
		}
	}
	/* An embryo's lock comes after its listener's: nothing locks it as one of two. */
	TAILQ_FOREACH (embryo, &u->backlog_queue, backlog_link)
		for_each_child(embryo, fn, arg);
}

static void count_internal(struct unix_sock *child, void *arg)
{
	(void)arg;
	if (child->gc_candidate)
		child->gc_refs--;
}

static void mark_live(struct unix_sock *child, void *arg)
{
	struct unix_sock_queue *work = arg;

	if (!child->gc_candidate)
		return;
	child->gc_candidate = false;
	TAILQ_INSERT_TAIL(work, child, gc_link);
}

/* Takes the messages with descriptors out of u's queue and its embryos'. */
static void take_messages(struct unix_sock *u, struct unix_msg_queue *hit)
{
	struct unix_msg *msg, *next;
	struct unix_sock *embryo;

	MUTEX_GUARD(&u->lock);
	for (msg = TAILQ_FIRST(&u->queue); msg; msg = next) {
		next = TAILQ_NEXT(msg, link);
		if (!msg->scm.fds)
			continue;
		TAILQ_REMOVE(&u->queue, msg, link);
		u->nqueued--;
		u->queued_bytes -= msg->len - msg->off;
		TAILQ_INSERT_TAIL(hit, msg, link);
	}
	TAILQ_FOREACH (embryo, &u->backlog_queue, backlog_link)
		take_messages(embryo, hit);
}

/* gc_lock held. */
static void find_garbage(struct unix_msg_queue *hit)
{
	struct unix_sock_queue work = TAILQ_HEAD_INITIALIZER(work);
	struct unix_sock *u;

	TAILQ_FOREACH (u, &inflight_socks, inflight_link) {
		u->gc_candidate = refcount_read(&u->file->refs) == u->inflight;
		u->gc_refs = u->inflight;
	}
	TAILQ_FOREACH (u, &inflight_socks, inflight_link)
		if (u->gc_candidate)
			for_each_child(u, count_internal, NULL);
	/* In a message that is not in a candidate's queue: live, and so is all in its own queue. */
	TAILQ_FOREACH (u, &inflight_socks, inflight_link)
		if (u->gc_candidate && u->gc_refs > 0)
			mark_live(u, &work);
	while ((u = TAILQ_FIRST(&work))) {
		TAILQ_REMOVE(&work, u, gc_link);
		for_each_child(u, mark_live, &work);
	}
	TAILQ_FOREACH (u, &inflight_socks, inflight_link)
		if (u->gc_candidate) {
			u->gc_candidate = false;
			take_messages(u, hit);
		}
}

/* force: now, whatever it costs, after a run of another thread. */
static void run_gc(bool force)
{
	struct unix_msg_queue hit = TAILQ_HEAD_INITIALIZER(hit);
	struct unix_msg *msg;
	int64_t start;

	if (force)
		mutex_lock(&gc_lock);
	else if (!mutex_trylock(&gc_lock))
		return;
	start = monotonic_ns();
	if (!force && start - last_end < 10 * last_took) {
		mutex_unlock(&gc_lock);
		return;
	}
	find_garbage(&hit);
	last_end = monotonic_ns();
	last_took = last_end - start;
	mutex_unlock(&gc_lock);
	while ((msg = TAILQ_FIRST(&hit))) {
		TAILQ_REMOVE(&hit, msg, link);
		unix_msg_free(msg);
	}
}

void unix_gc(void)
{
	run_gc(false);
}
