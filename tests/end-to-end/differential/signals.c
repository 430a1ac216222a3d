/* The handler of all signals, and the steps that are about them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "sentry/platform/platform.h"
#include "steps.h"

#define NOTES 32
#define MAGIC1 0x46505853u
#define FLAG_RF 0x10000

struct plan plan;
volatile int signals_seen;

static struct note {
	int signo, code;
	uint64_t addr, trapno, error, flags, csgsfs, uc_flags, mask, regs, rip, fpu;
	uint32_t mxcsr, size, xsize;
	uint16_t fcw;
	uint64_t features;
	long gregs[NREGS];
} notes[NOTES];
static unsigned nnotes;

static uint64_t altstack[8192] __attribute__((aligned(64)));

/* Where struct pattern has what gregs has. */
static const int greg_of[NREGS] = {
	[RAX] = REG_RAX, [RCX] = REG_RCX, [RDX] = REG_RDX, [RBX] = REG_RBX,
	[RSP] = REG_RSP, [RBP] = REG_RBP, [RSI] = REG_RSI, [RDI] = REG_RDI,
	[R8] = REG_R8,	 [R9] = REG_R9,	  [R10] = REG_R10, [R11] = REG_R11,
	[R12] = REG_R12, [R13] = REG_R13, [R14] = REG_R14, [R15] = REG_R15,
};

static void note_fpu(struct note *n, const ucontext_t *uc)
{
	const uint8_t *image = (const uint8_t *)uc->uc_mcontext.fpregs;
	const uint32_t *sw = (const uint32_t *)(image + 464);
	struct fpu fpu;

	memcpy(fpu.fx, image, sizeof(fpu.fx));
	memset(fpu.high, 0, sizeof(fpu.high));
	if (sw[0] == MAGIC1) {
		uint64_t present;

		memcpy(&present, image + 512, 8);
		if (present & 4)
			memcpy(fpu.high, image + 576, sizeof(fpu.high));
		n->size = sw[1];
		memcpy(&n->features, sw + 2, 8);
		n->xsize = sw[4];
	}
	n->fpu = hash_fpu(&fpu);
}

/* How many handlers deep. */
static int depth;

/* Not in a handler, whose registers hold what is not printed. */
static bool in_pattern(const ucontext_t *uc)
{
	uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];

	if (depth > 1 || !pattern_running)
		return false;
	if (pattern.snippet == snippet_jump && rip == pattern.in[RBX])
		return true; /* to nowhere */
	if (rip >= PLATFORM_RESERVED_START && rip < PLATFORM_RESERVED_END)
		return true; /* a system call that systrap has patched */
	return rip >= (uint64_t)pattern_begin && rip < (uint64_t)pattern_end;
}

static void note(int signo, const siginfo_t *info, const ucontext_t *uc)
{
	struct note *n = &notes[nnotes < NOTES ? nnotes++ : NOTES - 1];
	const greg_t *g = uc->uc_mcontext.gregs;

	*n = (struct note){.signo = signo, .code = info->si_code};
	if (!in_pattern(uc))
		return;
	if (info->si_code > 0 && info->si_code != SI_KERNEL)
		n->addr = (uint64_t)info->si_addr;
	if (info->si_code > 0) {
		n->trapno = (uint64_t)g[REG_TRAPNO];
		n->error = (uint64_t)g[REG_ERR];
	}
	n->flags = (uint64_t)g[REG_EFL];
	n->csgsfs = (uint64_t)g[REG_CSGSFS];
	n->uc_flags = uc->uc_flags;
	memcpy(&n->mask, &uc->uc_sigmask, 8);
	for (int i = 0; i < NREGS; i++)
		n->gregs[i] = pattern.ids & 1u << i ? 0 : g[greg_of[i]];
	n->rip = (uint64_t)g[REG_RIP];
	/* After a system call these are nobody's, and systrap's guests see where it has patched. */
	if (info->si_code <= 0)
		n->gregs[RCX] = n->gregs[R11] = 0;
	if (info->si_code <= 0 && pattern.snippet != snippet_syscall)
		n->rip = 0;
	n->regs = hash_bytes(HASH_START, n->gregs, sizeof(n->gregs));
	note_fpu(n, uc);
	__asm__ volatile("stmxcsr %0" : "=m"(n->mxcsr));
	__asm__ volatile("fnstcw %0" : "=m"(n->fcw));
}

static void change_context(ucontext_t *uc)
{
	if (!in_pattern(uc))
		return;
	for (int i = 0; i < NREGS; i++)
		if (plan.change & 1u << i)
			uc->uc_mcontext.gregs[greg_of[i]] = (greg_t)plan.value[i];
	if (plan.change_fpu) {
		uc->uc_mcontext.fpregs->_xmm[3].element[1] = (uint32_t)plan.value[0];
		uc->uc_mcontext.fpregs->mxcsr ^= 0x2000;
	}
	if (plan.resume)
		uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uint64_t)pattern_done;
	/* What has come of unmasked exceptions would come again. */
	uc->uc_mcontext.fpregs->swd &= 0xff00;
	uc->uc_mcontext.fpregs->cwd |= 0x3f;
	uc->uc_mcontext.fpregs->mxcsr = (uc->uc_mcontext.fpregs->mxcsr | 0x1f80) & ~0x3fu;
}

