/* What other rooms have of futexes: a call that the guest's own thread makes was interrupted. */
#ifndef MOAT_SENTRY_KERNEL_FUTEX_FUTEX_H
#define MOAT_SENTRY_KERNEL_FUTEX_FUTEX_H

#include <stdint.h>

struct task;

/* After EVENT_RESTART: what the call that t's registers stand behind returns, or the code that says
 * how it is entered again. t is current. */
long futex_interrupted(struct task *t, int64_t slept_ns);

#endif
