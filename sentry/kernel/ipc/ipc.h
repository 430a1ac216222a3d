/* System V objects, as /proc/sysvipc shows those of the current task's namespace. */
#ifndef MOAT_SENTRY_KERNEL_IPC_IPC_H
#define MOAT_SENTRY_KERNEL_IPC_IPC_H

#include <stdint.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

enum ipc_type { IPC_SHM, IPC_SEM, IPC_MSG, IPC_TYPES };

/* The highest slot in use, -1: none; how many are used into *used. */
int ipc_max_index(enum ipc_type type, int *used);
/* cmd is IPC_STAT (by id), or MSG_STAT and MSG_STAT_ANY and the like (by slot): the id, or -errno.
 */
int msg_stat(int id, int cmd, struct msqid_ds *ds);
int sem_stat(int id, int cmd, struct semid_ds *ds);
int shm_stat(int id, int cmd, struct shmid_ds *ds);

/* /proc/sys/kernel: the limits of the current task's namespace. */
enum ipc_limit {
	IPC_SHMMAX, /* bytes of a segment */
	IPC_SHMALL, /* pages of all of them */
	IPC_SHMMNI, /* segments */
	IPC_MSGMAX, /* bytes of a message */
	IPC_MSGMNB, /* bytes of a new queue */
	IPC_MSGMNI, /* queues */
	IPC_SEMMSL, /* semaphores of a set: these four are "sem" */
	IPC_SEMMNS, /* of all sets */
	IPC_SEMOPM, /* operations of a call */
	IPC_SEMMNI, /* sets */
	IPC_LIMITS
};
uint64_t ipc_limit_get(enum ipc_limit which);
/* -EINVAL: Linux does not take so much; -ENOMEM. The caller has the right to. */
int ipc_limit_set(enum ipc_limit which, uint64_t value);

#endif
