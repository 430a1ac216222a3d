#include "sentry/kernel/ns/namespaces.h"

#include <string.h>

struct uts_ns *uts_ns_create(struct user_ns *owner, struct uts_ns *from)
{
	struct uts_ns *ns = calloc(1, sizeof(*ns));

	if (!ns)
		return NULL;
	ns->user_ns = user_ns_own(owner);
	if (!ns->user_ns) {
		free(ns);
		return NULL;
	}
	refcount_init(&ns->refs);
	mutex_init(&ns->lock);
	ns->inum = ns_next_inum();
	if (from) {
		MUTEX_GUARD(&from->lock);
		memcpy(ns->nodename, from->nodename, sizeof(ns->nodename));
		memcpy(ns->domainname, from->domainname, sizeof(ns->domainname));
	}
	return ns;
}

struct ipc_ns *ipc_ns_create(struct user_ns *owner)
{
	struct ipc_ns *ns = calloc(1, sizeof(*ns));

	if (!ns)
		return NULL;
	ns->user_ns = user_ns_own(owner);
	if (!ns->user_ns) {
		free(ns);
		return NULL;
	}
	refcount_init(&ns->refs);
	mutex_init(&ns->lock);
	ns->inum = ns_next_inum();
	return ns;
}

/* A stack is some 120 KiB. */
#define NET_NS_MAX 2048
static _Atomic unsigned net_ns_count;

struct net_ns *net_ns_create(struct user_ns *owner)
{
	struct net_ns *ns = calloc(1, sizeof(*ns));

	if (!ns)
		return NULL;
	if (atomic_fetch_add(&net_ns_count, 1) < NET_NS_MAX)
		ns->user_ns = user_ns_own(owner);
	if (!ns->user_ns) {
		atomic_fetch_sub(&net_ns_count, 1);
		free(ns);
		return NULL;
	}
	refcount_init(&ns->refs);
	mutex_init(&ns->lock);
	ns->inum = ns_next_inum();
	return ns;
}

struct cgroup_ns *cgroup_ns_create(struct user_ns *owner)
{
	struct cgroup_ns *ns = calloc(1, sizeof(*ns));

	if (!ns)
		return NULL;
	ns->user_ns = user_ns_own(owner);
	if (!ns->user_ns) {
		free(ns);
		return NULL;
	}
	refcount_init(&ns->refs);
	ns->inum = ns_next_inum();
	return ns;
}

struct uts_ns *uts_ns_get(struct uts_ns *ns)
{
	refcount_inc(&ns->refs);
	return ns;
}

struct ipc_ns *ipc_ns_get(struct ipc_ns *ns)
{
	refcount_inc(&ns->refs);
	return ns;
}

struct net_ns *net_ns_get(struct net_ns *ns)
{
	refcount_inc(&ns->refs);
	return ns;
}

struct cgroup_ns *cgroup_ns_get(struct cgroup_ns *ns)
{
	refcount_inc(&ns->refs);
	return ns;
}

void cgroup_ns_put(struct cgroup_ns *ns)
{
	if (!refcount_dec(&ns->refs))
		return;
	user_ns_disown(ns->user_ns);
	free(ns);
}

void uts_ns_put(struct uts_ns *ns)
{
	if (!refcount_dec(&ns->refs))
		return;
	user_ns_disown(ns->user_ns);
	free(ns);
}

void ipc_ns_put(struct ipc_ns *ns)
{
	if (!refcount_dec(&ns->refs))
		return;
	if (ns->destroy)
		ns->destroy(ns);
	user_ns_disown(ns->user_ns);
	free(ns);
}

void net_ns_put(struct net_ns *ns)
{
	if (!refcount_dec(&ns->refs))
		return;
	if (ns->destroy)
		ns->destroy(ns);
	user_ns_disown(ns->user_ns);
	atomic_fetch_sub(&net_ns_count, 1);
	free(ns);
}
