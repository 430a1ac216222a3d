/* SOL_SOCKET options that all kinds of endpoints have; man 7 socket. */
#include <linux/filter.h>

#include "base/bpf.h"
#include "netstack/link/link.h"
#include "netstack/socket/socket_internal.h"

#define MIN_RCVBUF 2304
#define MIN_SNDBUF 4608

int opt_int(const void *val, socklen_t len, int *out)
{
	if (len < sizeof(*out))
		return -EINVAL;
	memcpy(out, val, sizeof(*out));
	return 0;
}

int opt_put(void *val, socklen_t *len, const void *src, socklen_t n)
{
	*len = MIN(*len, n);
	memcpy(val, src, *len);
	return 0;
}

int opt_put_int(void *val, socklen_t *len, int v)
{
	return opt_put(val, len, &v, sizeof(v));
}

static int bind_device(struct net_ep *ep, const char *name, socklen_t len)
{
	char buf[16] = "";
	struct net_link *l;

	memcpy(buf, name, MIN(len, (socklen_t)15));
	if (!buf[0]) {
		ep->bound_if = 0;
		return 0;
	}
	l = net_link_by_name(ep->stack, buf);
	if (!l)
		return -ENODEV;
	ep->bound_if = l->index;
	net_link_put(l);
	return 0;
}

static int set_linger(struct net_ep *ep, const void *val, socklen_t len)
{
	struct linger l;

	if (len < sizeof(l))
		return -EINVAL;
	memcpy(&l, val, sizeof(l));
	ep->opt.linger = l.l_onoff;
	if (l.l_onoff)
		ep->opt.linger_s = l.l_linger;
	return 0;
}

/* Linux doubles the value to leave room for bookkeeping; so do we, and report the double. */
static void set_buffer(uint32_t *buf, int v, long max, uint32_t min)
{
	int64_t n = v < 0 ? max : MIN((long)v, max);

	*buf = MAX((uint32_t)MIN(n * 2, (int64_t)INT32_MAX), min);
}

static int set_int(struct net_ep *ep, int name, int v)
{
	struct net_sysctl *sc = &ep->stack->sysctl;
	struct ep_options *o = &ep->opt;

	switch (name) {
	case SO_DEBUG:
		o->debug = v;
		break;
	case SO_REUSEADDR:
		o->reuseaddr = v;
		break;
	case SO_REUSEPORT:
		o->reuseport = v;
		break;
	case SO_DONTROUTE:
		o->dontroute = v;
		break;
	case SO_BROADCAST:
		o->broadcast = v;
		break;
	case SO_SNDBUF:
	case SO_SNDBUFFORCE:
		o->sndbuf_locked = true;
		set_buffer(&ep->sndbuf, v, name == SO_SNDBUF ? sc->wmem_max : INT32_MAX / 2,
			   MIN_SNDBUF);
		net_defer_ready(ep, EPOLLOUT);
		break;
	case SO_RCVBUF:
	case SO_RCVBUFFORCE:
		o->rcvbuf_locked = true;
		set_buffer(&ep->rcvbuf, v, name == SO_RCVBUF ? sc->rmem_max : INT32_MAX / 2,
			   MIN_RCVBUF);
		break;
	case SO_KEEPALIVE:
		o->keepalive = v;
		break;
	case SO_OOBINLINE:
		o->oobinline = v;
		break;
	case SO_NO_CHECK:
		o->no_check = v;
		break;
	case SO_PRIORITY:
		o->priority = v;
		break;
	case SO_TIMESTAMP:
		o->timestamp = v ? 1 : 0;
		break;
	case SO_TIMESTAMPNS:
		o->timestamp = v ? 2 : 0;
		break;
	case SO_RXQ_OVFL:
		o->rxq_ovfl = v;
		break;
	case SO_MARK:
		o->mark = v;
		break;
	case SO_RCVLOWAT:
		o->rcvlowat = v < 0 ? INT32_MAX : v ? v : 1;
		break;
	case SO_BINDTOIFINDEX:
		if (v < 0)
			return -EINVAL;
		ep->bound_if = v; /* a link that is not there yet is none to complain about */
		break;
	default:
		return -ENOPROTOOPT;
	}
	return 0;
}

