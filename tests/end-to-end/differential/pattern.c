/* Registers and FPU filled, one piece of code run, everything stored. */
#include <cpuid.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "steps.h"

#define FLAGS_CHOICE 0xcd5 /* CF PF AF ZF SF DF OF */
#define FLAGS_FIXED 0x202

struct pattern pattern __attribute__((aligned(64)));

_Static_assert(offsetof(struct pattern, in_flags) == 128, "written as numbers below");
_Static_assert(offsetof(struct pattern, out) == 136, "written as numbers below");
_Static_assert(offsetof(struct pattern, out_flags) == 264, "written as numbers below");
_Static_assert(offsetof(struct pattern, snippet) == 272, "written as numbers below");
_Static_assert(offsetof(struct pattern, own_rsp) == 280, "written as numbers below");
_Static_assert(offsetof(struct pattern, has_avx) == 288, "written as numbers below");
_Static_assert(offsetof(struct pattern, fpu_in) == 320, "written as numbers below");
_Static_assert(offsetof(struct pattern, fpu_out) == 320 + 768, "written as numbers below");

/* clang-format off */
__asm__(
".macro EACH_YMM op:vararg\n"
"	.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
"	\\op \\n\n"
"	.endr\n"
".endm\n"
".macro LOAD_HIGH n\n"
"	vinsertf128 $1, pattern+320+512+16*\\n, %ymm\\n, %ymm\\n\n"
".endm\n"
".macro STORE_HIGH n\n"
"	vextractf128 $1, %ymm\\n, pattern+1088+512+16*\\n\n"
".endm\n"
	".text\n"
	".globl pattern_run, pattern_begin, pattern_end\n"
"pattern_begin:\n"
"pattern_run:\n"
"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
"	mov %rsp, pattern+280\n"
"	fxrstor64 pattern+320\n"
"	cmpq $0, pattern+288\n"
"	je 1f\n"
"	EACH_YMM LOAD_HIGH\n"
"1:	pushq pattern+128\n"
"	popfq\n"
"	mov pattern+0, %rax\n	mov pattern+8, %rcx\n	mov pattern+16, %rdx\n"
"	mov pattern+24, %rbx\n	mov pattern+32, %rsp\n	mov pattern+40, %rbp\n"
"	mov pattern+48, %rsi\n	mov pattern+56, %rdi\n	mov pattern+64, %r8\n"
"	mov pattern+72, %r9\n	mov pattern+80, %r10\n	mov pattern+88, %r11\n"
"	mov pattern+96, %r12\n	mov pattern+104, %r13\n	mov pattern+112, %r14\n"
"	mov pattern+120, %r15\n"
"	jmp *pattern+272\n"
	".globl pattern_done\n"
"pattern_done:\n"
"	mov %rax, pattern+136\n	mov %rcx, pattern+144\n	mov %rdx, pattern+152\n"
"	mov %rbx, pattern+160\n	mov %rsp, pattern+168\n	mov %rbp, pattern+176\n"
"	mov %rsi, pattern+184\n	mov %rdi, pattern+192\n	mov %r8, pattern+200\n"
"	mov %r9, pattern+208\n	mov %r10, pattern+216\n	mov %r11, pattern+224\n"
"	mov %r12, pattern+232\n	mov %r13, pattern+240\n	mov %r14, pattern+248\n"
"	mov %r15, pattern+256\n"
"	mov pattern+280, %rsp\n"
"	pushfq\n"
"	popq pattern+264\n"
"	pushq $0x202\n"
"	popfq\n"
"	fxsave64 pattern+1088\n"
"	cmpq $0, pattern+288\n"
"	je 1f\n"
"	EACH_YMM STORE_HIGH\n"
"	vzeroupper\n"
"1:	fninit\n"
"	ldmxcsr initial_mxcsr\n"
"	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	pop %rbx\n"
"	ret\n"
"initial_mxcsr: .long 0x1f80\n"

	".globl snippet_syscall, snippet_syscall_a, snippet_syscall_b\n"
"snippet_syscall:\n	syscall\n	jmp pattern_done\n"
/* Two shapes that systrap patches: sched_yield(2), and any. */
"snippet_syscall_a:\n	mov $24, %eax\n	syscall\n	jmp pattern_done\n"
"snippet_syscall_b:\n	syscall\n	cmp $-4095, %rax\n	jmp pattern_done\n"

	".globl snippet_load, snippet_store, snippet_jump\n"
"snippet_load:\n	mov (%rbx), %rax\n	jmp pattern_done\n"
"snippet_store:\n	mov %rax, (%rbx)\n	jmp pattern_done\n"
"snippet_jump:\n	jmp *%rbx\n"

	".globl snippet_ud2, snippet_int3, snippet_icebp, snippet_hlt, snippet_int\n"
"snippet_ud2:\n	ud2\n	jmp pattern_done\n"
"snippet_int3:\n	int3\n	jmp pattern_done\n"
"snippet_icebp:\n	.byte 0xf1\n	jmp pattern_done\n"
"snippet_hlt:\n	hlt\n	jmp pattern_done\n"
"snippet_int:\n	int $0x21\n	jmp pattern_done\n"

	".globl snippet_div, snippet_movaps, snippet_push, snippet_x87, snippet_sse\n"
"snippet_div:\n	div %rbx\n	jmp pattern_done\n"
"snippet_movaps:\n	movaps (%rbx), %xmm5\n	jmp pattern_done\n"
"snippet_push:\n	push %rax\n	jmp pattern_done\n"
/* Exceptions of the FPU, unmasked: 1/0. */
"snippet_x87:\n	fninit\n	fldcw x87_unmasked\n	fld1\n	fldz\n	fdivrp\n	fwait\n"
"	jmp pattern_done\n"
"snippet_sse:\n	ldmxcsr sse_unmasked\n	movsd one, %xmm0\n	xorpd %xmm1, %xmm1\n"
"	divsd %xmm1, %xmm0\n	jmp pattern_done\n"
"x87_unmasked: .word 0x37b\n"
"sse_unmasked: .long 0x1d80\n"
	".balign 8\n"
"one: .double 1.0\n"

	".globl snippet_step, snippet_spin\n"
/* The trap flag, for a few instructions. */
"snippet_step:\n	pushfq\n	orq $0x100, (%rsp)\n	popfq\n	nop\n	inc %rax\n"
"	lea 8(%rbx), %rbx\n	pushfq\n	andq $~0x100, (%rsp)\n	popfq\n	jmp pattern_done\n"
/* Until a handler says that it has been there. */
"snippet_spin:\n	cmpl $0, signals_seen\n	je snippet_spin\n	jmp pattern_done\n"
	".globl snippet_fs\n"
/* With rbx as FS base, then r13 again; what is there goes to r12. 158 is arch_prctl, 0x1002 ARCH_SET_FS. */
"snippet_fs:\n	mov %rbx, %rsi\n	mov $0x1002, %edi\n	mov $158, %eax\n	syscall\n"
"	mov %rax, %r14\n	mov %fs:16, %r12\n	incq %fs:24\n	mov $24, %eax\n	syscall\n"
"	add %fs:24, %r12\n	mov %r13, %rsi\n	mov $0x1002, %edi\n	mov $158, %eax\n"
"	syscall\n	jmp pattern_done\n"
"pattern_end:\n"
);
/* clang-format on */

