/* What the parts of the stub have of each other. Freestanding. */
#ifndef MOAT_SENTRY_PLATFORM_SHARED_STUB_H
#define MOAT_SENTRY_PLATFORM_SHARED_STUB_H

#include <stdbool.h>

#include "../layout.h"

struct slot;

/* start.S */
long stub_syscall(long nr, long a0, long a1, long a2, long a3, long a4, long a5);
extern const struct stub_config stub_config;

static inline bool has(uint32_t feature)
{
	return stub_config.features & feature;
}

/* zygote.c */
/* Handles these signals by `entry`, on the alternate stack if there is one, all others as a new
 * program does; unblocks all. */
void set_handlers(const unsigned char *signals, unsigned n, const char *entry);
long install_filter(const struct stub_filter *filter, unsigned flags);

/* How the platforms' zygotes go on when nothing is mapped but the stub. stub_vdso: STUB_VDSO if the
 * host's vDSO is there, or 0. */
void systrap_zygote(struct slot *slot, uint64_t stub_vdso) __attribute__((noreturn));
void traced_zygote(uint64_t stub_vdso) __attribute__((noreturn));

extern char signal_entry[], stub_sigreturn[], traced_parked[];

#endif
