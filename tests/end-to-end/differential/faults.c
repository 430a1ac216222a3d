/* Steps that fault, in every way that a program can. */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "steps.h"

static const struct kind {
	const char *name;
	const char *snippet;
	bool address;  /* rbx is one */
	bool can_push; /* the stack may be the pattern's own */
} kinds[] = {
	{"load", snippet_load, true, true},   {"store", snippet_store, true, true},
	{"jump", snippet_jump, true, true},   {"ud2", snippet_ud2, false, true},
	{"int3", snippet_int3, false, true},  {"icebp", snippet_icebp, false, true},
	{"hlt", snippet_hlt, false, true},    {"int", snippet_int, false, true},
	{"div", snippet_div, false, true},    {"movaps", snippet_movaps, true, true},
	{"push", snippet_push, false, false}, {"x87", snippet_x87, false, true},
	{"sse", snippet_sse, false, true},    {"step", snippet_step, false, true},
};

static uint64_t any_address(void)
{
	static const uint64_t bad[] = {
		0,
		8,
		NOWHERE,
		NOWHERE + 4093,
		0x7fffffffffff,	    /* the end of user space, and over it */
		0x800000000000,	    /* not canonical */
		0x8123456789abcdef, /* likewise */
		0xffff800000000000, /* the kernel's */
		0xffffffffffffffff,
	};

	switch (below(3)) {
	case 0:
		return bad[below(sizeof(bad) / sizeof(bad[0]))];
	case 1:
		return FIELD + below(FIELD_PAGES * PAGE);
	default:
		return DATA + below(DATA_SIZE - 64);
	}
}

/* Where the kernel goes back to user mode by iret, some hosts (paravirtual ones) fault for ever on
 * a stack pointer that is not canonical. */
static uint64_t any_stack(void)
{
	uint64_t address;

	do {
		address = any_address() & ~7ULL;
	} while ((uint64_t)((int64_t)(address << 16) >> 16) != address);
	return address;
}

/* What the snippet takes, beyond the pattern's own. */
static void prepare(const struct kind *k)
{
	if (k->address)
		pattern.in[RBX] = any_address();
	/* What lies in the field may be code. */
	if (k->snippet == snippet_jump && pattern.in[RBX] - FIELD < FIELD_PAGES * PAGE)
		pattern.in[RBX] = NOWHERE;
	if (k->snippet == snippet_div && one_in(2))
		pattern.in[RBX] = 0;
	if (k->snippet == snippet_push)
		pattern.in[RSP] = one_in(2) ? any_stack() : 0xffff800000000000;
	if (k->snippet == snippet_push && pattern.in[RSP] >= FIELD &&
	    pattern.in[RSP] < FIELD + PAGE * FIELD_PAGES)
		pattern.in[RSP] = FIELD; /* a frame of the kernel's could come to lie in it */
	pattern.snippet = k->snippet;
}

void step_fault(void)
{
	const struct kind *k = &kinds[below(sizeof(kinds) / sizeof(kinds[0]))];
	static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
	int flags = !k->can_push || one_in(2) ? SA_ONSTACK : 0;

	forget_signals();
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		handle(signals[i], flags, 0);
	trace("fault %s", k->name);
	pattern_fill();
	prepare(k);
	/* A single step goes on; everything else would fault again. */
	plan.resume = k->snippet != snippet_step;
	if (one_in(3) && plan.resume) {
		plan.change = (uint32_t)chance() & 0xffff & ~(1u << RSP);
		for (int i = 0; i < NREGS; i++)
			plan.value[i] = chance();
		plan.change_fpu = one_in(2);
	}
	run_pattern();
	trace_signals();
	trace_registers(false);
}
