/* Random sequences of what a guest sends and the world answers, near what a policy lets through,
 * with a judge that looks at what leaves. EGRESS_SEQUENCES=1000000 for a long run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "egress_oracle.h"

static uint64_t seed;

static unsigned below(unsigned n)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (unsigned)((z ^ (z >> 31)) % n);
}

/* Things that are let through, or nearly so; the first byte says which kind of step they are for.
 */
static const struct {
	uint8_t kind, n;
	const char *bytes;
} near[] = {
	/* to 192.0.2.1 port 9: whole, a first fragment, a later one */
	{1, 32, "\x45\0\0\x20\0\1\0\0\x40\x11\0\0\12\0\0\1\300\0\2\1\4\127\0\11\0\14\0\0SECR"},
	{1, 32, "\x45\0\0\x20\0\1\x20\0\x40\x11\0\0\12\0\0\1\300\0\2\1\4\127\0\11\0\14\0\0SECR"},
	{1, 32, "\x45\0\0\x20\0\1\0\1\x40\x11\0\0\12\0\0\1\300\0\2\1SECRETSECRET"},
	/* with options: a record of the route, a source route */
	{1, 40,
	 "\x47\0\0\x28\0\1\0\0\x40\x11\0\0\12\0\0\1\300\0\2\1\7\7\4\0\0\0\0\0\4\127\0\11\0\14\0\0SE"
	 "CR"},
	{1, 40,
	 "\x47\0\0\x28\0\1\0\0\x40\x11\0\0\12\0\0\1\300\0\2\1\203\7\4\12\0\0\2\0\4\127\0\11\0\14\0"
	 "\0SECR"},
	/* TCP to 192.0.2.80 port 443: a connection's first segment, and another */
	{1, 40,
	 "\x45\0\0\x28\0\1\0\0\x40\x06\0\0\12\0\0\1\300\0\2\120\4\127\1\273\0\0\0\1\0\0\0\0\x50\2\0"
	 "\0\0\0\0\0"},
	{1, 40,
	 "\x45\0\0\x28\0\1\0\0\x40\x06\0\0\12\0\0\1\300\0\2\120\4\127\1\273\0\0\0\1\0\0\0\0\x50\x10"
	 "\0\0\0\0\0\0"},
	/* IGMP, neighbour discovery, group reports, headers that lead elsewhere */
	{1, 28, "\x45\0\0\x1c\0\1\0\0\1\2\0\0\12\0\0\1\340\0\0\26\x16\0\0\0\0\0\0\0"},
	{2, 64,
	 "\x60\0\0\0\0\x18\x3a\xff\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\1\xff\2\0\0\0\0\0\0\0\0\0\1"
	 "\xff\0\0\2\x87\0\0\0\0\0\0\0\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\2"},
	{2, 64,
	 "\x60\0\0\0\0\x18\x2b\xff\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\1\xff\2\0\0\0\0\0\0\0\0\0\1"
	 "\xff\0\0\2\x3a\0\0\0\0\0\0\0\x87\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2"},
	{2, 64,
	 "\x60\0\0\0\0\x18\x2c\xff\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\1\xff\2\0\0\0\0\0\0\0\0\0\1"
	 "\xff\0\0\2\x3a\0\0\1\0\0\0\0\x87\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2"},
	/* the question, and its answer */
	{3, 33, "\x12\x34\1\0\0\1\0\0\0\0\0\0\3www\7example\3org\0\0\1\0\1"},
	{3, 33, "\x12\x34\1\0\0\1\0\0\0\0\0\0\3www\7example\3net\0\0\1\0\1"},
	{4, 49,
	 "\x12\x34\x81\x80\0\1\0\1\0\0\0\0\3www\7example\3org\0\0\1\0\1\xc0\x0c\0\1\0\1\0\0\0\x3c\0"
	 "\4\300\0\2\120"},
	{5, 0, ""},
	{0, 42,
	 "\2\0\0\0\0\2\2\0\0\0\0\1\x08\6\0\1\x08\0\6\4\0\1\2\0\0\0\0\1\12\0\0\1\0\0\0\0\0\0\12\0\0"
	 "\2"},
	{0, 18, "\2\0\0\0\0\2\2\0\0\0\0\1\x81\0\0\1\x08\0"},
};

static size_t add_step(uint8_t *at, size_t room)
{
	unsigned i = below(sizeof(near) / sizeof(*near));
	size_t n = near[i].n;

	if (room < n + 2)
		return 0;
	at[0] = near[i].kind;
	memcpy(at + 2, near[i].bytes, n);
	if (near[i].kind == 5)
		n = below(room - 2 < 255 ? (unsigned)room - 1 : 255);
	/* Most of them a little wrong, some cut, some longer. */
	for (unsigned k = below(4); n && k; k--)
		at[2 + below((unsigned)n)] =
			below(3) ? (uint8_t)(1u << below(8)) : (uint8_t)below(256);
	if (!below(8))
		n = n ? below((unsigned)n) : 0;
	at[1] = (uint8_t)n;
	return n + 2;
}

static void nothing_leaves_that_the_policy_does_not_allow(void **st)
{
	const char *text = getenv("EGRESS_SEQUENCES");
	unsigned long sequences = text ? strtoul(text, NULL, 10) : 3000;

	for (unsigned long i = 0; i < sequences; i++) {
		uint8_t data[1024];
		size_t n = 0, step;

		seed = i;
		while ((step = add_step(data + n, sizeof(data) - n)))
			n += step;
		egress_play(data, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_leaves_that_the_policy_does_not_allow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
