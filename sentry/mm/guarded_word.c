/* See the header. One instruction may fault; the handler moves the program counter on from it. */
#include "sentry/mm/guarded_word.h"

#include <errno.h>
#include <ucontext.h>

extern const char guarded_cmpxchg_access[], guarded_cmpxchg_fault[];

_Static_assert(EAGAIN == 11 && EFAULT == 14, "written as numbers below");

/* rdi: word, rsi: expected, edx: desired */
__asm__(".pushsection .text\n"
	".globl guarded_cmpxchg\n"
	".type guarded_cmpxchg, @function\n"
	"guarded_cmpxchg:\n"
	"	endbr64\n"
	"	movl (%rsi), %eax\n"
	"guarded_cmpxchg_access:\n"
	"	lock cmpxchgl %edx, (%rdi)\n"
	"	jne 1f\n"
	"	xorl %eax, %eax\n"
	"	ret\n"
	"1:	movl %eax, (%rsi)\n"
	"	movl $-11, %eax\n"
	"	ret\n"
	"guarded_cmpxchg_fault:\n"
	"	movl $-14, %eax\n"
	"	ret\n"
	".size guarded_cmpxchg, . - guarded_cmpxchg\n"
	".popsection\n");

bool guarded_word_fixup(void *context)
{
	greg_t *rip = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];

	if (*rip != (greg_t)guarded_cmpxchg_access)
		return false;
	*rip = (greg_t)guarded_cmpxchg_fault;
	return true;
}