void pattern_run(void);
volatile bool pattern_running;

void run_pattern(void)
{
	pattern_running = true;
	pattern_run();
	pattern_running = false;
}

void pattern_init(void)
{
	unsigned a, b, c, d;

	__cpuid(1, a, b, c, d);
	/* OSXSAVE and AVX, and the kernel saves them. */
	if (!(c & bit_OSXSAVE) || !(c & bit_AVX))
		return;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	pattern.has_avx = (a & 6) == 6;
}

static void fill(void *p, size_t n)
{
	uint64_t *words = p;

	for (size_t i = 0; i < n / 8; i++)
		words[i] = chance();
}

static void fill_fpu(struct fpu *fpu)
{
	uint16_t *head = (uint16_t *)fpu->fx;

	memset(fpu->fx, 0, sizeof(fpu->fx));
	head[0] = (uint16_t)(0x7f | below(16) << 8); /* precision and rounding; all masked */
	head[2] = (uint16_t)below(256);		     /* which registers are in use */
	*(uint32_t *)(fpu->fx + 24) = (uint32_t)(0x1f80 | below(4) << 13 | below(2) << 15);
	for (int i = 0; i < 8; i++) {
		fill(fpu->fx + 32 + 16 * i, 8);
		*(uint16_t *)(fpu->fx + 32 + 16 * i + 8) = (uint16_t)chance();
	}
	fill(fpu->fx + 160, 256);
	if (pattern.has_avx)
		fill(fpu->high, sizeof(fpu->high));
}

