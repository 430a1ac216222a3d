/*
 * The stub: the only code of ours in a guest's address space. Freestanding, general registers only,
 * runs on the slot's own stack. It owns nothing and decides nothing: the guest can read it, jump
 * into it and scribble over its slot, and gains no more than its own death.
 */
#include <linux/futex.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "../layout.h"

#define EVENT_SYSCALL 0
#define EVENT_FAULT 1
#define EVENT_INTERRUPTED 2
#define EVENT_DEAD 3

#define KICK_SIGNAL SIGURG

long stub_syscall(long nr, long a0, long a1, long a2, long a3, long a4, long a5);
long stub_clone(unsigned long flags, uint64_t offset_or_slot, long slots_fd, struct slot *slot,
		long fresh);
void resume(struct slot *slot) __attribute__((noreturn));
void stub_signal(int signo, siginfo_t *info, ucontext_t *uc);
struct slot *stub_patched(struct slot *slot);
void zygote_main(struct slot *slot) __attribute__((noreturn));
void child_main(struct slot *slot, long fresh) __attribute__((noreturn));
void child_thread(struct slot *slot) __attribute__((noreturn));
extern char resume_begin[], resume_end[], fast_begin[], fast_end[], signal_entry[],
	stub_sigreturn[], stub_end[];

static void wait_turn(struct slot *slot)
{
	for (uint32_t i = slot->spin; i; i--) {
		if (__atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE) != TURN_SENTRY)
			return;
		__builtin_ia32_pause();
	}
	__atomic_store_n(&slot->stub_sleeping, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&slot->turn, __ATOMIC_SEQ_CST) == TURN_SENTRY)
		stub_syscall(SYS_futex, (long)&slot->turn, FUTEX_WAIT, TURN_SENTRY, 0, 0, 0);
	__atomic_store_n(&slot->stub_sleeping, 0, __ATOMIC_RELAXED);
}

/* Gives the turn to the sentry and waits to get it back; returns the new turn. */
static uint32_t hand_over(struct slot *slot)
{
	uint32_t seq = slot->seq + 1;

	slot->seq = seq;
	__atomic_store_n(&slot->turn, TURN_SENTRY, __ATOMIC_SEQ_CST);
	switch (__atomic_load_n(&slot->wake, __ATOMIC_SEQ_CST)) {
	case WAKE_FUTEX:
		stub_syscall(SYS_futex, (long)&slot->turn, FUTEX_WAKE, 1, 0, 0, 0);
		break;
	case WAKE_DOORBELL:
		/* A kick that comes before the sentry has received the ring takes it back. */
		while (stub_syscall(DOORBELL_NR, seq, 0, 0, 0, 0, 0) == -4 /* EINTR */ &&
		       __atomic_load_n(&slot->turn, __ATOMIC_SEQ_CST) == TURN_SENTRY)
			;
		break;
	}
	wait_turn(slot);
	return __atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE);
}

/* What the sentry has put off until now. False: one of them failed, and the process cannot go on.
 */
static bool run_batch(struct slot *slot)
{
	uint32_t n = slot->batch_n;

	slot->batch_n = 0;
	for (uint32_t i = 0; i < n && i < sizeof(slot->batch) / sizeof(slot->batch[0]); i++) {
		const uint64_t *a = slot->batch[i].args;
		long ret;

		do
			ret = stub_syscall(slot->batch[i].nr, a[0], a[1], a[2], a[3], a[4], a[5]);
		while (ret == -4 /* EINTR */);
		if ((unsigned long)ret > -4096UL)
			return false;
	}
	return true;
}

static void run_command(struct slot *slot)
{
	const uint64_t *a = slot->cmd_args;
	uint32_t eax = ~0u, edx = ~0u;

	/* A kick takes back a notification that the sentry has not received yet: ask again. */
	switch (slot->cmd) {
	case CMD_SYSCALL:
		do
			slot->cmd_result =
				stub_syscall(slot->cmd_nr, a[0], a[1], a[2], a[3], a[4], a[5]);
		while (slot->cmd_result == -4 /* EINTR */);
		break;
	case CMD_FORK:
	case CMD_FRESH:
		do
			slot->cmd_result =
				stub_clone(a[0], a[5], a[4], slot, slot->cmd == CMD_FRESH);
		while (slot->cmd_result == -4);
		break;
	case CMD_THREAD:
		do
			slot->cmd_result = stub_clone(a[0], a[5], -1, slot, 0);
		while (slot->cmd_result == -4);
		break;
	case CMD_XSAVE:
		__asm__ volatile("xsave64 (%0)"
				 :
				 : "r"((char *)slot + SLOT_FPU), "a"(eax), "d"(edx)
				 : "memory");
		slot->cmd_result = 0;
		break;
	case CMD_EXIT:
		for (;;)
			stub_syscall(SYS_exit, 0, 0, 0, 0, 0, 0);
	}
}

static void go_back(struct slot *slot) __attribute__((noreturn));
static void go_back(struct slot *slot)
{
	uint64_t *frame = (uint64_t *)((char *)slot + SLOT_IRET_FRAME) - 5;

	frame[0] = slot->regs.rip;
	frame[1] = 0x33;
	frame[2] = slot->regs.eflags;
	frame[3] = slot->regs.rsp;
	frame[4] = 0x2b;
	resume(slot);
}

