/*
 * The ptrace platform's own rules: what a stub's thread can do when its tracer has missed something
 * or let it go, and what is known of faults and deaths.
 */
#include "platform_guest.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sentry/platform/ptrace/ptrace.h"
#include "sentry/platform/shared/zygote.h"

#define AREA 0x20000000ULL

static struct tracee *tracee(struct guest *g)
{
	return tracee_of(g->ctx);
}

/* Registers for mmap(AREA) by an instruction at rip. */
static void prepare_mmap(struct guest *g, uint64_t rip)
{
	*platform_regs(g->ctx) = (struct guest_regs){
		.rip = rip,
		.rsp = STACK + 65536,
		.rax = SYS_mmap,
		.rdi = AREA,
		.rsi = 4096,
		.rdx = PROT_READ,
		.r10 = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		.r8 = ~0ULL,
	};
}

static bool is_mapped(struct guest *g, uint64_t addr)
{
	char byte;
	struct iovec local = {&byte, 1}, remote = {(void *)addr, 1};

	return platform_read_mem(g->as, &local, 1, &remote, 1) == 1;
}

/* Waits for the end of a guest's process, which stays a zombie. */
static int wait_for_death(struct guest *g)
{
	siginfo_t info = {0};

	assert_int_equal(
		waitid(P_PID, (id_t)as_head(g->as)->pid, &info, WEXITED | WNOWAIT | __WALL), 0);
	return info.si_status;
}

static void calls_of_the_stubs_text_by_a_guest_are_the_sentrys(void **state)
{
	struct guest g;
	struct platform_event event;

	guest_start(&g, guest_code);
	prepare_mmap(&g, stub_header()->traced_call);
	step(&g, true, &event);
	assert_int_equal(event.kind, EVENT_SYSCALL);
	assert_int_equal(platform_regs(g.ctx)->orig_rax, SYS_mmap);
	assert_false(is_mapped(&g, AREA));
	guest_end(&g);
}

static void a_missed_stop_lets_no_call_of_the_guest_through(void **state)
{
	struct guest g;
	struct guest_regs regs;
	int stop;

	guest_start(&g, guest_code);
	assert_int_equal(tracee_attach(tracee(&g)), 0);
	assert_int_equal(tracee_load_regs(tracee(&g)), 0);
	assert_int_equal(tracee_run(tracee(&g), PTRACE_CONT, 0, &stop), 0);
	assert_int_equal(stop, SIGSYS);
	assert_int_equal(tracee_get_regs(tracee(&g), &regs), 0);
	assert_int_equal(regs.rax, SYS_getppid); /* as it was: no result */
	guest_end(&g);
}

static void a_missed_stop_lets_no_call_of_the_stubs_text_through(void **state)
{
	struct guest g;
	int stop;

	guest_start(&g, guest_code);
	prepare_mmap(&g, stub_header()->traced_call);
	assert_int_equal(tracee_attach(tracee(&g)), 0);
	assert_int_equal(tracee_load_regs(tracee(&g)), 0);
	assert_int_equal(tracee_run(tracee(&g), PTRACE_CONT, 0, &stop), 0);
	assert_int_equal(stop, STOP_CLAIMED);
	assert_false(is_mapped(&g, AREA));
	guest_end(&g);
}

/* Even a tracer who wants it otherwise: the filter has the last word. */
static void a_tracer_cannot_exchange_a_call_for_another(void **state)
{
	struct guest g;
	int stop;

	guest_start(&g, guest_code);
	prepare_mmap(&g, stub_header()->traced_call);
	assert_int_equal(tracee_attach(tracee(&g)), 0);
	assert_int_equal(tracee_load_regs(tracee(&g)), 0);
	assert_int_equal(tracee_run(tracee(&g), PTRACE_CONT, 0, &stop), 0);
	assert_int_equal(stop, STOP_CLAIMED);
	assert_int_equal(ptrace(PTRACE_POKEUSER, tracee(&g)->head.tid,
				offsetof(struct guest_regs, orig_rax), SYS_getuid),
			 0);
	assert_int_equal(tracee_run(tracee(&g), PTRACE_CONT, 0, &stop), 0);
	assert_int_equal(stop, SIGSYS);
	guest_end(&g);
}

/* Lets the thread go where it stands: what tracee_detach() never does. */
static void let_go(struct guest *g)
{
	assert_int_equal(tracee_attach(tracee(g)), 0);
	assert_int_equal(tracee_load_regs(tracee(g)), 0);
	assert_int_equal(ptrace(PTRACE_DETACH, tracee(g)->head.tid, NULL, NULL), 0);
	tracee(g)->tracer = 0;
}

