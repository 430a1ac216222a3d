/*
 * Hostile guests: `hostile CASE`. Each case breaks the stub's protocol in one way and then looks
 * whether it has got what it must not get: then it prints "BROKEN: ..." and ends with 1. That the
 * sentry lives on, and that nothing is left behind, is for hostile_guests.sh to see.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hostile_case.h"
#include "stub_protocol.h"

/* --- children that are denied ------------------------------------------------------------------
 */

static void rogue(void) __attribute__((noreturn));
static void rogue(void)
{
	sh->up++;
	for (;;)
		sh->ticks++;
}

/* Orders a fork, makes it, and says what `result` says of it. Does not come back. */
static void fork_and_lie(long result) __attribute__((noreturn));
static void fork_and_lie(long result)
{
	struct slot *slot = stub_slot();

	if (!stub_begin_until(slot, CMD_FORK, SYS_fork, 0, 0, 0, 0, 0, 0))
		_exit(9);
	if (!stub_clone_process(slot))
		rogue();
	while (!sh->up)
		__asm__ volatile("pause");
	slot->cmd_result = result;
	stub_report(slot);
	spin();
}

static int denied_child(void)
{
	pid_t pid = fork();

	if (!pid)
		fork_and_lie(-EAGAIN);
	if (!wait_for(&sh->up, 1, 5000))
		return broken("the case did not come to its point");
	if (!gone_within(pid, 3000))
		return broken("the liar lives on");
	return still_ticks() ? broken("the child that was denied lives on") : 0;
}

/* Says nothing at all after the clone; is killed then. */
static int silent_child(void)
{
	pid_t pid = fork();

	if (!pid) {
		struct slot *slot = stub_slot();

		if (!stub_begin_until(slot, CMD_FORK, SYS_fork, 0, 0, 0, 0, 0, 0))
			_exit(9);
		if (!stub_clone_process(slot))
			rogue();
		spin();
	}
	if (!wait_for(&sh->up, 1, 5000))
		return broken("the case did not come to its point");
	kill(pid, SIGKILL);
	if (!gone_within(pid, 1000))
		return broken("SIGKILL does not end it");
	return still_ticks() ? broken("its child lives on") : 0;
}

/* Many, each with memory, under --memory 64M. */
static int denied_children_with_memory(void)
{
	size_t size = 24 << 20;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return broken("mmap");
	for (int i = 0; i < 6; i++) {
		pid_t pid = fork();

		if (!pid) {
			struct slot *slot = stub_slot();

			if (!stub_begin_until(slot, CMD_FORK, SYS_fork, 0, 0, 0, 0, 0, 0))
				_exit(9);
			if (!stub_clone_process(slot)) {
				for (size_t n = 0; n < size; n += 4096)
					memory[n] = 1;
				rogue();
			}
			slot->cmd_result = -EAGAIN;
			stub_report(slot);
			spin();
		}
		if (!gone_within(pid, 3000))
			return broken("the liar lives on");
	}
	return still_ticks() ? broken("children that were denied live on") : 0;
}

static char thread_stack[1 << 16] __attribute__((aligned(4096)));

static void rogue_thread(void)
{
	rogue();
}

static int denied_thread(void)
{
	pid_t pid = fork();

	if (!pid) {
		struct slot *slot = stub_slot();

		if (!stub_begin_until(slot, CMD_THREAD, SYS_clone, 0x50f00, (long)thread_stack, 0,
				      0, 0, 0))
			_exit(9);
		stub_clone_thread(slot->cmd_args[0], slot->cmd_args[3],
				  thread_stack + sizeof(thread_stack), rogue_thread);
		while (!sh->up)
			__asm__ volatile("pause");
		slot->cmd_result = -EAGAIN;
		stub_report(slot);
		spin();
	}
	if (!wait_for(&sh->up, 1, 5000))
		return broken("the case did not come to its point");
	if (!gone_within(pid, 3000))
		return broken("a process with a thread that it denies lives on");
	return still_ticks() ? broken("the thread lives on") : 0;
}

/*
 * The parent's other thread says that the clone has failed, while the host is still at it: much
 * memory is copied. So that this could be believed its worker must not be the one that receives: a
 * relative, whose worker does, is kept busy with commands of its own.
 */
static void *busy_relative(void *arg)
{
	size_t size = 256 << 20;

	for (;;) {
		void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		munmap(p, size);
	}
	return arg;
}

static struct slot *forking_slot;

static void *denier(void *arg)
{
	volatile struct slot *slot = forking_slot;

	sh->go = 1;
	while (slot->turn != TURN_COMMAND || slot->cmd != CMD_FORK)
		__asm__ volatile("pause");
	for (long i = 0; i < sh->id; i++)
		__asm__ volatile("pause");
	slot->cmd_result = -EAGAIN;
	__atomic_store_n(&slot->turn, TURN_SENTRY, __ATOMIC_SEQ_CST);
	stub_call(SYS_futex, (long)&slot->turn, 1, 1, 0, 0, 0);
	return arg;
}