/* From an event to the way back. Returns only for TURN_FAST. */
static uint32_t obey(struct slot *slot, uint32_t turn)
{
	for (;;) {
		if (slot->batch_n && !run_batch(slot)) {
			slot->batch_failed = 1;
			slot->event = EVENT_DEAD;
		} else if (turn == TURN_COMMAND) {
			run_command(slot);
		} else {
			return turn;
		}
		turn = hand_over(slot);
	}
}

static void serve(struct slot *slot)
{
	if (obey(slot, hand_over(slot)) == TURN_FAST)
		return;
	go_back(slot);
}

static void serve_full(struct slot *slot) __attribute__((noreturn));
static void serve_full(struct slot *slot)
{
	slot->fast = 0;
	serve(slot);
	__builtin_trap();
}

static void save_registers(struct slot *slot, const ucontext_t *uc)
{
	const greg_t *g = uc->uc_mcontext.gregs;
	struct stub_regs *r = &slot->regs;

	r->r15 = g[REG_R15];
	r->r14 = g[REG_R14];
	r->r13 = g[REG_R13];
	r->r12 = g[REG_R12];
	r->rbp = g[REG_RBP];
	r->rbx = g[REG_RBX];
	r->r11 = g[REG_R11];
	r->r10 = g[REG_R10];
	r->r9 = g[REG_R9];
	r->r8 = g[REG_R8];
	r->rax = g[REG_RAX];
	r->rcx = g[REG_RCX];
	r->rdx = g[REG_RDX];
	r->rsi = g[REG_RSI];
	r->rdi = g[REG_RDI];
	r->rip = g[REG_RIP];
	r->eflags = g[REG_EFL];
	r->rsp = g[REG_RSP];
	r->orig_rax = ~0ULL;
	__asm__ volatile("rdfsbase %0" : "=r"(r->fs_base));
	slot->fpstate = (uint64_t)uc->uc_mcontext.fpregs;
}

static inline bool between(uint64_t ip, const char *begin, const char *end)
{
	return ip >= (uint64_t)begin && ip < (uint64_t)end;
}

/* A signal while the stub itself was running. True: report the event that is now in the slot. */
static bool signal_in_stub(struct slot *slot, int signo, const siginfo_t *info,
			   const ucontext_t *uc)
{
	uint64_t ip = uc->uc_mcontext.gregs[REG_RIP];

	if (between(ip, fast_begin, fast_end)) {
		/* The guest's FPU state was live: it is in this frame now. */
		slot->fpstate = (uint64_t)uc->uc_mcontext.fpregs;
		__asm__ volatile("rdfsbase %0" : "=r"(slot->regs.fs_base));
	} else if (between(ip, resume_begin, resume_end)) {
		if (!slot->fpstate)
			slot->fpstate = (uint64_t)uc->uc_mcontext.fpregs;
	} else {
		if (signo == KICK_SIGNAL)
			return false;
		/* A fault of the stub: the guest has meddled. Nothing to save. */
		stub_syscall(SYS_exit_group, 1, 0, 0, 0, 0, 0);
		__builtin_trap();
	}
	if (signo == KICK_SIGNAL) {
		slot->event = EVENT_INTERRUPTED;
	} else {
		/* xrstor of a bad image, or iretq to a bad address. */
		slot->event = EVENT_FAULT;
		slot->signo = SIGSEGV;
		slot->code = SI_KERNEL;
		slot->addr = 0;
		slot->trapno = uc->uc_mcontext.gregs[REG_TRAPNO];
		slot->error = uc->uc_mcontext.gregs[REG_ERR];
		slot->fpstate = (uint64_t)uc->uc_mcontext.fpregs;
	}
	slot->regs.orig_rax = ~0ULL;
	return true;
}

void stub_signal(int signo, siginfo_t *info, ucontext_t *uc)
{
	struct slot *slot =
		(struct slot *)((uint64_t)__builtin_frame_address(0) & ~(SLOT_SIZE - 1));
	uint64_t ip = uc->uc_mcontext.gregs[REG_RIP];

	if (ip >= STUB_TEXT && ip < STUB_TEXT + STUB_TEXT_SIZE && signo != SIGSYS) {
		if (!signal_in_stub(slot, signo, info, uc))
			return;
		serve_full(slot);
	}
	save_registers(slot, uc);
	if (signo == SIGSYS) {
		slot->event = EVENT_SYSCALL;
		slot->regs.orig_rax = slot->regs.rax;
		/* int 0x80 and x32 have numbers of their own: none of ours. */
		if (info->si_arch != 0xc000003e)
			slot->regs.orig_rax = 0xffffffff;
		slot->signo = 0;
	} else if (signo == KICK_SIGNAL) {
		slot->event = EVENT_INTERRUPTED;
	} else {
		slot->event = EVENT_FAULT;
		slot->signo = signo;
		slot->code = info->si_code;
		slot->addr = (uint64_t)info->si_addr;
		slot->trapno = uc->uc_mcontext.gregs[REG_TRAPNO];
		slot->error = uc->uc_mcontext.gregs[REG_ERR];
	}
	serve_full(slot);
}

