/* Software receive merging: what becomes one packet, and what must not. */
#include "world.h"

#include <netinet/in.h>
#include <stdlib.h>

#include "netstack/buffer/checksum.h"
#include "netstack/link/link.h"

#define DATA 100

static struct npool *pool;

static void *alloc(void *ctx, size_t n)
{
	return malloc(n);
}

static void release(void *ctx, void *p)
{
	free(p);
}

static int setup(void **st)
{
	return npool_create(alloc, release, NULL, 1 << 20, &pool);
}

static int teardown(void **st)
{
	int left = npool_used(pool, NULL) != 0;

	npool_put(pool);
	return left;
}

/* A TCP segment of DATA bytes, the n-th of its flow, as a device that checks sums gives it. */
static struct nbuf *segment(unsigned n)
{
	struct nbuf *b = nbuf_alloc(pool, 2, 14 + 40 + DATA);
	uint8_t *p = nbuf_append(b, 14 + 40 + DATA);
	uint16_t len = htons(40 + DATA), sum;

	memset(p, 0, 14 + 40);
	memcpy(p, (uint8_t[]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45}, 15);
	memcpy(p + 16, &len, 2);
	p[22] = 64;
	p[23] = IPPROTO_TCP;
	memcpy(p + 26, (uint8_t[]){10, 0, 0, 2, 10, 0, 0, 1}, 8);
	sum = csum_fold(csum_add_bytes(p + 14, 20, 0));
	memcpy(p + 24, &sum, 2);
	memcpy(p + 34, (uint8_t[]){0x9c, 0x40, 0, 80, 0, 0, n * DATA >> 8, n * DATA}, 8);
	p[46] = 5 << 4;
	p[47] = 0x10;
	memset(p + 54, 'a' + n, DATA);
	b->csum = NBUF_CSUM_OK;
	return b;
}

/* Merges the two; returns how many packets are left, and frees them. */
static unsigned merged(struct nbuf *a, struct nbuf *b)
{
	struct nbuf_queue q = STAILQ_HEAD_INITIALIZER(q);
	struct nbuf *first;
	unsigned n = 0;

	STAILQ_INSERT_TAIL(&q, a, next);
	STAILQ_INSERT_TAIL(&q, b, next);
	gro_batch(NULL, &q);
	first = STAILQ_FIRST(&q);
	STAILQ_FOREACH(b, &q, next)
	n++;
	if (n == 1) {
		uint8_t last;

		assert_int_equal(first->len, 14 + 40 + 2 * DATA);
		assert_int_equal(first->gso_size, DATA);
		assert_int_equal(first->data[16] << 8 | first->data[17], 40 + 2 * DATA);
		nbuf_read(first, first->len - 1, &last, 1);
		assert_int_equal(last, 'b');
	}
	nbuf_queue_purge(&q);
	return n;
}

static void consecutive_segments_become_one(void **st)
{
	assert_int_equal(merged(segment(0), segment(1)), 1);
}

static void gaps_stay(void **st)
{
	assert_int_equal(merged(segment(0), segment(2)), 2);
	assert_int_equal(merged(segment(1), segment(0)), 2);
}

static void other_link_addresses_are_another_flow(void **st)
{
	struct nbuf *b = segment(1);

	b->data[11] ^= 1; /* source */
	assert_int_equal(merged(segment(0), b), 2);
	b = segment(1);
	b->data[5] ^= 1; /* destination */
	assert_int_equal(merged(segment(0), b), 2);
}

static void other_vlans_are_another_flow(void **st)
{
	struct nbuf *a = segment(0), *b = segment(1);

	b->has_vlan = 1;
	b->vlan_tci = 5;
	assert_int_equal(merged(a, b), 2);
	a = segment(0);
	b = segment(1);
	a->has_vlan = b->has_vlan = 1;
	a->vlan_tci = 5;
	b->vlan_tci = 6;
	assert_int_equal(merged(a, b), 2);
	a = segment(0);
	b = segment(1);
	a->has_vlan = b->has_vlan = 1;
	a->vlan_tci = b->vlan_tci = 5;
	assert_int_equal(merged(a, b), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(consecutive_segments_become_one, setup, teardown),
		cmocka_unit_test_setup_teardown(gaps_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(other_link_addresses_are_another_flow, setup,
						teardown),
		cmocka_unit_test_setup_teardown(other_vlans_are_another_flow, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
