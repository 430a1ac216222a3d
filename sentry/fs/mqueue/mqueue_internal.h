/* POSIX message queues: see README.md. */
#ifndef MOAT_SENTRY_FS_MQUEUE_H
#define MOAT_SENTRY_FS_MQUEUE_H

#include <signal.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/kernel/core/wait.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/vfs.h"

struct ipc_ns;
struct thread_group;

#define MQ_DEFAULT_MSGS 10
#define MQ_DEFAULT_SIZE 8192
#define MQ_HARD_MSGS 65536
#define MQ_HARD_SIZE (16 << 20)
#define MQ_MAX_QUEUES 256
#define MQ_MAX_PRIO 32768
#define MQ_MAX_TOTAL (64UL << 20) /* bytes that all queues of a namespace may promise to hold */

/* What a queue is made with; <mqueue.h> cannot be included: its functions have our names. */
struct mq_attr {
	long mq_maxmsg, mq_msgsize;
};

struct mq_message {
	TAILQ_ENTRY(mq_message) link;
	uint32_t prio;
	size_t len;
	char data[];
};

struct mq {
	struct refcount refs;
	TAILQ_ENTRY(mq) ns_link;
	struct mq_ns *ns;    /* NULL once unlinked; mq_ns->lock */
	uint64_t charged;    /* bytes, against MQ_MAX_TOTAL */
	struct inode *inode; /* counted while it has a name */
	char name[NAME_MAX_LEN + 1];

	struct mutex lock;
	long max_msgs, max_size;
	TAILQ_HEAD(mq_message_list, mq_message) messages; /* highest priority first, then oldest */
	long count;
	size_t bytes;
	int receivers; /* blocked in mq_timedreceive */
	struct wait_queue wait;
	/* mq_notify: who wants to be told, or NULL */
	struct thread_group *notify_group; /* counted */
	struct user_ns *notify_user_ns;	   /* counted, with notify_group: whose names it is told */
	int notify_kind, notify_sig;
	union sigval notify_value;
};

struct mq_ns {
	struct mutex lock;
	TAILQ_HEAD(, mq) queues;
	int count;
	_Atomic uint64_t total; /* what existing queues have charged, unlinked ones too */
	struct refcount refs;	/* of the namespace, and of each queue */
	void (*next_destroy)(struct ipc_ns *ns);
};

/* The current task's; made at first use. NULL: no memory. */
struct mq_ns *mq_ns_current(void);
void mq_ns_put(struct mq_ns *ns);

/* A queue that is not in the namespace yet; attr NULL: the defaults. -EINVAL, -EMFILE
 * (RLIMIT_MSGQUEUE), -ENOSPC (too many), -ENOMEM. */
int mq_create(struct mq_ns *ns, const struct mq_attr *attr, struct mq **out);
struct mq *mq_get(struct mq *mq);
void mq_put(struct mq *mq);

/* -EAGAIN: full / empty. */
int mq_send(struct mq *mq, struct mq_message *msg);
int mq_receive(struct mq *mq, struct mq_message **msg);
bool mq_has_room(struct mq *mq);
bool mq_has_message(struct mq *mq);
/* Drops the registration of g, if it has one. */
void mq_unnotify(struct mq *mq, struct thread_group *g);

/* mqueue_fs.c */
extern const struct file_operations mq_fops;
/* The root of the file system, on a mount of the kernel's own; referenced. */
int mq_root(struct path *out);
/* A new queue under this name; -EEXIST. */
int mq_create_at(const struct path *root, const char *name, mode_t mode,
		 const struct mq_attr *attr);

#endif
