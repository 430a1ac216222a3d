/* capget, capset (man 2 capget, man 7 capabilities). */
#include <linux/capability.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"

struct cap_words {
	uint32_t effective, permitted, inheritable;
};

/* Reads the header; writes the version that this kernel likes when it is unknown. The number of
 * 32-bit words, or -errno. */
static int read_header(uaddr_t uheader, int32_t *pid)
{
	struct {
		uint32_t version;
		int32_t pid;
	} header;

	if (copy_from_user(&header, uheader, sizeof(header)))
		return -EFAULT;
	*pid = header.pid;
	switch (header.version) {
	case _LINUX_CAPABILITY_VERSION_1:
		return 1;
	case _LINUX_CAPABILITY_VERSION_2:
	case _LINUX_CAPABILITY_VERSION_3:
		return 2;
	}
	if (put_user(uheader, (uint32_t)_LINUX_CAPABILITY_VERSION_3))
		return -EFAULT;
	return -EINVAL;
}

SYSCALL_DEFINE2(capget, uaddr_t, uheader, uaddr_t, udata)
{
	struct cap_words words[2] = {0};
	struct task *target;
	struct cred *c;
	int32_t pid;
	int n = read_header(uheader, &pid);

	/* Asking for the version only. */
	if (n == -EINVAL && !udata)
		return 0;
	if (n < 0)
		return n;
	if (pid < 0)
		return -EINVAL;
	target = pid ? task_find(pid) : task_get(t);
	if (!target)
		return -ESRCH;
	c = task_cred_get(target);
	task_put(target);
	for (int i = 0; i < 2; i++) {
		words[i].effective = c->cap_effective >> (32 * i);
		words[i].permitted = c->cap_permitted >> (32 * i);
		words[i].inheritable = c->cap_inheritable >> (32 * i);
	}
	cred_put(c);
	return copy_to_user(udata, words, n * sizeof(words[0]));
}

static uint64_t join(uint32_t low, uint32_t high)
{
	return (low | (uint64_t)high << 32) & CAP_FULL_MASK;
}

SYSCALL_DEFINE2(capset, uaddr_t, uheader, uaddr_t, udata)
{
	const struct cred *old = t->cred;
	uint64_t effective, permitted, inheritable;
	struct cap_words words[2] = {0};
	struct cred *c;
	int32_t pid;
	int n = read_header(uheader, &pid);

	if (n < 0)
		return n;
	if (pid != 0 && pid != task_tid(t))
		return -EPERM;
	if (copy_from_user(words, udata, n * sizeof(words[0])))
		return -EFAULT;
	effective = join(words[0].effective, words[1].effective);
	permitted = join(words[0].permitted, words[1].permitted);
	inheritable = join(words[0].inheritable, words[1].inheritable);
	if (permitted & ~old->cap_permitted)
		return -EPERM;
	if (effective & ~permitted)
		return -EPERM;
	if (!cred_capable(old, CAP_SETPCAP) &&
	    (inheritable & ~(old->cap_inheritable | old->cap_permitted)))
		return -EPERM;
	if (inheritable & ~(old->cap_inheritable | old->cap_bset))
		return -EPERM;
	c = cred_dup(old);
	if (!c)
		return -ENOMEM;
	c->cap_effective = effective;
	c->cap_permitted = permitted;
	c->cap_inheritable = inheritable;
	c->cap_ambient &= permitted & inheritable;
	task_set_cred(t, c);
	return 0;
}
