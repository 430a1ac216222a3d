/* IGMP and MLD: what reports say when joining, leaving, filtering sources, when asked, and to whom
 * older versions are spoken. RFC 1112, 2236, 2710, 3376, 3810. */
#include "world.h"

#include <net/if.h>
#include <netinet/in.h>

#include "netstack/buffer/checksum.h"

#define MAX_SEEN 64

enum { IS_IN = 1, IS_EX, TO_IN, TO_EX, ALLOW, BLOCK };

/* A report that side 0 has sent. */
struct seen {
	int64_t at;
	uint8_t type, record;
	uint8_t group, dst; /* last bytes of the addresses */
	unsigned n;
	uint8_t sources[8]; /* last bytes */
};

struct listener {
	struct world w;
	struct seen seen[MAX_SEEN];
	unsigned n;
	unsigned want_first; /* the groups of the tests: 10 and up; others are the stack's own */
};

static void see_igmp(struct listener *t, const uint8_t *f)
{
	const uint8_t *ip = f + 14, *p = ip + (ip[0] & 15) * 4;
	size_t len = (ip[2] << 8 | ip[3]) - (size_t)(p - ip);
	struct seen *s = &t->seen[t->n];

	/* RFC 3376 §4: TTL 1, Router Alert, a right checksum, the group's Ethernet address. */
	assert_int_equal(ip[8], 1);
	assert_int_equal(ip[0] & 15, 6);
	assert_memory_equal(ip + 20, "\x94\x04\0\0", 4);
	assert_int_equal(csum_fold(csum_add_bytes(p, len, 0)), 0);
	assert_memory_equal(f, "\x01\0\x5e", 3);
	*s = (struct seen){.at = world_now(&t->w), .type = p[0], .dst = ip[19]};
	if (p[0] == 0x22) {
		assert_int_equal(p[7], 1);
		s->record = p[8];
		s->n = p[10] << 8 | p[11];
		s->group = p[15];
		assert_int_equal(len, 16 + 4 * s->n);
		for (unsigned i = 0; i < s->n && i < 8; i++)
			s->sources[i] = p[16 + 4 * i + 3];
	} else {
		assert_int_equal(len, 8);
		s->group = p[7];
	}
	t->n++;
}

static void see_mld(struct listener *t, const uint8_t *f)
{
	const uint8_t *ip = f + 14, *p = ip + 48;
	size_t len = (ip[4] << 8 | ip[5]) - 8u;
	struct seen *s = &t->seen[t->n];

	/* RFC 3810 §5: hop limit 1, Router Alert in a hop-by-hop header, from a link-local address.
	 */
	if (ip[6] != 0 || ip[40] != IPPROTO_ICMPV6 || (p[0] != 143 && p[0] != 131 && p[0] != 132))
		return;
	assert_int_equal(ip[7], 1);
	assert_memory_equal(ip + 42, "\x05\x02\0\0", 4);
	assert_memory_equal(f, "\x33\x33", 2);
	*s = (struct seen){.at = world_now(&t->w), .type = p[0], .dst = ip[39]};
	if (p[0] == 143) {
		assert_int_equal(p[7], 1);
		s->record = p[8];
		s->n = p[10] << 8 | p[11];
		s->group = p[27];
		assert_int_equal(len, 28 + 16 * s->n);
		for (unsigned i = 0; i < s->n && i < 8; i++)
			s->sources[i] = p[28 + 16 * i + 15];
		if (p[12 + 11] == 1 && p[12 + 12] == 0xff)
			return; /* a solicited-node group */
	} else {
		assert_int_equal(len, 24);
		s->group = p[23];
		if (p[8 + 11] == 1 && p[8 + 12] == 0xff)
			return;
	}
	assert_int_equal(ip[8], 0xfe);
	t->n++;
}

static bool see(void *arg, int side, const uint8_t *f, size_t len)
{
	struct listener *t = arg;

	if (side == 0 && t->n < MAX_SEEN) {
		if (f[12] == 8 && f[13] == 0 && f[23] == IPPROTO_IGMP)
			see_igmp(t, f);
		else if (f[12] == 0x86 && f[13] == 0xdd && len >= 14 + 48 + 24)
			see_mld(t, f);
	}
	return false;
}

static void start(struct listener *t)
{
	memset(t, 0, sizeof(*t));
	world_init(&t->w, 1, 1500, 0);
	world_run(&t->w, 10 * SEC);
	t->w.hook = see;
	t->w.hook_arg = t;
}

