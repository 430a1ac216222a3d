/*
 * A stub's address space above GUEST_TASK_SIZE, and what the sentry writes into the stub's text.
 * Included by freestanding stub code: no other headers of ours.
 */
#ifndef MOAT_SENTRY_PLATFORM_SHARED_LAYOUT_H
#define MOAT_SENTRY_PLATFORM_SHARED_LAYOUT_H

#include <stdint.h>

/* The text: a sealed memfd, read+execute. */
#define STUB_TEXT 0x7ff000000000ULL
#define STUB_TEXT_SIZE 0x10000ULL
/* The last page of the text: struct stub_config. */
#define STUB_CONFIG_OFFSET 0xf000ULL
/* The platform's own memory in the stub: systrap's slots, ptrace's scratch. */
#define STUB_MEMORY 0x7ff040000000ULL
#define STUB_MEMORY_SIZE 0x10000000ULL
/* The host's vDSO and its data pages. */
#define STUB_VDSO (STUB_MEMORY + STUB_MEMORY_SIZE)
#define STUB_VDSO_SIZE 0x100000ULL
#define STUB_END (STUB_VDSO + STUB_VDSO_SIZE)

/* The text once more, while the zygote maps the rest: no program, library or stack is there,
 * wherever the host has put the sentry's own, which may be where the stub's are going to be. */
#define ZYGOTE_TEXT 0x10000000000ULL

/* Where the zygote's stack begins, from STUB_MEMORY on. */
#define ZYGOTE_STACK_TOP 0x10000ULL

/* Always claimed by the platform. A real call, and a harmless one (getppid), since a filter around
 * us, as of a container engine, answers what it does not know before the stubs' own filter is
 * asked. */
#define DOORBELL_NR 110

/* At the start of the text: what the sentry needs to know of it. */
struct stub_header {
	uint64_t magic;
	/* The zygote's entry, an offset: rdi = a descriptor of the text, rsi = one of the memory,
	 * or -1 for private memory. */
	uint64_t zygote_entry;
	/* systrap */
	uint64_t signal_entry, sigreturn;
	uint64_t
		patched_entry; /* where patched sites jump to; rcx = return address, rax = number */
	/* ptrace: stub/traced.S */
	uint64_t traced_call, traced_parked, traced_word, traced_word_stack, traced_word_done;
	uint64_t end;
};
#define STUB_MAGIC 0x3162757473746f6dULL

/* What the host's CPU and kernel have, as far as the stub cares, and what it is to be. */
#define STUB_FSGSBASE 1u /* rdfsbase, wrfsbase and wrgsbase may be executed (Linux 5.9) */
#define STUB_XSAVE 2u	 /* else FXSAVE's 512 bytes are all the FPU state there is */
#define STUB_TRACED 4u	 /* the ptrace platform's: it does nothing by itself */

#define STUB_FILTER_MAX 96 /* instructions */

struct stub_filter {
	uint16_t len;
	uint64_t program; /* address in the stub of struct sock_filter[len] */
};

/*
 * What stubs need to know of this host, made once at start. It is part of the sealed text, so no
 * guest can change what a clean stub is going to believe, its filters above all.
 */
struct stub_config {
	uint32_t features;
	uint32_t listener_flags; /* SECCOMP_FILTER_FLAG_* for the notification filter */
	uint64_t slots_fd;
	/* The host's vDSO and its data pages, each mapping by itself, to be moved to STUB_VDSO as
	 * they lie. */
	uint64_t vdso_start, vdso_pieces;
	struct {
		uint64_t start, size;
	} vdso_piece[4];
	/* As struct sock_fprog, which seccomp(2) takes. The zygote installs `trap`; systrap's clean
	 * stubs add `notify`. */
	struct stub_filter trap, notify;
	uint64_t program[2][STUB_FILTER_MAX]; /* struct sock_filter */
};

#endif
