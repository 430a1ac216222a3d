/* Images of the FPU state: the XSAVE standard format, as in Linux's signal frames; on CPUs without
 * XSAVE FXSAVE's 512 bytes. Their size is platform_fpstate_size(). */
#ifndef MOAT_SENTRY_PLATFORM_SHARED_FPSTATE_H
#define MOAT_SENTRY_PLATFORM_SHARED_FPSTATE_H

#include <stddef.h>

/* No larger than this on any host that we start on. */
#define FPSTATE_MAX 0x4000

/* As a program begins: what exec leaves. */
void fpstate_initial(void *image);
/* From a frame of the guest's, of which there are `size` bytes: what would make the CPU refuse it
 * is cleared. -EINVAL: not even the legacy part is there. */
int fpstate_take(void *image, const void *frame, size_t size);
/* For a frame: marks what is there (man 2 sigreturn, struct _fpx_sw_bytes). */
void fpstate_mark(void *image);

#endif