/* The group's reports since the last call: takes the next one. */
static struct seen *next(struct listener *t, unsigned *i, uint8_t group)
{
	for (; *i < t->n; (*i)++)
		if (t->seen[*i].group == group)
			return &t->seen[(*i)++];
	return NULL;
}

static void expect(struct listener *t, unsigned *i, uint8_t group, uint8_t type, uint8_t record,
		   const char *sources)
{
	struct seen *s = next(t, i, group);
	unsigned n = strlen(sources);

	assert_non_null(s);
	assert_int_equal(s->type, type);
	assert_int_equal(s->record, record);
	assert_int_equal(s->n, n);
	for (unsigned k = 0; k < n; k++) /* in any order */
		assert_non_null(memchr(s->sources, sources[k], n));
}

static void expect_nothing(struct listener *t, unsigned *i, uint8_t group)
{
	assert_null(next(t, i, group));
}

static struct sockaddr_storage address(int family, uint8_t last, bool group)
{
	struct sockaddr_storage a = {.ss_family = family};
	struct sockaddr_in *in = (struct sockaddr_in *)&a;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a;

	if (family == AF_INET) {
		in->sin_addr.s_addr = htonl((group ? 0xe8010100 : 0xc0000200) | last);
	} else {
		in6->sin6_addr.s6_addr[0] = group ? 0xff : 0x20;
		in6->sin6_addr.s6_addr[1] = group ? 0x3e : 0x01;
		in6->sin6_addr.s6_addr[15] = last;
	}
	return a;
}

static int member(struct net_ep *ep, int family, int option, uint8_t group, uint8_t source)
{
	int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	struct group_source_req sr = {.gsr_interface = 2};
	struct group_req r = {.gr_interface = 2};

	if (option == MCAST_JOIN_GROUP || option == MCAST_LEAVE_GROUP) {
		r.gr_group = address(family, group, true);
		return net_ep_setsockopt(ep, level, option, &r, sizeof(r));
	}
	sr.gsr_group = address(family, group, true);
	sr.gsr_source = address(family, source, false);
	return net_ep_setsockopt(ep, level, option, &sr, sizeof(sr));
}

static struct net_ep *listener_ep(struct listener *t, int family)
{
	struct net_ep *ep;

	assert_int_equal(net_ep_create(t->w.stack[0], family, SOCK_DGRAM, 0, NULL, NULL, &ep), 0);
	return ep;
}

/* A query put onto the link of side 0. group 0: general; tenths of a second to answer in. */
static void query4(struct listener *t, size_t len, uint8_t tenths, uint8_t group, uint8_t source)
{
	uint8_t f[14 + 24 + 16] = {1, 0, 0x5e, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0}, *ip = f + 14, *p;
	uint16_t sum;

	ip[0] = 0x46;
	ip[3] = 24 + len;
	ip[8] = 1;
	ip[9] = IPPROTO_IGMP;
	memcpy(ip + 12, "\x0a\0\0\x09\xe0\0\0\x01\x94\x04\0\0", 12);
	if (group) {
		memcpy(ip + 16, "\xe8\x01\x01", 3);
		ip[19] = group;
	}
	sum = csum_fold(csum_add_bytes(ip, 24, 0));
	memcpy(ip + 10, &sum, 2);
	p = ip + 24;
	p[0] = 0x11;
	p[1] = tenths;
	if (group) {
		memcpy(p + 4, "\xe8\x01\x01", 3);
		p[7] = group;
	}
	if (source) {
		p[11] = 1;
		memcpy(p + 12, "\xc0\0\x02", 3);
		p[15] = source;
	}
	sum = csum_fold(csum_add_bytes(p, len, 0));
	memcpy(p + 2, &sum, 2);
	net_link_input_mem(t->w.end[0].link, f, 14 + 24 + len);
}

static void query6(struct listener *t, size_t len, uint16_t ms, uint8_t group, uint8_t type)
{
	uint8_t f[14 + 48 + 48] = {0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x86, 0xdd};
	uint8_t *ip = f + 14, *p = ip + 48, pseudo[40] = {0};
	uint16_t sum;

	ip[0] = 0x60;
	ip[5] = 8 + len;
	ip[7] = 1;
	ip[8] = 0xfe;
	ip[9] = 0x80;
	ip[23] = 9;
	ip[24] = 0xff;
	ip[25] = 2;
	ip[39] = 1;
	memcpy(ip + 40, "\x3a\0\x05\x02\0\0\x01\0", 8);
	p[0] = type;
	p[4] = ms >> 8;
	p[5] = ms & 255;
	if (group) {
		p[8] = 0xff;
		p[9] = 0x3e;
		p[23] = group;
	}
	memcpy(pseudo, ip + 8, 32);
	pseudo[35] = len;
	pseudo[39] = IPPROTO_ICMPV6;
	sum = csum_fold(csum_add_bytes(p, len, csum_add_bytes(pseudo, 40, 0)));
	memcpy(p + 2, &sum, 2);
	net_link_input_mem(t->w.end[0].link, f, 14 + 48 + len);
}