static void without_a_tracer_a_guests_call_is_its_death(void **state)
{
	struct guest g;

	guest_start(&g, guest_code);
	let_go(&g);
	assert_int_equal(wait_for_death(&g), SIGSYS);
	guest_end(&g);
}

static void without_a_tracer_the_stubs_text_calls_nothing(void **state)
{
	struct guest g;

	guest_start(&g, guest_code);
	prepare_mmap(&g, stub_header()->traced_call);
	let_go(&g);
	usleep(50000);
	assert_false(is_mapped(&g, AREA));
	/* It has gone on to where threads are parked, and is there to be taken again. */
	platform_regs(g.ctx)->rip = in_guest(guest_code);
	expect_syscall(&g, true, SYS_getppid);
	guest_end(&g);
}

/* A second sentry, from before ours was there; its processes have a group of their own. */
static struct {
	pid_t pid;
	int go, running; /* pipes */
} second;

static void second_main(int go, int running) __attribute__((noreturn));
static void second_main(int go, int running)
{
	struct platform_event event;
	struct guest g;
	char byte;

	setpgid(0, 0);
	if (read(go, &byte, 1) != 1 || start_platform("ptrace", 0))
		_exit(1);
	guest_start(&g, guest_spin);
	platform_regs(g.ctx)->rsi = STACK;
	(void)!write(running, "", 1);
	step(&g, true, &event);
	_exit(2);
}

static void start_second(void)
{
	int go[2], running[2];

	if (pipe(go) || pipe(running))
		exit(1);
	/* What it leaves behind becomes ours. */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	second.pid = fork();
	if (second.pid == 0) {
		close(go[1]);
		second_main(go[0], running[1]);
	}
	close(go[0]);
	close(running[1]);
	second.go = go[1];
	second.running = running[0];
}

static void the_death_of_a_tracer_is_that_of_its_stubs(void **state)
{
	int status, killed = 0;
	char byte;

	assert_int_equal(write(second.go, "", 1), 1);
	assert_int_equal(read(second.running, &byte, 1), 1);
	usleep(50000);
	kill(second.pid, SIGKILL);
	/* All of its group die: itself, its zygote, its stub, which computed. */
	while (waitpid(-second.pid, &status, __WALL) > 0) {
		assert_int_equal(WTERMSIG(status), SIGKILL);
		killed++;
	}
	assert_int_equal(killed, 3);
}

static void faults_tell_what_the_access_was(void **state)
{
	static const struct {
		uint64_t rip, addr; /* one that guest_fault reads, or jumps to */
		uint32_t error;
	} accesses[] = {
		{0, 0xdead000, 0x4},  /* user, read */
		{AREA, AREA, 0x14},   /* user, fetch */
		{STACK, STACK, 0x15}, /* likewise, of what is there */
	};
	struct platform_event event;
	struct guest g;

	guest_start(&g, guest_fault);
	for (unsigned i = 0; i < sizeof(accesses) / sizeof(accesses[0]); i++) {
		uint64_t rip = accesses[i].rip ? accesses[i].rip : in_guest(guest_fault);

		platform_regs(g.ctx)->rip = rip;
		platform_regs(g.ctx)->r13 = 0x1313 + i;
		step(&g, true, &event);
		/* Memory is there when it is touched, not before. */
		assert_int_equal(event.kind, EVENT_FAULT);
		assert_int_equal(event.signo, SIGSEGV);
		assert_int_equal(event.trapno, 14);
		assert_int_equal(event.error, accesses[i].error);
		assert_int_equal(event.addr, accesses[i].addr);
		assert_int_equal(platform_regs(g.ctx)->r13, 0x1313 + i);
		assert_int_equal(platform_regs(g.ctx)->rsp, STACK + 65536);
	}
	guest_end(&g);
}

/* The kernel reports the end of a process's first thread when all others are reaped; the first
 * one's tracer must not wait for them. */
static void a_first_threads_death_is_seen_while_others_are_kept(void **state)
{
	struct guest g;
	struct platform_event event;
	struct platform_ctx *other;
	pid_t killer;

	guest_start(&g, guest_code);
	expect_syscall(&g, true, SYS_getppid);
	assert_int_equal(platform_clone_thread(g.ctx, NULL, 0, &other), 0);
	/* Attached, and left alone: as if its worker were busy. */
	assert_int_equal(platform_mprotect(other, STACK, 4096, PROT_READ | PROT_WRITE), 0);
	platform_regs(g.ctx)->rip = in_guest(guest_spin);
	platform_regs(g.ctx)->rsi = STACK;
	killer = fork();
	if (killer == 0) {
		usleep(50000);
		kill(as_head(g.as)->pid, SIGKILL);
		_exit(0);
	}
	step(&g, true, &event);
	assert_int_equal(event.kind, EVENT_DEAD);
	waitpid(killer, NULL, 0);
	platform_ctx_exit(other);
	guest_end(&g);
}

