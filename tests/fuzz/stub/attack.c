/*
 * Hostile processes: each is a few threads of which some lie, some help a lie along, and some are
 * honest, for the sentry to have more than one thing to do at a time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"
#include "tests/end-to-end/boundary/stub_protocol.h"

#define MAX_HELPERS 3
#define STACK_SIZE 65536

static struct round *round_;
static __thread struct rng rng;
static char stacks[8][STACK_SIZE] __attribute__((aligned(PAGE)));
static _Atomic unsigned stacks_used;

/* The ptrace platform has no slots: there only the stub's calls are left, registers and frames. */
static int has_slots;
static sigjmp_buf no_slots;

static void on_fault(int signo)
{
	siglongjmp(no_slots, signo);
}

void attack_init(void)
{
	stub_find();
	signal(SIGSEGV, on_fault);
	if (!sigsetjmp(no_slots, 1)) {
		(void)*(volatile uint32_t *)STUB_SLOTS;
		has_slots = 1;
	}
	signal(SIGSEGV, SIG_DFL);
}

static unsigned below(unsigned n)
{
	return rng_below(&rng, n);
}

static void step(void)
{
	atomic_fetch_add(&round_->steps, 1);
}

static struct slot *any_slot(void)
{
	static char none[SLOT_SIZE];

	if (!has_slots)
		return (struct slot *)none;
	/* The first few are in use; the rest is the process's own, too. */
	return (struct slot *)(STUB_SLOTS + below(below(8) ? 4 : SLOTS_PER_AS) * SLOT_SIZE);
}

/* A number that means something to somebody, or nothing. */
static uint64_t odd_number(void)
{
	static const uint64_t odd[] = {
		0,
		1,
		2,
		3,
		4,
		5,
		6,
		7,
		8,
		9,
		77,
		4242,
		DOORBELL_NR,
		STUB_TEXT,
		STUB_SLOTS,
		STUB_SLOTS + SLOT_SIZE,
		STUB_SLOTS + SLOT_FPU,
		STUB_SLOTS + SLOT_STACK,
		STUB_VDSO,
		STUB_END,
		0x7e060000,
		0x800000000000,
		~0ULL,
		-11ULL,
		-4ULL,
		-512ULL,
		-513ULL,
		1ULL << 32,
		1ULL << 63,
		4096,
		SLOT_REGION,
		0x7ff000000000 - 4096,
	};

	return below(4) ? odd[below(sizeof(odd) / sizeof(odd[0]))] : rng_next(&rng);
}

/* --- lies about the slot -----------------------------------------------------------------------
 */

static void scribble(struct slot *s)
{
	switch (below(16)) {
	case 0:
		s->turn = below(6);
		break;
	case 1:
		s->seq += below(3) - 1;
		break;
	case 2:
		s->wake = below(4);
		break;
	case 3:
		s->event = below(6);
		break;
	case 4:
		s->fpstate = odd_number();
		break;
	case 5:
		((uint64_t *)&s->regs)[below(23)] = odd_number();
		break;
	case 6:
		s->cmd = below(9);
		break;
	case 7:
		s->cmd_args[below(6)] = odd_number();
		break;
	case 8:
		s->cmd_result = (int64_t)odd_number();
		break;
	case 9:
		s->batch_n = (uint32_t)odd_number();
		break;
	case 10:
		s->batch[below(8)].args[below(6)] = odd_number();
		break;
	case 11:
		s->stub_sleeping = below(2);
		break;
	case 12:
		s->kicked = below(2);
		break;
	case 13:
		s->set_fs = below(2);
		break;
	case 14:
		s->batch_failed = below(8) == 0;
		break;
	case 15:
		((uint64_t *)s)[below(SLOT_SIZE / 8)] = odd_number();
		break;
	}
}

