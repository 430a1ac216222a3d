/* Counts per real uid, for RLIMIT_NPROC and RLIMIT_SIGPENDING. Lock: one leaf for the table. */
#ifndef MOAT_SENTRY_KERNEL_CORE_UCOUNT_H
#define MOAT_SENTRY_KERNEL_CORE_UCOUNT_H

#include <stdint.h>
#include <sys/types.h>

struct ucount;
struct ucount *ucount_get(uid_t uid); /* NULL: no memory */
void ucount_hold(struct ucount *u);   /* one more reference */
void ucount_put(struct ucount *u);
/* Adds one unless that would pass `limit`: 0 or -EAGAIN. */
int ucount_charge_task(struct ucount *u, uint64_t limit);
void ucount_uncharge_task(struct ucount *u);
int ucount_charge_signal(struct ucount *u, uint64_t limit);
void ucount_uncharge_signal(struct ucount *u);
uint64_t ucount_tasks(struct ucount *u);
uint64_t ucount_signals(struct ucount *u);

#endif
