/* From a number to a handler: the only one that knows the table, strace apart. */
#include "sentry/syscalls/dispatch.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/compiler.h"
#include "base/log.h"
#include "sentry/counters/counters.h"
#include "sentry/kernel/core/container_mark.h"
#include "sentry/kernel/task/task.h"
#include "sentry/syscalls/strace.h"
#include "sentry/syscalls/table_internal.h"

static long not_implemented(uint32_t nr)
{
	static _Atomic uint8_t logged[SYSCALL_MAX];

	if (nr < SYSCALL_MAX && syscall_table[nr].name && !atomic_exchange(&logged[nr], 1))
		log_info("syscall %u (%s) is not implemented", nr, syscall_table[nr].name);
	return -ENOSYS;
}

static long traced(struct task *t, uint32_t nr, const struct syscall_args *args, syscall_fn fn)
{
	int64_t start = strace_enter(t, nr, args);
	long ret = fn ? fn(t, args) : not_implemented(nr);

	strace_exit(t, nr, args, ret, start);
	return ret;
}

long syscall_dispatch(struct task *t, uint32_t nr, const struct syscall_args *args)
{
	syscall_fn fn = likely(nr < SYSCALL_MAX) ? syscall_table[nr].fn : NULL;

	uint64_t start = count_time();
	long ret;

	container_mark_count_call(t->counted, nr);
	if (unlikely(strace_enabled) && nr < SYSCALL_MAX && syscall_table[nr].name)
		ret = traced(t, nr, args, fn);
	else
		ret = likely(fn != NULL) ? fn(t, args) : not_implemented(nr);
	count_syscall(nr, start);
	return ret;
}

const char *syscall_name(unsigned nr)
{
	return nr < SYSCALL_MAX ? syscall_table[nr].name : NULL;
}