/* ------------------------------------------------------------------------------ current version */

static void join_and_leave(int family)
{
	uint8_t type = family == AF_INET ? 0x22 : 143;
	struct net_ep *a, *b;
	struct listener t;
	unsigned i = 0;

	start(&t);
	a = listener_ep(&t, family);
	b = listener_ep(&t, family);
	assert_int_equal(member(a, family, MCAST_JOIN_GROUP, 10, 0), 0);
	world_run(&t.w, 20 * SEC);
	/* Told at once, and once more within a second. */
	expect(&t, &i, 10, type, TO_EX, "");
	expect(&t, &i, 10, type, TO_EX, "");
	assert_true(t.seen[1].at - t.seen[0].at <= SEC);
	assert_int_equal(t.seen[0].dst, 22); /* 224.0.0.22, ff02::16 */
	expect_nothing(&t, &i, 10);
	/* A second listener is nobody's business, nor is that one of two leaves. */
	assert_int_equal(member(b, family, MCAST_JOIN_GROUP, 10, 0), 0);
	assert_int_equal(member(a, family, MCAST_LEAVE_GROUP, 10, 0), 0);
	world_run(&t.w, 20 * SEC);
	expect_nothing(&t, &i, 10);
	net_ep_close(b);
	world_run(&t.w, 20 * SEC);
	expect(&t, &i, 10, type, TO_IN, "");
	expect(&t, &i, 10, type, TO_IN, "");
	expect_nothing(&t, &i, 10);
	assert_int_equal(member(a, family, MCAST_LEAVE_GROUP, 10, 0), -EADDRNOTAVAIL);
	/* Joined and left before anything could be sent: the end of it counts. */
	assert_int_equal(member(a, family, MCAST_JOIN_GROUP, 11, 0), 0);
	assert_int_equal(member(a, family, MCAST_LEAVE_GROUP, 11, 0), 0);
	world_run(&t.w, 20 * SEC);
	expect(&t, &i, 11, type, TO_IN, "");
	expect(&t, &i, 11, type, TO_IN, "");
	expect_nothing(&t, &i, 11);
	net_ep_close(a);
	world_fini(&t.w);
}

static void joining_and_leaving_is_reported_twice(void **st)
{
	join_and_leave(AF_INET);
	join_and_leave(AF_INET6);
}

