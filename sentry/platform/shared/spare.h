/*
 * Spare stubs: exec wants a clean address space, and making one takes the zygote a while. So one is
 * made in the background as soon as the last has been taken; but not before the first exec after
 * the container's own, since many sandboxes run one program only.
 *
 * The first is made at once, and shows whether the platform works on this host.
 */
#ifndef MOAT_SENTRY_PLATFORM_SHARED_SPARE_H
#define MOAT_SENTRY_PLATFORM_SHARED_SPARE_H

#include "sentry/platform/platform.h"

/* A clean stub with one reference, the caller's, or NULL with *err set. Any thread. */
typedef struct platform_as *(*spare_make_fn)(int *err);

/* Makes the first; the platform's error if it cannot. */
int spare_init(spare_make_fn make);
int spare_start(void);
void spare_stop(void);
/* A clean stub, one reference; NULL with *err set. */
struct platform_as *spare_take(int *err);

#endif
