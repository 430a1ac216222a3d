/*
 * Semaphore sets. A blocked caller sleeps on its set and tries again whenever something of the set
 * has changed. Undo adjustments belong to a process and hang on the set; a process that exits looks
 * for its own in every set of its namespace.
 */
#include "sentry/kernel/ipc/ipc_sem_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "sentry/kernel/core/wait.h"
#include "sentry/kernel/task/task_upcalls.h"

struct sem {
	int value;
	pid_t pid;
};

/* What a blocked caller waits for: for GETNCNT and GETZCNT. */
struct sem_waiter {
	TAILQ_ENTRY(sem_waiter) link;
	int num;
	bool for_zero;
};

struct sem_undo {
	TAILQ_ENTRY(sem_undo) link;
	struct thread_group *group; /* not counted: it removes its undos when it exits */
	int16_t adjust[];
};

struct sem_set {
	struct ipc_object ipc; /* ipc.lock guards all below */
	int64_t otime, ctime;
	uint64_t generation; /* counts changes */
	struct wait_queue wait;
	TAILQ_HEAD(, sem_waiter) waiters;
	TAILQ_HEAD(, sem_undo) undos;
	int nsems;
	struct sem sems[];
};

/* Semaphores and undo entries of the whole sandbox, since they are the sentry's memory. */
#define TOTAL_MAX (1 << 20)
static atomic_int total;

static bool charge(int n)
{
	if (atomic_fetch_add(&total, n) + n <= TOTAL_MAX)
		return true;
	atomic_fetch_sub(&total, n);
	return false;
}

#define TO_SEM(object) container_of(object, struct sem_set, ipc)

static int64_t now(void)
{
	return clock_ns(CLOCK_REALTIME) / NSEC_PER_SEC;
}

static int create(const struct ipc_params *p, struct ipc_object **out)
{
	struct sem_set *set;

	if (p->size < 1 || p->size > ipc_limit_get(IPC_SEMMSL))
		return -EINVAL;
	if (p->size > TOTAL_MAX || !ipc_has_room(IPC_SEM, p->size, IPC_SEMMNS))
		return -ENOSPC;
	if (!charge((int)p->size))
		return -ENOSPC;
	set = calloc(1, sizeof(*set) + p->size * sizeof(struct sem));
	if (!set) {
		atomic_fetch_sub(&total, (int)p->size);
		return -ENOMEM;
	}
	set->nsems = (int)p->size;
	set->ipc.amount = p->size;
	set->ctime = now();
	wait_queue_init(&set->wait);
	TAILQ_INIT(&set->waiters);
	TAILQ_INIT(&set->undos);
	*out = &set->ipc;
	return 0;
}

static int check(struct ipc_object *object, const struct ipc_params *p)
{
	return p->size > (size_t)TO_SEM(object)->nsems ? -EINVAL : 0;
}

int sem_get(key_t key, int nsems, int flags)
{
	struct ipc_params p = {
		.type = IPC_SEM,
		.key = key,
		.flags = flags,
		.size = nsems < 0 ? SIZE_MAX : (size_t)nsems,
		.limit = IPC_SEMMNI,
		.create = create,
		.check = check,
	};

	if (nsems < 0 || (uint64_t)nsems > ipc_limit_get(IPC_SEMMSL))
		return -EINVAL;
	return ipc_get(&p);
}

static void free_undo(struct sem_set *set, struct sem_undo *undo)
{
	TAILQ_REMOVE(&set->undos, undo, link);
	atomic_fetch_sub(&total, set->nsems);
	free(undo);
}

void sem_free(struct ipc_object *object)
{
	struct sem_set *set = TO_SEM(object);
	struct sem_undo *undo;

	while ((undo = TAILQ_FIRST(&set->undos)))
		free_undo(set, undo);
	atomic_fetch_sub(&total, set->nsems);
	free(set);
}

/* set->ipc.lock held. */
static void changed(struct sem_set *set)
{
	set->generation++;
	wake_up_all(&set->wait, ~0u);
}

static struct sem_undo *find_undo(struct sem_set *set, struct thread_group *g)
{
	struct sem_undo *undo;

	TAILQ_FOREACH (undo, &set->undos, link)
		if (undo->group == g)
			return undo;
	return NULL;
}

static struct sem_undo *get_undo(struct sem_set *set, struct thread_group *g)
{
	struct sem_undo *undo = find_undo(set, g);

	if (undo)
		return undo;
	if (!charge(set->nsems))
		return NULL;
	undo = calloc(1, sizeof(*undo) + set->nsems * sizeof(undo->adjust[0]));
	if (!undo) {
		atomic_fetch_sub(&total, set->nsems);
		return NULL;
	}
	undo->group = g;
	TAILQ_INSERT_TAIL(&set->undos, undo, link);
	return undo;
}

/* --- semop ------------------------------------------------------------------------------------ */

static int check_ops(const struct sem_set *set, const struct sembuf *ops, unsigned nops, bool *undo,
		     bool *alter)
{
	*undo = *alter = false;
	for (unsigned i = 0; i < nops; i++) {
		if (ops[i].sem_num >= set->nsems)
			return -EFBIG;
		if (ops[i].sem_flg & SEM_UNDO)
			*undo = true;
		if (ops[i].sem_op)
			*alter = true;
	}
	return 0;
}

