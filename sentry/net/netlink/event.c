/*
 * What is told to the groups of NETLINK_ROUTE: links, addresses, routes and neighbours that have
 * come, changed or gone (man 7 rtnetlink).
 */
#include <stdlib.h>

#include "sentry/net/inet/show.h"
#include "sentry/net/netlink/rtnetlink_internal.h"

/* The message about the event; its group, or 0: nobody is told. */
static unsigned describe(const struct rt_request *r, const struct net_event *ev)
{
	switch (ev->kind) {
	case NET_EVENT_LINK_NEW:
	case NET_EVENT_LINK_CHANGE:
		rt_put_link(r, RTM_NEWLINK, 0, &ev->link);
		return RTNLGRP_LINK;
	case NET_EVENT_LINK_DEL:
		rt_put_link(r, RTM_DELLINK, 0, &ev->link);
		return RTNLGRP_LINK;
	case NET_EVENT_ADDR_NEW:
	case NET_EVENT_ADDR_DEL:
		rt_put_addr(r, ev->kind == NET_EVENT_ADDR_NEW ? RTM_NEWADDR : RTM_DELADDR, 0,
			    &ev->addr);
		return ev->addr.family == AF_INET ? RTNLGRP_IPV4_IFADDR : RTNLGRP_IPV6_IFADDR;
	case NET_EVENT_ROUTE_NEW:
	case NET_EVENT_ROUTE_DEL:
		rt_put_route(r, ev->kind == NET_EVENT_ROUTE_NEW ? RTM_NEWROUTE : RTM_DELROUTE, 0,
			     &ev->route);
		return ev->route.family == AF_INET ? RTNLGRP_IPV4_ROUTE : RTNLGRP_IPV6_ROUTE;
	case NET_EVENT_NEIGH_NEW:
	case NET_EVENT_NEIGH_DEL:
		rt_put_neigh(r, ev->kind == NET_EVENT_NEIGH_NEW ? RTM_NEWNEIGH : RTM_DELNEIGH, 0,
			     &ev->neigh);
		return RTNLGRP_NEIGH;
	}
	return 0;
}

/* On the thread that has caused it, with no lock of the stack's held. */
static void tell(struct netstack *s, const struct net_event *ev)
{
	static const struct nlmsghdr none;
	struct nl_buf out = {0};
	/* As in a dump: what is said of one object, not the answer about one packet. */
	struct rt_request r = {.hdr = &none, .stack = s, .dump = true, .out = &out};
	unsigned group;

	if (!netlink_anybody(s))
		return;
	group = describe(&r, ev);
	if (group && !out.error)
		netlink_tell(s, group, out.data, out.len);
	free(out.data);
}

void netlink_listen(void)
{
	inet_set_listener(tell);
}
