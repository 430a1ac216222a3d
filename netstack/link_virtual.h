#ifndef MOAT_NETSTACK_LINK_VIRTUAL_H
#define MOAT_NETSTACK_LINK_VIRTUAL_H

struct net_link;

/* One end of a pair was removed: removes the other. */
void veth_detach(struct net_link *l);

#endif
