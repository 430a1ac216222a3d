/* Between the files of fs/hostfd. */
#ifndef MOAT_SENTRY_FS_HOSTFD_HOSTFD_INTERNAL_H
#define MOAT_SENTRY_FS_HOSTFD_HOSTFD_INTERNAL_H

#include "sentry/fs/hostfd/hostfd_io.h"

/* hostfd_poll.c */
/* Sleeps until one of the events is ready. 0 or -ERESTARTSYS. */
int hostfd_wait(struct hostfd *h, uint32_t events);

/* A blocking host call of this thread is about to start: the poller thread interrupts it (EINTR)
 * when it has lasted a few milliseconds. */
struct hostfd_inflight {
	LIST_ENTRY(hostfd_inflight) link;
	int tid;
};
void hostfd_inflight_begin(struct hostfd_inflight *in);
void hostfd_inflight_end(struct hostfd_inflight *in);

#endif
