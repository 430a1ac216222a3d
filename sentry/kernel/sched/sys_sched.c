/*
 * Scheduling parameters (man 7 sched). The host schedules the stubs' threads alike; policies and
 * priorities are kept and checked as Linux does, CPU masks within the sandbox's CPUs.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>

#include "sentry/kernel/core/machine.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/sched/sched_internal.h"
#include "sentry/kernel/task/task.h"
#include "sentry/kernel/time/time.h"
#include "sentry/uaccess/uaccess.h"

#ifndef SCHED_DEADLINE
#define SCHED_DEADLINE 6
#endif
#define RT_PRIO_MAX 99
#define RR_INTERVAL_NS 100000000LL
#define FAIR_SLICE_NS 3000000LL

/* struct sched_attr, man 2 sched_setattr. */
struct sched_attr_k {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
};
#define SCHED_ATTR_SIZE_VER0 48
#define SCHED_FLAG_RESET_ON_FORK 1
#define SCHED_FLAG_KEEP_POLICY 8
#define SCHED_FLAG_KEEP_PARAMS 16

static bool is_rt(int policy)
{
	return policy == SCHED_FIFO || policy == SCHED_RR;
}

bool task_same_owner(struct task *t)
{
	struct cred *theirs = task_cred_get(t);
	bool same = current->cred->euid == theirs->euid || current->cred->euid == theirs->uid;

	cred_put(theirs);
	return same;
}

bool task_can_nice(struct task *t, int nice)
{
	return capable(CAP_SYS_NICE) ||
	       (uint64_t)(20 - nice) <= t->group->rlim[RLIMIT_NICE].rlim_cur;
}

/* By number, 0 is the caller; referenced. */
static struct task *sched_task(int pid)
{
	return pid ? task_find(pid) : task_get(current);
}

/* --- policy ----------------------------------------------------------------------------------- */

static int check_rt(struct task *t, int policy, int priority)
{
	uint64_t limit = t->group->rlim[RLIMIT_RTPRIO].rlim_cur;

	if (policy != t->sched_policy && !limit)
		return -EPERM;
	return priority > t->sched_priority && (uint64_t)priority > limit ? -EPERM : 0;
}

static int check_change(struct task *t, int policy, int priority, int nice, bool reset)
{
	if (policy == SCHED_DEADLINE)
		return -EPERM;
	if (policy < 0 || policy > SCHED_DEADLINE || policy == 4)
		return -EINVAL;
	if (priority < 0 || priority > RT_PRIO_MAX || is_rt(policy) != (priority != 0))
		return -EINVAL;
	if (capable(CAP_SYS_NICE))
		return 0;
	if (!is_rt(policy) && nice < t->nice && !task_can_nice(t, nice))
		return -EPERM;
	if (is_rt(policy) && check_rt(t, policy, priority))
		return -EPERM;
	/* Out of SCHED_IDLE is up. */
	if (t->sched_policy == SCHED_IDLE && policy != SCHED_IDLE && !task_can_nice(t, t->nice))
		return -EPERM;
	if (!task_same_owner(t) || (t->sched_reset_on_fork && !reset))
		return -EPERM;
	return 0;
}

static int set_policy(int pid, int policy, int priority, const int *nice, bool reset)
{
	struct task *t;
	int ret;

	if (pid < 0)
		return -EINVAL;
	t = sched_task(pid);
	if (!t)
		return -ESRCH;
	if (policy < 0)
		policy = t->sched_policy;
	ret = check_change(t, policy, priority, nice ? *nice : t->nice, reset);
	if (!ret) {
		t->sched_policy = policy;
		t->sched_priority = priority;
		t->sched_reset_on_fork = reset;
		if (nice && !is_rt(policy))
			t->nice = *nice;
	}
	task_put(t);
	return ret;
}

SYSCALL_DEFINE3(sched_setscheduler, int, pid, int, policy, uaddr_t, uparam)
{
	bool reset = policy & SCHED_RESET_ON_FORK;
	int priority;

	if (policy < 0 || !uparam)
		return -EINVAL;
	if (get_user(&priority, uparam))
		return -EFAULT;
	return set_policy(pid, policy & ~SCHED_RESET_ON_FORK, priority, NULL, reset);
}

SYSCALL_DEFINE2(sched_setparam, int, pid, uaddr_t, uparam)
{
	struct task *target;
	int priority;
	bool reset;

	if (!uparam || pid < 0)
		return -EINVAL;
	if (get_user(&priority, uparam))
		return -EFAULT;
	target = sched_task(pid);
	if (!target)
		return -ESRCH;
	reset = target->sched_reset_on_fork;
	task_put(target);
	return set_policy(pid, -1, priority, NULL, reset);
}

SYSCALL_DEFINE1(sched_getscheduler, int, pid)
{
	struct task *target;
	int ret;

	if (pid < 0)
		return -EINVAL;
	target = sched_task(pid);
	if (!target)
		return -ESRCH;
	ret = target->sched_policy | (target->sched_reset_on_fork ? SCHED_RESET_ON_FORK : 0);
	task_put(target);
	return ret;
}

SYSCALL_DEFINE2(sched_getparam, int, pid, uaddr_t, uparam)
{
	struct task *target;
	int priority;

	if (pid < 0 || !uparam)
		return -EINVAL;
	target = sched_task(pid);
	if (!target)
		return -ESRCH;
	priority = target->sched_priority;
	task_put(target);
	return put_user(uparam, priority);
}