void pattern_fill(void)
{
	pattern.ids = 0;
	fill(pattern.in, sizeof(pattern.in));
	pattern.in[RSP] = STACK + STACK_SIZE / 2 + below(64) * 8;
	pattern.in_flags = (chance() & FLAGS_CHOICE) | FLAGS_FIXED;
	fill_fpu(&pattern.fpu_in);
}

uint64_t hash_fpu(const struct fpu *fpu)
{
	uint8_t fx[512];
	uint64_t h;

	memcpy(fx, fpu->fx, sizeof(fx));
	memset(fx + 6, 0, 18);	 /* which instruction was the last: CPUs differ */
	memset(fx + 28, 0, 4);	 /* the mask of MXCSR */
	memset(fx + 416, 0, 96); /* reserved, and for software */
	for (int i = 0; i < 8; i++)
		memset(fx + 32 + 16 * i + 10, 0, 6);
	h = hash_bytes(HASH_START, fx, sizeof(fx));
	return pattern.has_avx ? hash_bytes(h, fpu->high, sizeof(fpu->high)) : h;
}

void trace_registers(bool after_syscall)
{
	uint64_t out[NREGS], h;

	for (int i = 0; i < NREGS; i++)
		out[i] = pattern.ids & 1u << i ? 0 : pattern.out[i];
	if (after_syscall)
		out[RCX] = out[R11] = 0;
	h = hash_bytes(HASH_START, out, sizeof(out));
	h = hash_bytes(h, &pattern.out_flags, 8);
	trace(" regs=%016lx fpu=%016lx", h, hash_fpu(&pattern.fpu_out));
	if (!trace_details)
		return;
	for (int i = 0; i < NREGS; i++)
		trace("\n    reg%d %lx -> %lx", i, pattern.ids & 1u << i ? 0 : pattern.in[i],
		      out[i]);
	trace("\n    flags %lx -> %lx", pattern.in_flags, pattern.out_flags);
	trace("\n    fpu in=%016lx\n", hash_fpu(&pattern.fpu_in));
}

int64_t pattern_syscall(long nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
			uint64_t a5)
{
	pattern_fill();
	if (nr == SYS_kill || nr == SYS_tgkill || nr == SYS_rt_sigqueueinfo)
		pattern.ids = 1u << RDI | (nr == SYS_tgkill ? 1u << RSI : 0);
	pattern.in[RAX] = (uint64_t)nr;
	pattern.in[RDI] = a0;
	pattern.in[RSI] = a1;
	pattern.in[RDX] = a2;
	pattern.in[R10] = a3;
	pattern.in[R8] = a4;
	pattern.in[R9] = a5;
	pattern.snippet = one_in(2) ? snippet_syscall : snippet_syscall_b;
	run_pattern();
	trace(" =%ld", (long)pattern.out[RAX]);
	trace_registers(true);
	return (int64_t)pattern.out[RAX];
}
