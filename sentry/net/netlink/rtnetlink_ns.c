/* Other network namespaces in rtnetlink: where links go, and the numbers that namespaces have. */
#include <errno.h>
#include <linux/net_namespace.h>
#include <sched.h>
#include <stdlib.h>

#include "sentry/kernel/task/task.h"
#include "sentry/net/inet/show.h"
#include "sentry/net/netlink/rtnetlink_internal.h"
#include "sentry/vfs/file.h"

static int of_process(pid_t pid, struct net_ns **out)
{
	struct task *t = task_find(pid);

	if (!t)
		return -ESRCH;
	mutex_lock(&t->group->lock);
	if (t->net_ns)
		*out = net_ns_get(t->net_ns);
	mutex_unlock(&t->group->lock);
	task_put(t);
	return *out ? 0 : -ESRCH;
}

static int of_descriptor(int fd, struct net_ns **out)
{
	struct file *__put_file file = fd_get(fd);
	unsigned type = 0;
	void *ns = NULL;

	if (!file)
		return -EBADF;
	if (file->ops->namespace)
		file->ops->namespace(file, &type, &ns);
	if (type != CLONE_NEWNET || !ns)
		return -EINVAL;
	*out = net_ns_get(ns);
	return 0;
}

int rt_namespace(const struct rtattr *pid, const struct rtattr *fd, struct net_ns **out)
{
	const struct rtattr *a = pid ? pid : fd;

	*out = NULL;
	if (!a)
		return 0;
	if (rt_size(a) < sizeof(uint32_t))
		return -EINVAL;
	return pid ? of_process((pid_t)rt_u32(pid, 0), out)
		   : of_descriptor((int)rt_u32(fd, 0), out);
}

int rt_target(const struct rt_attrs *attrs, struct net_ns **out, struct netstack **stack)
{
	int ret;

	*out = NULL;
	/* By a number that the caller's namespace has for it, which nobody does who can help it. */
	if (attrs->at[IFLA_TARGET_NETNSID])
		return -EOPNOTSUPP;
	ret = rt_namespace(attrs->at[IFLA_NET_NS_PID], attrs->at[IFLA_NET_NS_FD], out);
	if (ret || !*out)
		return ret;
	ret = ns_capable((*out)->user_ns, CAP_NET_ADMIN) ? inet_stack_of(*out, stack) : -EPERM;
	if (ret) {
		net_ns_put(*out);
		*out = NULL;
	}
	return ret;
}

/* --- numbers ---------------------------------------------------------------------------------- */

static void put_nsid(const struct rt_request *r, uint16_t flags, int id)
{
	struct rtgenmsg gen = {.rtgen_family = AF_UNSPEC};

	nl_begin(r->out, RTM_NEWNSID, flags, r->hdr->nlmsg_seq, r->portid);
	nl_put(r->out, &gen, sizeof(gen));
	nl_attr(r->out, NETNSA_NSID, &id, sizeof(id));
	nl_end(r->out);
}

/* The namespace that a request is about. -EINVAL: it names none. */
static int subject(const struct rt_attrs *attrs, struct net_ns **out)
{
	int ret = rt_namespace(attrs->at[NETNSA_PID], attrs->at[NETNSA_FD], out);

	return ret ? ret : *out ? 0 : -EINVAL;
}

int rt_new_nsid(const struct rt_request *r)
{
	struct rt_attrs attrs;
	struct netstack *s;
	struct rtgenmsg gen;
	struct net_ns *ns;
	int ret;

	ret = rt_head(r, &gen, sizeof(gen), &attrs);
	if (ret)
		return ret;
	if (!attrs.at[NETNSA_NSID] || rt_size(attrs.at[NETNSA_NSID]) < sizeof(int))
		return -EINVAL;
	ret = subject(&attrs, &ns);
	if (ret)
		return ret;
	/* The number goes with the stack: so there has to be one. */
	ret = inet_stack_of(ns, &s);
	if (!ret)
		ret = inet_nsid_set(r->stack, ns->inum,
				    MAX((int)rt_u32(attrs.at[NETNSA_NSID], 0), NSID_NONE));
	net_ns_put(ns);
	return ret;
}

static int dump_nsids(const struct rt_request *r)
{
	size_t n;
	int *ids;
	int ret = inet_nsids_list(r->stack, &ids, &n);

	if (ret)
		return ret;
	for (size_t i = 0; i < n; i++)
		put_nsid(r, NLM_F_MULTI, ids[i]);
	free(ids);
	return 0;
}

/* Is it anybody's number? */
static int check_nsid(const struct rt_request *r, int id)
{
	bool found = false;
	size_t n;
	int *ids;
	int ret = inet_nsids_list(r->stack, &ids, &n);

	if (ret)
		return ret;
	for (size_t i = 0; i < n; i++)
		found = found || ids[i] == id;
	free(ids);
	return found ? 0 : -ENOENT;
}

int rt_get_nsid(const struct rt_request *r)
{
	struct rt_attrs attrs;
	struct rtgenmsg gen;
	struct net_ns *ns;
	int ret, id;

	ret = rt_head(r, &gen, sizeof(gen), &attrs);
	if (ret)
		return ret;
	/* The numbers of another namespace. */
	if (attrs.at[NETNSA_TARGET_NSID])
		return -EOPNOTSUPP;
	if (r->dump)
		return dump_nsids(r);
	if (attrs.at[NETNSA_NSID] && !attrs.at[NETNSA_PID] && !attrs.at[NETNSA_FD]) {
		id = (int)rt_u32(attrs.at[NETNSA_NSID], (uint32_t)NSID_NONE);
		ret = check_nsid(r, id);
	} else {
		ret = subject(&attrs, &ns);
		if (ret)
			return ret;
		id = inet_nsid(r->stack, ns->inum, false);
		net_ns_put(ns);
	}
	if (!ret)
		put_nsid(r, 0, id);
	return ret;
}