static void denied_while_made_parent(void)
{
	size_t size = 512 << 20;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct slot *slot = stub_slot();
	pthread_t thread;

	madvise(memory, size, MADV_NOHUGEPAGE);
	for (size_t n = 0; n < size; n += 4096)
		memory[n] = 1;
	forking_slot = slot;
	pthread_create(&thread, NULL, denier, NULL);
	while (!sh->go)
		usleep(1000);
	if (!stub_begin_until(slot, CMD_FORK, SYS_fork, 0, 0, 0, 0, 0, 0))
		_exit(9);
	if (!stub_clone_process(slot))
		rogue();
	sh->stage = 1; /* the host is done; it says nothing */
	spin();
}

static int denied_while_made(void)
{
	static const long waits[] = {20000, 50000, 100000, 200000, 400000};
	pid_t relative = fork();

	if (!relative)
		busy_relative(NULL);
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		pid_t pid;

		sh->up = sh->go = sh->stage = 0;
		sh->id = waits[i];
		pid = fork();
		if (!pid)
			denied_while_made_parent();
		wait_for(&sh->up, 1, 3000); /* if it does, the clone was let through */
		kill(pid, SIGKILL);
		if (!gone_within(pid, 3000))
			return broken("SIGKILL does not end it");
		if (still_ticks())
			return broken("a child that was denied while it was made lives on");
	}
	kill(relative, SIGKILL);
	return gone_within(relative, 3000) ? 0 : broken("SIGKILL does not end the relative");
}

/* --- a thread in a child's place ---------------------------------------------------------------
 */

static uint64_t fork_order[6];

static void thread_as_child(void)
{
	struct slot *slot;

	while (!sh->go)
		__asm__ volatile("pause");
	sh->result = stub_call(SYS_mmap, STUB_SLOTS, SLOT_REGION, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_FIXED, (long)fork_order[4], (long)fork_order[5]);
	slot = stub_slot();
	while (slot->turn != TURN_RESUME)
		stub_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
	sh->id = stub_syscall(slot, SYS_getpid, 0, 0, 0, 0, 0, 0);
	sh->stage = 2;
	spin();
}

static int thread_in_childs_place(void)
{
	pid_t pid = fork();

	if (!pid) {
		struct slot *slot = stub_slot();

		/* A thread that is not denied, only late. */
		if (!stub_begin_until(slot, CMD_THREAD, SYS_clone, 0x50f00, (long)thread_stack, 0,
				      0, 0, 0))
			_exit(9);
		if (stub_clone_thread(slot->cmd_args[0], slot->cmd_args[3],
				      thread_stack + sizeof(thread_stack), thread_as_child) < 0)
			_exit(9);
		sh->stage = 1;
		slot->cmd_result = -EAGAIN;
		stub_report(slot);
		if (!stub_begin_until(slot, CMD_FORK, SYS_fork, 0, 0, 0, 0, 0, 0))
			_exit(9);
		memcpy(fork_order, slot->cmd_args, sizeof(fork_order));
		slot->cmd_result = 4242;
		sh->go = 1;
		stub_report(slot);
		spin();
	}
	if (!wait_for(&sh->stage, 1, 5000))
		return broken("the case did not come to its point");
	wait_for(&sh->stage, 2, 2000);
	if (sh->stage == 2)
		return broken("a thread was taken for a child process");
	kill(pid, SIGKILL);
	return gone_within(pid, 1000) ? 0 : broken("SIGKILL does not end it");
}

/* The right region, but not the cookie of the order: somebody else's child, as it were. */
static int child_with_wrong_cookie(void)
{
	pid_t pid = fork();

	if (!pid) {
		struct slot *slot = stub_slot();
		uint64_t order[6];

		if (!stub_begin_until(slot, CMD_FORK, SYS_fork, 0, 0, 0, 0, 0, 0))
			_exit(9);
		memcpy(order, slot->cmd_args, sizeof(order));
		if (!stub_clone_process(slot)) {
			sh->up = 1;
			stub_call(SYS_mmap, STUB_SLOTS, SLOT_REGION, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, (long)(order[4] ^ (5ULL << 32)),
				  (long)order[5]);
			sh->stage = 2;
			rogue();
		}
		slot->cmd_result = 4242;
		stub_report(slot);
		spin();
	}
	if (!wait_for(&sh->up, 1, 5000))
		return broken("the case did not come to its point");
	usleep(300000);
	if (sh->stage == 2)
		return broken("a child with a wrong cookie was let through");
	kill(pid, SIGKILL);
	return gone_within(pid, 1000) ? 0 : broken("SIGKILL does not end it");
}

