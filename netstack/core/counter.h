/* The counters of /proc/net/snmp, snmp6 and netstat that the stack keeps. */
#ifndef MOAT_NETSTACK_CORE_COUNTER_H
#define MOAT_NETSTACK_CORE_COUNTER_H

/* clang-format off */
#define NET_COUNTER_LIST(X) \
	X(Ip, InReceives) X(Ip, InHdrErrors) X(Ip, InAddrErrors) X(Ip, InUnknownProtos) \
	X(Ip, InDiscards) X(Ip, InDelivers) X(Ip, OutRequests) X(Ip, OutDiscards) \
	X(Ip, OutNoRoutes) X(Ip, ReasmTimeout) X(Ip, ReasmReqds) X(Ip, ReasmOKs) \
	X(Ip, ReasmFails) X(Ip, FragOKs) X(Ip, FragFails) X(Ip, FragCreates) \
	X(Ip6, InReceives) X(Ip6, InHdrErrors) X(Ip6, InAddrErrors) \
	X(Ip6, InUnknownProtos) X(Ip6, InDiscards) X(Ip6, InDelivers) \
	X(Ip6, OutRequests) X(Ip6, OutDiscards) X(Ip6, OutNoRoutes) X(Ip6, ReasmTimeout) \
	X(Ip6, ReasmReqds) X(Ip6, ReasmOKs) X(Ip6, ReasmFails) X(Ip6, FragOKs) \
	X(Ip6, FragFails) X(Ip6, FragCreates) X(Icmp, InMsgs) X(Icmp, InErrors) \
	X(Icmp, InCsumErrors) X(Icmp, InDestUnreachs) X(Icmp, InEchos) \
	X(Icmp, InEchoReps) X(Icmp, OutMsgs) X(Icmp, OutDestUnreachs) \
	X(Icmp, OutEchoReps) X(Icmp, OutRateLimited) X(Icmp6, InMsgs) X(Icmp6, InErrors) \
	X(Icmp6, OutMsgs) X(Icmp6, InCsumErrors) X(Icmp6, OutRateLimited) \
	X(Arp, InRequests) X(Arp, InReplies) X(Arp, Ignored) X(Nd, Ignored) \
	X(Udp, InDatagrams) X(Udp, NoPorts) X(Udp, InErrors) X(Udp, OutDatagrams) \
	X(Udp, RcvbufErrors) X(Udp, SndbufErrors) X(Udp, InCsumErrors) \
	X(Tcp, ActiveOpens) X(Tcp, PassiveOpens) X(Tcp, AttemptFails) \
	X(Tcp, EstabResets) X(Tcp, InSegs) X(Tcp, OutSegs) X(Tcp, RetransSegs) \
	X(Tcp, InErrs) X(Tcp, OutRsts) X(Tcp, InCsumErrors) X(TcpExt, SyncookiesSent) \
	X(TcpExt, SyncookiesRecv) X(TcpExt, SyncookiesFailed) X(TcpExt, TW) \
	X(TcpExt, TWRecycled) X(TcpExt, TWOverflow) X(TcpExt, PAWSEstab) \
	X(TcpExt, DelayedACKs) X(TcpExt, ListenOverflows) X(TcpExt, ListenDrops) \
	X(TcpExt, TCPTimeouts) X(TcpExt, TCPLossProbes) X(TcpExt, TCPLossProbeRecovery) \
	X(TcpExt, TCPSackRecovery) X(TcpExt, TCPRenoRecovery) X(TcpExt, TCPFastRetrans) \
	X(TcpExt, TCPSlowStartRetrans) X(TcpExt, TCPLostRetransmit) \
	X(TcpExt, TCPDSACKRecv) X(TcpExt, TCPDSACKOldSent) X(TcpExt, TCPDSACKUndo) \
	X(TcpExt, TCPFullUndo) X(TcpExt, TCPSpuriousRTOs) X(TcpExt, TCPChallengeACK) \
	X(TcpExt, TCPSYNChallenge) X(TcpExt, TCPAbortOnData) X(TcpExt, TCPAbortOnClose) \
	X(TcpExt, TCPAbortOnTimeout) X(TcpExt, TCPAbortOnMemory) X(TcpExt, TCPOFOQueue) \
	X(TcpExt, TCPOFOMerge) X(TcpExt, TCPOFODrop) X(TcpExt, TCPRcvQDrop) \
	X(TcpExt, TCPRcvCollapsed) X(TcpExt, TCPZeroWindowDrop) \
	X(TcpExt, TCPBacklogDrop) X(TcpExt, TCPKeepAlive) X(TcpExt, TCPWinProbe) \
	X(TcpExt, TCPDeferAcceptDrop) X(TcpExt, TCPReqQFullDoCookies) \
	X(TcpExt, TCPReqQFullDrop) X(TcpExt, TCPHystart) X(TcpExt, TCPECNCE) \
	X(Filter, Drops)
/* clang-format on */

enum net_counter {
#define X(group, name) NET_##group##_##name,
	NET_COUNTER_LIST(X)
#undef X
		NET_COUNTERS
};

#endif
