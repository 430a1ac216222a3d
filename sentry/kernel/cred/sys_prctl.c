/* prctl, arch_prctl, personality. */
#include <asm/prctl.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/seccomp/seccomp.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/task.h"
#include "sentry/mm/mm.h"
#include "sentry/uaccess/uaccess.h"

static long change_securebits(struct task *t, uint64_t bits)
{
	const struct cred *old = t->cred;
	struct cred *c;
	uint64_t changed = old->securebits ^ bits;

	if ((bits & ~(uint64_t)(SECURE_ALL_BITS | SECURE_ALL_LOCKS)) ||
	    ((old->securebits & SECURE_ALL_LOCKS) >> 1 & changed) ||
	    (old->securebits & SECURE_ALL_LOCKS & ~bits) || !own_ns_capable(CAP_SETPCAP))
		return -EPERM;
	c = cred_dup(old);
	if (!c)
		return -ENOMEM;
	c->securebits = bits;
	task_set_cred(t, c);
	return 0;
}

static long set_keepcaps(struct task *t, uint64_t on)
{
	struct cred *c;

	if (on > 1)
		return -EINVAL;
	if (t->cred->securebits & SECBIT_KEEP_CAPS_LOCKED)
		return -EPERM;
	c = cred_dup(t->cred);
	if (!c)
		return -ENOMEM;
	if (on)
		c->securebits |= SECBIT_KEEP_CAPS;
	else
		c->securebits &= ~SECBIT_KEEP_CAPS;
	t->keep_caps = on;
	task_set_cred(t, c);
	return 0;
}

static long drop_bounding(struct task *t, uint64_t cap)
{
	struct cred *c;

	if (!own_ns_capable(CAP_SETPCAP))
		return -EPERM;
	if (cap > CAP_LAST_CAP)
		return -EINVAL;
	c = cred_dup(t->cred);
	if (!c)
		return -ENOMEM;
	c->cap_bset &= ~CAP_BIT(cap);
	task_set_cred(t, c);
	return 0;
}

static long change_ambient(struct task *t, uint64_t op, uint64_t cap)
{
	const struct cred *old = t->cred;
	struct cred *c;

	if (op == PR_CAP_AMBIENT_CLEAR_ALL ? cap != 0 : cap > CAP_LAST_CAP)
		return -EINVAL;
	switch (op) {
	case PR_CAP_AMBIENT_IS_SET:
		return !!(old->cap_ambient & CAP_BIT(cap));
	case PR_CAP_AMBIENT_RAISE:
		if (!(old->cap_permitted & old->cap_inheritable & CAP_BIT(cap)) ||
		    (old->securebits & SECBIT_NO_CAP_AMBIENT_RAISE))
			return -EPERM;
		break;
	case PR_CAP_AMBIENT_LOWER:
	case PR_CAP_AMBIENT_CLEAR_ALL:
		break;
	default:
		return -EINVAL;
	}
	c = cred_dup(old);
	if (!c)
		return -ENOMEM;
	if (op == PR_CAP_AMBIENT_RAISE)
		c->cap_ambient |= CAP_BIT(cap);
	else if (op == PR_CAP_AMBIENT_LOWER)
		c->cap_ambient &= ~CAP_BIT(cap);
	else
		c->cap_ambient = 0;
	task_set_cred(t, c);
	return 0;
}

static long set_name(struct task *t, uaddr_t uname)
{
	char name[TASK_COMM_LEN] = {0};
	ssize_t n = strncpy_from_user(name, uname, sizeof(name) - 1);

	if (n < 0 && n != -ENAMETOOLONG)
		return n;
	name[sizeof(name) - 1] = 0;
	mutex_lock(&t->group->lock);
	memset(t->comm, 0, sizeof(t->comm));
	memcpy(t->comm, name, strnlen(name, sizeof(name) - 1));
	mutex_unlock(&t->group->lock);
	return 0;
}

static long set_pdeathsig(struct task *t, uint64_t sig)
{
	if (sig > GUEST_NSIG)
		return -EINVAL;
	t->pdeath_signal = sig;
	return 0;
}

static long set_dumpable(struct task *t, uint64_t v)
{
	if (v > 1)
		return -EINVAL;
	t->mm->dumpable = v;
	return 0;
}

static long set_subreaper(struct task *t, bool on)
{
	WRITE_GUARD(&kernel.tasklist_lock);

	t->group->is_child_subreaper = on;
	return 0;
}

static long set_no_new_privs(struct task *t, const uint64_t a[4])
{
	if (a[0] != 1 || a[1] || a[2] || a[3])
		return -EINVAL;
	t->no_new_privs = true;
	return 0;
}