static void filters(int family)
{
	uint8_t type = family == AF_INET ? 0x22 : 143;
	struct net_ep *a, *b;
	struct listener t;
	unsigned i = 0;

	start(&t);
	a = listener_ep(&t, family);
	b = listener_ep(&t, family);
	/* Include mode: sources come and go (RFC 3376 §5.1). */
	assert_int_equal(member(a, family, MCAST_JOIN_SOURCE_GROUP, 10, 1), 0);
	world_run(&t.w, 5 * SEC);
	expect(&t, &i, 10, type, ALLOW, "\1");
	expect(&t, &i, 10, type, ALLOW, "\1");
	assert_int_equal(member(a, family, MCAST_JOIN_SOURCE_GROUP, 10, 2), 0);
	world_run(&t.w, 5 * SEC);
	expect(&t, &i, 10, type, ALLOW, "\2");
	expect(&t, &i, 10, type, ALLOW, "\2");
	assert_int_equal(member(b, family, MCAST_JOIN_SOURCE_GROUP, 10, 2), 0);
	world_run(&t.w, 5 * SEC);
	expect_nothing(&t, &i, 10);
	assert_int_equal(member(a, family, MCAST_LEAVE_SOURCE_GROUP, 10, 2), 0);
	world_run(&t.w, 5 * SEC);
	expect_nothing(&t, &i, 10); /* b still wants it */
	assert_int_equal(member(b, family, MCAST_LEAVE_SOURCE_GROUP, 10, 2), 0);
	world_run(&t.w, 5 * SEC);
	expect(&t, &i, 10, type, BLOCK, "\2");
	expect(&t, &i, 10, type, BLOCK, "\2");
	/* One that takes all makes it exclude mode, and what it blocks is what nobody wants. */
	assert_int_equal(member(b, family, MCAST_JOIN_GROUP, 10, 0), 0);
	world_run(&t.w, 5 * SEC);
	expect(&t, &i, 10, type, TO_EX, "");
	expect(&t, &i, 10, type, TO_EX, "");
	assert_int_equal(member(b, family, MCAST_BLOCK_SOURCE, 10, 3), 0);
	assert_int_equal(member(b, family, MCAST_BLOCK_SOURCE, 10, 3), -EADDRNOTAVAIL);
	world_run(&t.w, 5 * SEC);
	expect(&t, &i, 10, type, BLOCK, "\3");
	expect(&t, &i, 10, type, BLOCK, "\3");
	assert_int_equal(member(b, family, MCAST_BLOCK_SOURCE, 10, 1), 0);
	world_run(&t.w, 5 * SEC);
	expect_nothing(&t, &i, 10); /* a wants source 1 */
	assert_int_equal(member(b, family, MCAST_UNBLOCK_SOURCE, 10, 3), 0);
	world_run(&t.w, 5 * SEC);
	expect(&t, &i, 10, type, ALLOW, "\3");
	expect(&t, &i, 10, type, ALLOW, "\3");
	/* Back to include mode, and to nothing. */
	net_ep_close(b);
	world_run(&t.w, 5 * SEC);
	expect(&t, &i, 10, type, TO_IN, "\1");
	expect(&t, &i, 10, type, TO_IN, "\1");
	assert_int_equal(member(a, family, MCAST_LEAVE_SOURCE_GROUP, 10, 1), 0);
	world_run(&t.w, 5 * SEC);
	expect(&t, &i, 10, type, BLOCK, "\1");
	expect(&t, &i, 10, type, BLOCK, "\1");
	expect_nothing(&t, &i, 10);
	net_ep_close(a);
	world_fini(&t.w);
}

static void source_filters_are_reported_as_one(void **st)
{
	filters(AF_INET);
	filters(AF_INET6);
}

static void queries_are_answered(void **st)
{
	struct listener t;
	struct net_ep *a, *b;
	int64_t asked;
	unsigned i = 0;

	start(&t);
	a = listener_ep(&t, AF_INET);
	b = listener_ep(&t, AF_INET6);
	member(a, AF_INET, MCAST_JOIN_GROUP, 10, 0);
	member(a, AF_INET, MCAST_JOIN_SOURCE_GROUP, 11, 1);
	member(b, AF_INET6, MCAST_JOIN_GROUP, 12, 0);
	world_run(&t.w, 5 * SEC);
	i = t.n;
	asked = world_now(&t.w);
	query4(&t, 12, 50, 0, 0);
	query6(&t, 28, 5000, 0, 130);
	world_run(&t.w, 20 * SEC);
	for (unsigned k = i; k < t.n; k++)
		assert_true(t.seen[k].at - asked <= 5 * SEC);
	expect(&t, &(unsigned){i}, 10, 0x22, IS_EX, "");
	expect(&t, &(unsigned){i}, 11, 0x22, IS_IN, "\1");
	expect(&t, &(unsigned){i}, 12, 143, IS_EX, "");
	/* About one group, about a source that matters, and about one that does not. */
	i = t.n;
	query4(&t, 12, 10, 10, 0);
	world_run(&t.w, 5 * SEC);
	expect(&t, &i, 10, 0x22, IS_EX, "");
	assert_int_equal(t.n, i);
	query4(&t, 16, 10, 11, 1);
	world_run(&t.w, 5 * SEC);
	expect(&t, &i, 11, 0x22, IS_IN, "\1");
	query4(&t, 16, 10, 11, 2);
	query4(&t, 12, 10, 99, 0);
	query4(&t, 9, 10, 10, 0); /* no version has this length */
	world_run(&t.w, 5 * SEC);
	assert_int_equal(t.n, i);
	/* Many questions, one answer. */
	for (int k = 0; k < 5; k++)
		query4(&t, 12, 100, 10, 0);
	world_run(&t.w, 20 * SEC);
	expect(&t, &i, 10, 0x22, IS_EX, "");
	expect_nothing(&t, &i, 10);
	net_ep_close(a);
	net_ep_close(b);
	world_fini(&t.w);
}

/* ------------------------------------------------------------------------------ older versions */