/* --- another's slots ---------------------------------------------------------------------------
 */

/* A child that never maps its own region keeps its parent's, and rewrites what the region's next
 * owner hands over. */
static int rewrites_next_owner(void)
{
	pid_t liar = fork();

	if (!liar) {
		struct slot *slot = stub_slot();

		if (setgid(1000) || setuid(1000))
			_exit(9);
		if (!stub_begin_until(slot, CMD_FORK, SYS_fork, 0, 0, 0, 0, 0, 0))
			_exit(9);
		if (!stub_clone_process(slot)) {
			struct slot *victim = (struct slot *)STUB_SLOTS;

			sh->up = 1;
			while (!sh->go)
				__asm__ volatile("pause");
			for (;;) {
				victim->regs.orig_rax = SYS_exit_group;
				victim->regs.rdi = 77;
			}
		}
		while (!sh->up)
			__asm__ volatile("pause");
		slot->cmd_result = -EAGAIN;
		stub_give_turn(slot);
		spin();
	}
	if (!wait_for(&sh->up, 1, 5000) || !gone_within(liar, 3000))
		return broken("the case did not come to its point");
	for (int i = 0; i < 6; i++) {
		pid_t victim = fork();
		int status;

		if (!victim) {
			usleep(50000);
			sh->go = 1;
			for (int n = 0; n < 20000; n++)
				getppid();
			_exit(0);
		}
		waitpid(victim, &status, 0);
		if (status)
			return broken("another process's registers were rewritten");
	}
	return 0;
}

/* Slots that no thread has are memory, too: under --memory 64M nobody gets 512 MB of them. */
static int takes_slots(void)
{
	pid_t pids[2];

	for (int i = 0; i < 2; i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		for (;;) {
			for (uint64_t at = 64 * SLOT_SIZE; at < SLOT_REGION; at += 4096)
				*(volatile char *)(STUB_SLOTS + at) = 1;
			sh->up++;
		}
	}
	for (int i = 0; i < 2; i++)
		if (!gone_within(pids[i], 10000))
			return broken("memory in slots is not counted");
	return 0;
}

/* --- what does not obey ------------------------------------------------------------------------
 */

static int killed_at_once(pid_t pid)
{
	char path[64], text[4096];
	FILE *f;

	if (!wait_for(&sh->up, 1, 5000))
		return broken("the case did not come to its point");
	usleep(100000);
	kill(pid, SIGKILL);
	if (!gone_within(pid, 1000))
		return broken("SIGKILL does not end it");
	/* Others' files about it do not hang. */
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "r");
	if (f) {
		while (fgets(text, sizeof(text), f))
			;
		fclose(f);
	}
	return 0;
}

