/* Threads that take frames from the host. */
#ifndef MOAT_BOOT_NET_RECEIVER_H
#define MOAT_BOOT_NET_RECEIVER_H

struct net_link;
struct receivers;

/* Receivers that end together; a reference, or NULL without memory or descriptors. */
struct receivers *receivers_new(void);
void receivers_put(struct receivers *all);
/* Once their links have been removed: they look, and end. */
void receivers_stop(struct receivers *all);

/* Starts one for channel q of a link. It ends when the link is removed and it is told so; it then
 * closes the descriptor, which is its own. 0 or -errno. */
int receiver_start(struct receivers *all, struct net_link *link, unsigned q, int fd);

#endif