static void take_back(struct sem_set *set, const struct sembuf *ops, unsigned n)
{
	while (n--)
		set->sems[ops[n].sem_num].value -= ops[n].sem_op;
}

/* 0 all done; 1 must wait for *blocked; or an error. Nothing has changed unless 0. */
static int try_ops(struct sem_set *set, const struct sembuf *ops, unsigned nops,
		   struct sem_undo *undo, unsigned *blocked)
{
	unsigned i;
	int ret = 0;

	for (i = 0; i < nops; i++) {
		struct sem *sem = &set->sems[ops[i].sem_num];
		int value = sem->value + ops[i].sem_op;

		if (ops[i].sem_op ? value < 0 : sem->value != 0)
			ret = ops[i].sem_flg & IPC_NOWAIT ? -EAGAIN : 1;
		else if (value > SEMVMX)
			ret = -ERANGE;
		else if (undo && (ops[i].sem_flg & SEM_UNDO) &&
			 abs(undo->adjust[ops[i].sem_num] - ops[i].sem_op) > SEMVMX)
			ret = -ERANGE;
		if (ret)
			break;
		sem->value = value;
	}
	if (ret) {
		*blocked = i;
		take_back(set, ops, i);
		return ret;
	}
	for (i = 0; i < nops; i++) {
		set->sems[ops[i].sem_num].pid = task_tgid(current);
		if (undo && (ops[i].sem_flg & SEM_UNDO))
			undo->adjust[ops[i].sem_num] -= ops[i].sem_op;
	}
	return 0;
}

/* Sleeps until the set changes. The set's lock is held, and given up meanwhile. */
static int wait_for_change(struct sem_set *set, const struct sembuf *op, int64_t deadline)
{
	struct sem_waiter waiter = {.num = op->sem_num, .for_zero = !op->sem_op};
	uint64_t generation = set->generation;
	int ret;

	TAILQ_INSERT_TAIL(&set->waiters, &waiter, link);
	mutex_unlock(&set->ipc.lock);
	ret = wait_event_interruptible(
		&set->wait, __atomic_load_n(&set->generation, __ATOMIC_ACQUIRE) != generation,
		deadline);
	mutex_lock(&set->ipc.lock);
	TAILQ_REMOVE(&set->waiters, &waiter, link);
	/* Never restarted, whatever SA_RESTART says (man 7 signal). */
	if (ret)
		return ret == -ETIMEDOUT ? -EAGAIN : -EINTR;
	return 0;
}

static int run_ops(struct task *t, struct sem_set *set, const struct sembuf *ops, unsigned nops,
		   int64_t deadline, bool with_undo, bool alter)
{
	struct sem_undo *undo = NULL;
	unsigned blocked = 0;
	int ret;

	for (;;) {
		if (set->ipc.deleted)
			return -EIDRM;
		/* Looked up each time: IPC_RMID and SETALL drop them. */
		if (with_undo) {
			undo = get_undo(set, t->group);
			if (!undo)
				return -ENOMEM;
		}
		ret = try_ops(set, ops, nops, undo, &blocked);
		if (ret != 1)
			break;
		ret = wait_for_change(set, &ops[blocked], deadline);
		if (ret) {
			if (set->ipc.deleted)
				return -EIDRM;
			return ret;
		}
	}
	if (!ret) {
		set->otime = now();
		if (alter)
			changed(set);
	}
	return ret;
}

int sem_op(struct task *t, int id, const struct sembuf *ops, unsigned nops, int64_t deadline)
{
	struct ipc_object *object;
	bool undo, alter;
	int ret;

	ret = ipc_find(IPC_SEM, id, 0, &object);
	if (ret)
		return ret;
	ret = check_ops(TO_SEM(object), ops, nops, &undo, &alter);
	if (!ret)
		ret = ipc_permission(object, alter ? 0222 : 0444);
	if (!ret) {
		MUTEX_GUARD(&object->lock);
		ret = run_ops(t, TO_SEM(object), ops, nops, deadline, undo, alter);
	}
	ipc_put(object);
	return ret;
}

/* --- control ---------------------------------------------------------------------------------- */

int sem_stat(int id, int cmd, struct semid_ds *ds)
{
	struct ipc_object *object;
	int ret;

	ret = ipc_find_stat(IPC_SEM, id, cmd, cmd == SEM_STAT_ANY, &object);
	if (ret)
		return ret;
	memset(ds, 0, sizeof(*ds));
	mutex_lock(&object->lock);
	ipc_fill_perm(object, &ds->sem_perm);
	ds->sem_nsems = (unsigned long)TO_SEM(object)->nsems;
	ds->sem_otime = TO_SEM(object)->otime;
	ds->sem_ctime = TO_SEM(object)->ctime;
	mutex_unlock(&object->lock);
	ret = cmd == IPC_STAT ? 0 : object->id;
	ipc_put(object);
	return ret;
}

