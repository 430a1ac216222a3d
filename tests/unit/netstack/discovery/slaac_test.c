/* Stateless autoconfiguration. */
#include "world.h"

#include <netinet/in.h>

#include "netstack/buffer/checksum.h"

static void router_advertisement_configures(void **st)
{
	uint8_t f[14 + 40 + 16 + 32] = {0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60};
	struct in6_addr src, dst, far = {{{0x20, 1, 0x0d, 0xb8, 0xff}}};
	struct net_route_info got;
	struct world w;
	uint16_t sum;

	world_init(&w, 1, 1500, 0);
	world_run(&w, 5 * SEC);
	f[19] = 48;
	f[20] = 58;
	f[21] = 255;
	f[22] = 0xfe;
	f[23] = 0x80;
	f[37] = 9;
	f[38] = 0xff;
	f[39] = 2;
	f[53] = 1;
	f[54] = 134;
	f[60] = 7; /* router lifetime 1800 */
	f[61] = 8;
	f[70] = 3; /* prefix information */
	f[71] = 4;
	f[72] = 64;
	f[73] = 0xc0;
	f[76] = f[80] = 1; /* lifetimes 65536 s */
	f[75] = f[79] = 0;
	f[86] = 0x20;
	f[87] = 1;
	f[88] = 0x0d;
	f[89] = 0xb8;
	memcpy(&src, f + 22, 16);
	memcpy(&dst, f + 38, 16);
	sum = csum_fold(csum_add_bytes(f + 54, 48, csum_pseudo(&src, &dst, 58, 48)));
	memcpy(f + 56, &sum, 2);
	net_link_input_mem(w.end[0].link, f, sizeof(f));
	world_run(&w, 5 * SEC);
	far.s6_addr[0] = 0x2a;
	assert_int_equal(net_route_get(w.stack[0], AF_INET6, &far, NULL, 0, &got), 0);
	assert_true(got.has_gateway);
	assert_int_equal(got.gateway.s6_addr[15], 9);
	/* The source is the address made of the prefix and the link's address. */
	assert_int_equal(got.src.s6_addr[0], 0x20);
	assert_int_equal(got.src.s6_addr[11], 0xff);
	assert_int_equal(got.src.s6_addr[12], 0xfe);
	/* It does not outlive the router's lifetime. */
	world_run(&w, 1900 * SEC);
	assert_int_equal(net_route_get(w.stack[0], AF_INET6, &far, NULL, 0, &got), -ENETUNREACH);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(router_advertisement_configures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
