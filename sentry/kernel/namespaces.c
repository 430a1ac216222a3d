#include "sentry/kernel/namespaces.h"

#include <string.h>

#include "sentry/kernel/task.h"

unsigned long ns_next_inum(void)
{
	/* Linux gives the initial namespaces numbers just below this. */
	static _Atomic unsigned long next = 0xf0000000UL;

	return atomic_fetch_add(&next, 1);
}

struct uts_ns *uts_ns_create(struct uts_ns *from)
{
	struct uts_ns *ns = calloc(1, sizeof(*ns));

	if (!ns)
		return NULL;
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

struct ipc_ns *ipc_ns_create(void)
{
	struct ipc_ns *ns = calloc(1, sizeof(*ns));

	if (!ns)
		return NULL;
	refcount_init(&ns->refs);
	mutex_init(&ns->lock);
	ns->inum = ns_next_inum();
	return ns;
}

struct net_ns *net_ns_create(void)
{
	struct net_ns *ns = calloc(1, sizeof(*ns));

	if (!ns)
		return NULL;
	refcount_init(&ns->refs);
	mutex_init(&ns->lock);
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

void uts_ns_put(struct uts_ns *ns)
{
	if (refcount_dec(&ns->refs))
		free(ns);
}

void ipc_ns_put(struct ipc_ns *ns)
{
	if (!refcount_dec(&ns->refs))
		return;
	if (ns->destroy)
		ns->destroy(ns);
	free(ns);
}

void net_ns_put(struct net_ns *ns)
{
	if (!refcount_dec(&ns->refs))
		return;
	if (ns->destroy)
		ns->destroy(ns);
	free(ns);
}
