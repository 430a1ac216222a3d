/* The namespaces that hold little: UTS, IPC, network, cgroup (man 7 namespaces). Pid namespaces are
 * in task.h, mount namespaces in vfs/mount.h, user namespaces in kernel/core/user_ns.h. Each counts
 * a reference on the user namespace that owns it. */
#ifndef MOAT_SENTRY_KERNEL_NS_NAMESPACES_H
#define MOAT_SENTRY_KERNEL_NS_NAMESPACES_H

#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/kernel/core/user_ns.h"

#define UTS_NAME_LEN 64

struct uts_ns {
	struct refcount refs;
	unsigned long inum;
	struct user_ns *user_ns;
	struct mutex lock;
	char nodename[UTS_NAME_LEN + 1], domainname[UTS_NAME_LEN + 1]; /* lock */
};
/* What lives in it (SysV objects, message queues) hangs on `private`, freed by `destroy`. */
struct ipc_ns {
	struct refcount refs;
	unsigned long inum;
	struct user_ns *user_ns;
	struct mutex lock;
	void *_Atomic sysv; /* read without lock: once set it stays */
	void *mqueue;
	void (*destroy)(struct ipc_ns *ns);
};
struct net_ns {
	struct refcount refs;
	unsigned long inum;
	struct user_ns *user_ns;
	struct mutex lock;
	bool lo_up;	    /* a container's: it begins with a loopback link that is up */
	void *stack;	    /* netstack's, or NULL */
	void *unix_sockets; /* abstract names: net/unix */
	void (*destroy)(struct net_ns *ns);
};
/* Every process of a container is in its root group, so the namespace's root is always that, and
 * there is nothing to translate. */
struct cgroup_ns {
	struct refcount refs;
	unsigned long inum;
	struct user_ns *user_ns;
};

/* New ones have one reference; NULL: no memory, or too many in the sandbox. uts_ns_create copies
 * `from` unless NULL. */
struct uts_ns *uts_ns_create(struct user_ns *owner, struct uts_ns *from);
struct ipc_ns *ipc_ns_create(struct user_ns *owner);
struct net_ns *net_ns_create(struct user_ns *owner);
struct cgroup_ns *cgroup_ns_create(struct user_ns *owner);
struct uts_ns *uts_ns_get(struct uts_ns *ns);
struct ipc_ns *ipc_ns_get(struct ipc_ns *ns);
struct net_ns *net_ns_get(struct net_ns *ns);
struct cgroup_ns *cgroup_ns_get(struct cgroup_ns *ns);
void cgroup_ns_put(struct cgroup_ns *ns);
void uts_ns_put(struct uts_ns *ns);
void ipc_ns_put(struct ipc_ns *ns);
void net_ns_put(struct net_ns *ns);

#endif
