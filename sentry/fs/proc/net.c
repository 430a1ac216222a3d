/*
 * /proc/PID/net. With --network=none there is the loopback device and no TCP or UDP sockets: the
 * tables are empty, as they would be in a fresh network namespace of Linux.
 */
#include "sentry/fs/proc/proc.h"

void unix_registry_show(struct text *out) __attribute__((weak)); /* net/unix */

static int show_unix(struct text *out, struct inode *inode)
{
	if (unix_registry_show)
		unix_registry_show(out);
	return 0;
}

#define FIXED(NAME, CONTENT)                                                                       \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0444, .content = (CONTENT)                       \
	}

#define SOCKET_COLUMNS                                                                             \
	"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "      \
	"timeout inode"
#define SOCKET6_COLUMNS                                                                            \
	"  sl  local_address                         remote_address                        st "    \
	"tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"

const struct pseudo_node proc_net_nodes[] = {
	FIXED("dev",
	      "Inter-|   Receive                                                |  Transmit\n"
	      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    "
	      "packets errs drop fifo colls carrier compressed\n"
	      "    lo:       0       0    0    0    0     0          0         0        0       "
	      "0    0    0    0     0       0          0\n"),
	/* Lines of tcp are padded to 150 columns, those of udp to 127. */
	FIXED("tcp", SOCKET_COLUMNS "                                                     \n"),
	FIXED("udp", "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when "
		     "retrnsmt   uid  timeout inode ref pointer drops             \n"),
	FIXED("raw", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when "
		     "retrnsmt   uid  timeout inode ref pointer drops\n"),
	FIXED("udplite", "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when "
			 "retrnsmt   uid  timeout inode ref pointer drops             \n"),
	FIXED("tcp6", SOCKET6_COLUMNS "\n"),
	FIXED("udp6", SOCKET6_COLUMNS " ref pointer drops\n"),
	FIXED("raw6", SOCKET6_COLUMNS " ref pointer drops\n"),
	{.name = "unix", .mode = S_IFREG | 0444, .show = show_unix},
	FIXED("packet", "sk       RefCnt Type Proto  Iface R Rmem   User   Inode\n"),
	FIXED("netlink",
	      "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    "
	      "Drops    Inode\n"),
	FIXED("route", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\t"
		       "Window\tIRTT                                                       \n"),
	FIXED("arp", "IP address       HW type     Flags       HW address            Mask     "
		     "Device\n"),
	FIXED("if_inet6", ""),
	FIXED("ipv6_route", ""),
	FIXED("dev_mcast", ""),
	FIXED("igmp", "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"),
	FIXED("protocols",
	      "protocol  size sockets  memory press maxhdr  slab module     cl co di ac "
	      "io in de sh ss gs se re sp bi br ha uh gp em\n"),
	FIXED("sockstat", "sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\n"
			  "UDP: inuse 0 mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\n"
			  "FRAG: inuse 0 memory 0\n"),
	{0},
};
