/*
 * systrap's stub: with what all stubs have (shared/stub), the only code of ours in a guest's
 * address space. Freestanding, general registers only, runs on the slot's own stack. It owns
 * nothing and decides nothing: the guest can read it, jump into it and scribble over its slot, and
 * gains no more than its own death.
 */
#include <asm/prctl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "../layout.h"
#include "../../shared/stub/stub.h"

#define EVENT_SYSCALL 0
#define EVENT_FAULT 1
#define EVENT_INTERRUPTED 2
#define EVENT_DEAD 3
#define EVENT_RESTART 5

#define EINTR_ 4
#define TRAP_FLAG 0x100

#define KICK_SIGNAL SIGURG

long stub_clone(unsigned long flags, uint64_t offset_or_slot, long slots_fd, struct slot *slot,
		uint64_t fresh_or_tls);
long stub_sleep(struct slot *slot, long nr, const uint64_t args[6]);
int stub_load(uint64_t *to, const uint64_t *from);
int stub_store(uint64_t *to, uint64_t value);
long stub_word(uint64_t op, uint64_t addr, uint32_t arg, uint32_t expected);
void resume(struct slot *slot) __attribute__((noreturn));
void stub_signal(int signo, siginfo_t *info, ucontext_t *uc);
struct slot *stub_patched(struct slot *slot);
void stub_kicked(struct slot *slot) __attribute__((noreturn));
void stub_fast_kicked(struct slot *slot) __attribute__((noreturn));
void child_main(struct slot *slot, long fresh) __attribute__((noreturn));
void child_thread(struct slot *slot) __attribute__((noreturn));
extern char stub_access_begin[], stub_access_fault[], stub_sleep_begin[], stub_sleep_syscall[],
	stub_sleep_interrupted[], stub_word_begin[], stub_word_fault[], resume_begin[],
	resume_end[], fast_begin[], fast_end[], stub_end[];

/* Without FSGSBASE the sentry knows it by itself: only arch_prctl(2) changes it. */
static inline void save_fs_base(struct slot *slot)
{
	if (has(STUB_FSGSBASE))
		__asm__ volatile("rdfsbase %0" : "=r"(slot->regs.fs_base));
}

/* Waits until the turn is another than this. */
static void wait_turn(struct slot *slot, uint32_t turn)
{
	for (uint32_t i = slot->spin; i; i--) {
		if (__atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE) != turn)
			return;
		__builtin_ia32_pause();
	}
	__atomic_store_n(&slot->stub_sleeping, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&slot->turn, __ATOMIC_SEQ_CST) == turn)
		stub_syscall(SYS_futex, (long)&slot->turn, FUTEX_WAIT, turn, 0, 0, 0);
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
	wait_turn(slot, TURN_SENTRY);
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
		/* Another thread may have unmapped what was advised on. */
		if ((unsigned long)ret > -4096UL && slot->batch[i].nr != SYS_madvise)
			return false;
	}
	return true;
}

static void save_fpu(struct slot *slot)
{
	uint32_t eax = ~0u, edx = ~0u;
	char *image = (char *)slot + SLOT_FPU;

	if (has(STUB_XSAVE))
		__asm__ volatile("xsave64 (%0)" : : "r"(image), "a"(eax), "d"(edx) : "memory");
	else
		__asm__ volatile("fxsave64 (%0)" : : "r"(image) : "memory");
}

static void run_command(struct slot *slot)
{
	const uint64_t *a = slot->cmd_args;

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
			slot->cmd_result = stub_clone(a[0], a[5], -1, slot, a[3]);
		while (slot->cmd_result == -4);
		break;
	case CMD_XSAVE:
		save_fpu(slot);
		slot->cmd_result = 0;
		break;
	case CMD_WORD:
		slot->cmd_result = stub_word(a[0], a[1], (uint32_t)a[2], (uint32_t)a[3]);
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
	if (slot->set_fs) {
		slot->set_fs = 0;
		stub_syscall(SYS_arch_prctl, ARCH_SET_FS, (long)slot->regs.fs_base, 0, 0, 0, 0);
	}
	resume(slot);
}

/* --- futexes for the guest
 * ------------------------------------------------------------------------ */

/* Private ones without priority inheritance: what they say concerns this process alone. */
static bool is_direct_futex(uint32_t op)
{
	switch (op) {
	case FUTEX_WAIT_PRIVATE:
	case FUTEX_WAKE_PRIVATE:
	case FUTEX_REQUEUE | FUTEX_PRIVATE_FLAG:
	case FUTEX_CMP_REQUEUE_PRIVATE:
	case FUTEX_WAKE_OP_PRIVATE:
	case FUTEX_WAIT_BITSET_PRIVATE:
	case FUTEX_WAKE_BITSET_PRIVATE:
	case FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME:
		return true;
	}
	return false;
}

