/*
 * The stub fuzzer: a guest that runs honest processes (witness.c) beside hostile ones (attack.c).
 * The hostile ones speak the stub's protocol themselves and lie; the honest ones see that nothing
 * of theirs changes. main.c starts both, kills the hostile ones at any step, and judges.
 */
#ifndef MOAT_TESTS_FUZZ_STUB_FUZZ_H
#define MOAT_TESTS_FUZZ_STUB_FUZZ_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#define GUEST_USER 1000 /* whom hostile processes run as */
#define PAGE 4096

/* What honest processes hold, and no other may ever see. */
#define CANARY 0x7765656b6e657373ULL

/* Between all processes of a run. */
struct shared {
	_Atomic int stop;
	_Atomic long rounds, checks;
	char broken[128]; /* the first finding; empty: none */
	_Atomic int is_broken;
};
extern struct shared *sh;

/* Between a hostile process, its relatives and its supervisor: one page, mapped anew each round. */
struct round {
	_Atomic unsigned steps;	   /* how far the lies have come */
	_Atomic unsigned borrowed; /* a call to be made by another thread: counts up */
	uint64_t nr, args[6];
};

/* Deterministic random numbers; each thread of a run has a state of its own. */
struct rng {
	uint64_t s;
};
static inline uint64_t rng_next(struct rng *r)
{
	r->s += 0x9e3779b97f4a7c15ULL;
	uint64_t z = r->s;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}
static inline unsigned rng_below(struct rng *r, unsigned n)
{
	return (unsigned)((rng_next(r) >> 16) % n);
}

/* Notes a finding; the first one counts. */
void broken(const char *what);

/* witness.c: does honest work and looks at what is its own until sh->stop. */
int witness(unsigned id);

/* attack.c: finds the stub; called once, before any round. */
void attack_init(void);
/* One hostile process's life; does not come back. */
void attack(struct round *round, uint64_t seed) __attribute__((noreturn));

#endif
