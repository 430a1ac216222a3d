/*
 * What the process may ask the host for that questions the name server in a container's network
 * namespace (boot/net/resolver.c): sockets of IPv4, and nothing that has a name in a file system.
 * Where they connect to is in memory, where a filter cannot look.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "generator.h"

#define TCP (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
#define UDP (SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC)

static const struct rule rules[] = {
	ALLOW_2(socket, IS(0, AF_INET), IS(1, TCP)),
	ALLOW_2(socket, IS(0, AF_INET), IS(1, UDP)),
	ALLOW(connect),
	/* no names: only where it is connected to */
	ALLOW_2(sendto, ONLY(3, MSG_NOSIGNAL | MSG_DONTWAIT), IS64(4, 0)),
	ALLOW_2(recvfrom, ONLY(3, MSG_DONTWAIT), IS64(4, 0)),
	ALLOW(poll),
	ALLOW(restart_syscall),
	ALLOW(close),
	ALLOW(clock_gettime),
	ALLOW(rt_sigreturn),
	ALLOW(exit_group),
	/* malloc; never executable */
	ALLOW(brk),
	ALLOW_WITHOUT(mmap, 2, PROT_EXEC),
	ALLOW(munmap),
	ALLOW(mremap),
	ALLOW(madvise),
#ifdef MOAT_FILTER_SANITIZERS
#include "sanitizers.h"
#endif
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const struct rule_set resolver_rules = {.rules = rules, .nrules = COUNT(rules)};
