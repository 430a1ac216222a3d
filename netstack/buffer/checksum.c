#include "netstack/buffer/checksum.h"

#include <string.h>

uint32_t csum_add_bytes(const void *buf, size_t n, uint32_t sum)
{
	const uint8_t *p = buf;
	uint64_t s = sum, t = 0;
	uint64_t w[4];

	while (n >= 32) {
		memcpy(w, p, 32);
		s += (w[0] & 0xffffffff) + (w[1] & 0xffffffff);
		t += (w[0] >> 32) + (w[1] >> 32);
		s += (w[2] & 0xffffffff) + (w[3] & 0xffffffff);
		t += (w[2] >> 32) + (w[3] >> 32);
		p += 32;
		n -= 32;
	}
	while (n >= 4) {
		uint32_t v;

		memcpy(&v, p, 4);
		s += v;
		p += 4;
		n -= 4;
	}
	if (n >= 2) {
		uint16_t v;

		memcpy(&v, p, 2);
		s += v;
		p += 2;
		n -= 2;
	}
	if (n)
		s += *p;
	s = (s & 0xffffffff) + (s >> 32);
	t = (t & 0xffffffff) + (t >> 32);
	s += t;
	s = (s & 0xffffffff) + (s >> 32);
	s = (s & 0xffffffff) + (s >> 32);
	return (uint32_t)s;
}

uint32_t csum_pseudo(const struct in6_addr *src, const struct in6_addr *dst, uint8_t proto,
		     uint32_t len)
{
	uint32_t tail[2] = {htonl(len), htonl(proto)};
	uint32_t sum;

	if (IN6_IS_ADDR_V4MAPPED(src) && IN6_IS_ADDR_V4MAPPED(dst)) {
		sum = csum_add_bytes(&src->s6_addr[12], 4, 0);
		sum = csum_add_bytes(&dst->s6_addr[12], 4, sum);
	} else {
		sum = csum_add_bytes(src, 16, 0);
		sum = csum_add_bytes(dst, 16, sum);
	}
	return csum_add_bytes(tail, sizeof(tail), sum);
}