/* A call of the kinds that the filters know, from the stub's text. */
static void odd_call(void)
{
	static const int nrs[] = {
		SYS_mmap,	 SYS_munmap,	 SYS_mprotect,	  SYS_mremap,
		SYS_madvise,	 SYS_clone,	 SYS_sigaltstack, SYS_exit,
		SYS_exit_group,	 SYS_seccomp,	 DOORBELL_NR,	  SYS_futex,
		SYS_sched_yield, SYS_arch_prctl, SYS_openat,	  SYS_process_vm_readv};
	struct slot *s = any_slot();
	int nr = nrs[below(sizeof(nrs) / sizeof(nrs[0]))];
	long timeout[2] = {0, 1000000};

	step();
	switch (below(6)) {
	case 0: /* as ordered, perhaps from another */
		stub_call((long)s->cmd_nr, (long)s->cmd_args[0], (long)s->cmd_args[1],
			  (long)s->cmd_args[2], (long)s->cmd_args[3], (long)s->cmd_args[4],
			  (long)s->cmd_args[5]);
		break;
	case 1: /* the slots of somebody else */
		stub_call(SYS_mmap, STUB_SLOTS, SLOT_REGION, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_FIXED, (long)(rng_next(&rng) << 32 | below(16)),
			  (long)(below(64) * SLOT_REGION));
		break;
	case 2:
		stub_call(SYS_futex, (long)&s->turn, below(3), s->turn, (long)timeout, 0, 0);
		break;
	case 3:
		stub_call(DOORBELL_NR, s->seq + below(3), 0, 0, 0, 0, 0);
		break;
	default:
		stub_call(nr, (long)odd_number(), (long)odd_number(), (long)odd_number(),
			  (long)odd_number(), (long)odd_number(), (long)odd_number());
	}
}

/* --- registers and frames ----------------------------------------------------------------------
 */

static void on_signal(int signo)
{
	(void)signo;
}

/* The stub's rt_sigreturn, with a frame of ours: any registers, any mask, any FPU image. */
static void forged_return(void)
{
	const struct stub_header *header = (const struct stub_header *)STUB_TEXT;
	static __thread struct {
		uint64_t flags, link, sp, ss_flags, size;
		uint64_t r[23], fpstate, reserved[8];
		uint64_t mask;
	} frame;
	static __thread char stack[8192];

	step();
	memset(&frame, 0, sizeof(frame));
	frame.flags = below(8);
	frame.ss_flags = below(4);
	frame.sp = odd_number();
	frame.size = odd_number();
	for (unsigned i = 0; i < 15; i++)
		frame.r[i] = odd_number();
	frame.r[15] = below(4) ? (uint64_t)(stack + sizeof(stack) - 64) : odd_number();
	switch (below(4)) {
	case 0:
		frame.r[16] = STUB_TEXT + below(0x2000);
		break;
	case 1:
		frame.r[16] = odd_number();
		break;
	default:
		frame.r[16] = (uint64_t)odd_call;
		break;
	}
	frame.r[17] = below(2) ? 0x202 : rng_next(&rng) & 0x3fffff;
	frame.r[18] = (below(4) ? 0x33 : below(128)) | 0x2bULL << 48;
	frame.fpstate = below(3) ? 0 : odd_number();
	frame.mask = below(2) ? ~0ULL : rng_next(&rng);
	__asm__ volatile("mov %0, %%rsp\n\tjmp *%1"
			 :
			 : "r"(&frame), "r"(header->sigreturn)
			 : "memory");
}

static void jump_into_stub(void)
{
	uint64_t to = STUB_TEXT + below(0x1800), rdi = (uint64_t)any_slot(), rsi = odd_number(),
		 rdx = odd_number(), rax = odd_number();

	step();
	__asm__ volatile("jmp *%[to]"
			 :
			 : [to] "r"(to), "D"(rdi), "S"(rsi), "d"(rdx), "a"(rax)
			 : "memory", "rcx", "r8", "r9", "r10", "r11");
}

