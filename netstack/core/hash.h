/* SipHash-2-4 (Aumasson, Bernstein 2012): keyed hashing of what a peer chooses. */
#ifndef MOAT_NETSTACK_CORE_HASH_H
#define MOAT_NETSTACK_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t siphash(const uint64_t key[2], const void *data, size_t len);

#endif
