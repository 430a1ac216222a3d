/* Links that move to other stacks, what many stacks share, and frames that go round in circles. */
#include <linux/if_ether.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <string.h>

#include "world.h"

static const struct net_link_config none;

static void up(struct net_link *l)
{
	assert_int_equal(net_link_set_flags(l, IFF_UP, IFF_UP), 0);
}

static struct net_link_info info_of(struct net_link *l)
{
	struct net_link_info i;

	net_link_info(l, &i);
	return i;
}

static void veth_end_moves_and_still_carries_frames(void **state)
{
	struct world w;
	struct net_link *a, *b, *moved;
	struct net_link_info was, is;

	world_init(&w, 1, 1500, 0);
	assert_int_equal(net_link_add_veth(w.stack[0], &none, &a, w.stack[0], &none, &b), 0);
	was = info_of(b);
	assert_int_equal(was.peer, info_of(a).index);
	assert_false(was.peer_away);
	assert_int_equal(net_link_move(b, w.stack[1], "there", &moved), 0);
	assert_null(net_link_by_index(w.stack[0], was.index));
	assert_ptr_equal(net_link_stack(moved), w.stack[1]);
	is = info_of(moved);
	assert_string_equal(is.name, "there");
	assert_memory_equal(is.addr, was.addr, 6);
	assert_int_equal(is.index, was.index);
	assert_int_equal(is.peer, info_of(a).index);
	assert_true(is.peer_away && info_of(a).peer_away);
	assert_int_equal(info_of(a).peer, is.index);
	up(a);
	up(moved);
	world_run(&w, 2 * SEC); /* DAD sends */
	assert_true(info_of(moved).stats.rx_packets > 0);
	assert_int_equal(net_link_move(b, w.stack[1], NULL, NULL), -ENODEV);
	/* The other end goes with it, wherever it is. */
	assert_int_equal(net_link_remove(moved), 0);
	assert_int_equal(net_link_remove(a), -ENODEV);
	net_link_put(a);
	net_link_put(b);
	net_link_put(moved);
	world_fini(&w);
}

static void move_says_why_not(void **state)
{
	struct world w;
	struct net_link *lo, *br, *dummy, *other, *moved;
	struct net_link_config c = {.name = "same"};

	world_init(&w, 1, 1500, 0);
	lo = net_link_by_name(w.stack[0], "lo");
	assert_int_equal(net_link_add_bridge(w.stack[0], &none, &br), 0);
	assert_int_equal(net_link_add_dummy(w.stack[0], &c, &dummy), 0);
	assert_int_equal(net_link_add_dummy(w.stack[1], &c, &other), 0);
	assert_int_equal(net_link_move(lo, w.stack[1], NULL, NULL), -EINVAL);
	assert_int_equal(net_link_move(br, w.stack[1], NULL, NULL), -EINVAL);
	assert_int_equal(net_link_move(w.end[0].link, w.stack[1], NULL, NULL), -EOPNOTSUPP);
	assert_int_equal(net_link_move(dummy, w.stack[1], NULL, NULL), -EEXIST);
	/* Of which nothing has been seen. */
	assert_int_equal(net_link_set_master(dummy, br), 0);
	assert_int_equal(net_link_move(dummy, w.stack[1], "same%d", &moved), 0);
	assert_string_equal(info_of(moved).name, "same0");
	assert_int_equal(info_of(moved).master, 0);
	assert_int_equal(net_link_set_master(dummy, br), -ENODEV);
	net_link_put(lo);
	net_link_put(br);
	net_link_put(dummy);
	net_link_put(other);
	net_link_put(moved);
	world_fini(&w);
}

/* A pair with both ends in one bridge: what is sent goes round for ever on Linux, too, but there
 * somebody else's work is not behind it. */
