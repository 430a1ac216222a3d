/*
 * systrap's ways into the stub and out of it. See README.md for the protocol.
 */
#include "../layout_asm.h"

	.text
/*
 * Host signals: rdi = signal, rsi = siginfo, rdx = ucontext, rsp in the slot. The guest's flags
 * must not disturb us: AC would make unaligned accesses fault, NT would make iretq fault.
 */
	.globl	signal_entry
signal_entry:
	mov	%rsp, %rbp
	and	$-16, %rsp
	push	$0x202
	popf
	call	stub_signal
	mov	%rbp, %rsp
	/* stub_signal returns only for kicks that found the stub at work. */
	ret

	.globl	stub_sigreturn
stub_sigreturn:
	mov	$15, %eax
	syscall
	ud2

/*
 * void resume(struct slot *slot): to the guest with everything from the slot. From resume_begin to
 * resume_end nothing is lost when a signal hits: all state is still in the slot. A kick that came
 * before has left its mark there.
 */
	.globl	resume, resume_begin, resume_end
resume:
resume_begin:
	cmpl	$0, OFF_KICKED(%rdi)
	jne	kicked
	lea	SLOT_IRET_FRAME-40(%rdi), %rsp
	mov	OFF_FPSTATE(%rdi), %rcx
	test	%rcx, %rcx
	jz	1f
	mov	$-1, %eax
	mov	$-1, %edx
	testb	$STUB_XSAVE, stub_config(%rip)
	jz	2f
	xrstor64 (%rcx)
1:	testb	$STUB_FSGSBASE, stub_config(%rip)
	jz	3f
	mov	OFF_REGS+R_FS(%rdi), %rcx
	wrfsbase %rcx
	jmp	3f
2:	fxrstor64 (%rcx)
	jmp	1b
3:	mov	OFF_REGS+0*8(%rdi), %r15
	mov	OFF_REGS+1*8(%rdi), %r14
	mov	OFF_REGS+2*8(%rdi), %r13
	mov	OFF_REGS+3*8(%rdi), %r12
	mov	OFF_REGS+4*8(%rdi), %rbp
	mov	OFF_REGS+5*8(%rdi), %rbx
	mov	OFF_REGS+6*8(%rdi), %r11
	mov	OFF_REGS+7*8(%rdi), %r10
	mov	OFF_REGS+8*8(%rdi), %r9
	mov	OFF_REGS+9*8(%rdi), %r8
	mov	OFF_REGS+10*8(%rdi), %rax
	mov	OFF_REGS+11*8(%rdi), %rcx
	mov	OFF_REGS+12*8(%rdi), %rdx
	mov	OFF_REGS+13*8(%rdi), %rsi
	mov	OFF_REGS+14*8(%rdi), %rdi
	iretq
resume_end:
	ud2
kicked:
	call	stub_kicked
	ud2

/*
 * long stub_sleep(slot, nr, args[6]): a system call that sleeps, -EINTR if a kick has come or comes. The
 * handler moves one that comes just before the call past it.
 */
	.globl	stub_sleep, stub_sleep_begin, stub_sleep_syscall, stub_sleep_interrupted
stub_sleep:
stub_sleep_begin:
	cmpl	$0, OFF_KICKED(%rdi)
	jne	stub_sleep_interrupted
	mov	%rsi, %rax
	mov	%rdx, %r11
	mov	(%r11), %rdi
	mov	8(%r11), %rsi
	mov	16(%r11), %rdx
	mov	24(%r11), %r10
	mov	32(%r11), %r8
	mov	40(%r11), %r9
stub_sleep_syscall:
	syscall
	ret
stub_sleep_interrupted:
	mov	$-4, %rax
	ret

/*
 * int stub_load(uint64_t *to, const uint64_t *from), int stub_store(uint64_t *to, uint64_t value): one
 * word of the guest's. 0: there is none; the handler goes on from stub_access_fault.
 */
	.globl	stub_load, stub_store, stub_access_begin, stub_access_fault
stub_access_begin:
stub_load:
	mov	(%rsi), %rax
	mov	%rax, (%rdi)
	mov	$1, %eax
	ret
stub_store:
	mov	%rsi, (%rdi)
	mov	$1, %eax
	ret
stub_access_fault:
	xor	%eax, %eax
	ret

/*
 * long stub_clone(flags, offset_or_slot, slots_fd, slot, fresh_or_tls): clone(2) whose child must not
 * touch any memory before it has its own slot: everything it needs is in registers.
 *   process (rdx = slots_fd >= 0): the child maps its slot region over the inherited one, at the same
 *   slot index, then goes to child_main(slot, fresh).
 *   thread (rdx = -1): rsi is the child's slot; it sets its signal stack first, in child_thread. The
 *   last argument is clone's.
 */
	.globl	stub_clone