/* A kernel without 32-bit programs (ia32_emulation=0, some paravirtual hosts) has neither the call
 * nor the segment: what uses them faults. */
static bool host_has_int_0x80(void)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		long nr = 20; /* getpid */

		signal(SIGSEGV, SIG_DFL); /* not the test library's */
		__asm__ volatile("int $0x80" : "+a"(nr) : : "memory");
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status);
}

/* The event of an int 0x80 at `rip`; or, where the host has none, of a fault at `fault`. */
static void assert_is_int_0x80(const struct guest *g, const struct platform_event *event,
			       uint64_t rip, uint64_t fault)
{
	if (!host_has_int_0x80()) {
		assert_int_equal(event->kind, EVENT_FAULT);
		assert_int_equal(event->signo, SIGSEGV);
		assert_int_equal(platform_regs(g->ctx)->rip, fault);
		return;
	}
	assert_int_equal(event->kind, EVENT_SYSCALL);
	assert_int_equal(platform_regs(g->ctx)->orig_rax, 0xffffffff);
	assert_int_equal(platform_regs(g->ctx)->rip, rip + 2);
}

static void int_0x80_is_no_call_of_ours(void **state)
{
	static const uint8_t code[] = {0xcd, 0x80};
	struct guest g;
	struct platform_event event;

	guest_start(&g, guest_code);
	assert_int_equal(platform_force_write(g.as, CODE, code, sizeof(code)), sizeof(code));
	platform_regs(g.ctx)->rip = CODE;
	platform_regs(g.ctx)->rax = SYS_getppid;
	step(&g, true, &event);
	assert_is_int_0x80(&g, &event, CODE, CODE);
	guest_end(&g);
}

/* Of a 32-bit segment's threads the kernel has other register sets. */
static void a_32_bit_segment_is_left_at_the_next_event(void **state)
{
	static const uint8_t jump[] = {0xff, 0x2b};		       /* ljmp *(%rbx) */
	static const uint8_t code[] = {0xb8, 20, 0, 0, 0, 0xcd, 0x80}; /* getpid() */
	const struct {
		uint32_t at;
		uint16_t segment;
	} target = {CODE + 64, 0x23};
	struct iovec local = {(void *)&target, 6}, remote = {(void *)STACK, 6};
	struct platform_event event;
	struct guest g;

	guest_start(&g, guest_code);
	assert_int_equal(platform_force_write(g.as, CODE, jump, sizeof(jump)), sizeof(jump));
	assert_int_equal(platform_force_write(g.as, CODE + 64, code, sizeof(code)), sizeof(code));
	assert_int_equal(platform_write_mem(g.as, &local, 1, &remote, 1), 6);
	platform_regs(g.ctx)->rip = CODE;
	platform_regs(g.ctx)->rbx = STACK;
	step(&g, true, &event);
	assert_is_int_0x80(&g, &event, CODE + 64 + sizeof(code) - 2, CODE);
	assert_int_equal(platform_madvise(g.ctx, 0x5000000, 4096, MADV_DONTNEED), -ENOMEM);
	platform_regs(g.ctx)->rip = in_guest(guest_bad_number);
	expect_syscall(&g, true, 500);
	guest_end(&g);
}

static int start(void **state)
{
	return start_platform("ptrace", 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_of_the_stubs_text_by_a_guest_are_the_sentrys),
		cmocka_unit_test(a_missed_stop_lets_no_call_of_the_guest_through),
		cmocka_unit_test(a_missed_stop_lets_no_call_of_the_stubs_text_through),
		cmocka_unit_test(a_tracer_cannot_exchange_a_call_for_another),
		cmocka_unit_test(without_a_tracer_a_guests_call_is_its_death),
		cmocka_unit_test(without_a_tracer_the_stubs_text_calls_nothing),
		cmocka_unit_test(the_death_of_a_tracer_is_that_of_its_stubs),
		cmocka_unit_test(faults_tell_what_the_access_was),
		cmocka_unit_test(a_first_threads_death_is_seen_while_others_are_kept),
		cmocka_unit_test(int_0x80_is_no_call_of_ours),
		cmocka_unit_test(a_32_bit_segment_is_left_at_the_next_event),
	};

	start_second();
	return cmocka_run_group_tests(tests, start, stop_platform);
}
