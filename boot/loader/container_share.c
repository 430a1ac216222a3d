/* Which namespaces a container has of others in its sandbox. */
#include <errno.h>
#include <string.h>

#include "boot/loader/loader_internal.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/vfs/mount.h"

/* One of c's; loader->lock held. */
static void take(const struct container *c, enum spec_ns kind, struct container_ns *out)
{
	switch (kind) {
	case SPEC_NS_PID:
		out->pid = pid_ns_get(c->ns.pid);
		break;
	case SPEC_NS_IPC:
		out->ipc = ipc_ns_get(c->ns.ipc);
		break;
	case SPEC_NS_UTS:
		out->uts = uts_ns_get(c->ns.uts);
		break;
	case SPEC_NS_NET:
		out->net = net_ns_get(c->ns.net);
		break;
	case SPEC_NS_KINDS:
		break;
	}
}

static int take_from(struct loader *l, const char *id, enum spec_ns kind, struct container_ns *out,
		     struct control_error *err)
{
	struct container *c = container_find(l, id, err);
	bool lives;

	if (!c)
		return -err->number;
	mutex_lock(&l->lock);
	/* What is out of the list has no namespaces any more. */
	lives = !c->gone && c->state != CONTAINER_STOPPED;
	if (lives)
		take(c, kind, out);
	mutex_unlock(&l->lock);
	container_put(c);
	return lives ? 0
		     : control_fail(err, ESRCH, "the %s namespace of container '%s': it has ended",
				    spec_ns_name(kind), id);
}

int container_share_ns(struct container *c, const struct container_spec *spec,
		       struct container_ns *out, struct control_error *err)
{
	struct loader *l = c->loader;
	int ret = 0;

	/* The root container shares with nobody, at a reset neither. */
	if (!l->root || c == l->root)
		return 0;
	if (!spec->joins) {
		mutex_lock(&l->lock);
		take(l->root, SPEC_NS_IPC, out);
		take(l->root, SPEC_NS_UTS, out);
		take(l->root, SPEC_NS_NET, out);
		if (spec->share_pids)
			take(l->root, SPEC_NS_PID, out);
		mutex_unlock(&l->lock);
		return 0;
	}
	for (unsigned i = 0; i < SPEC_NS_KINDS && !ret; i++)
		if (spec->ns_of[i])
			ret = take_from(l, spec->ns_of[i], (enum spec_ns)i, out, err);
	if (ret)
		container_ns_put(out);
	return ret;
}
