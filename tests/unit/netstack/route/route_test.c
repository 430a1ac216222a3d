/* Routes, and addresses of links. */
#include "world.h"

#include <linux/rtnetlink.h>
#include <netinet/in.h>

static struct net_route_info route4(uint32_t dst, int prefix, uint32_t gw, int ifindex, int type)
{
	struct net_route_info r = {.family = AF_INET,
				   .prefix = prefix,
				   .ifindex = ifindex,
				   .type = type,
				   .has_gateway = gw != 0};

	r.dst.s6_addr32[0] = htonl(dst);
	r.gateway.s6_addr32[0] = htonl(gw);
	return r;
}

static int lookup(struct world *w, uint32_t dst, struct net_route_info *out)
{
	struct in6_addr a = {0};

	a.s6_addr32[0] = htonl(dst);
	return net_route_get(w->stack[0], AF_INET, &a, NULL, 0, out);
}

static void longest_prefix_and_metric_decide(void **st)
{
	struct net_route_info r, got;
	struct world w;

	world_init(&w, 1, 1500, 0);
	assert_int_equal(lookup(&w, 0x08080808, &got), -ENETUNREACH);
	r = route4(0, 0, 0x0a000002, 0, RTN_UNICAST);
	assert_int_equal(net_route_add(w.stack[0], &r), 0);
	assert_int_equal(net_route_add(w.stack[0], &r), -EEXIST);
	assert_int_equal(lookup(&w, 0x08080808, &got), 0);
	assert_int_equal(ntohl(got.gateway.s6_addr32[0]), 0x0a000002);
	assert_int_equal(ntohl(got.src.s6_addr32[0]), 0x0a000001);
	r = route4(0x08000000, 8, 0x0a000003, 0, RTN_UNICAST);
	assert_int_equal(net_route_add(w.stack[0], &r), 0);
	lookup(&w, 0x08080808, &got);
	assert_int_equal(ntohl(got.gateway.s6_addr32[0]), 0x0a000003);
	r.gateway.s6_addr32[0] = htonl(0x0a000004);
	r.metric = 5;
	assert_int_equal(net_route_add(w.stack[0], &r), 0);
	lookup(&w, 0x08080808, &got);
	assert_int_equal(ntohl(got.gateway.s6_addr32[0]), 0x0a000003);
	r.metric = 0;
	r.gateway.s6_addr32[0] = htonl(0x0a000003);
	assert_int_equal(net_route_del(w.stack[0], &r), 0);
	lookup(&w, 0x08080808, &got);
	assert_int_equal(ntohl(got.gateway.s6_addr32[0]), 0x0a000004);
	r = route4(0x08080800, 24, 0, 0, RTN_UNREACHABLE);
	assert_int_equal(net_route_add(w.stack[0], &r), 0);
	assert_int_equal(lookup(&w, 0x08080808, &got), -EHOSTUNREACH);
	r = route4(0x08080808, 32, 0, 0, RTN_PROHIBIT);
	assert_int_equal(net_route_add(w.stack[0], &r), 0);
	assert_int_equal(lookup(&w, 0x08080808, &got), -EACCES);
	r = route4(0x09000000, 8, 0, 0, RTN_BLACKHOLE);
	assert_int_equal(net_route_add(w.stack[0], &r), 0);
	assert_int_equal(lookup(&w, 0x09080808, &got), -EINVAL);
	r = route4(0x0b000000, 8, 0x0c000001, 0, RTN_UNICAST);
	r.ifindex = 2;
	assert_int_equal(net_route_del(w.stack[0], &r), -ESRCH);
	world_fini(&w);
}

static void duplicate_address_is_detected(void **st)
{
	struct net_addr_info a = {.ifindex = 2, .family = AF_INET6, .prefix = 64};
	struct world w;
	struct net_route_info got;
	struct in6_addr dst = {{{0xfd, [15] = 9}}};

	world_init(&w, 1, 1500, 0);
	a.addr.s6_addr[0] = 0xfd;
	a.addr.s6_addr[15] = 2; /* the peer's */
	assert_int_equal(net_addr_add(w.stack[0], &a), 0);
	a.addr.s6_addr[15] = 9;
	assert_int_equal(net_addr_add(w.stack[0], &a), 0);
	world_run(&w, 5 * SEC);
	assert_int_equal(net_route_get(w.stack[0], AF_INET6, &dst, NULL, 0, &got), 0);
	assert_int_equal(got.type, RTN_LOCAL);
	dst.s6_addr[15] = 2; /* still the peer's, not ours */
	assert_int_equal(net_route_get(w.stack[0], AF_INET6, &dst, NULL, 0, &got), 0);
	assert_int_equal(got.type, RTN_UNICAST);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(longest_prefix_and_metric_decide),
		cmocka_unit_test(duplicate_address_is_detected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