static void on_signal(int signo, siginfo_t *info, void *context)
{
	int again = plan.raise;

	depth++;
	note(signo, info, context);
	if (again) {
		plan.raise = 0;
		syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), again);
	}
	change_context(context);
	signals_seen++;
	depth--;
}

int handle(int signo, int flags, uint64_t mask)
{
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | flags};

	memcpy(&sa.sa_mask, &mask, 8);
	return sigaction(signo, &sa, NULL);
}

void forget_signals(void)
{
	static const stack_t stack = {.ss_sp = altstack, .ss_size = sizeof(altstack)};

	nnotes = 0;
	signals_seen = 0;
	plan = (struct plan){0};
	sigaltstack(&stack, NULL);
}

void trace_signals(void)
{
	for (unsigned i = 0; i < nnotes; i++) {
		const struct note *n = &notes[i];

		trace(" [sig %d code %d addr %lx trap %lu err %lx flags %lx sel %lx uc %lx mask "
		      "%lx "
		      "rip %lx regs %016lx fpu %016lx mxcsr %x fcw %x xs %x %lx %x]",
		      n->signo, n->code, n->addr, n->trapno, n->error, n->flags, n->csgsfs,
		      n->uc_flags, n->mask, n->rip, n->regs, n->fpu, n->mxcsr, n->fcw, n->size,
		      n->features, n->xsize);
		for (int r = 0; trace_details && r < NREGS; r++)
			trace("\n    at signal: reg%d %lx", r, n->gregs[r]);
	}
}

/* --- steps -------------------------------------------------------------------------------------
 */

static const int kinds[] = {SIGUSR1, SIGUSR2, 35, 39, SIGHUP, SIGWINCH, SIGURG};

static int any_signal(void)
{
	return kinds[below(sizeof(kinds) / sizeof(kinds[0]))];
}

static uint64_t any_mask(void)
{
	uint64_t mask = 0;

	for (unsigned i = 0; i < 3; i++)
		mask |= 1ULL << (any_signal() - 1);
	return mask;
}

static void plan_changes(void)
{
	plan.change = (uint32_t)chance() & 0xffff & ~(1u << RSP);
	for (int i = 0; i < NREGS; i++)
		plan.value[i] = chance();
	plan.change_fpu = one_in(3);
}

/* A signal to itself, by a call that returns with it. */
static void send(int signo)
{
	uint64_t self = (uint64_t)getpid(), tid = (uint64_t)syscall(SYS_gettid);
	static siginfo_t info;

	info = (siginfo_t){.si_signo = signo, .si_code = SI_QUEUE};
	switch (below(3)) {
	case 0:
		trace(" kill");
		pattern_syscall(SYS_kill, self, (uint64_t)signo, 0, 0, 0, 0);
		break;
	case 1:
		trace(" tgkill");
		pattern_syscall(SYS_tgkill, self, tid, (uint64_t)signo, 0, 0, 0);
		break;
	case 2:
		trace(" queue");
		info.si_value.sival_ptr = (void *)chance();
		pattern_syscall(SYS_rt_sigqueueinfo, self, (uint64_t)signo, (uint64_t)&info, 0, 0,
				0);
		break;
	}
}

void step_signal(void)
{
	int signo = any_signal(), flags = 0;
	uint64_t blocked = one_in(3) ? any_mask() : 0, none = 0, pending = 0;

	forget_signals();
	flags |= one_in(2) ? SA_ONSTACK : 0;
	flags |= one_in(3) ? SA_NODEFER : 0;
	flags |= one_in(3) ? SA_RESTART : 0;
	flags |= one_in(6) ? (int)SA_RESETHAND : 0;
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		handle(kinds[i], flags & ~(int)SA_RESETHAND, 0);
	trace("signal %d flags %x", signo, (unsigned)flags);
	handle(signo, flags, one_in(2) ? any_mask() : 0);
	if (one_in(2))
		plan_changes();
	if (one_in(4) && !(flags & (int)SA_RESETHAND))
		plan.raise = any_signal();
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, NULL, 8);
	send(signo);
	syscall(SYS_rt_sigpending, &pending, 8);
	trace(" pending %lx", pending);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
	trace_signals();
}

/* Something from outside that comes while the thread computes. */
void step_timer(void)
{
	const struct itimerval soon = {.it_value = {0, 1 + (long)below(1500)}};

	forget_signals();
	handle(SIGALRM, one_in(2) ? SA_ONSTACK : 0, 0);
	trace("timer");
	pattern_fill();
	pattern.snippet = snippet_spin;
	setitimer(ITIMER_REAL, &soon, NULL);
	run_pattern();
	/* The flags are the loop's; where it was and with what flags is chance. */
	pattern.out_flags = 0;
	trace_registers(false);
	trace(" seen %d", signals_seen);
}
