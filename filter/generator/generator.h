/*
 * The generator: a program of the build that turns the rules into BPF with libseccomp, so that a
 * sandbox's start pays neither for libseccomp's work nor for linking it.
 *
 * Rules are rows: a system call alone is allowed with any arguments; with a check, only where the
 * check holds. Several rows for one call: any of them.
 */
#ifndef MOAT_FILTER_GENERATOR_H
#define MOAT_FILTER_GENERATOR_H

#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>

enum rule_check {
	CHECK_NONE,
	CHECK_EQUAL, /* (argument & mask) == value */
};

struct rule {
	int nr;
	enum rule_check check;
	unsigned arg;
	uint64_t mask, value;
};

#define ALLOW(name)                                                                                \
	{                                                                                          \
		.nr = SCMP_SYS(name)                                                               \
	}
/* Argument `index` equals v; libc and kernel pass the rest of a 32-bit argument as they like. */
#define ALLOW_IF(name, index, v)                                                                   \
	{                                                                                          \
		.nr = SCMP_SYS(name), CHECK_EQUAL, index, 0xffffffffULL, (uint32_t)(v)             \
	}
#define ALLOW_IF64(name, index, v)                                                                 \
	{                                                                                          \
		.nr = SCMP_SYS(name), CHECK_EQUAL, index, ~0ULL, (v)                               \
	}
/* None of the bits is set. */
#define ALLOW_WITHOUT(name, index, bits)                                                           \
	{                                                                                          \
		.nr = SCMP_SYS(name), CHECK_EQUAL, index, (bits), 0                                \
	}

/* Answered with an errno where libc has another way. */
struct refusal {
	int nr, err;
};

struct rule_set {
	const struct rule *rules;
	size_t nrules;
	const struct refusal *refusals;
	size_t nrefusals;
};
extern const struct rule_set sandbox_rules, gofer_rules;

#endif
