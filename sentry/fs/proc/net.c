/*
 * /proc/PID/net: the tables of the process's network namespace. What a stack without such sockets
 * or devices cannot have is empty, as it would be in a fresh namespace of Linux.
 */
#include <netinet/in.h>

#include "sentry/fs/proc/proc_internal.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/net/inet/show.h"
#include "sentry/net/unix/show.h"

static int show_unix(struct text *out, struct inode *inode)
{
	unix_registry_show(out);
	return 0;
}

/* Runs `show` on the stack of the inode's process; a zombie's files are empty. */
static int with_stack(struct text *out, struct inode *inode,
		      void (*show)(struct text *, struct netstack *, const struct pseudo_node *))
{
	struct task *__put_task t = proc_task_get(inode);
	struct net_ns *ns;
	struct netstack *s;
	int ret;

	if (!t)
		return -ESRCH;
	mutex_lock(&t->group->lock);
	ns = t->net_ns ? net_ns_get(t->net_ns) : NULL;
	mutex_unlock(&t->group->lock);
	if (!ns)
		return 0;
	ret = inet_stack_of(ns, &s);
	if (!ret)
		show(out, s, pseudo(inode)->node);
	net_ns_put(ns);
	return ret;
}

#define V6 0x100 /* in node->arg, besides the protocol */

static void sockets(struct text *out, struct netstack *s, const struct pseudo_node *node)
{
	inet_show_sockets(out, s, node->arg & V6 ? AF_INET6 : AF_INET, (int)node->arg & ~V6);
}

static int show_sockets(struct text *out, struct inode *inode)
{
	return with_stack(out, inode, sockets);
}

/* The other tables: one function each. */
typedef void (*table_fn)(struct text *out, struct netstack *s);
static const table_fn tables[] = {
	inet_show_devices,    inet_show_routes, inet_show_routes6,
	inet_show_addresses6, inet_show_arp,	inet_show_sockstat,
};
enum { DEVICES, ROUTES, ROUTES6, ADDRESSES6, ARP, SOCKSTAT };

static void table(struct text *out, struct netstack *s, const struct pseudo_node *node)
{
	tables[node->arg](out, s);
}

static int show_table(struct text *out, struct inode *inode)
{
	return with_stack(out, inode, table);
}

#define SOCKETS(NAME, ARG)                                                                         \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0444, .show = show_sockets, .arg = (ARG)         \
	}
#define TABLE(NAME, ARG)                                                                           \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0444, .show = show_table, .arg = (ARG)           \
	}
#define FIXED(NAME, CONTENT)                                                                       \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0444, .content = (CONTENT)                       \
	}

const struct pseudo_node proc_net_nodes[] = {
	TABLE("dev", DEVICES),
	SOCKETS("tcp", IPPROTO_TCP),
	SOCKETS("udp", IPPROTO_UDP),
	SOCKETS("raw", IPPROTO_RAW),
	SOCKETS("tcp6", IPPROTO_TCP | V6),
	SOCKETS("udp6", IPPROTO_UDP | V6),
	SOCKETS("raw6", IPPROTO_RAW | V6),
	SOCKETS("udplite", IPPROTO_UDPLITE),
	{.name = "unix", .mode = S_IFREG | 0444, .show = show_unix},
	FIXED("packet", "sk       RefCnt Type Proto  Iface R Rmem   User   Inode\n"),
	FIXED("netlink",
	      "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    "
	      "Drops    Inode\n"),
	TABLE("route", ROUTES),
	TABLE("arp", ARP),
	TABLE("if_inet6", ADDRESSES6),
	TABLE("ipv6_route", ROUTES6),
	FIXED("dev_mcast", ""),
	FIXED("igmp", "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"),
	FIXED("protocols",
	      "protocol  size sockets  memory press maxhdr  slab module     cl co di ac "
	      "io in de sh ss gs se re sp bi br ha uh gp em\n"),
	TABLE("sockstat", SOCKSTAT),
	{0},
};
