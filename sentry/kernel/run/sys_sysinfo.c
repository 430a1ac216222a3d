/* What the system is: uname, sysinfo, host name, the kernel's log. */
#include <errno.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "base/clock.h"
#include "sentry/kernel/core/machine.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/kernel/run/kernel.h"
#include "sentry/kernel/run/load.h"
#include "sentry/kernel/run/version.h"
#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"

SYSCALL_DEFINE1(uname, uaddr_t, ubuf)
{
	struct utsname un = {
		.sysname = KERNEL_SYSNAME,
		.release = KERNEL_RELEASE,
		.version = KERNEL_VERSION,
		.machine = KERNEL_MACHINE,
	};

	if ((t->personality & PER_MASK) == PER_LINUX32)
		strcpy(un.machine, "i686");
	mutex_lock(&t->uts_ns->lock);
	memcpy(un.nodename, t->uts_ns->nodename, sizeof(un.nodename));
	memcpy(un.domainname, t->uts_ns->domainname, sizeof(un.domainname));
	mutex_unlock(&t->uts_ns->lock);
	return put_user(ubuf, un);
}

static int set_name(struct task *t, char *field, uaddr_t uname, int len)
{
	char name[UTS_NAME_LEN + 1] = "";

	if (!ns_capable(t->uts_ns->user_ns, CAP_SYS_ADMIN))
		return -EPERM;
	if (len < 0 || len > UTS_NAME_LEN)
		return -EINVAL;
	if (copy_from_user(name, uname, len))
		return -EFAULT;
	mutex_lock(&t->uts_ns->lock);
	memcpy(field, name, sizeof(name));
	mutex_unlock(&t->uts_ns->lock);
	return 0;
}

SYSCALL_DEFINE2(sethostname, uaddr_t, uname, int, len)
{
	return set_name(t, t->uts_ns->nodename, uname, len);
}

SYSCALL_DEFINE2(setdomainname, uaddr_t, uname, int, len)
{
	return set_name(t, t->uts_ns->domainname, uname, len);
}

SYSCALL_DEFINE1(sysinfo, uaddr_t, ubuf)
{
	struct sysinfo si = {.mem_unit = 1};
	uint64_t used = kernel_memory_used(false);
	struct load load;

	si.uptime = (monotonic_ns() - machine.boot_mono_ns) / NSEC_PER_SEC + 1;
	si.totalram = machine.total_memory;
	si.freeram = si.totalram - MIN(used, si.totalram);
	kernel_load(task_pid_ns(t), &load);
	for (int i = 0; i < 3; i++)
		si.loads[i] = (unsigned long)(load.average[i] * (1 << SI_LOAD_SHIFT));
	si.procs = (unsigned short)MIN(load.total, 65535);
	return put_user(ubuf, si);
}

/* The kernel's log is empty: what the sentry logs is for its operator only (man 2 syslog). */
SYSCALL_DEFINE3(syslog, int, type, uaddr_t, ubuf, int, len)
{
	enum { CLOSE, OPEN, READ, READ_ALL, READ_CLEAR, CLEAR, OFF, ON, LEVEL, UNREAD, SIZE };

	if (type < CLOSE || type > SIZE)
		return -EINVAL;
	if (type != READ_ALL && type != SIZE && !capable(CAP_SYSLOG) && !capable(CAP_SYS_ADMIN))
		return -EPERM;
	switch (type) {
	case READ:
		if (!ubuf || len < 0)
			return -EINVAL;
		/* Nothing will ever come. */
		return len ? wait_event_interruptible(&kernel.exit_wait, false, NO_DEADLINE) : 0;
	case READ_ALL:
	case READ_CLEAR:
		return !ubuf || len < 0 ? -EINVAL : 0;
	case LEVEL:
		return len < 1 || len > 8 ? -EINVAL : 0;
	default:
		return 0;
	}
}
