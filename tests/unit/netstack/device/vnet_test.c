/* virtio-net headers that lie: nothing that they say leads outside of the frame. */
#include "world.h"

#include <linux/virtio_net.h>

#include "netstack/device/link_fd_internal.h"

#define ROUNDS 200000

struct source {
	uint64_t state;
};

static uint32_t next(struct source *s)
{
	uint64_t z = s->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z >> 32;
}

/* Now and then what a good header would say, else anything. */
static uint16_t choose(struct source *s, uint16_t good)
{
	uint32_t r = next(s);

	return r & 1 ? good : r & 2 ? r >> 24 : r >> 16;
}

/* A frame that begins like TCP or UDP over IPv4 or IPv6, with some bytes wrong. */
static struct nbuf *make_frame(struct netstack *stack, struct source *s, bool v6, bool udp)
{
	uint32_t n = next(s) % 400 + 1, lin = next(s) & 1 ? n : next(s) % (n + 1);
	uint8_t f[400];
	struct nbuf *b;

	for (uint32_t i = 0; i < n; i++)
		f[i] = next(s);
	if (n > 60) {
		f[12] = v6 ? 0x86 : 0x08;
		f[13] = v6 ? 0xdd : 0x00;
		f[14] = v6 ? 0x60 : 0x45;
		f[v6 ? 20 : 23] = udp ? IPPROTO_UDP : IPPROTO_TCP;
		f[v6 ? 54 : 34] = 5;
		f[(v6 ? 54 : 34) + 6] &= 0x5f;
	}
	if (next(s) % 4 == 0)
		f[next(s) % n] = next(s);
	b = nbuf_alloc_stack(stack, 2, lin);
	assert_non_null(b);
	memcpy(nbuf_append(b, lin), f, lin);
	if (n > lin) {
		struct nmem *m = nmem_alloc(b->pool, n - lin);

		assert_non_null(m);
		memcpy(m->bytes, f + lin, n - lin);
		assert_int_equal(nbuf_add_frag(b, m, 0, n - lin), 0);
	}
	b->mac = b->data;
	b->has_mac = 1;
	return b;
}

static void check(const struct nbuf *b)
{
	if (b->csum == NBUF_CSUM_PARTIAL)
		assert_true(b->csum_start + b->csum_offset + 2u <= b->lin);
	if (b->gso) {
		assert_true(b->gso_size > 0);
		if (b->csum == NBUF_CSUM_PARTIAL)
			assert_int_equal(b->csum_offset, b->gso == NBUF_GSO_UDP ? 6 : 16);
	}
}

static void lying_headers_stay_inside_the_frame(void **state)
{
	static const uint8_t types[] = {0,
					VIRTIO_NET_HDR_GSO_TCPV4,
					VIRTIO_NET_HDR_GSO_TCPV6,
					VIRTIO_NET_HDR_GSO_UDP_L4,
					VIRTIO_NET_HDR_GSO_UDP,
					VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN};
	struct source s = {.state = 1};
	struct net_vclock *clock;
	unsigned cut = 0, whole = 0;
	struct net_env env;
	struct net_config c;
	struct netstack *stack;

	assert_int_equal(net_vclock_create(&env, 1, &clock), 0);
	c = (struct net_config){.env = env};
	assert_int_equal(netstack_create(&c, &stack), 0);
	for (int i = 0; i < ROUNDS; i++) {
		struct nbuf_queue out = STAILQ_HEAD_INITIALIZER(out);
		bool v6 = next(&s) & 1, udp = next(&s) & 1;
		struct nbuf *b = make_frame(stack, &s, v6, udp);
		struct virtio_net_hdr v = {
			.flags = next(&s) % 4,
			.gso_type = types[next(&s) % ARRAY_SIZE(types)],
			.gso_size = choose(&s, 50),
			.hdr_len = choose(&s, 54),
			.csum_start = choose(&s, v6 ? 54 : 34),
			.csum_offset = choose(&s, udp ? 6 : 16),
		};

		vnet_to_nbuf(b, &v);
		check(b);
		if (b->gso && gso_complete(b) == 0) {
			check(b);
			vnet_from_nbuf(&v, b);
			assert_int_equal(v.gso_size, b->gso_size);
			if (gso_segment(b, &out) == 0)
				cut++;
			nbuf_queue_purge(&out);
			continue;
		}
		vnet_from_nbuf(&v, b);
		if (nbuf_finish_csum(b) == 0)
			whole++;
		nbuf_put(b);
	}
	/* Enough of them were good that the other side of the checks was seen, too. */
	assert_true(cut > ROUNDS / 100 && whole > ROUNDS / 100);
	assert_int_equal(netstack_memory(stack, NULL), 0);
	netstack_destroy(stack);
	net_vclock_destroy(clock);
}

static void unfinished_checksum_is_found_without_a_header(void **state)
{
	struct tpacket_auxdata aux = {.tp_status = TP_STATUS_CSUMNOTREADY};
	struct source s = {.state = 2};
	struct net_vclock *clock;
	unsigned found = 0;
	struct net_env env;
	struct net_config c;
	struct netstack *stack;

	assert_int_equal(net_vclock_create(&env, 1, &clock), 0);
	c = (struct net_config){.env = env};
	assert_int_equal(netstack_create(&c, &stack), 0);
	for (int i = 0; i < ROUNDS; i++) {
		struct nbuf *b = make_frame(stack, &s, next(&s) & 1, next(&s) & 1);

		auxdata_to_nbuf(b, &aux);
		check(b);
		found += b->csum == NBUF_CSUM_PARTIAL;
		nbuf_put(b);
	}
	assert_true(found > ROUNDS / 4);
	assert_int_equal(netstack_memory(stack, NULL), 0);
	netstack_destroy(stack);
	net_vclock_destroy(clock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lying_headers_stay_inside_the_frame),
		cmocka_unit_test(unfinished_checksum_is_found_without_a_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