static void other_gs(void)
{
	uint64_t base = below(4) ? (uint64_t)any_slot() : odd_number() & 0x7fffffffffff;

	step();
	__asm__ volatile("wrgsbase %0" : : "r"(base));
	for (int i = 0; i < 20; i++)
		syscall(SYS_getppid);
}

static void single_step(void)
{
	step();
	__asm__ volatile("pushf\n\torq $0x100, (%%rsp)\n\tpopf\n\tmov $110, %%eax\n\tsyscall\n\t"
			 "nop\n\tpushf\n\tandq $~0x100, (%%rsp)\n\tpopf"
			 :
			 :
			 : "rax", "rcx", "r11", "memory", "cc");
}

/* --- system calls with a lie in them -----------------------------------------------------------
 */

/* Something that orders commands; mostly what changes memory or makes a thread or a process. */
static uint32_t begin_something(struct slot *slot)
{
	static char *pages;
	size_t size = PAGE << below(8);

	if (!pages)
		pages = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
	switch (below(8)) {
	case 0:
		return stub_begin(slot, SYS_mmap, 0, (long)size, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	case 1:
		return stub_begin(slot, SYS_mmap, 0, PAGE, PROT_READ, MAP_SHARED, 3, 0);
	case 2:
		return stub_begin(slot, SYS_munmap, (long)pages + below(64) * PAGE, PAGE, 0, 0, 0,
				  0);
	case 3:
		return stub_begin(slot, SYS_mprotect, (long)pages, 64 * PAGE,
				  below(2) ? PROT_READ : PROT_READ | PROT_WRITE, 0, 0, 0);
	case 4:
	case 5:
		return stub_begin(slot, SYS_fork, 0, 0, 0, 0, 0, 0);
	case 6:
		return stub_begin(slot, SYS_clone, 0x50f00,
				  (long)stacks[stacks_used++ % 8] + STACK_SIZE, 0, 0, 0, 0);
	default:
		return stub_begin(slot, SYS_mremap, (long)pages, 64 * PAGE, 64 * PAGE, 1, 0, 0);
	}
}

static void lie_for_good(void) __attribute__((noreturn));

/* A thread that has been made by an order: with a slot if it goes on honestly. */
static void new_thread(void)
{
	rng.s ^= (uint64_t)__builtin_frame_address(0);
	if (below(2)) {
		struct slot *slot = any_slot();
		uint64_t *ss = slot->scratch;

		ss[0] = (uint64_t)slot + SLOT_STACK;
		ss[1] = 0;
		ss[2] = SLOT_STACK_TOP - SLOT_STACK;
		stub_call(SYS_sigaltstack, (long)ss, 0, 0, 0, 0, 0);
		__asm__ volatile("wrgsbase %0" : : "r"(slot));
		if (below(2))
			lie_for_good();
	}
	for (;;) {
		if (below(64))
			scribble(any_slot());
		else
			odd_call();
	}
}

/* The ordered clone of a process, with any of the ways a child may behave. */
static long clone_process(struct slot *slot)
{
	uint64_t order[6];
	long ret;

	memcpy(order, slot->cmd_args, sizeof(order));
	ret = stub_clone_process(slot);
	if (ret)
		return ret;
	step();
	rng.s ^= order[4];
	switch (below(6)) {
	case 0: /* stays hidden */
		for (;;)
			scribble(any_slot());
	case 1:
		stub_call(SYS_mmap, STUB_SLOTS, SLOT_REGION, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_FIXED, (long)(order[4] ^ 1ULL << (32 + below(31))),
			  (long)order[5]);
		break;
	case 2:
		stub_call((long)rng_next(&rng) % 400, 0, 0, 0, 0, 0, 0);
		break;
	}
	do
		ret = stub_call(SYS_mmap, STUB_SLOTS, SLOT_REGION, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_FIXED, (long)order[4], (long)order[5]);
	while (ret == -EINTR);
	if (below(4) == 0)
		stub_give_turn(slot); /* before it has had one */
	while (slot->turn == TURN_NONE || (slot->turn == TURN_SENTRY && below(1000)))
		stub_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
	return 0;
}

/* Does what was ordered, or has another do it. */
static void obey(struct slot *slot)
{
	int twice = below(8) == 0;

	if (slot->cmd == CMD_SYSCALL && below(6) == 0) {
		round_->nr = slot->cmd_nr;
		memcpy(round_->args, slot->cmd_args, sizeof(round_->args));
		atomic_fetch_add(&round_->borrowed, 1);
		if (below(2))
			return;
	}
again:
	switch (slot->cmd) {
	case CMD_SYSCALL:
		stub_obey_syscall(slot);
		break;
	case CMD_FORK:
		slot->cmd_result = clone_process(slot);
		break;
	case CMD_THREAD:
		slot->cmd_result =
			stub_clone_thread(slot->cmd_args[0], slot->cmd_args[3],
					  stacks[stacks_used++ % 8] + STACK_SIZE - 64, new_thread);
		break;
	case CMD_EXIT:
		if (below(3))
			stub_call(SYS_exit, 0, 0, 0, 0, 0, 0);
		break;
	}
	if (twice) {
		twice = 0;
		goto again;
	}
}

static void command(struct slot *slot)
{
	step();
	switch (below(14)) {
	case 0: /* not at all */
		slot->cmd_result = (int64_t)odd_number();
		return;
	case 1: /* something else than the order */
		slot->cmd_args[below(6)] ^= 1ULL << below(64);
		break;
	case 2: /* only says so */
		slot->cmd_result = 0;
		return;
	case 3:
		for (unsigned i = below(200); i; i--)
			scribble(slot);
		break;
	case 4: /* never */
		for (;;)
			if (below(2))
				stub_call(SYS_futex, (long)&slot->turn, FUTEX_WAIT, slot->turn, 0,
					  0, 0);
	case 5: /* rings first */
		stub_call(DOORBELL_NR, slot->seq + below(2), 0, 0, 0, 0, 0);
		break;
	case 6:
		odd_call();
		break;
	case 7:
		stub_give_turn(slot);
		break;
	}
	obey(slot);
	if (below(4) == 0)
		slot->cmd_result = (int64_t)odd_number();
}

static uint32_t lie_in_batch(struct slot *slot, uint32_t turn)
{
	if (!slot->batch_n)
		return turn;
	step();
	switch (below(4)) {
	case 0:
		slot->batch_n = 0;
		break;
	case 1:
		slot->batch_n += below(3) - 1;
		break;
	case 2:
		slot->batch[0].args[below(6)] ^= 1ULL << below(64);
		break;
	}
	stub_run_batch(slot);
	return turn;
}

/* stub_protocol.h's functions run the batch honestly; here it may be lied about before. */
static void lying_syscall(struct slot *slot)
{
	uint32_t turn;

	if (below(4) == 0) {
		stub_publish(slot, (long)rng_next(&rng) % 460, (long)odd_number(),
			     (long)odd_number(), (long)odd_number(), (long)odd_number(),
			     (long)odd_number(), (long)odd_number());
		if (below(2))
			scribble(slot);
		stub_give_turn(slot);
		turn = lie_in_batch(slot, stub_wait_turn(slot));
	} else {
		turn = begin_something(slot);
	}
	for (int n = 0; turn == TURN_COMMAND && n < 50; n++) {
		command(slot);
		turn = stub_report(slot);
	}
}

static void lie_for_good(void)
{
	struct slot *slot = has_slots ? stub_slot() : any_slot();

	for (;;) {
		switch (below(has_slots ? 24 : 6)) {
		case 0:
			forged_return();
			break;
		case 1:
			jump_into_stub();
			break;
		case 2:
			other_gs();
			break;
		case 3:
			single_step();
			break;
		case 4:
			odd_call();
			break;
		case 5:
			scribble(any_slot());
			break;
		case 6:
			stub_give_turn(slot);
			break;
		default:
			lying_syscall(slot);
		}
	}
}

/* --- those beside it ---------------------------------------------------------------------------
 */

/* Makes the calls that were ordered from another. */
static void *borrower(void *arg)
{
	unsigned seen = round_->borrowed;

	rng.s = (uint64_t)arg;
	for (;;) {
		while (round_->borrowed == seen)
			__asm__ volatile("pause");
		seen = round_->borrowed;
		stub_call((long)round_->nr, (long)round_->args[0], (long)round_->args[1],
			  (long)round_->args[2], (long)round_->args[3], (long)round_->args[4],
			  (long)round_->args[5]);
	}
	return NULL;
}

/* Reports for another, at any moment of its command. */
static void *reporter(void *arg)
{
	rng.s = (uint64_t)arg;
	for (;;) {
		struct slot *s = any_slot();

		if (s->turn != TURN_COMMAND || below(16))
			continue;
		for (unsigned i = below(20000); i; i--)
			__asm__ volatile("pause");
		s->cmd_result = below(2) ? -EAGAIN : (int64_t)odd_number();
		if (below(2))
			s->seq++;
		s->turn = TURN_SENTRY;
		stub_call(SYS_futex, (long)&s->turn, FUTEX_WAKE, 1, 0, 0, 0);
	}
	return NULL;
}

static void *scribbler(void *arg)
{
	rng.s = (uint64_t)arg;
	for (;;) {
		scribble(any_slot());
		usleep(below(300));
	}
	return NULL;
}

static void *honest_mapper(void *arg)
{
	rng.s = (uint64_t)arg;
	for (;;) {
		size_t size = PAGE << below(12);
		void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | (below(2) ? MAP_POPULATE : 0), -1, 0);

		if (p != MAP_FAILED)
			munmap(p, size);
	}
	return NULL;
}

