/* The namespaces that hold little: UTS, IPC, network (man 7 namespaces). Pid namespaces are in
 * task.h, mount namespaces in vfs/mount.h. */
#ifndef MOAT_SENTRY_KERNEL_NAMESPACES_H
#define MOAT_SENTRY_KERNEL_NAMESPACES_H

#include "base/lock.h"
#include "base/refcount.h"

#define UTS_NAME_LEN 64

struct uts_ns {
	struct refcount refs;
	unsigned long inum;
	struct mutex lock;
	char nodename[UTS_NAME_LEN + 1], domainname[UTS_NAME_LEN + 1]; /* lock */
};
/* What lives in it (SysV objects, message queues) hangs on `private`, freed by `destroy`. */
struct ipc_ns {
	struct refcount refs;
	unsigned long inum;
	struct mutex lock;
	void *sysv, *mqueue;
	void (*destroy)(struct ipc_ns *ns);
};
struct net_ns {
	struct refcount refs;
	unsigned long inum;
	struct mutex lock;
	void *stack;	    /* netstack's, or NULL */
	void *unix_sockets; /* abstract names: net/unix */
	void (*destroy)(struct net_ns *ns);
};

/* New ones have one reference; NULL: no memory. uts_ns_create copies `from` unless NULL. */
struct uts_ns *uts_ns_create(struct uts_ns *from);
struct ipc_ns *ipc_ns_create(void);
struct net_ns *net_ns_create(void);
struct uts_ns *uts_ns_get(struct uts_ns *ns);
struct ipc_ns *ipc_ns_get(struct ipc_ns *ns);
struct net_ns *net_ns_get(struct net_ns *ns);
void uts_ns_put(struct uts_ns *ns);
void ipc_ns_put(struct ipc_ns *ns);
void net_ns_put(struct net_ns *ns);
/* Inode numbers for /proc/PID/ns. */
unsigned long ns_next_inum(void);

#endif
