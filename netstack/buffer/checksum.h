/* The Internet checksum (RFC 1071). Sums are in memory byte order, not yet folded. */
#ifndef MOAT_NETSTACK_BUFFER_CHECKSUM_H
#define MOAT_NETSTACK_BUFFER_CHECKSUM_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

/* Adds the 16-bit words of p[0..n) to sum. An odd last byte counts as the first of a word. */
uint32_t csum_add_bytes(const void *p, size_t n, uint32_t sum);
static inline uint32_t csum_add(uint32_t a, uint32_t b)
{
	uint32_t r = a + b;
	return r + (r < a);
}
/* For a block that begins at an odd offset: swaps the bytes of its sum. */
static inline uint32_t csum_swap(uint32_t s)
{
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return ((s & 0xff) << 8) | (s >> 8);
}
static inline uint16_t csum_fold(uint32_t s)
{
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}
/* Pseudo-header sums: RFC 9293 §3.1, RFC 8200 §8.1. Addresses may be v4-mapped. */
uint32_t csum_pseudo(const struct in6_addr *src, const struct in6_addr *dst, uint8_t proto,
		     uint32_t len);

#endif
