/* What an address is, by its bytes alone. */
#ifndef MOAT_NETSTACK_CORE_ADDRESS_H
#define MOAT_NETSTACK_CORE_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Addresses: internally always 16 bytes, IPv4 as ::ffff:a.b.c.d. */
static inline bool addr_is4(const struct in6_addr *a)
{
	return a->s6_addr32[0] == 0 && a->s6_addr32[1] == 0 && a->s6_addr32[2] == htonl(0xffff);
}
static inline void addr_set4(struct in6_addr *a, uint32_t be)
{
	a->s6_addr32[0] = a->s6_addr32[1] = 0;
	a->s6_addr32[2] = htonl(0xffff);
	a->s6_addr32[3] = be;
}
static inline uint32_t addr_get4(const struct in6_addr *a)
{
	return a->s6_addr32[3];
}
static inline bool addr_eq(const struct in6_addr *a, const struct in6_addr *b)
{
	uint64_t x[2], y[2];

	memcpy(x, a, 16);
	memcpy(y, b, 16);
	return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}
static inline bool addr_any(const struct in6_addr *a)
{
	return a->s6_addr32[3] == 0 && a->s6_addr32[0] == 0 && a->s6_addr32[1] == 0 &&
	       (a->s6_addr32[2] == 0 || a->s6_addr32[2] == htonl(0xffff));
}
static inline bool addr_multicast(const struct in6_addr *a)
{
	return addr_is4(a) ? (a->s6_addr[12] & 0xf0) == 0xe0 : a->s6_addr[0] == 0xff;
}
static inline bool addr_linklocal6(const struct in6_addr *a)
{
	return a->s6_addr[0] == 0xfe && (a->s6_addr[1] & 0xc0) == 0x80;
}
static inline bool addr_loopback(const struct in6_addr *a)
{
	return addr_is4(a) ? a->s6_addr[12] == 127 : IN6_IS_ADDR_LOOPBACK(a);
}

#endif
