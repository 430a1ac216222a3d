/* System V message queues: arguments; the work is in kernel/ipc/ipc_msg.c. */
#include <errno.h>
#include <stdlib.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/ipc/ipc_msg_internal.h"
#include "sentry/uaccess/uaccess.h"

SYSCALL_DEFINE2(msgget, key_t, key, int, flags)
{
	return msg_get(key, flags);
}

SYSCALL_DEFINE4(msgsnd, int, id, uaddr_t, umsg, size_t, size, int, flags)
{
	struct ipc_message *m;
	int ret;

	if (size > ipc_limit_get(IPC_MSGMAX) || id < 0)
		return -EINVAL;
	ret = msg_alloc(size, &m);
	if (ret)
		return ret;
	if (get_user(&m->type, umsg) || copy_from_user(m->text, umsg + sizeof(long), size))
		ret = -EFAULT;
	else if (m->type < 1)
		ret = -EINVAL;
	if (!ret)
		ret = msg_send(t, id, m, flags);
	if (ret)
		msg_discard(m);
	return ret;
}

SYSCALL_DEFINE5(msgrcv, int, id, uaddr_t, umsg, size_t, size, long, type, int, flags)
{
	struct ipc_message *m = NULL;
	size_t n;
	int ret;

	if (id < 0 || (ssize_t)size < 0)
		return -EINVAL;
	if (flags & MSG_COPY)
		return -ENOSYS;
	ret = msg_receive(t, id, size, type, flags, &m);
	if (ret)
		return ret;
	n = MIN(size, m->size);
	ret = put_user(umsg, m->type) || copy_to_user(umsg + sizeof(long), m->text, n) ? -EFAULT
										       : (int)n;
	msg_discard(m);
	return ret;
}

static long put_info(int cmd, uaddr_t ubuf)
{
	struct msginfo info = {
		.msgpool = (int)(ipc_limit_get(IPC_MSGMNI) * ipc_limit_get(IPC_MSGMNB) / 1024),
		.msgmap = (int)ipc_limit_get(IPC_MSGMNB),
		.msgmax = (int)ipc_limit_get(IPC_MSGMAX),
		.msgmnb = (int)ipc_limit_get(IPC_MSGMNB),
		.msgmni = (int)ipc_limit_get(IPC_MSGMNI),
		.msgssz = 16,
		.msgtql = (int)ipc_limit_get(IPC_MSGMNB),
		.msgseg = 0xffff,
	};
	int used, max = ipc_max_index(IPC_MSG, &used);

	/* What there is: queues, messages, bytes. */
	if (cmd == MSG_INFO) {
		info.msgpool = used;
		info.msgmap = info.msgtql = 0;
		for (int i = 0; i <= max; i++) {
			struct msqid_ds ds;

			if (msg_stat(i, MSG_STAT_ANY, &ds) < 0)
				continue;
			info.msgmap += (int)ds.msg_qnum;
			info.msgtql += (int)ds.__msg_cbytes;
		}
	}
	return put_user(ubuf, info) ? -EFAULT : max;
}

SYSCALL_DEFINE3(msgctl, int, id, int, cmd, uaddr_t, ubuf)
{
	struct msqid_ds ds;
	long ret;

	if (id < 0 || cmd < 0)
		return -EINVAL;
	switch (cmd) {
	case IPC_INFO:
	case MSG_INFO:
		return put_info(cmd, ubuf);
	case IPC_STAT:
	case MSG_STAT:
	case MSG_STAT_ANY:
		ret = msg_stat(id, cmd, &ds);
		return ret >= 0 && put_user(ubuf, ds) ? -EFAULT : ret;
	case IPC_SET:
		return get_user(&ds, ubuf) ? -EFAULT : msg_set(id, &ds);
	case IPC_RMID:
		return msg_remove(id);
	default:
		return -EINVAL;
	}
}
