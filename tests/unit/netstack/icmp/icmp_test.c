/* ICMP errors that the stack sends. */
#include "world.h"

#include <netinet/in.h>

static void icmp_errors_are_rate_limited(void **st)
{
	struct world w;
	struct net_ep *a;

	world_init(&w, 1, 1500, 0);
	a = world_udp(&w, 0, AF_INET, 1000);
	ep_send_to(a, AF_INET, 1, 9, "x", 1);
	world_run(&w, SEC);
	for (int i = 0; i < 500; i++)
		ep_send_to(a, AF_INET, 1, 9, "x", 1);
	world_run(&w, 10 * MS);
	assert_true(stack_counter(w.stack[1], "Icmp.OutMsgs") < 80);
	assert_true(stack_counter(w.stack[1], "Icmp.OutRateLimited") > 400);
	net_ep_close(a);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(icmp_errors_are_rate_limited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