/* Of PR_SET_MM's fields only those that move what /proc shows. */
static long set_mm(struct task *t, uint64_t field, uint64_t addr)
{
	if (!capable(CAP_SYS_RESOURCE))
		return -EPERM;
	if (addr >= GUEST_TASK_SIZE)
		return -EINVAL;
	COMMAND_GUARD(&t->mm->lock);
	switch (field) {
	case PR_SET_MM_ARG_START:
		t->mm->arg_start = addr;
		return 0;
	case PR_SET_MM_ARG_END:
		t->mm->arg_end = addr;
		return 0;
	case PR_SET_MM_ENV_START:
		t->mm->env_start = addr;
		return 0;
	case PR_SET_MM_ENV_END:
		t->mm->env_end = addr;
		return 0;
	}
	return -EINVAL;
}

static long prctl_get(struct task *t, int op, const uint64_t a[4])
{
	switch (op) {
	case PR_GET_PDEATHSIG:
		return put_user(a[0], (int32_t)t->pdeath_signal);
	case PR_GET_DUMPABLE:
		return t->mm->dumpable;
	case PR_GET_KEEPCAPS:
		return !!(t->cred->securebits & SECBIT_KEEP_CAPS);
	case PR_GET_NAME:
		return copy_to_user(a[0], t->comm, sizeof(t->comm));
	case PR_GET_SECCOMP:
		return seccomp_mode(t);
	case PR_CAPBSET_READ:
		return a[0] > CAP_LAST_CAP ? -EINVAL : !!(t->cred->cap_bset & CAP_BIT(a[0]));
	case PR_GET_TSC:
		return put_user(a[0], (int32_t)PR_TSC_ENABLE);
	case PR_GET_SECUREBITS:
		return t->cred->securebits;
	case PR_GET_TIMERSLACK:
		return t->timer_slack;
	case PR_GET_TIMING:
		return PR_TIMING_STATISTICAL;
	case PR_GET_CHILD_SUBREAPER:
		return put_user(a[0], (int32_t)t->group->is_child_subreaper);
	case PR_GET_NO_NEW_PRIVS:
		return a[0] || a[1] || a[2] || a[3] ? -EINVAL : t->no_new_privs;
	case PR_GET_TID_ADDRESS:
		return put_user(a[0], t->clear_child_tid);
	case PR_GET_THP_DISABLE:
		return a[0] || a[1] || a[2] || a[3] ? -EINVAL : 0;
	}
	return -EINVAL;
}

SYSCALL_DEFINE5(prctl, int, op, uint64_t, a2, uint64_t, a3, uint64_t, a4, uint64_t, a5)
{
	const uint64_t a[4] = {a2, a3, a4, a5};

	switch (op) {
	case PR_SET_PDEATHSIG:
		return set_pdeathsig(t, a2);
	case PR_SET_DUMPABLE:
		return set_dumpable(t, a2);
	case PR_SET_KEEPCAPS:
		return set_keepcaps(t, a2);
	case PR_SET_NAME:
		return set_name(t, a2);
	case PR_CAPBSET_DROP:
		return drop_bounding(t, a2);
	case PR_SET_TSC:
		return a2 == PR_TSC_ENABLE ? 0 : -EINVAL;
	case PR_SET_SECUREBITS:
		return change_securebits(t, a2);
	case PR_SET_TIMERSLACK:
		t->timer_slack = (int64_t)a2 <= 0 ? t->default_timer_slack : a2;
		return 0;
	case PR_SET_TIMING:
		return a2 == PR_TIMING_STATISTICAL ? 0 : -EINVAL;
	case PR_SET_CHILD_SUBREAPER:
		return set_subreaper(t, a2);
	case PR_SET_NO_NEW_PRIVS:
		return set_no_new_privs(t, a);
	case PR_CAP_AMBIENT:
		return a4 || a5 ? -EINVAL : change_ambient(t, a2, a3);
	case PR_SET_MM:
		return set_mm(t, a2, a3);
	case PR_SET_SECCOMP:
		if (a2 == SECCOMP_MODE_STRICT)
			return seccomp_set_strict(t);
		return a2 == SECCOMP_MODE_FILTER ? seccomp_filter_from_user(t, 0, a3) : -EINVAL;
	case PR_SET_PTRACER:
		/* Yama is not there. */
		return -EINVAL;
	}
	return prctl_get(t, op, a);
}

SYSCALL_DEFINE2(arch_prctl, int, op, uint64_t, addr)
{
	struct guest_regs *regs = platform_regs(t->ctx);

	switch (op) {
	case ARCH_SET_FS:
	case ARCH_SET_GS:
		if (addr >= GUEST_TASK_SIZE)
			return -EPERM;
		if (op == ARCH_SET_FS)
			regs->fs_base = addr;
		else
			regs->gs_base = addr;
		atomic_fetch_or(&t->flags, TF_FULL_REGS);
		return 0;
	case ARCH_GET_FS:
		return put_user(addr, regs->fs_base);
	case ARCH_GET_GS:
		return put_user(addr, regs->gs_base);
	}
	return -EINVAL;
}

SYSCALL_DEFINE1(personality, uint64_t, persona)
{
	uint64_t old = t->personality;

	if ((uint32_t)persona != 0xffffffff)
		t->personality = (uint32_t)persona;
	return old;
}
