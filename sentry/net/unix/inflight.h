/*
 * Descriptors in flight: accounting, and collecting unix sockets that are only reachable from their
 * own queues. Used by net/scm.c and net/unix/.
 */
#ifndef MOAT_SENTRY_NET_UNIX_INFLIGHT_H
#define MOAT_SENTRY_NET_UNIX_INFLIGHT_H

struct scm_fds;

/* Charges the descriptors to the sender: -ETOOMANYREFS beyond RLIMIT_NOFILE of them in flight. */
int unix_fds_charge(struct scm_fds *fds);

#endif