static void older_igmp_is_spoken_to_older_queriers(void **st)
{
	struct listener t;
	struct net_ep *a;
	unsigned i;

	start(&t);
	a = listener_ep(&t, AF_INET);
	member(a, AF_INET, MCAST_JOIN_GROUP, 10, 0);
	world_run(&t.w, 5 * SEC);
	i = t.n;
	query4(&t, 8, 100, 0, 0);
	world_run(&t.w, 20 * SEC);
	expect(&t, &i, 10, 0x16, 0, "");
	assert_int_equal(t.seen[i - 1].dst, 10); /* to the group itself */
	member(a, AF_INET, MCAST_JOIN_GROUP, 11, 0);
	world_run(&t.w, 20 * SEC);
	expect(&t, &i, 11, 0x16, 0, "");
	expect(&t, &i, 11, 0x16, 0, "");
	expect_nothing(&t, &(unsigned){i}, 11);
	member(a, AF_INET, MCAST_LEAVE_GROUP, 11, 0);
	world_run(&t.w, 20 * SEC);
	expect(&t, &i, 11, 0x17, 0, "");
	assert_int_equal(t.seen[i - 1].dst, 2); /* to all routers */
	expect_nothing(&t, &(unsigned){i}, 11);
	/* Version 1 knows no leave. */
	query4(&t, 8, 0, 0, 0);
	world_run(&t.w, 20 * SEC);
	expect(&t, &i, 10, 0x12, 0, "");
	member(a, AF_INET, MCAST_LEAVE_GROUP, 10, 0);
	world_run(&t.w, 20 * SEC);
	assert_int_equal(t.n, i);
	/* The old queriers fall silent: version 3 again. */
	world_run(&t.w, 300 * SEC);
	member(a, AF_INET, MCAST_JOIN_GROUP, 10, 0);
	world_run(&t.w, 5 * SEC);
	expect(&t, &i, 10, 0x22, TO_EX, "");
	net_ep_close(a);
	world_fini(&t.w);
}

static void older_mld_is_spoken_to_older_queriers(void **st)
{
	struct listener t;
	struct net_ep *a;
	unsigned i;

	start(&t);
	a = listener_ep(&t, AF_INET6);
	member(a, AF_INET6, MCAST_JOIN_GROUP, 10, 0);
	world_run(&t.w, 5 * SEC);
	i = t.n;
	query6(&t, 24, 5000, 0, 130);
	world_run(&t.w, 20 * SEC);
	expect(&t, &i, 10, 131, 0, "");
	assert_int_equal(t.seen[i - 1].dst, 10);
	/* Somebody else answers first: we need not, nor say when we leave. */
	query6(&t, 24, 10000, 10, 130);
	query6(&t, 24, 0, 10, 131);
	world_run(&t.w, 20 * SEC);
	expect_nothing(&t, &i, 10);
	member(a, AF_INET6, MCAST_LEAVE_GROUP, 10, 0);
	world_run(&t.w, 20 * SEC);
	expect_nothing(&t, &i, 10);
	member(a, AF_INET6, MCAST_JOIN_GROUP, 11, 0);
	world_run(&t.w, 20 * SEC);
	member(a, AF_INET6, MCAST_LEAVE_GROUP, 11, 0);
	world_run(&t.w, 20 * SEC);
	expect(&t, &i, 11, 131, 0, "");
	expect(&t, &i, 11, 131, 0, "");
	expect(&t, &i, 11, 132, 0, "");
	assert_int_equal(t.seen[i - 1].dst, 2);
	expect_nothing(&t, &i, 11);
	net_ep_close(a);
	world_fini(&t.w);
}

static void memberships_end_with_the_link(void **st)
{
	struct listener t;
	struct net_ep *a, *b;

	start(&t);
	a = listener_ep(&t, AF_INET);
	b = listener_ep(&t, AF_INET6);
	member(a, AF_INET, MCAST_JOIN_SOURCE_GROUP, 10, 1);
	member(b, AF_INET6, MCAST_JOIN_GROUP, 11, 0);
	assert_int_equal(net_link_remove(t.w.end[0].link), 0);
	assert_int_not_equal(member(a, AF_INET, MCAST_JOIN_SOURCE_GROUP, 10, 2), 0);
	world_run(&t.w, 5 * SEC);
	net_ep_close(a);
	net_ep_close(b);
	world_fini(&t.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(joining_and_leaving_is_reported_twice),
		cmocka_unit_test(source_filters_are_reported_as_one),
		cmocka_unit_test(queries_are_answered),
		cmocka_unit_test(older_igmp_is_spoken_to_older_queriers),
		cmocka_unit_test(older_mld_is_spoken_to_older_queriers),
		cmocka_unit_test(memberships_end_with_the_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