static void circles_end(void **state)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = 6};
	uint8_t frame[64] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5};
	struct world w;
	struct net_link *br, *end[4];
	struct net_ep *ep;

	world_init(&w, 1, 1500, 0);
	assert_int_equal(net_link_add_bridge(w.stack[0], &none, &br), 0);
	up(br);
	for (int i = 0; i < 4; i += 2) {
		assert_int_equal(net_link_add_veth(w.stack[0], &none, &end[i], w.stack[0], &none,
						   &end[i + 1]),
				 0);
		for (int k = i; k < i + 2; k++) {
			assert_int_equal(net_link_set_master(end[k], br), 0);
			up(end[k]);
		}
	}
	assert_int_equal(
		net_ep_create(w.stack[0], AF_PACKET, SOCK_RAW, htons(ETH_P_ALL), NULL, NULL, &ep),
		0);
	to.sll_ifindex = info_of(br).index;
	{
		struct iovec iov = {frame, sizeof(frame)};
		struct net_msg m = {.name = (struct sockaddr *)&to,
				    .namelen = sizeof(to),
				    .iov = &iov,
				    .iovcnt = 1};

		assert_int_equal(net_ep_sendmsg(ep, &m, 0), sizeof(frame));
	}
	assert_true(info_of(br).stats.rx_dropped + info_of(end[0]).stats.rx_dropped +
			    info_of(end[1]).stats.rx_dropped >
		    0);
	net_ep_close(ep);
	for (int i = 0; i < 4; i++)
		net_link_put(end[i]);
	net_link_put(br);
	world_fini(&w);
}

static void budget_bounds_links_of_all_stacks(void **state)
{
	struct net_budget budget = {.memory_limit = 1 << 20, .links_limit = 5};
	struct net_config c = {.budget = &budget};
	struct netstack *s[2];
	struct net_link *l;
	struct world w;

	world_init(&w, 1, 1500, 0);
	c.env = w.env;
	assert_int_equal(netstack_create(&c, &s[0]), 0);
	assert_int_equal(netstack_create(&c, &s[1]), 0);
	assert_int_equal(net_link_add_veth(s[0], &none, NULL, s[1], &none, NULL), 0);
	/* One of a pair would fit. */
	assert_int_equal(net_link_add_veth(s[0], &none, NULL, s[1], &none, NULL), -ENFILE);
	assert_int_equal(net_link_add_dummy(s[1], &none, &l), 0);
	assert_int_equal(net_link_add_dummy(s[1], &none, NULL), -ENFILE);
	assert_int_equal(net_link_remove(l), 0);
	net_link_put(l);
	assert_int_equal(budget.links, 4);
	netstack_destroy(s[0]);
	assert_int_equal(budget.links, 1); /* the loopback: the pair has gone with the first */
	netstack_destroy(s[1]);
	assert_int_equal(budget.links, 0);
	assert_int_equal(budget.memory, 0);
	world_fini(&w);
}

static void budget_bounds_memory_of_all_stacks(void **state)
{
	struct net_budget budget = {.memory_limit = 64 << 10, .links_limit = 100};
	struct net_config c = {.budget = &budget};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct netstack *s[3];
	struct net_ep *ep[3];
	int sent = 0, n = 0, r = 0;
	struct world w;
	char data[1000] = "";
	struct iovec iov = {data, sizeof(data)};
	struct net_msg m = {
		.name = (struct sockaddr *)&to, .namelen = sizeof(to), .iov = &iov, .iovcnt = 1};

	world_init(&w, 1, 1500, 0);
	c.env = w.env;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < 3; i++) {
		struct net_addr_info a = {.ifindex = 1, .family = AF_INET, .prefix = 8};
		struct net_link *lo;

		assert_int_equal(netstack_create(&c, &s[i]), 0);
		lo = net_link_by_index(s[i], 1);
		up(lo);
		net_link_put(lo);
		memcpy(&a.addr, &to.sin_addr, 4);
		net_addr_add(s[i], &a); /* which it may have given itself */
		assert_int_equal(net_ep_create(s[i], AF_INET, SOCK_DGRAM, 0, NULL, NULL, &ep[i]),
				 0);
		assert_int_equal(net_ep_bind(ep[i], (struct sockaddr *)&to, sizeof(to)), 0);
	}
	/* Nobody reads: what is on its way is kept until the budget is used up. */
	for (; n < 300 && r >= 0; n++) {
		r = (int)net_ep_sendmsg(ep[n % 3], &m, 0);
		sent += r > 0;
	}
	assert_true(n < 300 && sent < 64);
	assert_true(budget.memory <= budget.memory_limit);
	for (int i = 0; i < 3; i++) {
		net_ep_close(ep[i]);
		netstack_destroy(s[i]);
	}
	assert_int_equal(budget.memory, 0);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(veth_end_moves_and_still_carries_frames),
		cmocka_unit_test(move_says_why_not),
		cmocka_unit_test(circles_end),
		cmocka_unit_test(budget_bounds_links_of_all_stacks),
		cmocka_unit_test(budget_bounds_memory_of_all_stacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
