/* reboot(2) inside a container: it ends the pid namespace, as Linux does for all but the first. */
#include <linux/reboot.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"

static bool valid_magic(unsigned magic1, unsigned magic2)
{
	return magic1 == LINUX_REBOOT_MAGIC1 &&
	       (magic2 == LINUX_REBOOT_MAGIC2 || magic2 == LINUX_REBOOT_MAGIC2A ||
		magic2 == LINUX_REBOOT_MAGIC2B || magic2 == LINUX_REBOOT_MAGIC2C);
}

SYSCALL_DEFINE4(reboot, unsigned, magic1, unsigned, magic2, unsigned, cmd, uaddr_t, arg)
{
	struct pid_ns *ns = task_pid_ns(t);
	int status;

	if (!ns_capable(ns->user_ns, CAP_SYS_BOOT))
		return -EPERM;
	if (!valid_magic(magic1, magic2))
		return -EINVAL;
	switch (cmd) {
	case LINUX_REBOOT_CMD_RESTART:
	case LINUX_REBOOT_CMD_RESTART2:
		status = SIGHUP;
		break;
	case LINUX_REBOOT_CMD_HALT:
	case LINUX_REBOOT_CMD_POWER_OFF:
		status = SIGINT;
		break;
	default:
		return -EINVAL;
	}
	/* What init's parent sees tells a restart from a halt (man 2 reboot). */
	read_lock(&kernel.tasklist_lock);
	if (ns->init)
		group_kill(ns->init, status);
	read_unlock(&kernel.tasklist_lock);
	return 0;
}