/* A patched site: registers are in the slot; FPU state is live. Returns for the fast way back. */
struct slot *stub_patched(struct slot *slot)
{
	slot->event = EVENT_SYSCALL;
	slot->regs.orig_rax = slot->regs.rax;
	slot->fast = 1;
	slot->fpstate = 0;
	slot->signo = 0;
	__asm__ volatile("rdfsbase %0" : "=r"(slot->regs.fs_base));
	serve(slot);
	return slot;
}

/* --- beginnings ----------------------------------------------------------------------------- */

static void set_signal_stack(struct slot *slot)
{
	stack_t *ss = (stack_t *)slot->scratch;

	ss->ss_sp = (char *)slot + SLOT_STACK;
	ss->ss_flags = 0;
	ss->ss_size = SLOT_STACK_TOP - SLOT_STACK;
	stub_syscall(SYS_sigaltstack, (long)ss, 0, 0, 0, 0, 0);
}

struct kernel_sigaction {
	uint64_t handler, flags, restorer, mask;
};

static void set_handlers(struct slot *slot)
{
	static const unsigned char signals[] = {SIGSYS, SIGSEGV, SIGBUS,     SIGFPE,
						SIGILL, SIGTRAP, KICK_SIGNAL};
	struct kernel_sigaction *sa = (struct kernel_sigaction *)slot->cmd_args;
	uint64_t none = 0;

	sa->handler = (uint64_t)signal_entry;
	sa->flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | 0x04000000 /* SA_RESTORER */;
	sa->restorer = (uint64_t)stub_sigreturn;
	sa->mask = 0;
	for (unsigned i = 0; i < sizeof(signals); i++)
		stub_syscall(SYS_rt_sigaction, signals[i], (long)sa, 0, 8, 0, 0);
	stub_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, 8, 0, 0);
}

struct sock_fprog_ {
	unsigned short len;
	void *filter;
};

static long install_filter(void *filter, unsigned len, unsigned flags)
{
	struct sock_fprog_ prog = {(unsigned short)len, filter};

	return stub_syscall(SYS_seccomp, 1 /* SECCOMP_SET_MODE_FILTER */, flags, (long)&prog, 0, 0,
			    0);
}

/* The zygote: unmaps everything but the stub, sets up what its children inherit, then clones clean
 * stubs on command. */
void zygote_main(struct slot *slot)
{
	struct zygote_args *args = (void *)((char *)slot + SLOT_FPU);

	uint64_t stub_vdso = STUB_VDSO;

	stub_syscall(SYS_munmap, STUB_VDSO, STUB_VDSO_SIZE, 0, 0, 0, 0);
	for (uint64_t i = 0; i < args->vdso_pieces; i++) {
		uint64_t start = args->vdso_piece[i].start, size = args->vdso_piece[i].size;
		uint64_t to = STUB_VDSO + (start - args->vdso_start);

		if ((uint64_t)stub_syscall(SYS_mremap, start, size, size, 3 /* MAYMOVE|FIXED */, to,
					   0) != to)
			stub_vdso = 0;
	}
	slot->scratch[3] = stub_vdso;
	stub_syscall(SYS_munmap, 0, STUB_TEXT, 0, 0, 0, 0);
	stub_syscall(SYS_munmap, STUB_TEXT + STUB_TEXT_SIZE,
		     STUB_SLOTS - STUB_TEXT - STUB_TEXT_SIZE, 0, 0, 0, 0);
	stub_syscall(SYS_munmap, STUB_END, 0x7ffffffff000 - STUB_END, 0, 0, 0, 0);
	__asm__ volatile("wrgsbase %0" : : "r"(slot));
	set_signal_stack(slot);
	set_handlers(slot);
	slot->cmd_result = install_filter(args + 1, args->trap_prog_len, 0);
	slot->wake = WAKE_FUTEX;
	slot->spin = 0;
	for (;;) {
		if (hand_over(slot) == TURN_COMMAND)
			run_command(slot);
	}
}

/* A new process stands here with its own slot region mapped. */
void child_main(struct slot *slot, long fresh)
{
	if (fresh) {
		struct zygote_args *args = (void *)((char *)slot + SLOT_FPU);

		/* NEW_LISTENER | WAIT_KILLABLE_RECV, or without the latter on older kernels */
		slot->cmd_result = install_filter((char *)(args + 1) + args->trap_prog_len * 8,
						  args->notify_prog_len, 8 | 32);
		if (slot->cmd_result == -22)
			slot->cmd_result =
				install_filter((char *)(args + 1) + args->trap_prog_len * 8,
					       args->notify_prog_len, 8);
		slot->fast = 0;
		serve(slot); /* its first turn is a WAKE_FUTEX */
		__builtin_trap();
	}
	slot->fast = 0;
	wait_turn(slot);
	obey(slot, __atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE));
	go_back(slot);
}

void child_thread(struct slot *slot)
{
	set_signal_stack(slot);
	child_main(slot, 0);
}
