/*
 * The generator: a program of the build that turns the rules into BPF with libseccomp, so that a
 * sandbox's start pays neither for libseccomp's work nor for linking it.
 *
 * Rules are rows: a system call alone is allowed with any arguments; with checks, only where they
 * all hold. Several rows for one call: any of them.
 */
#ifndef MOAT_FILTER_GENERATOR_H
#define MOAT_FILTER_GENERATOR_H

#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>

/* (argument `arg` & mask) == value */
struct check {
	unsigned arg;
	uint64_t mask, value;
};

#define MAX_CHECKS 2
struct rule {
	int nr;
	unsigned nchecks;
	struct check checks[MAX_CHECKS];
};

/* The kernel takes the lower half of a 32-bit argument; what libc leaves in the other is no matter.
 */
#define IS(index, v)                                                                               \
	{                                                                                          \
		(index), 0xffffffffULL, (uint32_t)(v)                                              \
	}
#define IS64(index, v)                                                                             \
	{                                                                                          \
		(index), ~0ULL, (v)                                                                \
	}
#define WITH(index, bits)                                                                          \
	{                                                                                          \
		(index), (bits), (bits)                                                            \
	}
#define WITHOUT(index, bits)                                                                       \
	{                                                                                          \
		(index), (bits), 0                                                                 \
	}
/* Of `all` bits just these: libseccomp takes one check for an argument. */
#define WITH_OF(index, bits, all)                                                                  \
	{                                                                                          \
		(index), (all), (bits)                                                             \
	}
/* These bits at most. */
#define ONLY(index, bits)                                                                          \
	{                                                                                          \
		(index), 0xffffffffULL & ~(uint64_t)(bits), 0                                      \
	}
/* A descriptor: not AT_FDCWD, from which names would start at the working directory. */
#define FD(index)                                                                                  \
	{                                                                                          \
		(index), 0x80000000ULL, 0                                                          \
	}

#define ALLOW(name)                                                                                \
	{                                                                                          \
		.nr = SCMP_SYS(name)                                                               \
	}
/* Where the checks hold. */
#define ALLOW_1(name, a)                                                                           \
	{                                                                                          \
		SCMP_SYS(name), 1,                                                                 \
		{                                                                                  \
			a                                                                          \
		}                                                                                  \
	}
#define ALLOW_2(name, a, b)                                                                        \
	{                                                                                          \
		SCMP_SYS(name), 2,                                                                 \
		{                                                                                  \
			a, b                                                                       \
		}                                                                                  \
	}
#define ALLOW_IF(name, index, v) ALLOW_1(name, IS(index, v))
#define ALLOW_IF64(name, index, v) ALLOW_1(name, IS64(index, v))
#define ALLOW_WITHOUT(name, index, bits) ALLOW_1(name, WITHOUT(index, bits))

/* Answered with an errno where libc has another way. */
struct refusal {
	int nr, err;
	unsigned nchecks; /* 0: with any arguments */
	struct check check;
};

struct rule_set {
	const struct rule *rules;
	size_t nrules;
	/* Those by which two programs of one kind of process differ, or NULL. */
	const struct rule *more;
	size_t nmore;
	/* What links or host sockets need, for a sandbox that has them, or NULL. */
	const struct rule *links;
	size_t nlinks;
	const struct refusal *refusals;
	size_t nrefusals;
};
extern const struct rule_set sandbox_rules, sandbox_links_rules, sandbox_tracer_rules,
	sandbox_tracer_links_rules, sandbox_host_rules, sandbox_tracer_host_rules, gofer_rules,
	resolver_rules;

#endif
