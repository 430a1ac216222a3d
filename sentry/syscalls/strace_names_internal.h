/* Names of numbers, for --strace. */
#ifndef MOAT_SENTRY_SYSCALLS_STRACE_NAMES_INTERNAL_H
#define MOAT_SENTRY_SYSCALLS_STRACE_NAMES_INTERNAL_H

#include <stdint.h>

struct strace_flag {
	uint64_t value;
	const char *name; /* NULL ends a table */
};
extern const struct strace_flag strace_open_flags[], strace_prot_flags[], strace_map_flags[],
	strace_at_flags[], strace_clone_flags[];

/* "SIGINT", "SIGRT_3", or a number, in a buffer of the thread. */
const char *strace_signal_name(int sig);
/* "ENOENT (No such file or directory)", in a buffer of the thread. */
const char *strace_errno_name(int err);

#endif
