/* Between the files of kernel/run. */
#ifndef MOAT_SENTRY_KERNEL_RUN_RUN_INTERNAL_H
#define MOAT_SENTRY_KERNEL_RUN_RUN_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

struct thread_group;

/* What a worker does: see run.c. */
void worker_main(void);
/* Bytes of memory that the process has for itself; exact: see platform_as_anon(). */
uint64_t group_anon(struct thread_group *g, bool exact);

#endif