static bool may_sleep(long nr, const uint64_t args[6])
{
	uint32_t cmd = (uint32_t)args[1] & FUTEX_CMD_MASK;

	return nr != SYS_futex || cmd == FUTEX_WAIT || cmd == FUTEX_WAIT_BITSET;
}

static uint64_t counter(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return lo | (uint64_t)hi << 32;
}

/*
 * Makes the call. True: its result is in the guest's rax, and the guest may go on. False: an event
 * is in the slot; the call was interrupted, or a site of this process has been patched while it
 * slept, and the sentry must see where it goes on.
 */
static bool execute(struct slot *slot, long nr, const uint64_t args[6])
{
	struct region_page *page = (struct region_page *)STUB_PAGE;
	uint32_t gen, now;
	long ret;

	if (!may_sleep(nr, args)) {
		slot->regs.rax = (uint64_t)stub_syscall(nr, args[0], args[1], args[2], args[3],
							args[4], args[5]);
		return true;
	}
	slot->slept_from = counter();
	gen = __atomic_load_n(&page->patch_gen, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&page->sleepers, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->sleeping, 1, __ATOMIC_SEQ_CST);
	ret = stub_sleep(slot, nr, args);
	__atomic_store_n(&slot->sleeping, 0, __ATOMIC_SEQ_CST);
	__atomic_fetch_sub(&page->sleepers, 1, __ATOMIC_RELAXED);
	now = __atomic_load_n(&page->patch_gen, __ATOMIC_SEQ_CST);
	if (ret == -EINTR_) {
		slot->event = EVENT_RESTART;
		return false;
	}
	slot->regs.rax = (uint64_t)ret;
	if (now == gen && !(gen & 1))
		return true;
	slot->event = EVENT_INTERRUPTED;
	slot->regs.orig_rax = ~0ULL;
	return false;
}

/* --- the blocked signals
 * -------------------------------------------------------------------------- */

static bool is_guest_word(uint64_t addr)
{
	return addr <= STUB_TEXT - sizeof(uint64_t);
}

static bool overlap(uint64_t a, uint64_t b)
{
	return a < b + sizeof(uint64_t) && b < a + sizeof(uint64_t);
}

/* rt_sigprocmask(how, set, old, size), if nothing but the mask changes by it; false: for the
 * sentry, which begins from the start. */
