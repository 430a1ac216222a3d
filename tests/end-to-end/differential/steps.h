/*
 * steps SEED COUNT [FROM]: makes COUNT steps that the seed decides: system calls, faults, signals,
 * forks, threads, each with all registers and the FPU full of patterns. It prints one line for
 * each, of what has come of it: results, registers, memory. From the step FROM on every register is
 * shown.
 *
 * The same binary prints the same wherever it runs: nothing printed depends on ids, times or places
 * that a kernel may choose.
 */
#ifndef MOAT_TESTS_STEPS_H
#define MOAT_TESTS_STEPS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

/* --- chance ------------------------------------------------------------------------------------
 */

extern uint64_t chance_state;

/* splitmix64 */
static inline uint64_t chance(void)
{
	uint64_t z = chance_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static inline uint64_t below(uint64_t n)
{
	return chance() % n;
}

static inline bool one_in(unsigned n)
{
	return below(n) == 0;
}

/* --- the trace ---------------------------------------------------------------------------------
 */

/* Adds to the step's line. */
void trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* For the whole run; the line ends, and goes out at some time. */
void trace_end_step(void);
void trace_flush(void);
extern bool trace_details;

#define HASH_START 0xcbf29ce484222325ULL
static inline uint64_t hash_bytes(uint64_t h, const void *data, uint64_t n)
{
	const uint8_t *p = data;

	while (n--)
		h = (h ^ *p++) * 0x100000001b3ULL;
	return h;
}

/* --- patterns ----------------------------------------------------------------------------------
 */

/* The processor's order. */
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, NREGS };

struct fpu {
	uint8_t fx[512] __attribute__((aligned(64))); /* FXSAVE's */
	uint8_t high[16][16];			      /* upper halves of ymm0 to ymm15 */
};

/* What run_pattern() loads, runs and stores; pattern.c knows the offsets. */
struct pattern {
	uint64_t in[NREGS], in_flags, out[NREGS], out_flags;
	const void *snippet; /* code that goes on to pattern_done */
	uint64_t own_rsp;
	uint64_t has_avx;
	struct fpu fpu_in, fpu_out;
	uint32_t ids; /* registers that hold ids, a bit each: not to be printed */
};
extern struct pattern pattern;

/* Snippets, each at the instruction that it is about. */
extern const char snippet_syscall[], snippet_syscall_a[], snippet_syscall_b[], snippet_load[],
	snippet_store[], snippet_jump[], snippet_ud2[], snippet_int3[], snippet_icebp[],
	snippet_hlt[], snippet_int[], snippet_div[], snippet_movaps[], snippet_push[],
	snippet_x87[], snippet_sse[], snippet_step[], snippet_spin[], snippet_fs[], pattern_done[];
extern const char pattern_begin[], pattern_end[];

void pattern_init(void);
/* Random registers, flags and FPU state; the stack pointer is in the arena's stack. */
void pattern_fill(void);
void run_pattern(void);
extern volatile bool pattern_running;
/* What has come of it. After a system call rcx and r11 are nobody's. */
void trace_registers(bool after_syscall);
uint64_t hash_fpu(const struct fpu *fpu);
/* One system call by a pattern: its result, traced with the registers. */
int64_t pattern_syscall(long nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
			uint64_t a5);

/* --- signals -----------------------------------------------------------------------------------
 */

/* What the handler does with the context it finds. */
struct plan {
	bool resume;	 /* go on at pattern_done, not where it was */
	uint32_t change; /* registers to be changed, one bit each: never rsp */
	uint64_t value[NREGS];
	bool change_fpu;
	int raise; /* another signal, from within the handler; 0: none */
};
extern struct plan plan;
extern volatile int signals_seen;

/* Handles a signal by the handler of all; returns sigaction's result. */
int handle(int signo, int flags, uint64_t mask);
/* Clears the notes of what the handler has seen. */
void forget_signals(void);
/* Adds them to the line. */
void trace_signals(void);

/* --- memory ------------------------------------------------------------------------------------
 */

#define DATA 0x200000000ULL /* mapped, readable and writable */
#define DATA_SIZE 0x10000ULL
#define STACK 0x210000000ULL
#define STACK_SIZE 0x20000ULL
#define FIELD 0x220000000ULL /* what the steps map and unmap */
#define FIELD_PAGES 32
#define PAGE 4096ULL
#define NOWHERE 0x230000000ULL

void arena_init(void);
/* A hash of the memory that may be read; DATA only, or the field as well. */
uint64_t hash_memory(bool field);

/* --- kinds of steps: each traces what it does --------------------------------------------------
 */

void step_call(void);
void step_memory(void);
void step_fault(void);
void step_base(void);
void step_signal(void);
void step_timer(void);
void step_fork(void);
void step_threads(void);
void step_exec(void);
/* For step_exec: the program that it runs, this one, with these arguments. */
extern const char *own_path;
int exec_main(uint64_t seed);

#endif
