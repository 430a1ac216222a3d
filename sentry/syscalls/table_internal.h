/* The table of system calls: for who enters them and who shows them. */
#ifndef MOAT_SENTRY_SYSCALLS_TABLE_INTERNAL_H
#define MOAT_SENTRY_SYSCALLS_TABLE_INTERNAL_H

#include "sentry/kernel/core/syscall.h"

struct syscall_entry {
	const char *name;
	syscall_fn fn;	   /* NULL: not implemented */
	const char *kinds; /* space-separated argument kinds for strace, see table.def */
};
extern const struct syscall_entry syscall_table[SYSCALL_MAX];

#endif
