/* Network.CreateLinksAndRoutes: the form of what came; what it means is the backend's to say. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/internal.h"

#define LINKS_MAX 64
#define CHANNELS_MAX 16
#define ADDRESSES_MAX 1024 /* of one link; routes and neighbours likewise */
#define NAME_MAX_LEN 15

/* Where in the request we are, for messages. */
struct place {
	const char *kind; /* "fd_links" */
	size_t index;
	struct control_error *err;
};

static int wrong(const struct place *p, const char *field, const char *why)
{
	return control_fail(p->err, EINVAL, "%s[%zu].%s: %s", p->kind, p->index, field, why);
}

static int wrong_at(const struct place *p, const char *list, size_t i, const char *field,
		    const char *why)
{
	return control_fail(p->err, EINVAL, "%s[%zu].%s[%zu].%s: %s", p->kind, p->index, list, i,
			    field, why);
}

static bool is_ip(const ProtobufCBinaryData *a)
{
	return a->len == 4 || a->len == 16;
}

static int check_name(const struct place *p, const char *name)
{
	size_t n = strlen(name);

	if (!n || n > NAME_MAX_LEN || !strcmp(name, ".") || !strcmp(name, ".."))
		return wrong(p, "name", "expected 1 to 15 characters");
	for (; *name; name++)
		if (*name == '/' || *name == ':' || (unsigned char)*name <= ' ' || *name == '%')
			return wrong(p, "name", "a character that no link's name has");
	return 0;
}

static int check_addresses(const struct place *p, Moat__NetworkAddress *const *list, size_t n)
{
	if (n > ADDRESSES_MAX)
		return wrong(p, "addresses", "too many");
	for (size_t i = 0; i < n; i++) {
		if (!is_ip(&list[i]->address))
			return wrong_at(p, "addresses", i, "address", "expected 4 or 16 bytes");
		if (list[i]->prefix > list[i]->address.len * 8)
			return wrong_at(p, "addresses", i, "prefix", "longer than the address");
		if (list[i]->scope > 255)
			return wrong_at(p, "addresses", i, "scope", "above 255");
		if (list[i]->broadcast.len && list[i]->broadcast.len != list[i]->address.len)
			return wrong_at(p, "addresses", i, "broadcast", "not of the family");
	}
	return 0;
}

static int check_routes(const struct place *p, Moat__NetworkRoute *const *list, size_t n)
{
	if (n > ADDRESSES_MAX)
		return wrong(p, "routes", "too many");
	for (size_t i = 0; i < n; i++) {
		const Moat__NetworkRoute *r = list[i];

		if (!is_ip(&r->destination))
			return wrong_at(p, "routes", i, "destination", "expected 4 or 16 bytes");
		if (r->prefix > r->destination.len * 8)
			return wrong_at(p, "routes", i, "prefix", "longer than the destination");
		if (r->gateway.len && r->gateway.len != r->destination.len)
			return wrong_at(p, "routes", i, "gateway", "not of the family");
		if (r->source.len && r->source.len != r->destination.len)
			return wrong_at(p, "routes", i, "source", "not of the family");
		if (r->scope > 255)
			return wrong_at(p, "routes", i, "scope", "above 255");
	}
	return 0;
}

static int check_neighbours(const struct place *p, Moat__NetworkNeighbour *const *list, size_t n)
{
	if (n > ADDRESSES_MAX)
		return wrong(p, "neighbours", "too many");
	for (size_t i = 0; i < n; i++) {
		if (!is_ip(&list[i]->address))
			return wrong_at(p, "neighbours", i, "address", "expected 4 or 16 bytes");
		if (list[i]->link_address.len != 6)
			return wrong_at(p, "neighbours", i, "link_address", "expected 6 bytes");
	}
	return 0;
}

static int check_fd_link(const struct place *p, const Moat__FdLink *l)
{
	int ret = check_name(p, l->name);

	if (!ret)
		ret = check_addresses(p, l->addresses, l->n_addresses);
	if (!ret)
		ret = check_routes(p, l->routes, l->n_routes);
	if (!ret)
		ret = check_neighbours(p, l->neighbours, l->n_neighbours);
	if (ret)
		return ret;
	if (l->mtu < 68 || l->mtu > 65535)
		return wrong(p, "mtu", "expected 68 to 65535");
	if (l->gso_max_size > 65536)
		return wrong(p, "gso_max_size", "above 65536");
	if (l->link_address.len != 6 || (l->link_address.data[0] & 1))
		return wrong(p, "link_address", "expected 6 bytes, and no group");
	if (l->queueing != MOAT__FD_LINK__QUEUEING__NONE &&
	    l->queueing != MOAT__FD_LINK__QUEUEING__FIFO)
		return wrong(p, "queueing", "no such discipline");
	if (l->queue_length > 100000)
		return wrong(p, "queue_length", "above 100000");
	if (l->stream && l->channels != 1)
		return wrong(p, "channels", "a stream is one");
	if (!l->channels || l->channels > CHANNELS_MAX)
		return wrong(p, "channels", "expected 1 to 16");
	return 0;
}

static int check_gateway(const Moat__DefaultGateway *g, const char *field, size_t len,
			 struct control_error *err)
{
	if (!g || !g->gateway.len || g->gateway.len == len)
		return 0;
	return control_fail(err, EINVAL, "%s.gateway: expected %zu bytes", field, len);
}

static int check(const Moat__CreateLinksAndRoutes *links, unsigned nfds, struct control_error *err)
{
	struct place p = {.kind = "loopback_links", .err = err};
	unsigned wanted = links->resolver;
	int ret = 0;

	if (links->n_loopback_links > LINKS_MAX)
		return control_fail(err, EINVAL, "loopback_links: too many");
	if (links->n_fd_links > LINKS_MAX)
		return control_fail(err, EINVAL, "fd_links: too many");
	for (; !ret && p.index < links->n_loopback_links; p.index++) {
		const Moat__LoopbackLink *l = links->loopback_links[p.index];

		ret = check_name(&p, l->name);
		if (!ret)
			ret = check_addresses(&p, l->addresses, l->n_addresses);
		if (!ret)
			ret = check_routes(&p, l->routes, l->n_routes);
	}
	p.kind = "fd_links";
	for (p.index = 0; !ret && p.index < links->n_fd_links; p.index++) {
		ret = check_fd_link(&p, links->fd_links[p.index]);
		wanted += links->fd_links[p.index]->channels;
	}
	if (!ret)
		ret = check_gateway(links->default_v4, "default_v4", 4, err);
	if (!ret)
		ret = check_gateway(links->default_v6, "default_v6", 16, err);
	if (!ret && wanted != nfds)
		ret = control_fail(err, EINVAL, "channels: %u descriptors came, needed are %u",
				   nfds, wanted);
	return ret;
}

int network_create_links(struct control_call *call, const Moat__Request *request,
			 struct control_error *err)
{
	const Moat__CreateLinksAndRoutes *links = request->create_links_and_routes;
	int ret = check(links, call->nfds, err);

	if (!ret && !call_backend(call)->create_links)
		ret = control_fail(err, EOPNOTSUPP, "there is no network");
	if (!ret)
		ret = call_backend(call)->create_links(call_ctx(call), links, call->fds, call->nfds,
						       err);
	if (!ret)
		call_reply_empty(call);
	return ret;
}
