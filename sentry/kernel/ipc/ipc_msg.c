/* Message queues: senders wait for room, receivers for a message of their type. */
#include "sentry/kernel/ipc/ipc_msg_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "sentry/kernel/core/wait.h"

struct msg_queue {
	struct ipc_object ipc; /* ipc.lock guards all below */
	int64_t stime, rtime, ctime;
	pid_t lspid, lrpid;
	uint64_t bytes, count, max_bytes;
	uint64_t generation; /* counts changes */
	struct wait_queue wait;
	TAILQ_HEAD(, ipc_message) messages;
};

/* Messages of the whole sandbox, headers included: they are the sentry's memory. */
#define TOTAL_MAX (64L << 20)
static atomic_long total;

static long footprint(const struct ipc_message *m)
{
	return (long)(sizeof(*m) + m->size);
}

int msg_alloc(size_t size, struct ipc_message **out)
{
	struct ipc_message *m;
	long n = (long)(sizeof(*m) + size);

	if (size > TOTAL_MAX)
		return -ENOMEM;
	m = atomic_fetch_add(&total, n) + n <= TOTAL_MAX ? malloc((size_t)n) : NULL;
	if (!m) {
		atomic_fetch_sub(&total, n);
		return -ENOMEM;
	}
	m->size = size;
	*out = m;
	return 0;
}

void msg_discard(struct ipc_message *m)
{
	if (!m)
		return;
	atomic_fetch_sub(&total, footprint(m));
	free(m);
}

#define TO_MSG(object) container_of(object, struct msg_queue, ipc)

static int64_t now(void)
{
	return clock_ns(CLOCK_REALTIME) / NSEC_PER_SEC;
}

static int create(const struct ipc_params *p, struct ipc_object **out)
{
	struct msg_queue *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->max_bytes = ipc_limit_get(IPC_MSGMNB);
	q->ctime = now();
	wait_queue_init(&q->wait);
	TAILQ_INIT(&q->messages);
	*out = &q->ipc;
	return 0;
}

static int check(struct ipc_object *object, const struct ipc_params *p)
{
	return 0;
}

int msg_get(key_t key, int flags)
{
	struct ipc_params p = {
		.type = IPC_MSG,
		.key = key,
		.flags = flags,
		.limit = IPC_MSGMNI,
		.create = create,
		.check = check,
	};

	return ipc_get(&p);
}

void msg_free(struct ipc_object *object)
{
	struct msg_queue *q = TO_MSG(object);
	struct ipc_message *m;

	while ((m = TAILQ_FIRST(&q->messages))) {
		TAILQ_REMOVE(&q->messages, m, link);
		msg_discard(m);
	}
	free(q);
}

/* q's lock held. */
static void changed(struct msg_queue *q)
{
	q->generation++;
	wake_up_all(&q->wait, ~0u);
}

/* Sleeps until q changes; its lock is given up meanwhile. */
static int wait_for_change(struct msg_queue *q)
{
	uint64_t generation = q->generation;
	int ret;

	mutex_unlock(&q->ipc.lock);
	ret = wait_event_interruptible(
		&q->wait, __atomic_load_n(&q->generation, __ATOMIC_ACQUIRE) != generation,
		NO_DEADLINE);
	mutex_lock(&q->ipc.lock);
	/* Never restarted once a handler ran (man 7 signal). */
	return ret ? -ERESTARTNOHAND : 0;
}

static bool has_room(const struct msg_queue *q, const struct ipc_message *m)
{
	return q->bytes + m->size <= q->max_bytes && q->count + 1 <= q->max_bytes;
}

int msg_send(struct task *t, int id, struct ipc_message *m, int flags)
{
	struct ipc_object *object;
	struct msg_queue *q;
	int ret = ipc_find(IPC_MSG, id, 0222, &object);

	if (ret)
		return ret;
	q = TO_MSG(object);
	mutex_lock(&object->lock);
	while (!ret && !object->deleted && !has_room(q, m))
		ret = flags & IPC_NOWAIT ? -EAGAIN : wait_for_change(q);
	if (object->deleted)
		ret = -EIDRM;
	if (!ret) {
		TAILQ_INSERT_TAIL(&q->messages, m, link);
		q->bytes += m->size;
		q->count++;
		q->stime = now();
		q->lspid = task_tgid(t);
		changed(q);
	}
	mutex_unlock(&object->lock);
	ipc_put(object);
	return ret;
}

