/* The table: one row per syscall, its handler by weak reference. */
#include "sentry/syscalls/table_internal.h"

#define SYSCALL(nr, name, kinds)                                                                   \
	extern long sys_##name(struct task *t, const struct syscall_args *args)                    \
		__attribute__((weak));
#include "table.def"
#undef SYSCALL

const struct syscall_entry syscall_table[SYSCALL_MAX] = {
#define SYSCALL(nr, name, kinds) [nr] = {#name, sys_##name, kinds},
#include "table.def"
#undef SYSCALL
};
