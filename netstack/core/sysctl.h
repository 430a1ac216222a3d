/* Tunables of a stack, by Linux's names. */
#ifndef MOAT_NETSTACK_CORE_SYSCTL_H
#define MOAT_NETSTACK_CORE_SYSCTL_H

/* X(file name, C name, number of values, default, minimum, maximum); triples: default of each. */
#define NET_SYSCTL_LIST(X)                                                                         \
	X("core.somaxconn", somaxconn, 4096, 1, 65535)                                             \
	X("core.rmem_default", rmem_default, 212992, 2304, 1 << 30)                                \
	X("core.wmem_default", wmem_default, 212992, 4608, 1 << 30)                                \
	X("core.rmem_max", rmem_max, 4194304, 2304, 1 << 30)                                       \
	X("core.wmem_max", wmem_max, 4194304, 4608, 1 << 30)                                       \
	X("core.optmem_max", optmem_max, 131072, 0, 1 << 30)                                       \
	X("ipv4.ip_unprivileged_port_start", unprivileged_port_start, 1024, 0, 65535)              \
	X("ipv4.ip_default_ttl", ip_default_ttl, 64, 1, 255)                                       \
	X("ipv4.ip_no_pmtu_disc", ip_no_pmtu_disc, 0, 0, 3)                                        \
	X("ipv4.ip_nonlocal_bind", ip_nonlocal_bind, 0, 0, 1)                                      \
	X("ipv4.ipfrag_time", ipfrag_time, 30, 1, 3600)                                            \
	X("ipv4.ipfrag_high_thresh", ipfrag_high_thresh, 4194304, 0, 1 << 30)                      \
	X("ipv4.icmp_echo_ignore_all", icmp_echo_ignore_all, 0, 0, 1)                              \
	X("ipv4.icmp_echo_ignore_broadcasts", icmp_echo_ignore_broadcasts, 1, 0, 1)                \
	X("ipv4.icmp_msgs_per_sec", icmp_msgs_per_sec, 1000, 0, 1000000)                           \
	X("ipv4.icmp_msgs_burst", icmp_msgs_burst, 50, 0, 1000000)                                 \
	X("ipv4.conf.all.accept_local", accept_local, 0, 0, 1)                                     \
	X("ipv4.conf.all.rp_filter", rp_filter, 0, 0, 2)                                           \
	X("ipv4.conf.all.arp_accept", arp_accept, 0, 0, 1)                                         \
	X("ipv4.neigh.gc_thresh3", neigh_max, 1024, 16, 1 << 20)                                   \
	X("ipv4.neigh.retrans_time_ms", neigh_retrans_ms, 1000, 10, 60000)                         \
	X("ipv4.neigh.base_reachable_time_ms", neigh_reachable_ms, 30000, 100, 1 << 30)            \
	X("ipv4.neigh.delay_first_probe_time", neigh_delay_s, 5, 1, 3600)                          \
	X("ipv4.neigh.mcast_solicit", neigh_mcast_solicit, 3, 1, 20)                               \
	X("ipv4.neigh.ucast_solicit", neigh_ucast_solicit, 3, 0, 20)                               \
	X("ipv4.neigh.unres_qlen", neigh_unres_qlen, 101, 1, 10000)                                \
	X("ipv4.igmp_max_memberships", igmp_max_memberships, 20, 0, 65536)                         \
	X("ipv4.tcp_abort_on_overflow", tcp_abort_on_overflow, 0, 0, 1)                            \
	X("ipv4.tcp_challenge_ack_limit", tcp_challenge_ack_limit, 1000, 0, 1 << 30)               \
	X("ipv4.tcp_invalid_ratelimit", tcp_invalid_ratelimit, 500, 0, 1 << 30)                    \
	X("ipv4.tcp_dsack", tcp_dsack, 1, 0, 1)                                                    \
	X("ipv4.tcp_early_retrans", tcp_early_retrans, 3, 0, 4)                                    \
	X("ipv4.tcp_ecn", tcp_ecn, 2, 0, 2)                                                        \
	X("ipv4.tcp_fin_timeout", tcp_fin_timeout, 60, 1, 1 << 20)                                 \
	X("ipv4.tcp_timewait_len", tcp_timewait_len, 60, 1, 1 << 20)                               \
	X("ipv4.tcp_frto", tcp_frto, 2, 0, 2)                                                      \
	X("ipv4.tcp_keepalive_time", tcp_keepalive_time, 7200, 1, 32767)                           \
	X("ipv4.tcp_keepalive_intvl", tcp_keepalive_intvl, 75, 1, 32767)                           \
	X("ipv4.tcp_keepalive_probes", tcp_keepalive_probes, 9, 1, 127)                            \
	X("ipv4.tcp_max_orphans", tcp_max_orphans, 16384, 0, 1 << 20)                              \
	X("ipv4.tcp_max_syn_backlog", tcp_max_syn_backlog, 512, 1, 1 << 20)                        \
	X("ipv4.tcp_max_tw_buckets", tcp_max_tw_buckets, 16384, 0, 1 << 20)                        \
	X("ipv4.tcp_min_snd_mss", tcp_min_snd_mss, 48, 48, 65535)                                  \
	X("ipv4.tcp_moderate_rcvbuf", tcp_moderate_rcvbuf, 1, 0, 1)                                \
	X("ipv4.tcp_notsent_lowat", tcp_notsent_lowat, 2147483647, 0, 2147483647)                  \
	X("ipv4.tcp_orphan_retries", tcp_orphan_retries, 0, 0, 255)                                \
	X("ipv4.tcp_recovery", tcp_recovery, 1, 0, 7)                                              \
	X("ipv4.tcp_reordering", tcp_reordering, 3, 1, 300)                                        \
	X("ipv4.tcp_retries1", tcp_retries1, 3, 1, 255)                                            \
	X("ipv4.tcp_retries2", tcp_retries2, 15, 1, 255)                                           \
	X("ipv4.tcp_rfc1337", tcp_rfc1337, 0, 0, 1)                                                \
	X("ipv4.tcp_sack", tcp_sack, 1, 0, 1)                                                      \
	X("ipv4.tcp_slow_start_after_idle", tcp_slow_start_after_idle, 1, 0, 1)                    \
	X("ipv4.tcp_syn_retries", tcp_syn_retries, 6, 1, 127)                                      \
	X("ipv4.tcp_synack_retries", tcp_synack_retries, 5, 0, 255)                                \
	X("ipv4.tcp_syncookies", tcp_syncookies, 1, 0, 2)                                          \
	X("ipv4.tcp_timestamps", tcp_timestamps, 1, 0, 2)                                          \
	X("ipv4.tcp_tw_reuse", tcp_tw_reuse, 2, 0, 2)                                              \
	X("ipv4.tcp_window_scaling", tcp_window_scaling, 1, 0, 1)                                  \
	X("ipv4.tcp_congestion_reno", tcp_reno, 0, 0, 1)                                           \
	X("ipv6.conf.all.disable_ipv6", disable_ipv6, 0, 0, 1)                                     \
	X("ipv6.conf.all.accept_ra", accept_ra, 1, 0, 2)                                           \
	X("ipv6.conf.all.autoconf", autoconf, 1, 0, 1)                                             \
	X("ipv6.conf.all.accept_redirects", accept_redirects, 0, 0, 1)                             \
	X("ipv6.conf.all.dad_transmits", dad_transmits, 1, 0, 10)                                  \
	X("ipv6.conf.all.hop_limit", hop_limit, 64, 1, 255)                                        \
	X("ipv6.bindv6only", bindv6only, 0, 0, 1)

struct net_sysctl {
#define X(file, name, def, min, max) long name;
	NET_SYSCTL_LIST(X)
#undef X
	long ip_local_port_range[2];
	long tcp_rmem[3];
	long tcp_wmem[3];
};

void net_sysctl_init(struct net_sysctl *s);

#endif
