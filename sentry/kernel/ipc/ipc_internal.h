/*
 * System V IPC (man 7 sysvipc): shared memory, semaphores, message queues of an ipc namespace.
 *
 * Locks: ipc_lock (all tables of all namespaces; creation, lookup, permissions) -> an object's own
 * lock. ipc_lock comes after mm->lock, since the last unmapping of a segment may free its id; so it
 * is never held while mapping.
 */
#ifndef MOAT_SENTRY_KERNEL_IPC_IPC_INTERNAL_H
#define MOAT_SENTRY_KERNEL_IPC_IPC_INTERNAL_H

#include <stdbool.h>
#include <sys/ipc.h>
#include <sys/types.h>

#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/kernel/ipc/ipc.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/kernel/task/task.h"

/* The head of every object. */
struct ipc_object {
	struct refcount refs; /* the table's, and those of calls under way */
	enum ipc_type type;
	int id;
	key_t key;
	uid_t uid, cuid;
	gid_t gid, cgid;
	unsigned mode, seq;
	uint64_t amount;   /* pages, semaphores: of its namespace's, while it is in the table */
	bool deleted;	   /* no longer in the table; the object's lock */
	struct mutex lock; /* the object's contents */
};

struct ipc_table {
	struct ipc_object **slots;
	int size, count, max_index; /* allocated; used; highest used, -1: none */
	unsigned seq;
	uint64_t amount; /* the sum of its objects' */
};

struct sysv_ns {
	struct ipc_table tables[IPC_TYPES];
	_Atomic uint64_t limits[IPC_LIMITS];
	void (*next_destroy)(struct ipc_ns *ns);
};

extern struct mutex ipc_lock;

/* The tables of a namespace, made when first asked for; NULL: no memory. */
struct sysv_ns *sysv_of(struct ipc_ns *ns);
/* Finds the object of key, or has `create` make one and enters it; *out referenced. `size` is what
 * the caller needs and goes to create and check. Follows IPC_CREAT, IPC_EXCL and the mode in flags
 * (man 2 shmget and the like). */
struct ipc_params {
	enum ipc_type type;
	key_t key;
	int flags;
	size_t size;
	enum ipc_limit limit; /* of objects of the type in a namespace */
	int (*create)(const struct ipc_params *p, struct ipc_object **out);
	int (*check)(struct ipc_object *object, const struct ipc_params *p);
};
int ipc_get(const struct ipc_params *p);
/* For p->create, which then sets object->amount: is there room for so much more? ipc_lock held. */
bool ipc_has_room(enum ipc_type type, uint64_t amount, enum ipc_limit limit);
/* By id, referenced: -EINVAL, -EIDRM, or -EACCES if `mode` (S_IRUGO, S_IWUGO bits) is refused. */
int ipc_find(enum ipc_type type, int id, unsigned mode, struct ipc_object **out);
/* For IPC_STAT (by id), or SHM_STAT and the like (by slot): the caller may read it, unless `any`.
 */
int ipc_find_stat(enum ipc_type type, int id, int cmd, bool any, struct ipc_object **out);
/* For IPC_SET, IPC_RMID: -EPERM unless the caller owns it or has CAP_SYS_ADMIN. */
int ipc_find_owned(enum ipc_type type, int id, struct ipc_object **out);
/* IPC_RMID of what goes at once, however many wait for it: `wake`, called with the object's lock
 * held, tells them. */
int ipc_remove_id(enum ipc_type type, int id, void (*wake)(struct ipc_object *object));
/* Takes it out of its namespace's table and drops the table's reference. ipc_lock held. */
void ipc_remove(struct sysv_ns *ns, struct ipc_object *object);
void ipc_put(struct ipc_object *object);
int ipc_permission(const struct ipc_object *object, unsigned mode); /* 0, -EACCES */
void ipc_fill_perm(const struct ipc_object *object, struct ipc_perm *perm);
/* -EINVAL: the owner or group has no such name in the caller's user namespace. */
int ipc_set_perm(struct ipc_object *object, const struct ipc_perm *perm);

/* Frees an object whose last reference is gone. */
void shm_free(struct ipc_object *object);
void sem_free(struct ipc_object *object);
void msg_free(struct ipc_object *object);
/* The namespace goes: its segments' ids go, what is attached stays. No locks held. */
void shm_forget_all(struct sysv_ns *ns);

#endif