int ep_setsockopt_socket(struct net_ep *ep, int name, const void *val, socklen_t len)
{
	int v, err;

	switch (name) {
	case SO_BINDTODEVICE: {
		MUTEX_GUARD(&ep->lock);
		path_release(&ep->path);
		return bind_device(ep, val, len);
	}
	case SO_LINGER:
		return set_linger(ep, val, len);
	case SO_ATTACH_FILTER:
		return ep_attach_filter(ep, val, len);
	case SO_DETACH_FILTER:
		return ep_detach_filter(ep);
	case SO_LOCK_FILTER:
		err = opt_int(val, len, &v);
		if (err)
			return err;
		if (ep->opt.filter_locked && !v)
			return -EPERM;
		ep->opt.filter_locked = v;
		return 0;
	case SO_TYPE:
	case SO_PROTOCOL:
	case SO_DOMAIN:
	case SO_ERROR:
	case SO_ACCEPTCONN:
		return -ENOPROTOOPT;
	}
	err = opt_int(val, len, &v);
	if (err)
		return err;
	MUTEX_GUARD(&ep->lock);
	err = set_int(ep, name, v);
	if (!err)
		path_release(&ep->path);
	return err;
}

static int get_int(struct net_ep *ep, int name, int *v)
{
	struct ep_options *o = &ep->opt;

	switch (name) {
	case SO_DEBUG:
		*v = o->debug;
		return 0;
	case SO_REUSEADDR:
		*v = o->reuseaddr;
		return 0;
	case SO_REUSEPORT:
		*v = o->reuseport;
		return 0;
	case SO_TYPE:
		*v = ep->type;
		return 0;
	case SO_PROTOCOL:
		*v = ep->family == AF_PACKET ? htons(ep->rport) : ep->protocol;
		return 0;
	case SO_DOMAIN:
		*v = ep->family;
		return 0;
	case SO_ERROR:
		*v = -ep_take_error(ep);
		if (!*v) {
			*v = ep->soft_error;
			ep->soft_error = 0;
		}
		return 0;
	case SO_DONTROUTE:
		*v = o->dontroute;
		return 0;
	case SO_BROADCAST:
		*v = o->broadcast;
		return 0;
	case SO_SNDBUF:
		*v = ep->sndbuf;
		return 0;
	case SO_RCVBUF:
		*v = ep->rcvbuf;
		return 0;
	case SO_KEEPALIVE:
		*v = o->keepalive;
		return 0;
	case SO_OOBINLINE:
		*v = o->oobinline;
		return 0;
	case SO_NO_CHECK:
		*v = o->no_check;
		return 0;
	case SO_PRIORITY:
		*v = o->priority;
		return 0;
	case SO_TIMESTAMP:
		*v = o->timestamp == 1;
		return 0;
	case SO_TIMESTAMPNS:
		*v = o->timestamp == 2;
		return 0;
	case SO_RXQ_OVFL:
		*v = o->rxq_ovfl;
		return 0;
	case SO_MARK:
		*v = o->mark;
		return 0;
	case SO_RCVLOWAT:
		*v = o->rcvlowat;
		return 0;
	case SO_SNDLOWAT:
		*v = 1;
		return 0;
	case SO_LOCK_FILTER:
		*v = o->filter_locked;
		return 0;
	case SO_BINDTOIFINDEX:
		*v = ep->bound_if;
		return 0;
	case SO_ACCEPTCONN:
		*v = 0;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

int ep_getsockopt_socket(struct net_ep *ep, int name, void *val, socklen_t *len)
{
	int v, err;
	MUTEX_GUARD(&ep->lock);

	if (name == SO_LINGER) {
		struct linger l = {ep->opt.linger, ep->opt.linger_s};

		return opt_put(val, len, &l, sizeof(l));
	}
	if (name == SO_BINDTODEVICE) {
		struct net_link *l =
			ep->bound_if ? net_link_by_index(ep->stack, ep->bound_if) : NULL;

		if (!l) {
			*len = 0;
			return 0;
		}
		if (*len < sizeof(l->name)) {
			net_link_put(l);
			return -EINVAL;
		}
		memcpy(val, l->name, sizeof(l->name));
		*len = strlen(l->name) + 1;
		net_link_put(l);
		return 0;
	}
	err = get_int(ep, name, &v);
	return err ? err : opt_put_int(val, len, v);
}

/* ------------------------------------------------------------------------------ filters */

int ep_attach_filter(struct net_ep *ep, const void *val, socklen_t len)
{
	struct sock_fprog fp;
	struct bpf_prog *prog, *old;
	int err;

	if (len != sizeof(fp))
		return -EINVAL;
	memcpy(&fp, val, sizeof(fp));
	if (ep->opt.filter_locked)
		return -EPERM;
	err = bpf_prog_create(fp.filter, fp.len, BPF_PACKET, &prog);
	if (err)
		return err;
	mutex_lock(&ep->lock);
	old = ep->filter;
	ep->filter = prog;
	mutex_unlock(&ep->lock);
	bpf_prog_free(old);
	return 0;
}

int ep_detach_filter(struct net_ep *ep)
{
	struct bpf_prog *old;

	if (ep->opt.filter_locked)
		return -EPERM;
	mutex_lock(&ep->lock);
	old = ep->filter;
	ep->filter = NULL;
	mutex_unlock(&ep->lock);
	bpf_prog_free(old);
	return old ? 0 : -ENOENT;
}

static bool load_packet(void *ctx, uint32_t off, uint32_t size, uint32_t *out)
{
	struct nbuf *b = ctx;
	uint8_t v[4];

	if (off >= BPF_FROM_LL) {
		/* SKF_LL_OFF, SKF_NET_OFF: relative to the link or network header. */
		const uint8_t *p = off >= BPF_FROM_NET ? b->net : b->mac;
		uint32_t rel = off - (off >= BPF_FROM_NET ? BPF_FROM_NET : BPF_FROM_LL);

		if (!p || p > b->data || (size_t)rel + size > (size_t)(b->data - p) + b->lin)
			return false;
		memcpy(v, p + rel, size);
	} else {
		if ((uint64_t)off + size > b->len)
			return false;
		nbuf_read(b, off, v, size);
	}
	*out = size == 1   ? v[0]
	       : size == 2 ? (uint32_t)(v[0] << 8 | v[1])
			   : (uint32_t)v[0] << 24 | v[1] << 16 | v[2] << 8 | v[3];
	return true;
}

/* SKF_AD_*: facts about the packet beside its bytes. */
static bool load_ancillary(void *ctx, uint32_t what, uint32_t *out)
{
	struct nbuf *b = ctx;

	switch (what) {
	case SKF_AD_PROTOCOL:
		*out = b->protocol;
		return true;
	case SKF_AD_PKTTYPE:
		*out = b->pkt_type;
		return true;
	case SKF_AD_IFINDEX:
		*out = b->link ? b->link->index : 0;
		return b->link != NULL;
	case SKF_AD_HATYPE:
		*out = b->link ? b->link->type : 0;
		return b->link != NULL;
	case SKF_AD_VLAN_TAG:
		*out = b->vlan_tci;
		return true;
	case SKF_AD_VLAN_TAG_PRESENT:
		*out = b->has_vlan;
		return true;
	default:
		return false;
	}
}

bool ep_filter(struct net_ep *ep, struct nbuf *b)
{
	static const struct bpf_ops ops = {load_packet, load_ancillary};
	uint32_t n;

	if (likely(!ep->filter))
		return true;
	n = bpf_run(ep->filter, &ops, b, b->len);
	if (!n) {
		net_count(ep->stack, NET_Filter_Drops);
		return false;
	}
	if (n < b->len && ep->type != SOCK_STREAM)
		nbuf_trim(b, n);
	return true;
}
