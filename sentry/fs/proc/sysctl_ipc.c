/* /proc/sys/kernel: limits of System V objects, of the ipc namespace of whoever opens them (man 7
 * sysvipc, man 5 proc_sys_kernel). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/proc/proc_internal.h"
#include "sentry/fs/proc/sysctl_internal.h"
#include "sentry/kernel/ipc/ipc.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/kernel/task/task.h"

#define MAX_FIELDS 4

int sysctl_ipc_show(struct text *out, struct inode *inode)
{
	int64_t arg = pseudo(inode)->node->arg;

	for (int i = 0; i < arg >> 8; i++)
		text_printf(out, "%s%lu", i ? "\t" : "",
			    ipc_limit_get((enum ipc_limit)((arg & 0xff) + i)));
	text_puts(out, "\n");
	return 0;
}

/* As many numbers as there are, or fewer: the others stay. All or none of them are set. */
ssize_t sysctl_ipc_write(struct inode *inode, char *s, size_t n)
{
	int64_t arg = pseudo(inode)->node->arg;
	uint64_t old[MAX_FIELDS], value;
	int fields = (int)(arg >> 8), first = (int)(arg & 0xff), i;

	for (i = 0; i < fields; i++)
		old[i] = ipc_limit_get((enum ipc_limit)(first + i));
	for (i = 0; i < fields; i++) {
		char *end;

		s += strspn(s, " \t\n");
		if (!*s)
			break;
		errno = 0;
		value = strtoull(s, &end, 0);
		if (*s == '-' || end == s || errno || (*end && !strchr(" \t\n", *end)) ||
		    ipc_limit_set((enum ipc_limit)(first + i), value)) {
			while (i-- > 0)
				ipc_limit_set((enum ipc_limit)(first + i), old[i]);
			return -EINVAL;
		}
		s = end;
	}
	return i ? (ssize_t)n : -EINVAL;
}

/* Root of the user namespace that owns the ipc namespace counts as the files' owner. */
static int ipc_sysctl_permission(struct inode *inode, int mask)
{
	const struct user_ns *owner = current && current->ipc_ns ? current->ipc_ns->user_ns : NULL;
	uint32_t bits = inode->mode;

	if (owner && current->cred->euid == id_to_kernel(owner, ID_USER, 0))
		bits >>= 6;
	else if (owner && cred_in_group(current->cred, id_to_kernel(owner, ID_GROUP, 0)))
		bits >>= 3;
	return mask & ~bits & (MAY_READ | MAY_WRITE | MAY_EXEC) ? -EACCES : 0;
}

const struct inode_operations sysctl_ipc_iops = {
	.permission = ipc_sysctl_permission,
	.setattr = pseudo_setattr,
};