SYSCALL_DEFINE3(sched_setattr, int, pid, uaddr_t, uattr, unsigned, flags)
{
	struct sched_attr_k attr = {0};
	uint32_t size;
	int nice;

	if (!uattr || pid < 0 || flags)
		return -EINVAL;
	if (get_user(&size, uattr))
		return -EFAULT;
	if (!size)
		size = SCHED_ATTR_SIZE_VER0;
	if (size < SCHED_ATTR_SIZE_VER0 || size > PAGE_SIZE) {
		size = sizeof(attr);
		return put_user(uattr, size) ? -EFAULT : -E2BIG;
	}
	if (copy_from_user(&attr, uattr, MIN((size_t)size, sizeof(attr))))
		return -EFAULT;
	if ((int)attr.policy < 0 || (attr.flags & ~(uint64_t)0x7f))
		return -EINVAL;
	nice = MAX(MIN(attr.nice, 19), -20);
	return set_policy(pid, attr.flags & SCHED_FLAG_KEEP_POLICY ? -1 : (int)attr.policy,
			  (int)attr.priority, attr.flags & SCHED_FLAG_KEEP_PARAMS ? NULL : &nice,
			  attr.flags & SCHED_FLAG_RESET_ON_FORK);
}

SYSCALL_DEFINE4(sched_getattr, int, pid, uaddr_t, uattr, unsigned, size, unsigned, flags)
{
	struct sched_attr_k attr = {.size = sizeof(attr)};
	struct task *target;

	if (!uattr || pid < 0 || size > PAGE_SIZE || size < SCHED_ATTR_SIZE_VER0 || flags)
		return -EINVAL;
	target = sched_task(pid);
	if (!target)
		return -ESRCH;
	attr.policy = target->sched_policy;
	attr.flags = target->sched_reset_on_fork ? SCHED_FLAG_RESET_ON_FORK : 0;
	if (is_rt(target->sched_policy))
		attr.priority = target->sched_priority;
	else
		attr.nice = target->nice;
	attr.util_max = 1024;
	task_put(target);
	attr.size = MIN(size, (unsigned)sizeof(attr));
	return copy_to_user(uattr, &attr, attr.size);
}

SYSCALL_DEFINE1(sched_get_priority_max, int, policy)
{
	if (is_rt(policy))
		return RT_PRIO_MAX;
	return policy < 0 || policy > SCHED_DEADLINE || policy == 4 ? -EINVAL : 0;
}

SYSCALL_DEFINE1(sched_get_priority_min, int, policy)
{
	if (is_rt(policy))
		return 1;
	return policy < 0 || policy > SCHED_DEADLINE || policy == 4 ? -EINVAL : 0;
}

SYSCALL_DEFINE2(sched_rr_get_interval, int, pid, uaddr_t, uts)
{
	struct task *target;
	int64_t ns;

	if (pid < 0)
		return -EINVAL;
	target = sched_task(pid);
	if (!target)
		return -ESRCH;
	ns = target->sched_policy == SCHED_RR ? RR_INTERVAL_NS : FAIR_SLICE_NS;
	if (target->sched_policy == SCHED_FIFO)
		ns = 0;
	task_put(target);
	return timespec_to_user(uts, ns);
}

SYSCALL_DEFINE0(sched_yield)
{
	sched_yield();
	return 0;
}

/* --- affinity --------------------------------------------------------------------------------- */

static unsigned mask_bytes(void)
{
	return ROUND_UP((unsigned)machine.num_cpus, 64U) / 8;
}

SYSCALL_DEFINE3(sched_setaffinity, int, pid, unsigned, len, uaddr_t, umask)
{
	struct task *target;
	cpu_set_t mask, allowed;
	int ret = 0;

	CPU_ZERO(&mask);
	if (copy_from_user(&mask, umask, MIN((size_t)len, sizeof(mask))))
		return -EFAULT;
	CPU_ZERO(&allowed);
	for (int i = 0; i < machine.num_cpus && i < CPU_SETSIZE; i++)
		CPU_SET(i, &allowed);
	CPU_AND(&mask, &mask, &allowed);
	target = sched_task(pid);
	if (!target)
		return -ESRCH;
	if (!task_same_owner(target) && !task_capable(target, CAP_SYS_NICE))
		ret = -EPERM;
	else if (!CPU_COUNT(&mask))
		ret = -EINVAL;
	else
		target->affinity = mask;
	task_put(target);
	return ret;
}

SYSCALL_DEFINE3(sched_getaffinity, int, pid, unsigned, len, uaddr_t, umask)
{
	unsigned size = MIN(len, mask_bytes());
	struct task *target;
	cpu_set_t mask;

	if ((uint64_t)len * 8 < (uint64_t)machine.num_cpus || (len & 7))
		return -EINVAL;
	target = sched_task(pid);
	if (!target)
		return -ESRCH;
	mask = target->affinity;
	task_put(target);
	for (int i = machine.num_cpus; i < CPU_SETSIZE; i++)
		CPU_CLR(i, &mask);
	if (!CPU_COUNT(&mask))
		for (int i = 0; i < machine.num_cpus && i < CPU_SETSIZE; i++)
			CPU_SET(i, &mask);
	if (copy_to_user(umask, &mask, size))
		return -EFAULT;
	return size;
}

SYSCALL_DEFINE3(getcpu, uaddr_t, ucpu, uaddr_t, unode, uaddr_t, ucache)
{
	int here = sched_getcpu();
	uint32_t cpu = here < 0 ? 0 : (uint32_t)(here % MAX(machine.num_cpus, 1)), node = 0;

	if (ucpu && put_user(ucpu, cpu))
		return -EFAULT;
	return unode ? put_user(unode, node) : 0;
}