static int ignores_command(void)
{
	pid_t pid = fork();

	if (!pid) {
		sh->up = 1;
		stub_begin(stub_slot(), SYS_mmap, 0, 64 << 20, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		spin();
	}
	return killed_at_once(pid);
}

static int sleeps_in_command(void)
{
	pid_t pid = fork();

	if (!pid) {
		struct slot *slot = stub_slot();

		sh->up = 1;
		stub_begin(slot, SYS_mmap, 0, 64 << 20, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		for (;;)
			stub_call(SYS_futex, (long)&slot->turn, 0, slot->turn, 0, 0, 0);
	}
	return killed_at_once(pid);
}

/* Without a SIGKILL: it must not keep others waiting for ever either. */
static int ignored_command_ends(void)
{
	char path[64], text[4096];
	pid_t pid = fork();
	struct timespec from, to;
	FILE *f;

	if (!pid) {
		sh->up = 1;
		stub_begin(stub_slot(), SYS_mmap, 0, 64 << 20, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		spin();
	}
	if (!wait_for(&sh->up, 1, 5000))
		return broken("the case did not come to its point");
	usleep(100000);
	clock_gettime(CLOCK_MONOTONIC, &from);
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "r");
	while (f && fgets(text, sizeof(text), f))
		;
	clock_gettime(CLOCK_MONOTONIC, &to);
	if (to.tv_sec - from.tv_sec > 15)
		return broken("a reader of its maps waits");
	return gone_within(pid, 10000) ? 0 : broken("it lives on");
}

static int claims_fork(void)
{
	pid_t pid = fork();

	if (!pid) {
		struct slot *slot = stub_slot();

		if (!stub_begin_until(slot, CMD_FORK, SYS_fork, 0, 0, 0, 0, 0, 0))
			_exit(9);
		sh->up = 1;
		slot->cmd_result = 4242;
		stub_report(slot);
		spin();
	}
	return killed_at_once(pid);
}

/* A thread that its process does not get done with: it is nobody else's. */
static int never_makes_thread(void)
{
	pid_t pid = fork();

	if (!pid) {
		if (!stub_begin_until(stub_slot(), CMD_THREAD, SYS_clone, 0x50f00,
				      (long)thread_stack, 0, 0, 0, 0))
			_exit(9);
		sh->up = 1;
		spin();
	}
	return killed_at_once(pid);
}

static int skips_batch(void)
{
	pid_t pid = fork();

	if (!pid) {
		struct slot *slot = stub_slot();
		char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		stub_publish(slot, SYS_munmap, (long)page, 4096, 0, 0, 0, 0);
		stub_give_turn(slot);
		stub_wait_turn(slot);
		if (!slot->batch_n) /* not put off: nothing to skip */
			_exit(0);
		slot->batch_n = 0;
		stub_publish(slot, SYS_getppid, 0, 0, 0, 0, 0, 0);
		stub_give_turn(slot);
		stub_wait_turn(slot);
		sh->stage = 2;
		spin();
	}
	if (!gone_within(pid, 2000))
		return broken("it lives on");
	return sh->stage == 2 ? broken("a memory command was skipped") : 0;
}

static _Atomic int exiting_up;

static void ignores_exit_thread(void)
{
	struct slot *slot = stub_slot();

	stub_publish(slot, SYS_exit, 0, 0, 0, 0, 0, 0);
	stub_give_turn(slot);
	exiting_up = 1;
	spin();
}

/* Threads that are told to exit and do not; the processes end by themselves. */
static int ignores_exit(void)
{
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();

		if (!pid) {
			struct slot *slot = stub_slot();

			(void)slot;
			/* A real thread, with a slot. */
			long tid = syscall(SYS_clone, 0x50f00, thread_stack + sizeof(thread_stack),
					   0, 0, 0);
			if (tid == 0)
				ignores_exit_thread();
			while (!exiting_up)
				usleep(100);
			_exit(0);
		}
		if (!gone_within(pid, 3000))
			return broken("a process whose thread does not exit lives on");
	}
	return 0;
}

/* A mask of its own, by the stub's rt_sigreturn, so that no kick reaches it. */
static int blocks_kicks(void)
{
	pid_t pid = fork();

	if (!pid) {
		const struct stub_header *header = (const struct stub_header *)STUB_TEXT;
		static struct {
			uint64_t flags, link, sp, ss_flags, size;
			uint64_t r[23], fpstate, reserved[8];
			uint64_t mask;
		} frame;
		static char stack[8192];

		sh->up = 1;
		memset(&frame, 0, sizeof(frame));
		frame.ss_flags = 2; /* SS_DISABLE */
		frame.r[15] = (uint64_t)(stack + sizeof(stack) - 64);
		frame.r[16] = (uint64_t)spin;
		frame.r[17] = 0x202;
		frame.r[18] = 0x33 | 0x2bULL << 48;
		frame.mask = ~0ULL;
		__asm__ volatile("mov %0, %%rsp\n\tjmp *%1"
				 :
				 : "r"(&frame), "r"(header->sigreturn)
				 : "memory");
	}
	return killed_at_once(pid);
}

/* --- more --------------------------------------------------------------------------------------
 */

/* The text, where its filters are, is nothing that it can change. */
static int text_is_constant(void)
{
	pid_t pid = fork();

	if (!pid) {
		if (mprotect((void *)STUB_TEXT, STUB_TEXT_SIZE, PROT_READ | PROT_WRITE) == 0)
			sh->stage = 2;
		stub_call(SYS_mprotect, STUB_TEXT, STUB_TEXT_SIZE, PROT_READ | PROT_WRITE, 0, 0, 0);
		sh->stage = 2;
		_exit(0);
	}
	gone_within(pid, 2000);
	return sh->stage == 2 ? broken("the stub's text can be changed") : 0;
}

static const struct {
	const char *name;
	int (*run)(void);
} cases[] = {
#define CASE(f)                                                                                    \
	{                                                                                          \
#f, f                                                                              \
	}
	CASE(denied_child),
	CASE(silent_child),
	CASE(denied_children_with_memory),
	CASE(denied_thread),
	CASE(denied_while_made),
	CASE(thread_in_childs_place),
	CASE(child_with_wrong_cookie),
	CASE(rewrites_next_owner),
	CASE(takes_slots),
	CASE(ignores_command),
	CASE(sleeps_in_command),
	CASE(ignored_command_ends),
	CASE(claims_fork),
	CASE(never_makes_thread),
	CASE(skips_batch),
	CASE(ignores_exit),
	CASE(blocks_kicks),
	CASE(text_is_constant),
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc != 2) {
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
			printf("%s\n", cases[i].name);
		return 2;
	}
	stub_find();
	sh = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (!strcmp(argv[1], cases[i].name))
			return cases[i].run();
	return 2;
}
