/* System V shared memory segments (man 2 shmget, shmat, shmctl). */
#ifndef MOAT_SENTRY_KERNEL_IPC_IPC_SHM_INTERNAL_H
#define MOAT_SENTRY_KERNEL_IPC_IPC_SHM_INTERNAL_H

#include <sys/shm.h>

#include "sentry/kernel/ipc/ipc_internal.h"
#include "sentry/mm/mm.h"

/* A segment's memory lives as long as it is attached; the id, until it is removed and detached. The
 * table holds one reference to the memory until IPC_RMID. */
struct shm_segment {
	struct ipc_object ipc;
	struct shared_memory *memory; /* counted while in_table */
	struct sysv_ns *ns;	      /* whose table it is in; NULL: none any more. ipc_lock */
	bool in_table;		      /* not yet removed: we hold the memory. ipc_lock */
	uint64_t size;
	pid_t cpid, lpid;
	int64_t atime, dtime, ctime;
};

int shm_get(key_t key, size_t size, int flags);
int64_t shm_attach(struct task *t, int id, uint64_t addr, int flags);
int shm_detach(struct task *t, uint64_t addr);
int shm_set(int id, const struct shmid_ds *ds);
int shm_remove(int id);
int shm_lock(int id, bool lock);
/* Sums over all segments of the namespace: bytes. */
uint64_t shm_total(void);

#endif
