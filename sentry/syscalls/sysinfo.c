/* What the system is: uname, sysinfo, host name, the kernel's log. */
#include <errno.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "base/clock.h"
#include "sentry/kernel/namespaces.h"
#include "sentry/kernel/version.h"
#include "sentry/syscalls/syscall.h"

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

	if (!capable(CAP_SYS_ADMIN))
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
	struct sysinfo host, si = {.mem_unit = 1};

	si.uptime = (monotonic_ns() - kernel.boot_mono_ns) / NSEC_PER_SEC + 1;
	si.totalram = kernel.total_memory;
	si.freeram = si.totalram;
	if (!sysinfo(&host)) {
		uint64_t free = (uint64_t)host.freeram * host.mem_unit;

		si.freeram = MIN(free, si.totalram);
		memcpy(si.loads, host.loads, sizeof(si.loads));
	}
	read_lock(&kernel.tasklist_lock);
	si.procs = (unsigned short)MIN(kernel.num_tasks, 65535);
	read_unlock(&kernel.tasklist_lock);
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
