/* What the three kinds of System V objects share: ids, keys, permissions. */
#include "sentry/kernel/ipc/ipc_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* An id is seq * IPC_INDEXES + index, so ids are not reused soon. */
#define IPC_INDEXES 32768
#define IPC_SEQ_MAX 65535

struct mutex ipc_lock = MUTEX_INIT;

static void sysv_destroy(struct ipc_ns *ns)
{
	struct sysv_ns *sysv = ns->sysv;
	void (*next)(struct ipc_ns *) = sysv->next_destroy;

	shm_forget_all(sysv);
	mutex_lock(&ipc_lock);
	for (int type = 0; type < IPC_TYPES; type++) {
		struct ipc_table *table = &sysv->tables[type];

		for (int i = 0; i < table->size; i++)
			if (table->slots[i])
				ipc_remove(sysv, table->slots[i]);
		free(table->slots);
	}
	ns->sysv = NULL;
	mutex_unlock(&ipc_lock);
	free(sysv);
	if (next)
		next(ns);
}

#define ULONG_SAFE (UINT64_MAX - (1ULL << 24))
#define MNI_MAX 32768

static const struct {
	uint64_t at_first, max;
} limits[IPC_LIMITS] = {
	[IPC_SHMMAX] = {ULONG_SAFE, UINT64_MAX}, [IPC_SHMALL] = {ULONG_SAFE, UINT64_MAX},
	[IPC_SHMMNI] = {4096, MNI_MAX},		 [IPC_MSGMAX] = {8192, INT_MAX},
	[IPC_MSGMNB] = {16384, INT_MAX},	 [IPC_MSGMNI] = {32000, MNI_MAX},
	[IPC_SEMMSL] = {32000, INT_MAX},	 [IPC_SEMMNS] = {1024000000, INT_MAX},
	[IPC_SEMOPM] = {500, INT_MAX},		 [IPC_SEMMNI] = {32000, MNI_MAX},
};

uint64_t ipc_limit_get(enum ipc_limit which)
{
	struct sysv_ns *ns = current ? atomic_load(&current->ipc_ns->sysv) : NULL;

	/* Until it has been made nothing has been set. */
	return ns ? atomic_load(&ns->limits[which]) : limits[which].at_first;
}

int ipc_limit_set(enum ipc_limit which, uint64_t value)
{
	struct sysv_ns *ns = sysv_of(current->ipc_ns);

	if (!ns)
		return -ENOMEM;
	if (value > limits[which].max)
		return -EINVAL;
	atomic_store(&ns->limits[which], value);
	return 0;
}

struct sysv_ns *sysv_of(struct ipc_ns *ns)
{
	struct sysv_ns *sysv;

	MUTEX_GUARD(&ns->lock);
	if (ns->sysv)
		return ns->sysv;
	sysv = calloc(1, sizeof(*sysv));
	if (!sysv)
		return NULL;
	for (int type = 0; type < IPC_TYPES; type++)
		sysv->tables[type].max_index = -1;
	for (int i = 0; i < IPC_LIMITS; i++)
		sysv->limits[i] = limits[i].at_first;
	sysv->next_destroy = ns->destroy;
	ns->destroy = sysv_destroy;
	ns->sysv = sysv;
	return sysv;
}

/* --- permissions ------------------------------------------------------------------------------ */

int ipc_permission(const struct ipc_object *object, unsigned mode)
{
	const struct cred *cred = current->cred;
	unsigned requested = ((mode >> 6) | (mode >> 3) | mode) & 7, granted = object->mode;

	if (cred->euid == object->cuid || cred->euid == object->uid)
		granted >>= 6;
	else if (cred_in_group(cred, object->cgid) || cred_in_group(cred, object->gid))
		granted >>= 3;
	if ((requested & ~granted & 7) && !ns_capable(current->ipc_ns->user_ns, CAP_IPC_OWNER))
		return -EACCES;
	return 0;
}

void ipc_fill_perm(const struct ipc_object *object, struct ipc_perm *perm)
{
	perm->__key = object->key;
	perm->uid = uid_shown_here(object->uid);
	perm->gid = gid_shown_here(object->gid);
	perm->cuid = uid_shown_here(object->cuid);
	perm->cgid = gid_shown_here(object->cgid);
	perm->mode = (unsigned short)object->mode;
	perm->__seq = (unsigned short)object->seq;
}

int ipc_set_perm(struct ipc_object *object, const struct ipc_perm *perm)
{
	uid_t uid = make_kuid(perm->uid);
	gid_t gid = make_kgid(perm->gid);

	if (uid == INVALID_ID || gid == INVALID_ID)
		return -EINVAL;
	object->uid = uid;
	object->gid = gid;
	object->mode = (object->mode & ~0777U) | (perm->mode & 0777U);
	return 0;
}

/* --- tables ----------------------------------------------------------------------------------- */

void ipc_put(struct ipc_object *object)
{
	if (!refcount_dec(&object->refs))
		return;
	mutex_destroy(&object->lock);
	if (object->type == IPC_SHM)
		shm_free(object);
	else if (object->type == IPC_SEM)
		sem_free(object);
	else
		msg_free(object);
}

void ipc_remove(struct sysv_ns *ns, struct ipc_object *object)
{
	struct ipc_table *table = &ns->tables[object->type];

	table->slots[object->id % IPC_INDEXES] = NULL;
	table->count--;
	table->amount -= object->amount;
	while (table->max_index >= 0 && !table->slots[table->max_index])
		table->max_index--;
	mutex_lock(&object->lock);
	object->deleted = true;
	mutex_unlock(&object->lock);
	ipc_put(object);
}

