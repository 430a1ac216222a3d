/* A new egress policy, and the connections that it puts an end to. */
#include <netinet/tcp.h>

#include "netstack/link/link.h"
#include "netstack/policy/policy.h"
#include "netstack/route/route.h"
#include "netstack/tcp/tcp.h"

/* A connection over a link that leads out, and what it is to the policy. */
static bool flow_of(struct net_ep *ep, struct net_egress_flow *flow)
{
	MUTEX_GUARD(&ep->lock);

	if (!ep->rport || (ep->path.link && !link_leads_out(ep->path.link)))
		return false;
	*flow = (struct net_egress_flow){.protocol = IPPROTO_TCP,
					 .lport = ep->lport,
					 .rport = ep->rport,
					 .raddr = ep->raddr};
	return true;
}

static int end_if_refused(void *arg, const struct net_ep_info *i)
{
	struct netstack *s = arg;
	struct net_egress_flow flow;

	if (i->state != TCP_LISTEN && i->state != TCP_CLOSE && i->state != TCP_SYN_RECV &&
	    flow_of(i->ep, &flow) && !addr_is_local(s, &flow.raddr) && !egress_may_go_on(s, &flow))
		tcp_abort(i->ep, ECONNABORTED);
	return 0;
}

int net_egress_set(struct netstack *s, const struct net_egress_config *c)
{
	int err = egress_set(s, c);

	NET_CONTEXT();
	return err ? err : net_ep_each(s, IPPROTO_TCP, end_if_refused, s);
}
