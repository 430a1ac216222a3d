/* Neighbours: what they are not told, and what becomes of packets to those that do not answer. */
#include "world.h"

#include <linux/neighbour.h>
#include <netinet/in.h>

#include "netstack/buffer/checksum.h"

static const uint8_t attacker[6] = {2, 0, 0, 0, 0, 0x66};

struct find {
	struct in6_addr addr;
	int family;
	struct net_neigh_info found;
	bool hit;
};

static int find_neigh(void *arg, const struct net_neigh_info *i)
{
	struct find *f = arg;

	if (i->family == f->family && !memcmp(&i->addr, &f->addr, 16)) {
		f->found = *i;
		f->hit = true;
	}
	return 0;
}

static bool neighbour(struct netstack *s, int family, int host, struct net_neigh_info *out)
{
	struct find f = {.family = family};

	if (family == AF_INET) {
		uint8_t v4[4] = {10, 0, 0, host};

		memcpy(&f.addr, v4, 4);
	} else {
		f.addr.s6_addr[0] = 0xfd;
		f.addr.s6_addr[15] = host;
	}
	net_neigh_each(s, find_neigh, &f);
	*out = f.found;
	return f.hit;
}

static void arp_frame(uint8_t *f, int op, const uint8_t *mac, int host, int target)
{
	memset(f, 0, 42);
	memset(f, 0xff, 6);
	memcpy(f + 6, mac, 6);
	f[12] = 8;
	f[13] = 6;
	f[15] = 1;
	f[16] = 8;
	f[18] = 6;
	f[19] = 4;
	f[21] = op;
	memcpy(f + 22, mac, 6);
	f[28] = f[38] = 10;
	f[31] = host;
	f[41] = target;
}

static void arp_poisoning_is_refused(void **st)
{
	struct net_neigh_info n;
	struct world w;
	struct net_ep *a;
	uint8_t f[42], real[6] = {2, 0, 0, 0, 0, 2};

	world_init(&w, 1, 1500, 0);
	world_run(&w, SEC);
	a = world_udp(&w, 0, AF_INET, 1000);
	/* An answer that nobody asked for makes no entry. */
	arp_frame(f, 2, attacker, 2, 1);
	net_link_input_mem(w.end[0].link, f, 42);
	assert_false(neighbour(w.stack[0], AF_INET, 2, &n));
	ep_send_to(a, AF_INET, 1, 9, "x", 1);
	world_run(&w, SEC);
	assert_true(neighbour(w.stack[0], AF_INET, 2, &n));
	assert_memory_equal(n.lladdr, real, 6);
	assert_int_equal(n.state, NUD_REACHABLE);
	/* Nor does one, a request or a gratuitous one replace an address that works. */
	for (int op = 1; op <= 2; op++)
		for (int target = 1; target <= 2; target++) {
			arp_frame(f, op, attacker, 2, target);
			net_link_input_mem(w.end[0].link, f, 42);
			neighbour(w.stack[0], AF_INET, 2, &n);
			assert_memory_equal(n.lladdr, real, 6);
			world_run(&w, 3 * SEC);
			neighbour(w.stack[0], AF_INET, 2, &n);
			assert_memory_equal(n.lladdr, real, 6);
		}
	/* A sender that claims our own address is not believed. */
	arp_frame(f, 1, attacker, 1, 1);
	net_link_input_mem(w.end[0].link, f, 42);
	assert_false(neighbour(w.stack[0], AF_INET, 1, &n));
	net_ep_close(a);
	world_fini(&w);
}

static void ndp_poisoning_is_refused(void **st)
{
	struct net_neigh_info n;
	struct world w;
	struct net_ep *a;
	uint8_t f[86] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0x66, 0x86, 0xdd, 0x60};
	uint8_t real[6] = {2, 0, 0, 0, 0, 2};
	struct in6_addr src, dst;
	uint16_t sum;

	world_init(&w, 1, 1500, 0);
	world_run(&w, 5 * SEC);
	a = world_udp(&w, 0, AF_INET6, 1000);
	ep_send_to(a, AF_INET6, 1, 9, "x", 1);
	world_run(&w, SEC);
	assert_true(neighbour(w.stack[0], AF_INET6, 2, &n));
	assert_memory_equal(n.lladdr, real, 6);
	/* Neighbour advertisement for fd00::2 with Override and Solicited. */
	f[19] = 32;
	f[20] = 58;
	f[21] = 255;
	f[22] = f[38] = 0xfd;
	f[37] = 2;
	f[53] = 1;
	f[54] = 136;
	f[58] = 0x60;
	memcpy(f + 62, f + 22, 16);
	f[78] = 2;
	f[79] = 1;
	memcpy(f + 80, attacker, 6);
	memcpy(&src, f + 22, 16);
	memcpy(&dst, f + 38, 16);
	sum = csum_fold(csum_add_bytes(f + 54, 32, csum_pseudo(&src, &dst, 58, 32)));
	memcpy(f + 56, &sum, 2);
	net_link_input_mem(w.end[0].link, f, 86);
	world_run(&w, 3 * SEC);
	neighbour(w.stack[0], AF_INET6, 2, &n);
	assert_memory_equal(n.lladdr, real, 6);
	/* And from off the link (hop limit below 255) it is not looked at. */
	f[21] = 254;
	net_link_input_mem(w.end[0].link, f, 86);
	assert_true(stack_counter(w.stack[0], "Nd.Ignored") > 0);
	net_ep_close(a);
	world_fini(&w);
}

static void unresolved_neighbour_fails_with_ehostunreach(void **st)
{
	struct world w;
	struct net_ep *a;
	struct sockaddr_storage to;
	socklen_t n = world_addr(AF_INET, 1, 9, &to);
	char c;

	world_init(&w, 1, 1500, 0);
	((struct sockaddr_in *)&to)->sin_addr.s_addr = htonl(0x0a000063);
	a = world_udp(&w, 0, AF_INET, 1000);
	ep_option(a, IPPROTO_IP, IP_RECVERR, 1);
	assert_int_equal(net_ep_connect(a, (struct sockaddr *)&to, n), 0);
	assert_int_equal(ep_send(a, "x", 1), 1);
	world_run(&w, 5 * SEC);
	assert_int_equal(ep_recv(a, &c, 1), -EHOSTUNREACH);
	net_ep_close(a);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arp_poisoning_is_refused),
		cmocka_unit_test(ndp_poisoning_is_refused),
		cmocka_unit_test(unresolved_neighbour_fails_with_ehostunreach),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
