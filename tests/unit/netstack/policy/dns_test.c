/* Messages of DNS, as friends and enemies write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "netstack/policy/dns_internal.h"

#define A 1
#define CNAME 5
#define AAAA 28

/* A message that is being written. */
struct message {
	uint8_t bytes[2048];
	size_t n;
};

static void add16(struct message *m, unsigned v)
{
	m->bytes[m->n++] = (uint8_t)(v >> 8);
	m->bytes[m->n++] = (uint8_t)v;
}

static void add_name(struct message *m, const char *name)
{
	while (*name) {
		size_t n = strcspn(name, ".");

		m->bytes[m->n++] = (uint8_t)n;
		memcpy(m->bytes + m->n, name, n);
		m->n += n;
		name += n + (name[n] == '.');
	}
	m->bytes[m->n++] = 0;
}

static void begin(struct message *m, unsigned flags, unsigned answers, const char *name,
		  unsigned type)
{
	m->n = 0;
	add16(m, 0x1234);
	add16(m, flags);
	add16(m, 1);
	add16(m, answers);
	add16(m, 0);
	add16(m, 0);
	add_name(m, name);
	add16(m, type);
	add16(m, 1);
}

static void record(struct message *m, const char *name, unsigned type, unsigned ttl,
		   const void *data, size_t n)
{
	add_name(m, name);
	add16(m, type);
	add16(m, 1);
	add16(m, ttl >> 16);
	add16(m, ttl & 0xffff);
	add16(m, (unsigned)n);
	memcpy(m->bytes + m->n, data, n);
	m->n += n;
}

static void cname(struct message *m, const char *name, unsigned ttl, const char *target)
{
	struct message t = {.n = 0};

	add_name(&t, target);
	record(m, name, CNAME, ttl, t.bytes, t.n);
}

static int parse(const struct message *m, struct dns_address *list)
{
	struct dns_question q;

	return dns_parse_answer(m->bytes, m->n, &q, list, 8);
}

static void a_question_is_read(void **st)
{
	struct dns_question q;
	struct message m;

	begin(&m, 0x0100, 0, "WWW.Example.ORG", AAAA);
	assert_true(dns_parse_question(m.bytes, m.n, &q));
	assert_string_equal(q.name, "www.example.org");
	assert_int_equal(q.id, 0x1234);
	assert_int_equal(q.type, AAAA);
	assert_false(q.edns);
	assert_int_equal(q.end, m.n);
}

static void what_is_more_than_a_question_is_none(void **st)
{
	struct dns_question q;
	struct message m;

	for (size_t cut = 0; cut < 33; cut++) {
		begin(&m, 0x0100, 0, "www.example.org", A);
		assert_int_equal(m.n, 33);
		assert_false(dns_parse_question(m.bytes, cut, &q));
	}
	begin(&m, 0x8100, 0, "www.example.org", A); /* an answer */
	assert_false(dns_parse_question(m.bytes, m.n, &q));
	begin(&m, 0x2900, 0, "www.example.org", A); /* an update */
	assert_false(dns_parse_question(m.bytes, m.n, &q));
	begin(&m, 0x0100, 1, "www.example.org", A); /* with an answer in it */
	assert_false(dns_parse_question(m.bytes, m.n, &q));
	begin(&m, 0x0100, 0, "www.example.org", A); /* with something behind it */
	m.bytes[m.n++] = 'x';
	assert_false(dns_parse_question(m.bytes, m.n, &q));
	begin(&m, 0x0100, 0, "www.exam\001ple.org", A); /* a byte of no host's name */
	assert_false(dns_parse_question(m.bytes, m.n, &q));
	begin(&m, 0x0100, 0, "www.example.org", A); /* two questions */
	m.bytes[5] = 2;
	assert_false(dns_parse_question(m.bytes, m.n, &q));
	begin(&m, 0x0100, 0, "www.example.org", A); /* of the class CHAOS */
	m.bytes[m.n - 1] = 3;
	assert_false(dns_parse_question(m.bytes, m.n, &q));
}