static void *honest_forker(void *arg)
{
	rng.s = (uint64_t)arg;
	for (;;) {
		pid_t pid = below(2) ? fork() : vfork();

		if (!pid)
			_exit(0);
		if (pid > 0 && below(4))
			waitpid(pid, NULL, 0);
	}
	return NULL;
}

static void *honest_killer(void *arg)
{
	static const int signals[] = {SIGUSR1, SIGUSR1, SIGUSR1, SIGSTOP, SIGCONT, SIGURG};

	rng.s = (uint64_t)arg;
	for (;;) {
		kill(0, signals[below(6)]);
		kill(getppid(), 0);
		usleep(below(2000));
	}
	return NULL;
}

static void *liar(void *arg)
{
	rng.s = (uint64_t)arg;
	lie_for_good();
	return NULL;
}

static void start_helper(uint64_t seed)
{
	static void *(*const kinds[])(void *) = {
		borrower, reporter, scribbler, honest_mapper, honest_forker, honest_killer, liar};
	pthread_t thread;

	pthread_create(&thread, NULL, kinds[below(7)], (void *)seed);
}

void attack(struct round *round, uint64_t seed)
{
	round_ = round;
	rng.s = seed;
	signal(SIGUSR1, on_signal);
	setpgid(0, 0);
	/* A big process takes the host longer to copy. */
	if (below(8) == 0) {
		size_t size = (size_t)64 << 20;
		char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			       0);

		for (size_t i = 0; p != MAP_FAILED && i < size; i += PAGE)
			p[i] = 1;
	}
	if (below(6) == 0 && vfork() == 0) {
		/* A child in the same memory lies. */
		lie_for_good();
	}
	if (below(6) == 0 && fork() == 0)
		rng.s++;
	for (unsigned n = below(MAX_HELPERS + 1); n; n--)
		start_helper(rng_next(&rng));
	if (below(32) == 0) {
		execl("/proc/self/exe", "stub_fuzz", NULL);
		_exit(9);
	}
	lie_for_good();
}