int sem_set_perm(int id, const struct semid_ds *ds)
{
	struct ipc_object *object;
	int ret = ipc_find_owned(IPC_SEM, id, &object);

	if (ret)
		return ret;
	mutex_lock(&ipc_lock);
	ret = ipc_set_perm(object, &ds->sem_perm);
	if (!ret)
		TO_SEM(object)->ctime = now();
	mutex_unlock(&ipc_lock);
	ipc_put(object);
	return ret;
}

static void set_removed(struct ipc_object *object)
{
	changed(TO_SEM(object));
}

int sem_remove(int id)
{
	return ipc_remove_id(IPC_SEM, id, set_removed);
}

static int count_waiters(struct sem_set *set, int num, bool for_zero)
{
	struct sem_waiter *w;
	int n = 0;

	TAILQ_FOREACH (w, &set->waiters, link)
		n += w->num == num && w->for_zero == for_zero;
	return n;
}

int sem_get_value(int id, int num, int cmd)
{
	struct ipc_object *object;
	struct sem_set *set;
	int ret = ipc_find(IPC_SEM, id, 0444, &object);

	if (ret)
		return ret;
	set = TO_SEM(object);
	mutex_lock(&object->lock);
	if (num < 0 || num >= set->nsems)
		ret = -EINVAL;
	else if (cmd == GETVAL)
		ret = set->sems[num].value;
	else if (cmd == GETPID)
		ret = set->sems[num].pid;
	else
		ret = count_waiters(set, num, cmd == GETZCNT);
	mutex_unlock(&object->lock);
	ipc_put(object);
	return ret;
}

/* Values that are set anew owe nothing to anybody. */
static void forget_undo(struct sem_set *set, int num)
{
	struct sem_undo *undo;

	TAILQ_FOREACH (undo, &set->undos, link)
		undo->adjust[num] = 0;
}

static void set_one(struct sem_set *set, int num, int value)
{
	set->sems[num].value = value;
	set->sems[num].pid = task_tgid(current);
	forget_undo(set, num);
}

int sem_set_value(int id, int num, int value)
{
	struct ipc_object *object;
	struct sem_set *set;
	int ret = ipc_find(IPC_SEM, id, 0222, &object);

	if (ret)
		return ret;
	set = TO_SEM(object);
	mutex_lock(&object->lock);
	if (num < 0 || num >= set->nsems)
		ret = -EINVAL;
	else if (value < 0 || value > SEMVMX)
		ret = -ERANGE;
	if (!ret) {
		set_one(set, num, value);
		set->ctime = now();
		changed(set);
	}
	mutex_unlock(&object->lock);
	ipc_put(object);
	return ret;
}

int sem_count(int id, unsigned mode)
{
	struct ipc_object *object;
	int ret = ipc_find(IPC_SEM, id, mode, &object);

	if (ret)
		return ret;
	ret = TO_SEM(object)->nsems;
	ipc_put(object);
	return ret;
}

int sem_get_all(int id, uint16_t *values, int n)
{
	struct ipc_object *object;
	int ret = ipc_find(IPC_SEM, id, 0444, &object);

	if (ret)
		return ret;
	mutex_lock(&object->lock);
	for (int i = 0; i < MIN(n, TO_SEM(object)->nsems); i++)
		values[i] = (uint16_t)TO_SEM(object)->sems[i].value;
	mutex_unlock(&object->lock);
	ipc_put(object);
	return 0;
}

int sem_set_all(int id, const uint16_t *values, int n)
{
	struct ipc_object *object;
	int ret = ipc_find(IPC_SEM, id, 0222, &object);

	if (ret)
		return ret;
	for (int i = 0; i < n; i++)
		if (values[i] > SEMVMX)
			ret = -ERANGE;
	if (!ret) {
		MUTEX_GUARD(&object->lock);
		for (int i = 0; i < MIN(n, TO_SEM(object)->nsems); i++)
			set_one(TO_SEM(object), i, values[i]);
		TO_SEM(object)->ctime = now();
		changed(TO_SEM(object));
	}
	ipc_put(object);
	return ret;
}

/* --- exit ------------------------------------------------------------------------------------- */

static void undo_all(struct sem_set *set, struct thread_group *g)
{
	struct sem_undo *undo;

	MUTEX_GUARD(&set->ipc.lock);
	undo = find_undo(set, g);
	if (!undo)
		return;
	for (int i = 0; i < set->nsems; i++) {
		int value = set->sems[i].value + undo->adjust[i];

		if (!undo->adjust[i])
			continue;
		set->sems[i].value = MAX(MIN(value, SEMVMX), 0);
		set->sems[i].pid = task_tgid(current);
	}
	free_undo(set, undo);
	set->otime = now();
	changed(set);
}

void ipc_group_exit(struct task *t)
{
	struct sysv_ns *ns = t->ipc_ns ? t->ipc_ns->sysv : NULL;

	if (!ns)
		return;
	MUTEX_GUARD(&ipc_lock);
	for (int i = 0; i <= ns->tables[IPC_SEM].max_index; i++)
		if (ns->tables[IPC_SEM].slots[i])
			undo_all(TO_SEM(ns->tables[IPC_SEM].slots[i]), t->group);
}
