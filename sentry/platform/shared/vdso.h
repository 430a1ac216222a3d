/* The guest's vDSO and the host's: see platform_vdso(). */
#ifndef MOAT_SENTRY_PLATFORM_SHARED_VDSO_H
#define MOAT_SENTRY_PLATFORM_SHARED_VDSO_H

#include "sentry/platform/shared/layout.h"

/* Makes the guest's image. 0 or -errno; a host without a vDSO is no error. */
int vdso_init(void);
/* Where the host's is, to be moved. */
void vdso_describe(struct stub_config *config);
/* It could not be moved: there is none for guests. */
void vdso_disable(void);

#endif
