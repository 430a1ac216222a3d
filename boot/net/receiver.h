/* Threads that take frames from the host. */
#ifndef MOAT_BOOT_NET_RECEIVER_H
#define MOAT_BOOT_NET_RECEIVER_H

struct net_link;

/* Starts one for channel q of a link. It ends when the link is removed; it then closes the
 * descriptor, which is its own. 0 or -errno. */
int receiver_start(struct net_link *link, unsigned q, int fd);

#endif