bool ipc_has_room(enum ipc_type type, uint64_t amount, enum ipc_limit limit)
{
	struct sysv_ns *ns = current->ipc_ns->sysv;
	uint64_t used = ns->tables[type].amount, most = atomic_load(&ns->limits[limit]);

	return used <= most && amount <= most - used;
}

static struct ipc_object *find_key(struct ipc_table *table, key_t key)
{
	for (int i = 0; i <= table->max_index; i++)
		if (table->slots[i] && table->slots[i]->key == key)
			return table->slots[i];
	return NULL;
}

static int free_slot(struct ipc_table *table)
{
	unsigned old = (unsigned)table->size, size = old ? old * 2 : 16;
	struct ipc_object **slots;

	for (int i = 0; i < table->size; i++)
		if (!table->slots[i])
			return i;
	slots = reallocarray(table->slots, size, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	memset(slots + old, 0, (size - old) * sizeof(*slots));
	table->slots = slots;
	table->size = (int)size;
	return (int)old;
}

static int create(struct ipc_table *table, const struct ipc_params *p)
{
	struct ipc_object *object;
	int slot, ret;

	if ((uint64_t)table->count >= MIN(ipc_limit_get(p->limit), (uint64_t)IPC_INDEXES))
		return -ENOSPC;
	slot = free_slot(table);
	if (slot < 0)
		return slot;
	ret = p->create(p, &object);
	if (ret)
		return ret;
	refcount_init(&object->refs);
	/* A segment's memory points back to it. */
	if (p->type == IPC_SHM)
		refcount_inc(&object->refs);
	mutex_init(&object->lock);
	object->type = p->type;
	object->key = p->key;
	object->mode = p->flags & 0777;
	object->uid = object->cuid = current->cred->euid;
	object->gid = object->cgid = current->cred->egid;
	object->seq = table->seq;
	table->seq = (table->seq + 1) % IPC_SEQ_MAX;
	object->id = (int)(object->seq * IPC_INDEXES % (1U << 31)) + slot;
	table->slots[slot] = object;
	table->count++;
	table->amount += object->amount;
	table->max_index = MAX(table->max_index, slot);
	return object->id;
}

int ipc_get(const struct ipc_params *p)
{
	struct sysv_ns *ns = sysv_of(current->ipc_ns);
	struct ipc_object *object;
	int ret;

	if (!ns)
		return -ENOMEM;
	MUTEX_GUARD(&ipc_lock);
	object = p->key == IPC_PRIVATE ? NULL : find_key(&ns->tables[p->type], p->key);
	if (!object) {
		if (p->key != IPC_PRIVATE && !(p->flags & IPC_CREAT))
			return -ENOENT;
		return create(&ns->tables[p->type], p);
	}
	if ((p->flags & IPC_CREAT) && (p->flags & IPC_EXCL))
		return -EEXIST;
	ret = p->check(object, p);
	if (!ret)
		ret = ipc_permission(object, p->flags & 0777);
	return ret ? ret : object->id;
}

static int found(struct ipc_object *object, unsigned mode, struct ipc_object **out)
{
	if (mode && ipc_permission(object, mode))
		return -EACCES;
	refcount_inc(&object->refs);
	*out = object;
	return 0;
}

static int find_index(enum ipc_type type, int index, unsigned mode, struct ipc_object **out)
{
	struct sysv_ns *ns = sysv_of(current->ipc_ns);

	if (!ns)
		return -ENOMEM;
	MUTEX_GUARD(&ipc_lock);
	if (index < 0 || index >= ns->tables[type].size || !ns->tables[type].slots[index])
		return -EINVAL;
	return found(ns->tables[type].slots[index], mode, out);
}

int ipc_find(enum ipc_type type, int id, unsigned mode, struct ipc_object **out)
{
	struct sysv_ns *ns = sysv_of(current->ipc_ns);
	struct ipc_object *object;

	if (!ns)
		return -ENOMEM;
	MUTEX_GUARD(&ipc_lock);
	if (id < 0 || id % IPC_INDEXES >= ns->tables[type].size)
		return -EINVAL;
	object = ns->tables[type].slots[id % IPC_INDEXES];
	if (!object || object->id != id)
		return -EINVAL;
	return found(object, mode, out);
}

int ipc_find_stat(enum ipc_type type, int id, int cmd, bool any, struct ipc_object **out)
{
	unsigned mode = any ? 0 : 0444;

	return cmd == IPC_STAT ? ipc_find(type, id, mode, out) : find_index(type, id, mode, out);
}

int ipc_find_owned(enum ipc_type type, int id, struct ipc_object **out)
{
	uid_t euid = current->cred->euid;
	int ret = ipc_find(type, id, 0, out);

	if (ret || euid == (*out)->cuid || euid == (*out)->uid ||
	    ns_capable(current->ipc_ns->user_ns, CAP_SYS_ADMIN))
		return ret;
	ipc_put(*out);
	return -EPERM;
}

int ipc_remove_id(enum ipc_type type, int id, void (*wake)(struct ipc_object *object))
{
	struct ipc_object *object;
	int ret = ipc_find_owned(type, id, &object);

	if (ret)
		return ret;
	mutex_lock(&ipc_lock);
	if (object->deleted)
		ret = -EIDRM;
	else
		ipc_remove(sysv_of(current->ipc_ns), object);
	mutex_unlock(&ipc_lock);
	mutex_lock(&object->lock);
	wake(object);
	mutex_unlock(&object->lock);
	ipc_put(object);
	return ret;
}

int ipc_max_index(enum ipc_type type, int *used)
{
	struct sysv_ns *ns = sysv_of(current->ipc_ns);

	*used = 0;
	if (!ns)
		return 0;
	MUTEX_GUARD(&ipc_lock);
	*used = ns->tables[type].count;
	return MAX(ns->tables[type].max_index, 0);
}
