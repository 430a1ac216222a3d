/*
 * class/net and devices/virtual/net: the links of the network namespace that sysfs was mounted in.
 * pseudo_inode.number is the link's index; names are looked up anew each time, as links come, go,
 * move and are renamed.
 */
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "netstack/netstack.h"
#include "sentry/fs/sysfs/sysfs_internal.h"
#include "sentry/kernel/task/task.h"
#include "sentry/net/inet/show.h"

#define IFF_LOWER_UP_ 0x10000U

/* The mount's namespace; of the container's own, which was mounted by nobody, the caller's. */
static int stack_of(const struct inode *inode, struct netstack **s)
{
	struct net_ns *ns = inode->sb->private;

	if (!ns && !current)
		return -ENOENT;
	return inet_stack_of(ns ? ns : current->net_ns, s);
}

static bool info_of(const struct inode *inode, struct net_link_info *i)
{
	struct netstack *s;
	struct net_link *l;

	if (stack_of(inode, &s))
		return false;
	l = net_link_by_index(s, (int)pseudo(inode)->number);
	if (!l)
		return false;
	net_link_info(l, i);
	net_link_put(l);
	return true;
}

/* --- what a link's directory has -------------------------------------------------------------- */

enum {
	ADDRESS,
	BROADCAST,
	FLAGS,
	INDEX,
	PEER,
	MTU,
	STATE,
	CARRIER,
	UP,
	SPEED,
	QUEUE,
	TYPE,
	UEVENT
};

static void show_address(struct text *out, const uint8_t a[6])
{
	text_printf(out, "%02x:%02x:%02x:%02x:%02x:%02x\n", a[0], a[1], a[2], a[3], a[4], a[5]);
}

static int show_state(struct text *out, const struct net_link_info *i, int64_t what)
{
	bool up = i->flags & IFF_UP, carrier = i->flags & IFF_RUNNING;

	switch (what) {
	case STATE:
		if (!carrier)
			text_puts(out, up && !i->peer_away ? "lowerlayerdown\n" : "down\n");
		else
			text_puts(out, i->kind == NET_LINK_LOOPBACK ? "unknown\n" : "up\n");
		return 0;
	case CARRIER:
		text_puts(out, carrier ? "1\n" : "0\n");
		return up ? 0 : -EINVAL;
	case UP: /* dormant, testing: neither, if it is up at all */
		text_puts(out, "0\n");
		return up ? 0 : -EINVAL;
	default: /* what Linux says of pairs */
		text_puts(out, "10000\n");
		return up && i->kind == NET_LINK_VETH ? 0 : -EINVAL;
	}
}

static int show_attribute(struct text *out, struct inode *inode)
{
	int64_t what = pseudo(inode)->node->arg;
	struct net_link_info i;

	if (!info_of(inode, &i))
		return -ENODEV;
	switch (what) {
	case ADDRESS:
		show_address(out, i.addr);
		return 0;
	case BROADCAST:
		show_address(out, i.broadcast);
		return 0;
	case FLAGS:
		text_printf(out, "0x%x\n", i.flags & ~(IFF_RUNNING | IFF_LOWER_UP_));
		return 0;
	case INDEX:
		text_printf(out, "%d\n", i.index);
		return 0;
	case PEER:
		text_printf(out, "%d\n", i.peer ? i.peer : i.index);
		return 0;
	case MTU:
		text_printf(out, "%u\n", i.mtu);
		return 0;
	case QUEUE:
		text_printf(out, "%u\n", i.kind == NET_LINK_LOOPBACK ? 1000 : i.txqlen);
		return 0;
	case TYPE:
		text_printf(out, "%u\n", i.type);
		return 0;
	case UEVENT:
		text_printf(out, "INTERFACE=%s\nIFINDEX=%d\n", i.name, i.index);
		return 0;
	default:
		return show_state(out, &i, what);
	}
}

static int show_statistic(struct text *out, struct inode *inode)
{
	struct net_link_info i;
	uint64_t v;

	if (!info_of(inode, &i))
		return -ENODEV;
	memcpy(&v, (const char *)&i.stats + pseudo(inode)->node->arg, sizeof(v));
	text_printf(out, "%lu\n", v);
	return 0;
}

static bool has_master(struct inode *dir)
{
	struct net_link_info i;

	return info_of(dir, &i) && i.master;
}

static bool is_bridge(struct inode *dir)
{
	struct net_link_info i;

	return info_of(dir, &i) && i.kind == NET_LINK_BRIDGE;
}

static int get_master(struct inode *inode, char **target, struct path *jump)
{
	struct net_link_info i, master;
	struct net_link *l = NULL;
	struct netstack *s;

	if (info_of(inode, &i) && i.master && !stack_of(inode, &s))
		l = net_link_by_index(s, i.master);
	if (!l)
		return -ENOENT;
	net_link_info(l, &master);
	net_link_put(l);
	return asprintf(target, "../%s", master.name) < 0 ? -ENOMEM : 0;
}

#define ATTRIBUTE(NAME, ARG)                                                                       \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0444, .show = show_attribute, .arg = (ARG)       \
	}
#define FIXED(NAME, CONTENT)                                                                       \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0444, .content = (CONTENT)                       \
	}
#define STATISTIC(NAME)                                                                            \
	{                                                                                          \
		.name = #NAME, .mode = S_IFREG | 0444, .show = show_statistic,                     \
		.arg = offsetof(struct net_link_stats, NAME)                                       \
	}