stub_clone:
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	mov	%rsi, %r12
	mov	%rdx, %r13
	mov	%rcx, %r14
	mov	%r8, %rbx
	/* clone(flags, 0, 0, 0, tls); rdi holds the flags */
	test	%rdx, %rdx
	js	4f
	xor	%r8d, %r8d
4:	xor	%esi, %esi
	xor	%edx, %edx
	xor	%r10d, %r10d
	xor	%r9d, %r9d
	mov	$56, %eax
	syscall
	test	%rax, %rax
	jz	1f
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	ret
1:	test	%r13, %r13
	js	2f
	/* mmap(STUB_SLOTS, SLOT_REGION, RW, SHARED|FIXED, slots_fd, offset) */
	movabs	$STUB_SLOTS, %rdi
	mov	$SLOT_REGION, %esi
	mov	$3, %edx
	mov	$0x11, %r10d
	mov	%r13, %r8
	mov	%r12, %r9
	mov	$9, %eax
	syscall
	mov	%r14, %rdi
	movabs	$STUB_SLOTS, %rcx
	cmp	%rcx, %rax
	jne	3f
	testb	$STUB_FSGSBASE, stub_config(%rip)
	jz	5f /* then nothing but the stub can have changed what clone(2) inherits */
	wrgsbase %rdi
5:	lea	SLOT_IRET_FRAME-4096(%rdi), %rsp
	and	$-16, %rsp
	mov	%rbx, %rsi
	call	child_main
3:	ud2
2:	mov	%r12, %rdi
	testb	$STUB_FSGSBASE, stub_config(%rip)
	jz	6f
	wrgsbase %rdi
6:	lea	SLOT_IRET_FRAME-4096(%rdi), %rsp
	and	$-16, %rsp
	call	child_thread
	ud2

/* Patched sites jump here with rcx = return address and rax = the number, as after a syscall. */
	.globl	patched_entry, patched_begin, patched_end
patched_entry:
patched_begin:
	mov	%r15, %gs:OFF_REGS+0*8
	mov	%r14, %gs:OFF_REGS+1*8
	mov	%r13, %gs:OFF_REGS+2*8
	mov	%r12, %gs:OFF_REGS+3*8
	mov	%rbp, %gs:OFF_REGS+4*8
	mov	%rbx, %gs:OFF_REGS+5*8
	mov	%r10, %gs:OFF_REGS+7*8
	mov	%r9, %gs:OFF_REGS+8*8
	mov	%r8, %gs:OFF_REGS+9*8
	mov	%rax, %gs:OFF_REGS+10*8
	mov	%rcx, %gs:OFF_REGS+11*8
	mov	%rdx, %gs:OFF_REGS+12*8
	mov	%rsi, %gs:OFF_REGS+13*8
	mov	%rdi, %gs:OFF_REGS+14*8
	mov	%rcx, %gs:OFF_REGS+R_RIP
	mov	%rsp, %gs:OFF_REGS+R_RSP
	mov	%gs:OFF_SELF, %rdi
	/* Below the frame that the way back may write. */
	lea	SLOT_IRET_FRAME-128(%rdi), %rsp
	pushf
	pop	%rax
	mov	%rax, OFF_REGS+R_EFLAGS(%rdi)
	mov	%rax, OFF_REGS+6*8(%rdi)
	push	$0x202
	popf
patched_end:
	/* Callee-saved registers survive the call; on a fast return only the others are reloaded. */
	call	stub_patched
	/* rax: the slot. Everything is still in the slot until the last instruction. */
	.globl	fast_begin, fast_end
fast_begin:
	mov	%rax, %rdi
	cmpl	$0, OFF_KICKED(%rdi)
	jne	fast_kicked
	mov	OFF_REGS+R_EFLAGS(%rdi), %r11
	push	%r11
	popf
	mov	OFF_REGS+4*8(%rdi), %rbp
	mov	OFF_REGS+5*8(%rdi), %rbx
	mov	OFF_REGS+3*8(%rdi), %r12
	mov	OFF_REGS+2*8(%rdi), %r13
	mov	OFF_REGS+1*8(%rdi), %r14
	mov	OFF_REGS+0*8(%rdi), %r15
	mov	OFF_REGS+7*8(%rdi), %r10
	mov	OFF_REGS+8*8(%rdi), %r9
	mov	OFF_REGS+9*8(%rdi), %r8
	mov	OFF_REGS+10*8(%rdi), %rax
	mov	OFF_REGS+R_RIP(%rdi), %rcx
	mov	OFF_REGS+12*8(%rdi), %rdx
	mov	OFF_REGS+13*8(%rdi), %rsi
	mov	OFF_REGS+R_RSP(%rdi), %rsp
	mov	OFF_REGS+14*8(%rdi), %rdi
	jmp	*%rcx
fast_end:
	ud2
fast_kicked:
	call	stub_fast_kicked
	ud2
	.section .note.GNU-stack,"",@progbits