static bool change_mask(struct slot *slot, const uint64_t args[6])
{
	uint64_t lent = __atomic_load_n(&slot->sigmask, __ATOMIC_SEQ_CST), set = 0;
	uint64_t old = lent & ~MASK_NEVER, next = old;

	if (!(lent & MASK_LENT) || args[3] != sizeof(uint64_t))
		return false;
	if (args[1]) {
		if (!is_guest_word(args[1]) || (args[2] && overlap(args[1], args[2])) ||
		    !stub_load(&set, (const uint64_t *)args[1]))
			return false;
		switch ((uint32_t)args[0]) {
		case SIG_BLOCK:
			next = old | set;
			break;
		case SIG_UNBLOCK:
			next = old & ~set;
			break;
		case SIG_SETMASK:
			next = set;
			break;
		default:
			return false;
		}
	}
	if (args[2] && (!is_guest_word(args[2]) || !stub_store((uint64_t *)args[2], old)))
		return false;
	next = (next & ~MASK_NEVER) | MASK_LENT;
	if (next != lent && !__atomic_compare_exchange_n(&slot->sigmask, &lent, next, false,
							 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return false;
	slot->regs.rax = 0;
	return true;
}

/* A call at a patched site that never leaves the stub; false: it does, the event is in the slot. */
static bool shortcut(struct slot *slot)
{
	const struct stub_regs *r = &slot->regs;
	const uint64_t args[6] = {r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9};

	switch (r->rax) {
	case SYS_futex:
		return is_direct_futex((uint32_t)r->rsi) && execute(slot, SYS_futex, args);
	case SYS_rt_sigprocmask:
		return change_mask(slot, args);
	case SYS_getpid:
		slot->regs.rax = (uint64_t)(int64_t)slot->pid;
		return true;
	case SYS_gettid:
		slot->regs.rax = (uint64_t)(int64_t)slot->tid;
		return true;
	case SYS_getppid:
		slot->regs.rax = (uint64_t)(int64_t)slot->ppid;
		return true;
	case SYS_getuid:
		slot->regs.rax = slot->uid;
		return true;
	case SYS_geteuid:
		slot->regs.rax = slot->euid;
		return true;
	case SYS_getgid:
		slot->regs.rax = slot->gid;
		return true;
	case SYS_getegid:
		slot->regs.rax = slot->egid;
		return true;
	}
	return false;
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
		} else if (turn != TURN_EXECUTE) {
			return turn;
		} else if (execute(slot, (long)slot->cmd_nr, slot->cmd_args)) {
			if (!slot->report)
				return slot->fast ? TURN_FAST : TURN_RESUME;
			slot->event = EVENT_INTERRUPTED;
			slot->regs.orig_rax = ~0ULL;
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
	save_fs_base(slot);
	slot->fpstate = (uint64_t)uc->uc_mcontext.fpregs;
}

static inline bool between(uint64_t ip, const char *begin, const char *end)
{
	return ip >= (uint64_t)begin && ip < (uint64_t)end;
}

/* A signal while the stub itself was running. True: report the event that is now in the slot. */
static bool signal_in_stub(struct slot *slot, int signo, const siginfo_t *info, ucontext_t *uc)
{
	uint64_t ip = uc->uc_mcontext.gregs[REG_RIP];

	if ((signo == SIGSEGV || signo == SIGBUS) &&
	    between(ip, stub_word_begin, stub_word_fault)) {
		uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uint64_t)stub_word_fault;
		return false;
	}
	if ((signo == SIGSEGV || signo == SIGBUS) &&
	    between(ip, stub_access_begin, stub_access_fault)) {
		uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uint64_t)stub_access_fault;
		return false;
	}
	if (signo == KICK_SIGNAL && between(ip, stub_sleep_begin, stub_sleep_syscall + 1)) {
		uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uint64_t)stub_sleep_interrupted;
		slot->kicked = 1;
		return false;
	}
	/* The guest's trap flag, which was set when it jumped here from a patched site. */
	if (signo == SIGTRAP) {
		uc->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
		return false;
	}
	if (between(ip, fast_begin, fast_end)) {
		/* The guest's FPU state was live: it is in this frame now. */
		slot->fpstate = (uint64_t)uc->uc_mcontext.fpregs;
		save_fs_base(slot);
	} else if (between(ip, resume_begin, resume_end)) {
		if (!slot->fpstate)
			slot->fpstate = (uint64_t)uc->uc_mcontext.fpregs;
	} else {
		/* Remembered: it must not be lost on the way back. */
		if (signo == KICK_SIGNAL) {
			slot->kicked = 1;
			return false;
		}
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

/* On the way back to the guest; all registers are in the slot. */
void stub_kicked(struct slot *slot)
{
	slot->event = EVENT_INTERRUPTED;
	slot->regs.orig_rax = ~0ULL;
	serve_full(slot);
}

/* Likewise after a patched site: its FS base is live, and a shortcut has not saved it. */
void stub_fast_kicked(struct slot *slot)
{
	save_fs_base(slot);
	stub_kicked(slot);
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
		slot->fast = 0;
		/* Not all: what is called often gets patched, if the sentry sees it. */
		if (slot->shortcuts && ++slot->traps % 16 && info->si_arch == 0xc000003e &&
		    shortcut(slot))
			go_back(slot);
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

/* A new thread has its maker's FPU state, and may be one that is there already. */
static bool makes_thread(const struct stub_regs *r)
{
	return r->rax == SYS_clone3 || r->rax == SYS_vfork ||
	       (r->rax == SYS_clone && (r->rdi & CLONE_VM));
}

/* A patched site: registers are in the slot; FPU state is live. Returns for the fast way back. */
struct slot *stub_patched(struct slot *slot)
{
	slot->event = EVENT_SYSCALL;
	slot->regs.orig_rax = slot->regs.rax;
	slot->fast = 1;
	slot->fpstate = 0;
	slot->signo = 0;
	if (slot->shortcuts && shortcut(slot))
		return slot;
	if (makes_thread(&slot->regs)) {
		save_fpu(slot);
		slot->fpstate = (uint64_t)slot + SLOT_FPU;
	}
	save_fs_base(slot);
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

static void set_gs_base(struct slot *slot)
{
	stub_syscall(SYS_arch_prctl, ARCH_SET_GS, (long)slot, 0, 0, 0, 0);
}

/* Sets up what its children inherit, then clones clean stubs on command. */
void systrap_zygote(struct slot *slot, uint64_t stub_vdso)
{
	static const unsigned char signals[] = {SIGSYS, SIGSEGV, SIGBUS,     SIGFPE,
						SIGILL, SIGTRAP, KICK_SIGNAL};

	slot->scratch[3] = stub_vdso;
	set_gs_base(slot);
	set_signal_stack(slot);
	set_handlers(signals, sizeof(signals), signal_entry);
	slot->cmd_result = install_filter(&stub_config.trap, 0);
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
		unsigned flags = stub_config.listener_flags;

		slot->cmd_result = install_filter(&stub_config.notify, flags);
		if (slot->cmd_result == -22 /* EINVAL */) /* older kernels lack the others */
			slot->cmd_result = install_filter(&stub_config.notify,
							  SECCOMP_FILTER_FLAG_NEW_LISTENER);
		slot->fast = 0;
		serve(slot); /* its first turn is a WAKE_FUTEX */
		__builtin_trap();
	}
	slot->fast = 0;
	wait_turn(slot, TURN_NONE);
	obey(slot, __atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE));
	go_back(slot);
}

void child_thread(struct slot *slot)
{
	set_signal_stack(slot);
	if (!has(STUB_FSGSBASE))
		set_gs_base(slot);
	child_main(slot, 0);
}
