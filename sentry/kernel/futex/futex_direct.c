/*
 * Private futexes that the guest's own thread makes the calls on, where the platform can have it do
 * that: platform_execute(). The host's kernel then is what wakes and sleeps; it does for the
 * addresses of one process what Linux does, since they are of one process there, too.
 *
 * So no waiter for a private futex is in the buckets here, those for priority inheritance apart.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include "sentry/kernel/core/timeout.h"
#include "sentry/kernel/futex/futex.h"
#include "sentry/kernel/futex/futex_internal.h"
#include "sentry/kernel/time/time.h"
#include "sentry/uaccess/uaccess.h"

static bool sleeps(int op)
{
	int cmd = op & FUTEX_CMD_MASK;

	return cmd == FUTEX_WAIT || cmd == FUTEX_WAIT_BITSET;
}

bool futex_is_direct(int op)
{
	switch (op) {
	case FUTEX_WAIT_PRIVATE:
	case FUTEX_WAKE_PRIVATE:
	case FUTEX_REQUEUE | FUTEX_PRIVATE_FLAG:
	case FUTEX_CMP_REQUEUE_PRIVATE:
	case FUTEX_WAKE_OP_PRIVATE:
	case FUTEX_WAIT_BITSET_PRIVATE:
	case FUTEX_WAKE_BITSET_PRIVATE:
	case FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME:
		return platform_executes_futexes();
	}
	return false;
}

/* `called_off`: what the call returns if a signal is to be seen to first. */
static long execute(struct task *t, uint64_t nr, const uint64_t args[6], int64_t deadline,
		    long called_off)
{
	t->executes = true;
	t->called_off = called_off;
	platform_execute(t->ctx, nr, args, deadline);
	return -EEXECUTED;
}

long futex_direct(struct task *t, uaddr_t uaddr, int op, uint32_t val, uaddr_t utime,
		  uaddr_t uaddr2, uint32_t val3)
{
	const uint64_t args[6] = {uaddr, (uint32_t)op, val, utime, uaddr2, val3};
	long called_off = !sleeps(op) ? -ERESTARTNOINTR : utime ? -ERESTARTNOHAND : -ERESTARTSYS;

	return execute(t, SYS_futex, args, -1, called_off);
}

long futex_waitv_direct(struct task *t, uaddr_t uwaiters, unsigned nr, uaddr_t utime, int clock)
{
	const uint64_t args[6] = {uwaiters, nr, 0, utime, (uint64_t)clock};

	return execute(t, SYS_futex_waitv, args, -1, -ERESTARTSYS);
}

static long restart_wait(struct task *t, struct restart_block *rb)
{
	const uint64_t args[6] = {rb->arg[0], FUTEX_WAIT_BITSET_PRIVATE, rb->arg[1], 0,
				  0,	      FUTEX_BITSET_MATCH_ANY};

	return execute(t, SYS_futex, args, rb->deadline, -ERESTART_RESTARTBLOCK);
}

long futex_interrupted(struct task *t, int64_t slept_ns)
{
	const struct guest_regs *regs = platform_regs(t->ctx);
	int op = (int)regs->rsi;
	int64_t timeout;
	int ret;

	if (regs->orig_rax == SYS_restart_syscall)
		return -ERESTART_RESTARTBLOCK;
	if (regs->orig_rax != SYS_futex)
		return -ERESTARTSYS;
	if (!sleeps(op))
		return -ERESTARTNOINTR;
	if (!regs->r10)
		return -ERESTARTSYS;
	if ((op & FUTEX_CMD_MASK) != FUTEX_WAIT)
		return -ERESTARTNOHAND;
	ret = timespec_from_user(&timeout, regs->r10);
	if (ret)
		return ret;
	t->restart = (struct restart_block){
		.fn = restart_wait,
		.deadline = deadline_after(timeout > slept_ns ? timeout - slept_ns : 0),
		.arg = {regs->rdi, (uint32_t)regs->rdx},
	};
	return -ERESTART_RESTARTBLOCK;
}
