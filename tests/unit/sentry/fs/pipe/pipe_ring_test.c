/* The byte ring under pipes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/pipe/ring_internal.h"

static ssize_t put(struct pipe_ring *r, const void *buf, uint32_t n, bool packet)
{
	struct iov_iter it;

	iov_iter_kernel(&it, (void *)(uintptr_t)buf, n);
	return pipe_ring_write(r, &it, n, packet);
}

static ssize_t get(struct pipe_ring *r, void *buf, uint32_t n)
{
	struct iov_iter it;

	iov_iter_kernel(&it, buf, n);
	return pipe_ring_read(r, &it);
}

static void ring_allocates_nothing_before_the_first_write(void **state)
{
	struct pipe_ring r;
	long before = pipe_ring_total();

	(void)state;
	pipe_ring_init(&r, 65536, NULL, false);
	assert_int_equal(pipe_ring_total(), before);
	assert_int_equal(pipe_ring_space(&r), 65536);
	assert_int_equal(put(&r, "x", 1, false), 1);
	assert_int_equal(pipe_ring_total(), before + 4096);
	pipe_ring_destroy(&r);
	assert_int_equal(pipe_ring_total(), before);
}

static void ring_keeps_bytes_in_order_while_it_grows_and_wraps(void **state)
{
	static char in[3000], out[3000];
	unsigned char next_in = 0, next_out = 0;
	struct pipe_ring r;
	size_t level = 0;

	(void)state;
	srand(1);
	pipe_ring_init(&r, 65536, NULL, false);
	for (int step = 0; step < 20000; step++) {
		uint32_t n = (uint32_t)rand() % sizeof(in);

		if (rand() % 100 < (step / 2000 % 2 ? 40 : 60)) {
			n = n > pipe_ring_space(&r) ? pipe_ring_space(&r) : n;
			for (uint32_t i = 0; i < n; i++)
				in[i] = (char)next_in++;
			if (n)
				assert_int_equal(put(&r, in, n, false), n);
			level += n;
		} else {
			ssize_t got = n ? get(&r, out, n) : 0;

			assert_int_equal(got, n < level ? n : level);
			for (ssize_t i = 0; i < got; i++)
				assert_int_equal((unsigned char)out[i], next_out++);
			level -= (size_t)got;
		}
		assert_int_equal(pipe_ring_used(&r), level);
	}
	pipe_ring_destroy(&r);
}

static void packets_end_reads_and_lose_their_rest(void **state)
{
	struct pipe_ring r;
	char buf[64];

	(void)state;
	pipe_ring_init(&r, 65536, NULL, false);
	put(&r, "stream", 6, false);
	put(&r, "packet", 6, true);
	put(&r, "second", 6, true);
	put(&r, "tail", 4, false);
	/* A read goes from stream bytes on into a packet, and ends there. */
	assert_int_equal(get(&r, buf, 8), 8);
	assert_memory_equal(buf, "streampa", 8);
	assert_int_equal(get(&r, buf, 64), 6);
	assert_memory_equal(buf, "second", 6);
	assert_int_equal(get(&r, buf, 64), 4);
	assert_int_equal(pipe_ring_used(&r), 0);
	/* As many packets as there are pages. */
	for (int i = 0; i < 16; i++)
		assert_int_equal(put(&r, "p", 1, true), 1);
	assert_int_equal(pipe_ring_space(&r), 0);
	assert_int_equal(get(&r, buf, 64), 1);
	assert_true(pipe_ring_space(&r) > 0);
	pipe_ring_destroy(&r);
}

static void resize_keeps_content_or_refuses(void **state)
{
	static char buf[20000], out[20000];
	struct pipe_ring r;

	(void)state;
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (char)(i * 31);
	pipe_ring_init(&r, 65536, NULL, false);
	put(&r, buf, 10000, false);
	get(&r, out, 9000);
	put(&r, buf, 9000, false); /* wraps */
	assert_int_equal(pipe_ring_resize(&r, 4096), -EBUSY);
	assert_int_equal(pipe_ring_resize(&r, 16384), 0);
	assert_int_equal(pipe_ring_space(&r), 16384 - 10000);
	assert_int_equal(get(&r, out, 20000), 10000);
	assert_memory_equal(out, buf + 9000, 1000);
	assert_memory_equal(out + 1000, buf, 9000);
	assert_int_equal(pipe_ring_resize(&r, 4096), 0);
	assert_int_equal(pipe_ring_space(&r), 4096);
	pipe_ring_destroy(&r);
}

static void peek_does_not_consume(void **state)
{
	struct pipe_ring r;
	char buf[16];

	(void)state;
	pipe_ring_init(&r, 4096, NULL, false);
	put(&r, "abcdef", 6, false);
	assert_int_equal(pipe_ring_peek(&r, 2, buf, 16), 4);
	assert_memory_equal(buf, "cdef", 4);
	assert_int_equal(pipe_ring_peek(&r, 6, buf, 16), 0);
	pipe_ring_consume(&r, 4);
	assert_int_equal(get(&r, buf, 16), 2);
	assert_memory_equal(buf, "ef", 2);
	pipe_ring_destroy(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring_allocates_nothing_before_the_first_write),
		cmocka_unit_test(ring_keeps_bytes_in_order_while_it_grows_and_wraps),
		cmocka_unit_test(packets_end_reads_and_lose_their_rest),
		cmocka_unit_test(resize_keeps_content_or_refuses),
		cmocka_unit_test(peek_does_not_consume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
