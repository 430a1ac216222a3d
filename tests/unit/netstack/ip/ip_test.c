/* IP: reassembly, addresses that no packet may have, flow labels. */
#include "world.h"

#include <netinet/in.h>

#include "netstack/buffer/checksum.h"

/* A UDP fragment: offset and length in bytes. */
static void fragment(struct world *w, int off, int len, bool more, int id)
{
	uint8_t f[1600] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45};
	uint16_t sum;

	f[16] = (20 + len) >> 8;
	f[17] = 20 + len;
	f[19] = id;
	f[20] = (off / 8) >> 8 | (more ? 0x20 : 0);
	f[21] = off / 8;
	f[22] = 64;
	f[23] = 17;
	f[26] = f[30] = 10;
	f[29] = 1;
	f[33] = 2;
	sum = csum_fold(csum_add_bytes(f + 14, 20, 0));
	memcpy(f + 24, &sum, 2);
	if (off == 0) {
		f[34] = 0x10;
		f[36] = 7;
		f[37] = 0xd0; /* 2000 */
		f[38] = 0;
		f[39] = 64;
	}
	net_link_input_mem(w->end[1].link, f, 34 + len);
}

static void overlapping_fragments_are_dropped(void **st)
{
	struct world w;
	struct net_ep *b;
	char buf[100];

	world_init(&w, 1, 1500, 0);
	b = world_udp(&w, 1, AF_INET, 2000);
	fragment(&w, 0, 32, true, 1);
	fragment(&w, 32, 32, false, 1);
	assert_int_equal(ep_recv(b, buf, 100), 56);
	/* An exact duplicate does no harm. */
	fragment(&w, 0, 32, true, 2);
	fragment(&w, 0, 32, true, 2);
	fragment(&w, 32, 32, false, 2);
	assert_int_equal(ep_recv(b, buf, 100), 56);
	/* Teardrop: the second lies inside the first. */
	fragment(&w, 0, 40, true, 3);
	fragment(&w, 24, 8, false, 3);
	assert_int_equal(ep_recv(b, buf, 100), -EAGAIN);
	/* Overlap of one block. */
	fragment(&w, 0, 40, true, 4);
	fragment(&w, 32, 32, false, 4);
	assert_int_equal(ep_recv(b, buf, 100), -EAGAIN);
	/* Rose: only the last fragments of many datagrams, and ones beyond 64 KiB. */
	for (int i = 0; i < 3000; i++)
		fragment(&w, 65000, 1000, false, i);
	assert_true(netstack_memory(w.stack[1], NULL) < 8 << 20);
	world_run(&w, 61 * SEC);
	assert_true(netstack_memory(w.stack[1], NULL) < 1 << 16);
	net_ep_close(b);
	world_fini(&w);
}

static void incomplete_datagram_times_out_with_icmp(void **st)
{
	struct world w;
	struct net_ep *b;

	world_init(&w, 1, 1500, 0);
	b = world_udp(&w, 1, AF_INET, 2000);
	fragment(&w, 0, 32, true, 1);
	world_run(&w, 29 * SEC);
	assert_int_equal(stack_counter(w.stack[1], "Ip.ReasmTimeout"), 0);
	world_run(&w, 2 * SEC);
	assert_int_equal(stack_counter(w.stack[1], "Ip.ReasmTimeout"), 1);
	assert_int_equal(stack_counter(w.stack[0], "Icmp.InMsgs"), 1);
	net_ep_close(b);
	world_fini(&w);
}

static void martians_are_dropped(void **st)
{
	uint8_t f[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 28};
	static const uint8_t bad[][4] = {{127, 0, 0, 1},
					 {224, 0, 0, 1},
					 {255, 255, 255, 255},
					 {10, 0, 0, 1},
					 {10, 0, 0, 255}};
	struct world w;
	uint16_t sum;

	world_init(&w, 1, 1500, 0);
	for (size_t i = 0; i < sizeof(bad) / 4; i++) {
		f[22] = 64;
		f[23] = 17;
		f[24] = f[25] = 0;
		memcpy(f + 26, bad[i], 4);
		memcpy(f + 30, "\x0a\0\0\1", 4);
		sum = csum_fold(csum_add_bytes(f + 14, 20, 0));
		memcpy(f + 24, &sum, 2);
		net_link_input_mem(w.end[0].link, f, 42);
		assert_int_equal(stack_counter(w.stack[0], "Ip.InAddrErrors"), i + 1);
	}
	world_fini(&w);
}

struct labels {
	uint8_t protocol;
	unsigned frames;
	uint32_t label;
	bool differ;
};

static bool note_label(void *arg, int side, const uint8_t *frame, size_t len)
{
	struct labels *l = arg;
	uint32_t label;

	if (side || len < 54 || frame[12] != 0x86 || frame[13] != 0xdd || frame[20] != l->protocol)
		return false;
	memcpy(&label, frame + 14, 4);
	label = ntohl(label) & 0xfffff;
	l->differ |= l->frames && label != l->label;
	l->label = label;
	l->frames++;
	return false;
}

/* RFC 6437: one label for a flow, another for another, none if the application says so. */
static void ip6_flows_have_labels(void **state)
{
	struct labels l[3] = {
		{.protocol = IPPROTO_TCP}, {.protocol = IPPROTO_TCP}, {.protocol = IPPROTO_UDP}};
	struct net_ep *client, *server, *u, *sink;
	struct world w;

	world_init(&w, 1, 1500, 0);
	w.hook = note_label;
	for (int i = 0; i < 2; i++) {
		w.hook_arg = &l[i];
		world_connect(&w, AF_INET6, 700 + i, &client, &server);
		world_transfer(&w, client, server, 20000);
		assert_true(l[i].frames > 10);
		assert_false(l[i].differ);
		assert_int_not_equal(l[i].label, 0);
		net_ep_close(server);
		net_ep_close(client);
		world_run(&w, 2 * SEC);
	}
	assert_int_not_equal(l[0].label, l[1].label);
	w.hook_arg = &l[2];
	u = world_udp(&w, 0, AF_INET6, 800);
	sink = world_udp(&w, 1, AF_INET6, 801);
	assert_true(ep_send_to(u, AF_INET6, 1, 801, "x", 1) > 0);
	world_run(&w, SEC);
	assert_int_equal(l[2].frames, 1);
	assert_int_not_equal(l[2].label, 0);
	assert_int_equal(ep_option(u, IPPROTO_IPV6, 70 /* IPV6_AUTOFLOWLABEL */, 0), 0);
	assert_true(ep_send_to(u, AF_INET6, 1, 801, "x", 1) > 0);
	world_run(&w, SEC);
	assert_int_equal(l[2].frames, 2);
	assert_int_equal(l[2].label, 0);
	net_ep_close(u);
	net_ep_close(sink);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(overlapping_fragments_are_dropped),
		cmocka_unit_test(incomplete_datagram_times_out_with_icmp),
		cmocka_unit_test(martians_are_dropped),
		cmocka_unit_test(ip6_flows_have_labels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
