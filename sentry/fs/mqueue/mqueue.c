/* Queues, their messages, and who is told of the first one. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "sentry/fs/mqueue/mqueue_internal.h"
#include "sentry/kernel/core/cred.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/task/task.h"

void mq_ns_put(struct mq_ns *ns)
{
	if (!refcount_dec(&ns->refs))
		return;
	mutex_destroy(&ns->lock);
	free(ns);
}

/* The namespace goes: names go with it, queues when their last file is closed. */
static void mq_ns_destroy(struct ipc_ns *ipc)
{
	struct mq_ns *ns = ipc->mqueue;
	void (*next)(struct ipc_ns *) = ns->next_destroy;
	struct mq *mq;

	while ((mq = TAILQ_FIRST(&ns->queues))) {
		TAILQ_REMOVE(&ns->queues, mq, ns_link);
		inode_put(mq->inode);
		mq_put(mq);
	}
	mq_ns_put(ns);
	ipc->mqueue = NULL;
	if (next)
		next(ipc);
}

struct mq_ns *mq_ns_current(void)
{
	struct ipc_ns *ipc = current ? current->ipc_ns : NULL;
	struct mq_ns *ns;

	if (!ipc)
		return NULL;
	MUTEX_GUARD(&ipc->lock);
	if (ipc->mqueue)
		return ipc->mqueue;
	ns = calloc(1, sizeof(*ns));
	if (!ns)
		return NULL;
	refcount_init(&ns->refs);
	mutex_init(&ns->lock);
	TAILQ_INIT(&ns->queues);
	ns->next_destroy = ipc->destroy;
	ipc->destroy = mq_ns_destroy;
	ipc->mqueue = ns;
	return ns;
}

static int check_attr(const struct mq_attr *a)
{
	bool admin = capable(CAP_SYS_RESOURCE);

	if (a->mq_maxmsg <= 0 || a->mq_msgsize <= 0)
		return -EINVAL;
	if (a->mq_maxmsg > (admin ? MQ_HARD_MSGS : MQ_DEFAULT_MSGS) ||
	    a->mq_msgsize > (admin ? MQ_HARD_SIZE : MQ_DEFAULT_SIZE))
		return -EINVAL;
	return 0;
}

int mq_create(struct mq_ns *ns, const struct mq_attr *attr, struct mq **out)
{
	const struct mq_attr defaults = {.mq_maxmsg = MQ_DEFAULT_MSGS,
					 .mq_msgsize = MQ_DEFAULT_SIZE};
	struct mq *mq;
	uint64_t bytes, limit;
	int err;

	if (!attr)
		attr = &defaults;
	err = check_attr(attr);
	if (err)
		return err;
	if (__builtin_mul_overflow((uint64_t)attr->mq_maxmsg,
				   (uint64_t)attr->mq_msgsize + sizeof(struct mq_message), &bytes))
		return -EOVERFLOW;
	mutex_lock(&current->group->lock);
	limit = current->group->rlim[RLIMIT_MSGQUEUE].rlim_cur;
	mutex_unlock(&current->group->lock);
	if (atomic_fetch_add(&ns->total, bytes) + bytes > MIN(limit, MQ_MAX_TOTAL)) {
		atomic_fetch_sub(&ns->total, bytes);
		return -EMFILE;
	}
	mq = calloc(1, sizeof(*mq));
	if (!mq) {
		atomic_fetch_sub(&ns->total, bytes);
		return -ENOMEM;
	}
	refcount_init(&mq->refs);
	refcount_inc(&ns->refs);
	mq->ns = ns;
	mq->charged = bytes;
	mutex_init(&mq->lock);
	wait_queue_init(&mq->wait);
	TAILQ_INIT(&mq->messages);
	mq->max_msgs = attr->mq_maxmsg;
	mq->max_size = attr->mq_msgsize;
	*out = mq;
	return 0;
}

struct mq *mq_get(struct mq *mq)
{
	refcount_inc(&mq->refs);
	return mq;
}

void mq_put(struct mq *mq)
{
	struct mq_message *m;

	if (!mq || !refcount_dec(&mq->refs))
		return;
	while ((m = TAILQ_FIRST(&mq->messages))) {
		TAILQ_REMOVE(&mq->messages, m, link);
		free(m);
	}
	if (mq->notify_group) {
		group_put(mq->notify_group);
		user_ns_put(mq->notify_user_ns);
	}
	mutex_destroy(&mq->lock);
	free(mq);
}

/* Tells the registered process that the queue has its first message; once. mq->lock held. */
static void notify(struct mq *mq)
{
	guest_siginfo_t info = {.si_signo = mq->notify_sig, .si_code = SI_MESGQ};
	struct thread_group *g = mq->notify_group;

	mq->notify_group = NULL;
	if (mq->notify_kind == SIGEV_SIGNAL) {
		info.si_value = mq->notify_value;
		info.si_pid = group_nr_ns(current->group, g->tgid->ns);
		info.si_uid = uid_shown(mq->notify_user_ns, current->cred->uid);
		group_send_signal(g, mq->notify_sig, &info);
	}
	group_put(g);
	user_ns_put(mq->notify_user_ns);
}

/* Consumes msg on success. */
int mq_send(struct mq *mq, struct mq_message *msg)
{
	struct mq_message *before;

	MUTEX_GUARD(&mq->lock);
	if (mq->count >= mq->max_msgs)
		return -EAGAIN;
	TAILQ_FOREACH_REVERSE(before, &mq->messages, mq_message_list, link)
	if (before->prio >= msg->prio)
		break;
	if (before)
		TAILQ_INSERT_AFTER(&mq->messages, before, msg, link);
	else
		TAILQ_INSERT_HEAD(&mq->messages, msg, link);
	mq->bytes += msg->len;
	if (mq->count++ == 0 && mq->notify_group && !mq->receivers)
		notify(mq);
	wake_up_all(&mq->wait, EPOLLIN | EPOLLRDNORM);
	return 0;
}

int mq_receive(struct mq *mq, struct mq_message **msg)
{
	MUTEX_GUARD(&mq->lock);
	*msg = TAILQ_FIRST(&mq->messages);
	if (!*msg)
		return -EAGAIN;
	TAILQ_REMOVE(&mq->messages, *msg, link);
	mq->count--;
	mq->bytes -= (*msg)->len;
	wake_up_all(&mq->wait, EPOLLOUT | EPOLLWRNORM);
	return 0;
}

bool mq_has_room(struct mq *mq)
{
	MUTEX_GUARD(&mq->lock);
	return mq->count < mq->max_msgs;
}

bool mq_has_message(struct mq *mq)
{
	MUTEX_GUARD(&mq->lock);
	return mq->count > 0;
}

void mq_unnotify(struct mq *mq, struct thread_group *g)
{
	MUTEX_GUARD(&mq->lock);
	if (mq->notify_group != g || !g)
		return;
	mq->notify_group = NULL;
	group_put(g);
	user_ns_put(mq->notify_user_ns);
}
