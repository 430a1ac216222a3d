/* exit, exit_group, set_tid_address. */
#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"

SYSCALL_DEFINE1(exit, int, code)
{
	task_exit(t, (code & 0xff) << 8);
	return 0;
}

SYSCALL_DEFINE1(exit_group, int, code)
{
	group_exit(t->group, (code & 0xff) << 8);
	return 0;
}

SYSCALL_DEFINE1(set_tid_address, uaddr_t, addr)
{
	t->clear_child_tid = addr;
	return task_tid(t);
}
