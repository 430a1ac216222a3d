/* /proc/sys/net: the tunables of the network namespace of whoever opens them. */
#include <errno.h>

#include "sentry/fs/proc/proc_internal.h"
#include "sentry/fs/proc/sysctl_internal.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/kernel/task/task.h"
#include "sentry/net/inet/show.h"

static int stack_of_current(struct netstack **s)
{
	return current ? inet_stack_of(current->net_ns, s) : -ENOENT;
}

static const char *name_of(struct inode *inode)
{
	return (const char *)(intptr_t)pseudo(inode)->node->arg;
}

static int show_tunable(struct text *out, struct inode *inode)
{
	struct netstack *s;
	int ret = stack_of_current(&s);

	return ret ? ret : inet_sysctl_show(out, s, name_of(inode));
}

static ssize_t write_tunable(struct inode *inode, char *text, size_t n)
{
	struct netstack *s;
	int ret = stack_of_current(&s);

	if (!ret)
		ret = inet_sysctl_set(s, name_of(inode), text);
	return ret ? ret : (ssize_t)n;
}

#define TUNABLE(NAME, FULL)                                                                        \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0644, .show = show_tunable,                      \
		.write = write_tunable, .iops = &sysctl_iops, .fops = &sysctl_fops,                \
		.arg = (intptr_t)(FULL)                                                            \
	}

static const struct pseudo_node core_nodes[] = {
	TUNABLE("somaxconn", "core.somaxconn"),	      TUNABLE("rmem_max", "core.rmem_max"),
	TUNABLE("wmem_max", "core.wmem_max"),	      TUNABLE("rmem_default", "core.rmem_default"),
	TUNABLE("wmem_default", "core.wmem_default"), TUNABLE("optmem_max", "core.optmem_max"),
	FIXED("netdev_max_backlog", "1000\n"),	      {0},
};
static const struct pseudo_node ipv4_all_nodes[] = {
	TUNABLE("accept_local", "ipv4.conf.all.accept_local"),
	TUNABLE("rp_filter", "ipv4.conf.all.rp_filter"),
	TUNABLE("arp_accept", "ipv4.conf.all.arp_accept"),
	{0},
};
static const struct pseudo_node ipv4_conf_nodes[] = {DIR("all", ipv4_all_nodes), {0}};
#define IPV4(NAME) TUNABLE(#NAME, "ipv4." #NAME)
static const struct pseudo_node ipv4_nodes[] = {
	IPV4(ip_local_port_range),
	IPV4(ip_unprivileged_port_start),
	IPV4(ip_default_ttl),
	IPV4(ip_no_pmtu_disc),
	IPV4(ip_nonlocal_bind),
	IPV4(ipfrag_time),
	IPV4(ipfrag_high_thresh),
	IPV4(icmp_echo_ignore_all),
	IPV4(icmp_echo_ignore_broadcasts),
	IPV4(igmp_max_memberships),
	IPV4(tcp_rmem),
	IPV4(tcp_wmem),
	IPV4(tcp_abort_on_overflow),
	IPV4(tcp_dsack),
	IPV4(tcp_ecn),
	IPV4(tcp_fin_timeout),
	IPV4(tcp_keepalive_time),
	IPV4(tcp_keepalive_intvl),
	IPV4(tcp_keepalive_probes),
	IPV4(tcp_max_orphans),
	IPV4(tcp_max_syn_backlog),
	IPV4(tcp_max_tw_buckets),
	IPV4(tcp_moderate_rcvbuf),
	IPV4(tcp_notsent_lowat),
	IPV4(tcp_orphan_retries),
	IPV4(tcp_reordering),
	IPV4(tcp_retries1),
	IPV4(tcp_retries2),
	IPV4(tcp_rfc1337),
	IPV4(tcp_sack),
	IPV4(tcp_slow_start_after_idle),
	IPV4(tcp_syn_retries),
	IPV4(tcp_synack_retries),
	IPV4(tcp_syncookies),
	IPV4(tcp_timestamps),
	IPV4(tcp_tw_reuse),
	IPV4(tcp_window_scaling),
	FIXED("ip_forward", "0\n"),
	FIXED("ping_group_range", "0\t2147483647\n"),
	FIXED("tcp_congestion_control", "cubic\n"),
	FIXED("tcp_available_congestion_control", "reno cubic\n"),
	DIR("conf", ipv4_conf_nodes),
	{0},
};
static const struct pseudo_node ipv6_all_nodes[] = {
	TUNABLE("disable_ipv6", "ipv6.conf.all.disable_ipv6"),
	TUNABLE("accept_ra", "ipv6.conf.all.accept_ra"),
	TUNABLE("autoconf", "ipv6.conf.all.autoconf"),
	TUNABLE("dad_transmits", "ipv6.conf.all.dad_transmits"),
	TUNABLE("hop_limit", "ipv6.conf.all.hop_limit"),
	FIXED("forwarding", "0\n"),
	{0},
};
static const struct pseudo_node ipv6_conf_nodes[] = {DIR("all", ipv6_all_nodes), {0}};
static const struct pseudo_node ipv6_nodes[] = {
	TUNABLE("bindv6only", "ipv6.bindv6only"),
	DIR("conf", ipv6_conf_nodes),
	{0},
};
static const struct pseudo_node unix_nodes[] = {FIXED("max_dgram_qlen", "512\n"), {0}};

const struct pseudo_node sysctl_net_nodes[] = {
	DIR("core", core_nodes),
	DIR("ipv4", ipv4_nodes),
	DIR("ipv6", ipv6_nodes),
	DIR("unix", unix_nodes),
	{0},
};
