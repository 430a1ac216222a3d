/*
 * The text of a traced stub, as far as it runs: the tracer sets the registers, and the thread does
 * one thing. None of this touches memory that a guest could write.
 */
	.text
/* A system call of the tracer's. What it returns to is for the children that it makes: nobody traces
 * them yet, and they wait. */
	.globl	traced_call, traced_parked
traced_call:
	syscall
traced_parked:
	mov	$34, %eax /* pause */
	syscall
	jmp	traced_parked

/* stub_word() is entered with rsp here, and returns to the int3, which is a stop for the tracer. */
	.balign	8
	.globl	traced_word_stack, traced_word_done
traced_word_stack:
	.quad	traced_word_done
traced_word_done:
	int3
	jmp	traced_parked
	.section .note.GNU-stack,"",@progbits
