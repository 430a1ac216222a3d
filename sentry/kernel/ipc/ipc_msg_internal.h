/* System V message queues (man 2 msgget, msgsnd, msgctl). */
#ifndef MOAT_SENTRY_KERNEL_IPC_IPC_MSG_INTERNAL_H
#define MOAT_SENTRY_KERNEL_IPC_IPC_MSG_INTERNAL_H

#include <sys/msg.h>
#include <sys/queue.h>

#include "sentry/kernel/ipc/ipc_internal.h"

struct ipc_message {
	TAILQ_ENTRY(ipc_message) link;
	long type;
	size_t size;
	char text[];
};

/* A message with room for this text, which counts against what the sandbox may have. -ENOMEM. */
int msg_alloc(size_t size, struct ipc_message **out);
void msg_discard(struct ipc_message *m); /* NULL is fine */
int msg_get(key_t key, int flags);
/* Takes over the message on success. */
int msg_send(struct task *t, int id, struct ipc_message *m, int flags);
/* The message is the caller's, to free. At most `size` bytes of text unless MSG_NOERROR. */
int msg_receive(struct task *t, int id, size_t size, long type, int flags,
		struct ipc_message **out);
int msg_set(int id, const struct msqid_ds *ds);
int msg_remove(int id);

#endif
