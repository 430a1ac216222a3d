/* System V semaphore sets (man 2 semget, semop, semctl). */
#ifndef MOAT_SENTRY_KERNEL_IPC_IPC_SEM_INTERNAL_H
#define MOAT_SENTRY_KERNEL_IPC_IPC_SEM_INTERNAL_H

#include <sys/sem.h>

#include "sentry/kernel/ipc/ipc_internal.h"

#define MAX_OPS 32000 /* whatever SEMOPM is set to: they are the sentry's memory */
#define SEMVMX 32767

int sem_get(key_t key, int nsems, int flags);
/* All of the operations or none; blocks as they say, until the deadline (monotonic ns). */
int sem_op(struct task *t, int id, const struct sembuf *ops, unsigned nops, int64_t deadline);
int sem_set_perm(int id, const struct semid_ds *ds);
int sem_remove(int id);
int sem_get_value(int id, int num, int cmd); /* GETVAL, GETPID, GETNCNT, GETZCNT */
int sem_set_value(int id, int num, int value);
/* The number of semaphores in the set; for GETALL and SETALL. */
int sem_count(int id, unsigned mode);
int sem_get_all(int id, uint16_t *values, int n);
int sem_set_all(int id, const uint16_t *values, int n);

#endif
