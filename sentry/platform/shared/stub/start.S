/*
 * What every stub's text begins with, and what is the same in all.
 */
#include "../layout_asm.h"

	.section .header, "a"
stub_begin:
	.quad	0x3162757473746f6d
	.quad	zygote_entry - stub_begin
	.quad	signal_entry
	.quad	stub_sigreturn
	.quad	patched_entry
	.quad	traced_call
	.quad	traced_parked
	.quad	stub_word
	.quad	traced_word_stack
	.quad	traced_word_done
	.quad	stub_end

	.text
#define MMAP 9
#define READ_WRITE 3
#define READ_EXEC 5
#define SHARED_FIXED 0x11
#define PRIVATE_FIXED 0x12
#define ANONYMOUS 0x20

/*
 * The zygote begins here, at ZYGOTE_TEXT and so by relative addresses only, on the sentry's stack: rdi =
 * the text's descriptor, rsi = the memory's, or -1. Maps both where they belong and goes on there.
 */
	.globl	zygote_entry
zygote_entry:
	mov	%rdi, %rbx
	mov	%rsi, %r12
	/* Kernels before 6.7 share no memory that is sealed against writing, though it be for reading:
	 * there the text is the process's own, and its own copy all that it could change. */
	mov	$SHARED_FIXED, %ebp
1:	mov	$MMAP, %edi
	movabs	$STUB_TEXT, %rsi
	mov	$STUB_TEXT_SIZE, %edx
	mov	$READ_EXEC, %ecx
	mov	%rbp, %r8
	mov	%rbx, %r9
	push	$0
	call	stub_syscall
	movabs	$STUB_TEXT, %rsi
	cmp	%rsi, %rax
	je	2f
	cmp	$PRIVATE_FIXED, %ebp
	mov	$PRIVATE_FIXED, %ebp
	jne	1b
	ud2
2:	mov	$STUB_MEMORY_SIZE, %edx
	mov	$SHARED_FIXED, %r8d
	test	%r12, %r12
	jns	3f
	mov	$ZYGOTE_STACK_TOP, %edx
	mov	$(PRIVATE_FIXED | ANONYMOUS), %r8d
3:	mov	$MMAP, %edi
	movabs	$STUB_MEMORY, %rsi
	mov	$READ_WRITE, %ecx
	mov	%r12, %r9
	push	$0
	call	stub_syscall
	movabs	$STUB_MEMORY, %rdi
	cmp	%rdi, %rax
	jne	4f
	lea	ZYGOTE_STACK_TOP(%rdi), %rsp
	xor	%ebp, %ebp
	and	$-16, %rsp
	movabs	$5f, %rax
	jmp	*%rax
4:	ud2
5:	call	zygote_main
	ud2

/* long stub_syscall(nr, a0, a1, a2, a3, a4, a5): seven arguments, the last on the stack. */
	.globl	stub_syscall
stub_syscall:
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	mov	%r8, %r10
	mov	%r9, %r8
	mov	8(%rsp), %r9
	syscall
	ret

/*
 * long stub_word(op, addr, arg, expected): an atomic operation on a 32-bit word of the guest's; op is
 * enum platform_word_op. What stood there, or -EFAULT: the handler goes on from stub_word_fault.
 */
	.globl	stub_word, stub_word_begin, stub_word_fault
stub_word:
stub_word_begin:
	mov	(%rsi), %eax
1:	mov	%eax, %r8d
	cmp	$1, %edi
	jb	3f
	je	4f
	cmp	$3, %edi
	jb	5f
	je	6f
	cmp	$5, %edi
	jb	7f
	cmp	%ecx, %eax
	jne	9f
3:	mov	%edx, %r8d /* SET, SET_IF */
	jmp	8f
4:	add	%edx, %r8d
	jmp	8f
5:	or	%edx, %r8d
	jmp	8f
6:	mov	%edx, %r9d
	not	%r9d
	and	%r9d, %r8d
	jmp	8f
7:	xor	%edx, %r8d
8:	lock cmpxchg %r8d, (%rsi)
	jne	1b
9:	mov	%eax, %eax
	ret
stub_word_fault:
	mov	$-14, %rax
	ret
	.section .note.GNU-stack,"",@progbits
