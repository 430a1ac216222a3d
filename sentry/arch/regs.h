/* The registers of a guest thread (x86-64), as the platform reports and takes them. */
#ifndef MOAT_SENTRY_ARCH_REGS_H
#define MOAT_SENTRY_ARCH_REGS_H

#include <stdint.h>

/* Same order as struct user_regs_struct up to gs_base, so PTRACE_GETREGS can use it as it is. */
struct guest_regs {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8;
	uint64_t rax; /* syscall: the result; set to -ENOSYS before the handler runs */
	uint64_t rcx, rdx, rsi, rdi;
	uint64_t orig_rax; /* syscall number, or -1 outside a syscall */
	uint64_t rip, cs, eflags, rsp, ss;
	uint64_t fs_base, gs_base;
};

#define GUEST_CS 0x33
#define GUEST_SS 0x2b
/* Flag bits that a guest may set through a signal frame or ptrace: CF PF AF ZF SF TF DF OF RF AC.
 */
#define GUEST_EFLAGS_MASK 0x00050dd5ULL
#define GUEST_EFLAGS_FIXED 0x202ULL /* bit 1 and IF are always set */

/* Guest addresses. GUEST_TASK_SIZE is the end of what a guest may map: everything above, up to
 * the host's end of user space, belongs to the stub. */
#define PAGE_SIZE 4096UL
#define PAGE_SHIFT 12
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define GUEST_TASK_SIZE 0x7ff000000000ULL
#define GUEST_MMAP_MIN 0x10000ULL

#endif
