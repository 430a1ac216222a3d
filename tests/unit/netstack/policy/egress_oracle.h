/*
 * A stack under a policy, and a judge of its own that looks at every frame which leaves: a guest
 * that makes frames by hand, and a world that answers with anything. Shared by a test and a fuzzer.
 */
#ifndef MOAT_TEST_NETSTACK_EGRESS_ORACLE_H
#define MOAT_TEST_NETSTACK_EGRESS_ORACLE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Plays what the bytes say: a byte that says what, one of length, and as many bytes. The policy
 * lets datagrams to port 9 of 192.0.2.1 out, TCP to port 443 of what www.example.org is, and
 * questions for that to 10.0.0.2. Aborts when a frame leaves that must not, or a name is open that
 * was not answered.
 */
void egress_play(const uint8_t *data, size_t size);

#endif
