/*
 * The zygote: a process with nothing mapped but the stub, made once, from which clean stubs are
 * cloned. No guest code ever runs in it, so what it answers is trusted.
 */
#ifndef MOAT_SENTRY_PLATFORM_SHARED_ZYGOTE_H
#define MOAT_SENTRY_PLATFORM_SHARED_ZYGOTE_H

#include <sys/types.h>

#include "sentry/platform/shared/layout.h"

/* The stub's text as the sentry has it. */
const struct stub_header *stub_header(void);

/* Forks the zygote off the calling process, which has one thread, and shares the descriptors with
 * it. It has the stub's text with this configuration, and at STUB_MEMORY memory_fd, or private
 * memory of ZYGOTE_STACK_TOP bytes if that is negative. Its process id, or -errno; what becomes of
 * it is for the platform to see. */
pid_t zygote_spawn(const struct stub_config *config, int memory_fd, int exit_signal);

#endif
