/*
 * One host file that two mounts have (/dev/shm of containers that share IPC) is two inodes, and one
 * futex: what identifies it there, the inode's sequence number, is the same in both from the first
 * shared mapping on.
 */
#include <errno.h>
#include <stdlib.h>

#include "sentry/fs/host/host_internal.h"

#define BUCKETS 256

struct host_identity {
	LIST_ENTRY(host_identity) link;
	unsigned refs; /* objects; with `lock` */
	uint64_t dev, ino;
	int64_t btime;
	uint64_t sequence;
};

static struct mutex lock = MUTEX_INIT;
static LIST_HEAD(, host_identity) buckets[BUCKETS];

static struct host_identity *find(const struct host_object *o)
{
	struct host_identity *id;

	LIST_FOREACH (id, &buckets[o->ino % BUCKETS], link)
		if (id->ino == o->ino && id->dev == o->dev && id->btime == o->btime)
			return id;
	return NULL;
}

int host_identity_take(struct host_object *o)
{
	struct host_identity *id;
	uint64_t none = 0;
	MUTEX_GUARD(&lock);

	if (o->identity)
		return 0;
	id = find(o);
	if (!id) {
		id = calloc(1, sizeof(*id));
		if (!id)
			return -ENOMEM;
		id->dev = o->dev;
		id->ino = o->ino;
		id->btime = o->btime;
		id->sequence = inode_sequence(o->inode);
		LIST_INSERT_HEAD(&buckets[o->ino % BUCKETS], id, link);
	}
	id->refs++;
	o->identity = id;
	atomic_compare_exchange_strong(&o->inode->sequence, &none, id->sequence);
	return 0;
}

void host_identity_drop(struct host_object *o)
{
	struct host_identity *id = o->identity;

	/* Nobody else has the object any more. */
	if (!id)
		return;
	mutex_lock(&lock);
	if (!--id->refs) {
		LIST_REMOVE(id, link);
		free(id);
	}
	mutex_unlock(&lock);
}