/* The message that `type` means (man 2 msgrcv). */
static struct ipc_message *choose(struct msg_queue *q, long type, int flags)
{
	struct ipc_message *m, *best = NULL;
	long most = type == LONG_MIN ? LONG_MAX : -type;

	TAILQ_FOREACH (m, &q->messages, link) {
		if (!type)
			return m;
		if (type > 0 && (m->type == type) == !(flags & MSG_EXCEPT))
			return m;
		if (type < 0 && m->type <= most && (!best || m->type < best->type))
			best = m;
	}
	return best;
}

int msg_receive(struct task *t, int id, size_t size, long type, int flags, struct ipc_message **out)
{
	struct ipc_object *object;
	struct ipc_message *m = NULL;
	struct msg_queue *q;
	int ret = ipc_find(IPC_MSG, id, 0444, &object);

	if (ret)
		return ret;
	q = TO_MSG(object);
	mutex_lock(&object->lock);
	while (!ret && !object->deleted && !(m = choose(q, type, flags)))
		ret = flags & IPC_NOWAIT ? -ENOMSG : wait_for_change(q);
	if (object->deleted)
		ret = -EIDRM;
	else if (!ret && m->size > size && !(flags & MSG_NOERROR))
		ret = -E2BIG;
	if (!ret) {
		TAILQ_REMOVE(&q->messages, m, link);
		q->bytes -= m->size;
		q->count--;
		q->rtime = now();
		q->lrpid = task_tgid(t);
		*out = m;
		changed(q);
	}
	mutex_unlock(&object->lock);
	ipc_put(object);
	return ret;
}

int msg_stat(int id, int cmd, struct msqid_ds *ds)
{
	struct ipc_object *object;
	struct msg_queue *q;
	int ret;

	ret = ipc_find_stat(IPC_MSG, id, cmd, cmd == MSG_STAT_ANY, &object);
	if (ret)
		return ret;
	q = TO_MSG(object);
	memset(ds, 0, sizeof(*ds));
	mutex_lock(&object->lock);
	ipc_fill_perm(object, &ds->msg_perm);
	ds->msg_stime = q->stime;
	ds->msg_rtime = q->rtime;
	ds->msg_ctime = q->ctime;
	ds->__msg_cbytes = q->bytes;
	ds->msg_qnum = q->count;
	ds->msg_qbytes = q->max_bytes;
	ds->msg_lspid = q->lspid;
	ds->msg_lrpid = q->lrpid;
	mutex_unlock(&object->lock);
	ret = cmd == IPC_STAT ? 0 : object->id;
	ipc_put(object);
	return ret;
}

int msg_set(int id, const struct msqid_ds *ds)
{
	struct ipc_object *object;
	int ret = ipc_find_owned(IPC_MSG, id, &object);

	if (ret)
		return ret;
	if (ds->msg_qbytes > ipc_limit_get(IPC_MSGMNB) && !capable(CAP_SYS_RESOURCE)) {
		ret = -EPERM;
	} else {
		mutex_lock(&ipc_lock);
		ret = ipc_set_perm(object, &ds->msg_perm);
		mutex_unlock(&ipc_lock);
	}
	if (!ret) {
		mutex_lock(&object->lock);
		TO_MSG(object)->max_bytes = MIN(ds->msg_qbytes, 1UL << 24);
		TO_MSG(object)->ctime = now();
		changed(TO_MSG(object));
		mutex_unlock(&object->lock);
	}
	ipc_put(object);
	return ret;
}

static void queue_removed(struct ipc_object *object)
{
	changed(TO_MSG(object));
}

int msg_remove(int id)
{
	return ipc_remove_id(IPC_MSG, id, queue_removed);
}
