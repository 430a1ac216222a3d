/* Reading messages of DNS: RFC 1035 §4, RFC 6891 (EDNS), RFC 8914 (why a name was refused). */
#include <string.h>

#include "netstack/policy/dns_internal.h"

#define TYPE_A 1
#define TYPE_CNAME 5
#define TYPE_AAAA 28
#define TYPE_OPT 41
#define CLASS_IN 1
#define FLAG_QR 0x8000
#define FLAG_OPCODE 0x7800
#define FLAG_TC 0x0200
#define FLAG_RD 0x0100
#define FLAG_RA 0x0080
#define RCODE 0x000f
#define RCODE_NO_NAME 3
#define OPTION_ERROR 15	 /* Extended DNS Error */
#define ERROR_BLOCKED 15 /* its code: on a list of the operator's */
#define RECORDS_MAX 256
#define CHAIN_MAX 16 /* CNAME records that are followed */

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* What names of hosts and services have in them. Everything else could be told apart in two ways.
 */
static bool name_byte(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Appends a label of len bytes to the name, which has `have`. False: too long, or a strange byte.
 */
static bool add_label(char *name, size_t *have, const uint8_t *label, size_t len)
{
	if (*have + len + 2 > DNS_NAME_SIZE)
		return false;
	if (*have)
		name[(*have)++] = '.';
	for (size_t i = 0; i < len; i++) {
		uint8_t c = label[i];

		if (c >= 'A' && c <= 'Z')
			c = (uint8_t)(c + 'a' - 'A');
		if (!name_byte(c))
			return false;
		name[(*have)++] = (char)c;
	}
	name[*have] = 0;
	return true;
}

/*
 * Reads the name at *at and moves that behind it. A pointer must lead to before where the name, or
 * the part that a pointer led to, begins: so there is an end (RFC 1035 §4.1.4: "a prior
 * occurrence").
 */
static bool read_name(const uint8_t *m, size_t n, size_t *at, bool pointers, char *name)
{
	size_t have = 0, i = *at, begin = i;
	bool jumped = false;

	name[0] = 0;
	for (;;) {
		uint8_t len;

		if (i >= n)
			return false;
		len = m[i];
		if ((len & 0xc0) == 0xc0) {
			size_t to;

			if (!pointers || i + 1 >= n)
				return false;
			to = get16(m + i) & 0x3fff;
			if (!jumped)
				*at = i + 2;
			jumped = true;
			if (to >= begin || to < DNS_HEADER)
				return false;
			i = begin = to;
			continue;
		}
		if (len & 0xc0 || i + 1 + len > n)
			return false;
		i++;
		if (!len)
			break;
		if (!add_label(name, &have, m + i, len))
			return false;
		i += len;
	}
	if (!jumped)
		*at = i;
	return true;
}

/* Header and question. flags: what must be set among mask. */
static bool read_head(const uint8_t *m, size_t n, unsigned mask, unsigned flags,
		      struct dns_question *q)
{
	size_t at = DNS_HEADER;

	if (n < DNS_HEADER || (get16(m + 2) & mask) != flags || get16(m + 4) != 1)
		return false;
	if (!read_name(m, n, &at, false, q->name) || at + 4 > n)
		return false;
	q->id = get16(m);
	q->type = get16(m + at);
	q->class = get16(m + at + 2);
	q->end = at + 4;
	q->edns = get16(m + 10) != 0;
	return q->class == CLASS_IN;
}

bool dns_parse_question(const uint8_t *m, size_t n, struct dns_question *q)
{
	/* Answers and authorities in a question could carry what nobody looks at. */
	return read_head(m, n, FLAG_QR | FLAG_OPCODE | RCODE, 0, q) && !get16(m + 6) &&
	       !get16(m + 8) && get16(m + 10) <= 1 && (q->edns || q->end == n);
}

struct record {
	char name[DNS_NAME_SIZE];
	uint16_t type, class, len;
	uint32_t ttl;
	size_t data; /* where it begins */
};

/* -1: malformed; 0: a name that no host has, to be passed over; 1: there it is. */
static int read_record(const uint8_t *m, size_t n, size_t *at, struct record *r)
{
	size_t i = *at;
	int ret = 1;

	if (!read_name(m, n, &i, true, r->name)) {
		/* Where it ends is seen without reading it. */
		i = *at;
		while (i < n && m[i] && !(m[i] & 0xc0))
			i += 1u + m[i];
		if (i >= n || (m[i] && (m[i] & 0xc0) != 0xc0))
			return -1;
		i += m[i] ? 2 : 1;
		ret = 0;
	}
	if (i + 10 > n)
		return -1;
	r->type = get16(m + i);
	r->class = get16(m + i + 2);
	r->ttl = (uint32_t)get16(m + i + 4) << 16 | get16(m + i + 6);
	r->len = get16(m + i + 8);
	r->data = i + 10;
	if (r->data + r->len > n)
		return -1;
	*at = r->data + r->len;
	/* RFC 2181 §8: a time with the highest bit set is none. */
	if (r->ttl & 0x80000000u)
		r->ttl = 0;
	return r->class == CLASS_IN ? ret : 0;
}

static bool take_address(const uint8_t *m, const struct record *r, struct in6_addr *addr)
{
	memset(addr, 0, sizeof(*addr));
	if (r->type == TYPE_A && r->len == 4) {
		addr->s6_addr[10] = addr->s6_addr[11] = 0xff;
		memcpy(addr->s6_addr + 12, m + r->data, 4);
		return true;
	}
	if (r->type != TYPE_AAAA || r->len != 16)
		return false;
	memcpy(addr, m + r->data, 16);
	/* An address of IPv4 is not given by this kind. */
	return !IN6_IS_ADDR_V4MAPPED(addr);
}

/* Follows one CNAME record of the name, if there is one. False: there is none, or they go on and
 * on. */
static bool follow(const uint8_t *m, size_t n, size_t answers, unsigned count, char *name,
		   uint32_t *ttl)
{
	size_t at = answers;
	struct record r;

	for (unsigned i = 0; i < count; i++) {
		int ret = read_record(m, n, &at, &r);

		if (ret < 0)
			return false;
		if (ret && r.type == TYPE_CNAME && !strcmp(r.name, name)) {
			size_t target = r.data;

			if (!read_name(m, n, &target, true, name) || target > r.data + r.len)
				return false;
			if (r.ttl < *ttl)
				*ttl = r.ttl;
			return true;
		}
	}
	return false;
}

int dns_parse_answer(const uint8_t *m, size_t n, struct dns_question *q,
		     struct dns_address *addresses, int max)
{
	char name[DNS_NAME_SIZE];
	unsigned count;
	uint32_t ttl = UINT32_MAX;
	struct record r;
	int found = 0;
	size_t at;

	if (!read_head(m, n, FLAG_QR | FLAG_OPCODE | RCODE, FLAG_QR, q))
		return -1;
	count = get16(m + 6);
	if (count > RECORDS_MAX)
		return -1;
	memcpy(name, q->name, sizeof(name));
	for (int i = 0; i < CHAIN_MAX && follow(m, n, q->end, count, name, &ttl); i++)
		;
	at = q->end;
	for (unsigned i = 0; i < count && found < max; i++) {
		int ret = read_record(m, n, &at, &r);

		if (ret < 0)
			return -1;
		if (!ret || strcmp(r.name, name) || !take_address(m, &r, &addresses[found].addr))
			continue;
		addresses[found++].ttl = r.ttl < ttl ? r.ttl : ttl;
	}
	return found;
}

size_t dns_refuse(const uint8_t *question, size_t n, uint8_t *answer, size_t room)
{
	static const char why[] = "egress policy";
	size_t text = sizeof(why) - 1, len;
	struct dns_question q;

	if (!dns_parse_question(question, n, &q))
		return 0;
	len = q.end + (q.edns ? 11 + 6 + text : 0);
	if (len > room)
		return 0;
	memcpy(answer, question, q.end);
	put16(answer + 2, FLAG_QR | FLAG_RA | (get16(question + 2) & FLAG_RD) | RCODE_NO_NAME);
	memset(answer + 6, 0, 6);
	if (q.edns) {
		uint8_t *p = answer + q.end;

		put16(answer + 10, 1);
		memset(p, 0, 11);
		put16(p + 1, TYPE_OPT);
		put16(p + 3, 1232);
		put16(p + 9, (unsigned)(6 + text));
		put16(p + 11, OPTION_ERROR);
		put16(p + 13, (unsigned)(2 + text));
		put16(p + 15, ERROR_BLOCKED);
		memcpy(p + 17, why, text);
	}
	return len;
}
