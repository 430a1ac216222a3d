/*
 * Guest code that speaks the stub's protocol itself: it calls the stub's own `syscall; ret` with
 * registers of its choice, and hands over and obeys, or does not, as it likes. What an attacker
 * writes first.
 */
#ifndef MOAT_TESTS_STUB_PROTOCOL_H
#define MOAT_TESTS_STUB_PROTOCOL_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "sentry/platform/systrap/layout.h"

static uint64_t stub_site; /* of a `syscall; ret` in the stub's text */

static inline void stub_find(void)
{
	const unsigned char *text = (const unsigned char *)STUB_TEXT;

	for (uint64_t i = 0; i + 2 < STUB_CONFIG_OFFSET; i++)
		if (text[i] == 0x0f && text[i + 1] == 0x05 && text[i + 2] == 0xc3) {
			stub_site = STUB_TEXT + i;
			return;
		}
	printf("no system call instruction in the stub\n");
	exit(2);
}

/* A system call from the stub's text. */
static inline long stub_call(long nr, long a0, long a1, long a2, long a3, long a4, long a5)
{
	register long r10 __asm__("r10") = a3;
	register long r8 __asm__("r8") = a4;
	register long r9 __asm__("r9") = a5;
	long ret;

	__asm__ volatile("sub $128, %%rsp\n\tcall *%[site]\n\tadd $128, %%rsp"
			 : "=a"(ret)
			 : "a"(nr), "D"(a0), "S"(a1), "d"(a2), "r"(r10), "r"(r8),
			   "r"(r9), [site] "r"(stub_site)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline struct slot *stub_slot(void)
{
	struct slot *slot;

	__asm__ volatile("mov %%gs:0x10, %0" : "=r"(slot));
	return slot;
}

/* Publishes a system call as the thread's event and gives the turn to the sentry. */
static inline void stub_publish(struct slot *slot, long nr, long a0, long a1, long a2, long a3,
				long a4, long a5)
{
	struct stub_regs *r = &slot->regs;

	r->orig_rax = r->rax = (uint64_t)nr;
	r->rdi = (uint64_t)a0;
	r->rsi = (uint64_t)a1;
	r->rdx = (uint64_t)a2;
	r->r10 = (uint64_t)a3;
	r->r8 = (uint64_t)a4;
	r->r9 = (uint64_t)a5;
	r->rip = (uint64_t)stub_find;
	r->rsp = (uint64_t)__builtin_frame_address(0);
	slot->event = 0;
	slot->signo = 0;
	slot->fast = 0;
	slot->fpstate = 0;
}

/* Gives the turn and rings, as the sentry asked for; does not wait. */
static inline void stub_give_turn(struct slot *slot)
{
	uint32_t seq = slot->seq + 1;

	slot->seq = seq;
	__atomic_store_n(&slot->turn, TURN_SENTRY, __ATOMIC_SEQ_CST);
	switch (__atomic_load_n(&slot->wake, __ATOMIC_SEQ_CST)) {
	case WAKE_FUTEX:
		stub_call(SYS_futex, (long)&slot->turn, 1, 1, 0, 0, 0);
		break;
	case WAKE_DOORBELL:
		while (stub_call(DOORBELL_NR, seq, 0, 0, 0, 0, 0) == -4 &&
		       __atomic_load_n(&slot->turn, __ATOMIC_SEQ_CST) == TURN_SENTRY)
			;
		break;
	}
}

static inline uint32_t stub_wait_turn(struct slot *slot)
{
	while (__atomic_load_n(&slot->turn, __ATOMIC_SEQ_CST) == TURN_SENTRY)
		stub_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
	return slot->turn;
}

static inline void stub_run_batch(struct slot *slot)
{
	uint32_t n = slot->batch_n;

	slot->batch_n = 0;
	for (uint32_t i = 0; i < n && i < 8; i++) {
		const uint64_t *a = slot->batch[i].args;
		long ret;

		do
			ret = stub_call((long)slot->batch[i].nr, (long)a[0], (long)a[1], (long)a[2],
					(long)a[3], (long)a[4], (long)a[5]);
		while (ret == -4);
	}
}

/* Makes a system call by the protocol up to its first command, or its end: the turn. */
static inline uint32_t stub_begin(struct slot *slot, long nr, long a0, long a1, long a2, long a3,
				  long a4, long a5)
{
	uint32_t turn;

	stub_publish(slot, nr, a0, a1, a2, a3, a4, a5);
	stub_give_turn(slot);
	turn = stub_wait_turn(slot);
	stub_run_batch(slot);
	return turn;
}

static inline void stub_obey_syscall(struct slot *slot)
{
	const uint64_t *a = slot->cmd_args;

	do
		slot->cmd_result = stub_call((long)slot->cmd_nr, (long)a[0], (long)a[1], (long)a[2],
					     (long)a[3], (long)a[4], (long)a[5]);
	while (slot->cmd_result == -4);
}

/* After a command: the next turn. */
static inline uint32_t stub_report(struct slot *slot)
{
	uint32_t turn;

	stub_give_turn(slot);
	turn = stub_wait_turn(slot);
	stub_run_batch(slot);
	return turn;
}

/* An honest system call; commands that are no plain system calls end the program. */
static inline long stub_syscall(struct slot *slot, long nr, long a0, long a1, long a2, long a3,
				long a4, long a5)
{
	uint32_t turn = stub_begin(slot, nr, a0, a1, a2, a3, a4, a5);

	while (turn == TURN_COMMAND) {
		if (slot->cmd == CMD_SYSCALL)
			stub_obey_syscall(slot);
		turn = stub_report(slot);
	}
	return (long)slot->regs.rax;
}

/* A system call up to a command of this kind, honest until then; false: it ended without. */
static inline int stub_begin_until(struct slot *slot, uint32_t cmd, long nr, long a0, long a1,
				   long a2, long a3, long a4, long a5)
{
	uint32_t turn = stub_begin(slot, nr, a0, a1, a2, a3, a4, a5);

	while (turn == TURN_COMMAND && slot->cmd != cmd) {
		if (slot->cmd == CMD_SYSCALL)
			stub_obey_syscall(slot);
		turn = stub_report(slot);
	}
	return turn == TURN_COMMAND;
}

/* The ordered clone, from the stub's text, as the order's arguments say. A new process goes on
 * here, with 0; its memory is a copy but for the slot region, which is still its parent's. */
static inline long stub_clone_process(const struct slot *slot)
{
	return stub_call(SYS_clone, (long)slot->cmd_args[0], 0, 0, 0, 0, 0);
}

/* A new thread runs fn on this stack, without a slot of its own: from the stub's text it may call,
 * nothing else. */
long stub_clone_thread(uint64_t flags, uint64_t tls, void *stack_top, void (*fn)(void));
__asm__(".globl stub_clone_thread\n"
	"stub_clone_thread:\n"
	"	push %rbx\n"
	"	push %r12\n"
	"	push %r13\n"
	"	mov stub_site(%rip), %rbx\n"
	"	mov %rdx, %r12\n"
	"	mov %rcx, %r13\n"
	"	mov %rsi, %r8\n"
	"	xor %esi, %esi\n"
	"	xor %edx, %edx\n"
	"	xor %r10d, %r10d\n"
	"	xor %r9d, %r9d\n"
	"	mov $56, %eax\n"
	/* Both come back on one stack: the return address is read by one after the other, and
	 * neither pushes before the new one has left. */
	"	call *%rbx\n"
	"	test %rax, %rax\n"
	"	jnz 1f\n"
	"	mov %r12, %rsp\n"
	"	lock incl stub_threads_left(%rip)\n"
	"	call *%r13\n"
	"	ud2\n"
	"1:	js 3f\n"
	"2:	pause\n"
	"	cmpl $0, stub_threads_left(%rip)\n"
	"	je 2b\n"
	"	lock decl stub_threads_left(%rip)\n"
	"3:	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbx\n"
	"	ret\n"
	".data\n"
	"stub_threads_left: .long 0\n"
	".text\n");

#endif
