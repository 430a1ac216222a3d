/* Network.CreateLinksAndRoutes: what is wrong with a request is said by the name of the field, and
 * nothing of it comes to the backend. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_backend.h"

#define WAIT_MS 20000

/* A request that is right. */
struct links {
	Moat__CreateLinksAndRoutes wire;
	Moat__FdLink fd, *fd_list[65];
	Moat__LoopbackLink lo, *lo_list[1];
	Moat__NetworkAddress address, *addresses[1];
	Moat__NetworkRoute route, *routes[1];
	Moat__NetworkNeighbour neighbour, *neighbours[1];
	Moat__DefaultGateway gateway;
	uint8_t four[4], sixteen[16], mac[6];
	int nfds;
};

static void fill(struct links *l)
{
	memset(l, 0, sizeof(*l));
	memcpy(l->four, "\x0a\x4d\x00\x02", 4);
	memcpy(l->mac, "\x02\0\0\0\0\1", 6);
	moat__create_links_and_routes__init(&l->wire);
	moat__fd_link__init(&l->fd);
	moat__loopback_link__init(&l->lo);
	moat__network_address__init(&l->address);
	moat__network_route__init(&l->route);
	moat__network_neighbour__init(&l->neighbour);
	moat__default_gateway__init(&l->gateway);
	l->address.address = (ProtobufCBinaryData){4, l->four};
	l->address.prefix = 24;
	l->route.destination = (ProtobufCBinaryData){4, l->four};
	l->route.prefix = 16;
	l->route.gateway = (ProtobufCBinaryData){4, l->four};
	l->neighbour.address = (ProtobufCBinaryData){16, l->sixteen};
	l->neighbour.link_address = (ProtobufCBinaryData){6, l->mac};
	l->gateway.link = "eth0";
	l->gateway.gateway = (ProtobufCBinaryData){4, l->four};
	l->addresses[0] = &l->address;
	l->routes[0] = &l->route;
	l->neighbours[0] = &l->neighbour;
	l->fd.name = "eth0";
	l->fd.mtu = 1500;
	l->fd.channels = 1;
	l->fd.link_address = (ProtobufCBinaryData){6, l->mac};
	l->fd.addresses = l->addresses;
	l->fd.routes = l->routes;
	l->fd.neighbours = l->neighbours;
	l->fd.n_addresses = l->fd.n_routes = l->fd.n_neighbours = 1;
	l->lo.name = "lo";
	l->lo.addresses = l->addresses;
	l->lo.n_addresses = 1;
	for (unsigned i = 0; i < 65; i++)
		l->fd_list[i] = &l->fd;
	l->lo_list[0] = &l->lo;
	l->wire.fd_links = l->fd_list;
	l->wire.loopback_links = l->lo_list;
	l->wire.n_fd_links = l->wire.n_loopback_links = 1;
	l->wire.default_v4 = &l->gateway;
	l->nfds = 1;
}

static int call(struct control_client *c, struct links *l, struct control_error *err)
{
	Moat__Request r = MOAT__REQUEST__INIT;
	int fds[4] = {0, 0, 0, 0};

	r.call_case = MOAT__REQUEST__CALL_CREATE_LINKS_AND_ROUTES;
	r.create_links_and_routes = &l->wire;
	return control_client_call(c, &r, fds, (unsigned)l->nfds, WAIT_MS, NULL, err);
}

/* Sends what `change` has made of a right request, and wants an error that begins with the field.
 */
#define REFUSED(field, change)                                                                     \
	do {                                                                                       \
		fill(&l);                                                                          \
		change;                                                                            \
		assert_int_equal(call(c, &l, &err), -EINVAL);                                      \
		err.text[strlen(field)] = 0;                                                       \
		assert_string_equal(err.text, field);                                              \
		assert_int_equal(f.linked, 1);                                                     \
	} while (0)

static void errors_name_the_field(void **state)
{
	struct control_client *c;
	struct control_error err;
	struct links l;
	struct fake f;
	int before;

	(void)state;
	fake_start(&f);
	c = fake_client(&f);
	fill(&l);
	assert_int_equal(call(c, &l, &err), 0);
	assert_int_equal(f.linked, 1);
	/* The connection's are there now, and perhaps still what came with the call. */
	before = count_fds();

	REFUSED("loopback_links[0].name", l.lo.name = "");
	REFUSED("loopback_links[0].addresses[0].prefix", l.address.prefix = 33);
	REFUSED("fd_links[0].name", l.fd.name = "a/b");
	REFUSED("fd_links[0].name", l.fd.name = "sixteen letters!");
	REFUSED("fd_links[0].name", l.fd.name = "eth%d");
	REFUSED("fd_links[0].mtu", l.fd.mtu = 67);
	REFUSED("fd_links[0].mtu", l.fd.mtu = 65536);
	REFUSED("fd_links[0].gso_max_size", l.fd.gso_max_size = 65537);
	REFUSED("fd_links[0].link_address", l.fd.link_address.len = 5);
	REFUSED("fd_links[0].link_address", l.mac[0] = 1);
	REFUSED("fd_links[0].queueing", l.fd.queueing = 9);
	REFUSED("fd_links[0].queue_length", l.fd.queue_length = 100001);
	REFUSED("fd_links[0].channels", l.fd.channels = 0);
	REFUSED("fd_links[0].channels", l.fd.channels = 17);
	REFUSED("fd_links[0].channels", (l.fd.channels = 2, l.fd.stream = 1));
	REFUSED("fd_links[0].routes[0].destination", l.route.destination.len = 3);
	REFUSED("fd_links[0].routes[0].prefix", l.route.prefix = 33);
	REFUSED("fd_links[0].routes[0].gateway",
		l.route.gateway = ((ProtobufCBinaryData){16, l.sixteen}));
	REFUSED("fd_links[0].neighbours[0].address", l.neighbour.address.len = 0);
	REFUSED("fd_links[0].neighbours[0].link_address", l.neighbour.link_address.len = 0);
	REFUSED("fd_links: too many", l.wire.n_fd_links = 65);
	REFUSED("default_v4.gateway", l.gateway.gateway = ((ProtobufCBinaryData){16, l.sixteen}));
	REFUSED("channels: 2 descriptors came, needed are 1", l.nfds = 2);
	REFUSED("channels: 1 descriptors came, needed are 2", l.wire.resolver = 1);

	/* What a request brought along is closed, whatever became of it. */
	while (count_fds() > before)
		usleep(1000);
	control_client_free(c);
	fake_stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_name_the_field),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
