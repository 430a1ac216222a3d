/*
 * Writing the stubs' seccomp programs by hand: libseccomp cannot test the instruction pointer. The
 * function that uses these has a `struct program *p`.
 */
#ifndef MOAT_SENTRY_PLATFORM_SHARED_FILTER_H
#define MOAT_SENTRY_PLATFORM_SHARED_FILTER_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>

#include "base/log.h"
#include "sentry/platform/shared/layout.h"

/* Where a stub has a field of its configuration. */
#define STUB_CONFIG_ADDR(field)                                                                    \
	(STUB_TEXT + STUB_CONFIG_OFFSET + offsetof(struct stub_config, field))

#define LD(off) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (off))
#define RET(action) BPF_STMT(BPF_RET | BPF_K, (action))
#define JUMP(op, k, t, f) BPF_JUMP(BPF_JMP | (op) | BPF_K, (k), (t), (f))
#define DATA(field) offsetof(struct seccomp_data, field)
#define ARG_LO(n) (DATA(args) + 8 * (n))
#define ARG_HI(n) (DATA(args) + 8 * (n) + 4)

/* A program under construction, of at most STUB_FILTER_MAX instructions. */
struct program {
	struct sock_filter *insn;
	unsigned n;
};

static inline void emit(struct program *p, struct sock_filter insn)
{
	BUG_ON(p->n >= STUB_FILTER_MAX);
	p->insn[p->n++] = insn;
}
#define EMIT(...) emit(p, (struct sock_filter)__VA_ARGS__)

/* What stubs clone: a fork, or a thread (with CLONE_SETTLS where that is to set its FS base). */
#define STUB_FORK_FLAGS (CLONE_PARENT | CLONE_FILES)
#define STUB_THREAD_FLAGS                                                                          \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

/* Everything traps but an x86-64 call by an instruction of the stub's text; goes on with the number
 * loaded. */
void filter_emit_text_only(struct program *p);
/* A clone with the flags above gets `action`, one with others traps: no namespaces, no other ways
 * of sharing. The number is loaded, and still is for other calls. */
void filter_emit_clone(struct program *p, uint32_t action);
/* These numbers get `action`; all else traps. Ends the program. */
void filter_emit_numbers(struct program *p, const uint32_t *numbers, unsigned n, uint32_t action);

#endif