static const struct pseudo_node statistics_nodes[] = {
	STATISTIC(rx_bytes),   STATISTIC(tx_bytes),
	STATISTIC(rx_packets), STATISTIC(tx_packets),
	STATISTIC(rx_errors),  STATISTIC(tx_errors),
	STATISTIC(rx_dropped), STATISTIC(tx_dropped),
	STATISTIC(multicast),  {0},
};
static const struct pseudo_node bridge_nodes[] = {FIXED("stp_state", "0\n"), {0}};
static const struct pseudo_node link_nodes[] = {
	ATTRIBUTE("address", ADDRESS),
	ATTRIBUTE("broadcast", BROADCAST),
	FIXED("addr_len", "6\n"),
	ATTRIBUTE("flags", FLAGS),
	ATTRIBUTE("ifindex", INDEX),
	ATTRIBUTE("iflink", PEER),
	ATTRIBUTE("mtu", MTU),
	ATTRIBUTE("operstate", STATE),
	ATTRIBUTE("carrier", CARRIER),
	ATTRIBUTE("dormant", UP),
	ATTRIBUTE("testing", UP),
	ATTRIBUTE("speed", SPEED),
	ATTRIBUTE("tx_queue_len", QUEUE),
	ATTRIBUTE("type", TYPE),
	ATTRIBUTE("uevent", UEVENT),
	FIXED("dev_id", "0x0\n"),
	FIXED("dev_port", "0\n"),
	FIXED("ifalias", ""),
	FIXED("link_mode", "0\n"),
	FIXED("netdev_group", "0\n"),
	{.name = "statistics", .mode = S_IFDIR | 0755, .children = statistics_nodes},
	{.name = "subsystem", .mode = S_IFLNK | 0777, .content = "../../../../class/net"},
	{.name = "bridge", .mode = S_IFDIR | 0755, .children = bridge_nodes, .present = is_bridge},
	{.name = "master", .mode = S_IFLNK | 0777, .get_link = get_master, .present = has_master},
	{0},
};
static const struct pseudo_node link_node = {
	.name = "link", .mode = S_IFDIR | 0755, .children = link_nodes};

/* --- the directories of links ----------------------------------------------------------------- */

static int get_link(struct inode *inode, char **target, struct path *jump)
{
	struct net_link_info i;

	if (!info_of(inode, &i))
		return -ENOENT;
	return asprintf(target, "../../devices/virtual/net/%s", i.name) < 0 ? -ENOMEM : 0;
}

static const struct pseudo_node class_link_node = {
	.name = "link", .mode = S_IFLNK | 0777, .get_link = get_link};

static bool is_class(const struct inode *dir)
{
	return dir->ops == &sysfs_class_net_iops;
}

/* A name may be another link's soon: so both it and the index are in the inode's number. */
static int links_lookup(struct inode *dir, struct dentry *dentry)
{
	struct net_link_info i;
	struct netstack *s;
	struct net_link *l;
	struct inode *inode;

	if (strlen(dentry->name) >= IFNAMSIZ || stack_of(dir, &s))
		return 0;
	l = net_link_by_name(s, dentry->name);
	if (!l)
		return 0;
	net_link_info(l, &i);
	net_link_put(l);
	inode = pseudo_inode_new(dir->sb, is_class(dir) ? &class_link_node : &link_node, NULL,
				 i.index,
				 pseudo_ino(dir->ino, dentry->name) + ((uint64_t)i.index << 34));
	if (!inode)
		return -ENOMEM;
	d_instantiate(dentry, inode);
	return 0;
}

struct emission {
	struct inode *dir;
	struct dir_context *ctx;
};

/* A link's position is behind its index, as they come in that order. */
static int emit(void *arg, const struct net_link_info *i)
{
	struct emission *e = arg;
	uint64_t ino = pseudo_ino(e->dir->ino, i->name) + ((uint64_t)i->index << 34);

	if (i->index + 1 < e->ctx->pos)
		return 0;
	if (!e->ctx->actor(e->ctx, i->name, strlen(i->name), i->index + 2, ino,
			   is_class(e->dir) ? DT_LNK : DT_DIR))
		return 1;
	e->ctx->pos = i->index + 2;
	return 0;
}

static int links_iterate(struct file *file, struct dir_context *ctx)
{
	struct emission e = {.dir = file->inode, .ctx = ctx};
	struct netstack *s;

	if (dir_emit_dots(file, ctx) && !stack_of(file->inode, &s))
		net_link_each(s, emit, &e);
	return 0;
}

const struct inode_operations sysfs_class_net_iops = {
	.lookup = links_lookup,
	.setattr = pseudo_setattr,
};
const struct inode_operations sysfs_virtual_net_iops = {
	.lookup = links_lookup,
	.setattr = pseudo_setattr,
};
const struct file_operations sysfs_net_fops = {.iterate = links_iterate};

bool sysfs_net_revalidate(struct dentry *dentry)
{
	struct inode *dir = dentry->parent->inode, *inode = dentry->inode;
	struct net_link_info i;

	if (!inode || !dir)
		return inode != NULL;
	if (dir->ops == &sysfs_class_net_iops || dir->ops == &sysfs_virtual_net_iops)
		return info_of(inode, &i) && !strcmp(i.name, dentry->name);
	/* What only some links have. */
	if (pseudo(dir)->node == &link_node && pseudo(inode)->node->present)
		return pseudo(inode)->node->present(dir);
	return true;
}
