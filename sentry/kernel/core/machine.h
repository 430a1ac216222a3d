/* The machine that guests see: set once, before the first of them runs (kernel_init). */
#ifndef MOAT_SENTRY_KERNEL_CORE_MACHINE_H
#define MOAT_SENTRY_KERNEL_CORE_MACHINE_H

#include <stdint.h>

struct machine {
	int num_cpus;
	uint64_t total_memory; /* bytes */
	int64_t boot_time_ns;  /* CLOCK_REALTIME at start */
	int64_t boot_mono_ns;
};
extern struct machine machine;

#endif