static void a_dot_inside_a_label_makes_no_other_name(void **st)
{
	struct dns_question q;
	struct message m;

	begin(&m, 0x0100, 0, "", A);
	m.n = DNS_HEADER;
	memcpy(m.bytes + m.n, "\017www.example.org", 16); /* one label with dots in it */
	m.n += 16;
	m.bytes[m.n++] = 0;
	add16(&m, A);
	add16(&m, 1);
	assert_false(dns_parse_question(m.bytes, m.n, &q));
}

static void addresses_of_the_name_are_found(void **st)
{
	struct dns_address list[8];
	struct message m;

	begin(&m, 0x8180, 3, "www.example.org", A);
	record(&m, "www.example.org", A, 300, "\300\000\002\001", 4);
	record(&m, "WWW.EXAMPLE.ORG", A, 200, "\300\000\002\002", 4);
	record(&m, "www.example.org", AAAA, 100, "\040\001\015\270\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	assert_int_equal(parse(&m, list), 3);
	assert_memory_equal(&list[0].addr, "\0\0\0\0\0\0\0\0\0\0\377\377\300\000\002\001", 16);
	assert_int_equal(list[0].ttl, 300);
	assert_int_equal(list[1].ttl, 200);
	assert_int_equal(list[2].addr.s6_addr[0], 0x20);
}

static void what_the_answer_says_of_other_names_is_not_taken(void **st)
{
	struct dns_address list[8];
	struct message m;

	begin(&m, 0x8180, 4, "www.example.org", A);
	record(&m, "evil.example.net", A, 300, "\300\000\002\001", 4);
	cname(&m, "other.example.org", 300, "evil.example.net");
	record(&m, "www.example.org", 16, 300, "\003abc", 4); /* TXT of four bytes */
	record(&m, "www.example.org", A, 300, "\300\000\002", 3);
	assert_int_equal(parse(&m, list), 0);
	/* Not in the answer section. */
	begin(&m, 0x8180, 0, "www.example.org", A);
	m.bytes[11] = 1;
	record(&m, "www.example.org", A, 300, "\300\000\002\001", 4);
	assert_int_equal(parse(&m, list), 0);
	/* An address of IPv4 in a record for IPv6. */
	begin(&m, 0x8180, 1, "www.example.org", AAAA);
	record(&m, "www.example.org", AAAA, 300, "\0\0\0\0\0\0\0\0\0\0\377\377\251\376\251\376",
	       16);
	assert_int_equal(parse(&m, list), 0);
}

static void aliases_are_followed_in_any_order_with_the_least_time(void **st)
{
	struct dns_address list[8];
	struct message m;

	begin(&m, 0x8180, 3, "www.example.org", A);
	record(&m, "cdn.example.net", A, 300, "\300\000\002\001", 4);
	cname(&m, "b.example.net", 20, "cdn.example.net");
	cname(&m, "www.example.org", 600, "b.example.net");
	assert_int_equal(parse(&m, list), 1);
	assert_int_equal(list[0].ttl, 20);
}

static void aliases_in_a_circle_end(void **st)
{
	struct dns_address list[8];
	struct message m;

	begin(&m, 0x8180, 2, "a.example.org", A);
	cname(&m, "a.example.org", 600, "b.example.org");
	cname(&m, "b.example.org", 600, "a.example.org");
	assert_int_equal(parse(&m, list), 0);
	begin(&m, 0x8180, 1, "a.example.org", A);
	cname(&m, "a.example.org", 600, "a.example.org");
	assert_int_equal(parse(&m, list), 0);
}

/* A record whose name is these bytes. */
static int with_name(const void *name, size_t n)
{
	struct dns_address list[8];
	struct message m;

	begin(&m, 0x8180, 1, "www.example.org", A);
	memcpy(m.bytes + m.n, name, n);
	m.n += n;
	add16(&m, A);
	add16(&m, 1);
	add16(&m, 0);
	add16(&m, 60);
	add16(&m, 4);
	memcpy(m.bytes + m.n, "\300\000\002\001", 4);
	m.n += 4;
	return parse(&m, list);
}

static void pointers_lead_back_only(void **st)
{
	assert_int_equal(with_name("\300\014", 2), 1);	      /* to the question's name */
	assert_int_equal(with_name("\003www\300\020", 6), 1); /* and to the middle of it */
	assert_int_equal(with_name("\300\041", 2), 0);	      /* to itself */
	assert_int_equal(with_name("\300\060", 2), 0);	      /* forward */
	assert_int_equal(with_name("\377\377", 2), 0);	      /* beyond the end */
	assert_int_equal(with_name("\300\000", 2), 0);	      /* into the header */
	assert_int_equal(with_name("\001a\300\041", 4), 0);   /* to its own begin */
	assert_int_equal(with_name("\200\014", 2), -1);	      /* no pointer, no label */
	assert_int_equal(with_name("\100\014", 2), -1);
}

static void no_message_that_is_cut_short_says_anything(void **st)
{
	struct dns_address list[8];
	struct message m, cut;

	begin(&m, 0x8180, 2, "www.example.org", A);
	cname(&m, "www.example.org", 60, "b.example.org");
	record(&m, "b.example.org", A, 60, "\300\000\002\001", 4);
	assert_int_equal(parse(&m, list), 1);
	for (size_t n = 0; n < m.n; n++) {
		cut = m;
		cut.n = n;
		assert_true(parse(&cut, list) <= 0);
	}
}

static void an_error_or_a_question_is_no_answer(void **st)
{
	struct dns_address list[8];
	struct message m;

	begin(&m, 0x8183, 1, "www.example.org", A);
	record(&m, "www.example.org", A, 60, "\300\000\002\001", 4);
	assert_int_equal(parse(&m, list), -1);
	begin(&m, 0x0100, 1, "www.example.org", A);
	record(&m, "www.example.org", A, 60, "\300\000\002\001", 4);
	assert_int_equal(parse(&m, list), -1);
}

static void a_time_beyond_31_bits_is_none(void **st)
{
	struct dns_address list[8];
	struct message m;

	begin(&m, 0x8180, 1, "www.example.org", A);
	record(&m, "www.example.org", A, 0x80000001u, "\300\000\002\001", 4);
	assert_int_equal(parse(&m, list), 1);
	assert_int_equal(list[0].ttl, 0);
}

static void a_refusal_has_the_question_and_says_why(void **st)
{
	struct dns_question q;
	uint8_t answer[512];
	struct message m;
	size_t n;

	begin(&m, 0x0100, 0, "www.example.org", A);
	n = dns_refuse(m.bytes, m.n, answer, sizeof(answer));
	assert_int_equal(n, m.n);
	assert_memory_equal(answer, "\x12\x34\x81\x83\0\1\0\0\0\0\0\0", 12);
	assert_memory_equal(answer + 12, m.bytes + 12, m.n - 12);
	assert_int_equal(dns_refuse(m.bytes, m.n, answer, m.n - 1), 0);
	/* With EDNS: an option says that it was blocked. */
	m.bytes[11] = 1;
	memcpy(m.bytes + m.n, "\0\0\x29\x04\xd0\0\0\0\0\0\0", 11);
	m.n += 11;
	assert_true(dns_parse_question(m.bytes, m.n, &q));
	n = dns_refuse(m.bytes, m.n, answer, sizeof(answer));
	assert_int_equal(n, m.n + 6 + strlen("egress policy"));
	assert_memory_equal(answer + m.n,
			    "\0\x0f\0\x0f\0\x0f"
			    "egress policy",
			    19);
	/* No answer to an answer. */
	m.bytes[2] = 0x81;
	assert_int_equal(dns_refuse(m.bytes, m.n, answer, sizeof(answer)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_question_is_read),
		cmocka_unit_test(what_is_more_than_a_question_is_none),
		cmocka_unit_test(a_dot_inside_a_label_makes_no_other_name),
		cmocka_unit_test(addresses_of_the_name_are_found),
		cmocka_unit_test(what_the_answer_says_of_other_names_is_not_taken),
		cmocka_unit_test(aliases_are_followed_in_any_order_with_the_least_time),
		cmocka_unit_test(aliases_in_a_circle_end),
		cmocka_unit_test(pointers_lead_back_only),
		cmocka_unit_test(no_message_that_is_cut_short_says_anything),
		cmocka_unit_test(an_error_or_a_question_is_no_answer),
		cmocka_unit_test(a_time_beyond_31_bits_is_none),
		cmocka_unit_test(a_refusal_has_the_question_and_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
