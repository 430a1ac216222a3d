/*
 * The platforms alone, with a toy kernel on top: what platform.h promises holds on each of them,
 * and in each way that they take on hosts that lack something.
 */
#include "platform_guest.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"

static void syscall_result_reaches_the_guest(void **state)
{
	struct guest g;

	guest_start(&g, guest_code);
	expect_syscall(&g, true, 110);
	platform_regs(g.ctx)->rax = 42;
	expect_syscall(&g, false, 500);
	assert_int_equal(platform_regs(g.ctx)->rdi, 42 + 0x1234);
	expect_syscall(&g, false, 501);
	guest_end(&g);
}

static void fault_is_reported_and_can_be_resolved(void **state)
{
	struct guest g;
	struct platform_event event;
	uint64_t value = 77;
	struct iovec local = {&value, 8}, remote = {(void *)0xdead000, 8};

	guest_start(&g, guest_fault);
	step(&g, true, &event);
	assert_int_equal(event.kind, EVENT_FAULT);
	assert_int_equal(event.signo, SIGSEGV);
	assert_int_equal(event.code, SEGV_MAPERR);
	assert_int_equal(event.addr, 0xdead000);
	assert_int_equal(platform_write_mem(g.as, &local, 1, &remote, 1), -EFAULT);
	assert_int_equal(platform_mmap(g.ctx, 0xdead000, 4096, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
			 0);
	assert_int_equal(platform_write_mem(g.as, &local, 1, &remote, 1), 8);
	expect_syscall(&g, true, 500);
	assert_int_equal(platform_regs(g.ctx)->rdi, 77);
	guest_end(&g);
}

static void commands_return_the_hosts_errors(void **state)
{
	struct guest g;

	guest_start(&g, guest_code);
	assert_int_equal(platform_madvise(g.ctx, 0x5000000, 4096, MADV_NORMAL), -ENOMEM);
	assert_int_equal(platform_mmap(g.ctx, GUEST_TASK_SIZE, 4096, PROT_READ,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
			 -EINVAL);
	assert_int_equal(platform_munmap(g.ctx, 0x5000000, 4096), 0);
	guest_end(&g);
}

static void fork_copies_memory_and_registers(void **state)
{
	struct guest g, child = {0};
	uint64_t value = 1, seen = 0;
	struct iovec local = {&value, 8}, remote = {(void *)STACK, 8}, out = {&seen, 8};

	guest_start(&g, guest_code);
	expect_syscall(&g, true, 110);
	assert_int_equal(platform_write_mem(g.as, &local, 1, &remote, 1), 8);
	assert_int_equal(platform_fork(g.ctx, NULL, &child.as, &child.ctx), 0);
	value = 2;
	assert_int_equal(platform_write_mem(g.as, &local, 1, &remote, 1), 8);
	assert_int_equal(platform_read_mem(child.as, &out, 1, &remote, 1), 8);
	assert_int_equal(seen, 1);
	assert_int_equal(platform_regs(child.ctx)->rbx, 0x1234);
	platform_regs(child.ctx)->rax = 5;
	expect_syscall(&child, true, 500);
	assert_int_equal(platform_regs(child.ctx)->rdi, 5 + 0x1234);
	guest_end(&child);
	platform_regs(g.ctx)->rax = 6;
	expect_syscall(&g, false, 500);
	assert_int_equal(platform_regs(g.ctx)->rdi, 6 + 0x1234);
	guest_end(&g);
}

static void threads_share_memory(void **state)
{
	struct guest g;
	struct platform_ctx *thread;
	struct platform_event event;
	int seen = 0;

	guest_start(&g, guest_code);
	expect_syscall(&g, true, 110);
	assert_int_equal(platform_clone_thread(g.ctx, NULL, 0, &thread), 0);
	platform_regs(thread)->rax = 1;
	platform_regs(g.ctx)->rax = 2;
	assert_int_equal(platform_resume(thread), 0);
	for (struct platform_ctx *c = g.ctx; seen != 3;) {
		c = platform_next(c, true, &event);
		assert_non_null(c);
		assert_int_equal(event.kind, EVENT_SYSCALL);
		if (platform_regs(c)->orig_rax == 500)
			seen |= (int)(platform_regs(c)->rdi - 0x1234);
		if (platform_regs(c)->orig_rax == 501) {
			assert_ptr_equal(c, thread);
			platform_ctx_exit(c);
			c = NULL;
		}
		if (seen == 3 && c == thread)
			break;
		if (c == g.ctx && seen != 3)
			c = NULL; /* leave the first one where it is: wait for the other */
	}
	guest_end(&g);
}

static void kick_interrupts_a_spinning_guest_and_keeps_its_state(void **state)
{
	struct guest g;
	struct platform_event event;
	pthread_t thread;

	guest_start(&g, guest_spin);
	platform_regs(g.ctx)->rsi = STACK;
	for (int i = 0; i < 20; i++) {
		pthread_create(&thread, NULL, kicker, g.ctx);
		step(&g, true, &event);
		pthread_join(thread, NULL);
		assert_int_equal(event.kind, EVENT_INTERRUPTED);
		assert_int_equal(platform_regs(g.ctx)->rsi, STACK);
		assert_int_equal(platform_regs(g.ctx)->r12, ~0ULL);
	}
	/* The vector register survived all that. */
	platform_regs(g.ctx)->rip = in_guest(guest_bad_number);
	expect_syscall(&g, true, 500);
	assert_int_equal(platform_regs(g.ctx)->rdi, ~0ULL);
	guest_end(&g);
}

static void kick_of_an_owned_context_is_not_lost(void **state)
{
	struct guest g;
	struct platform_event event;

	guest_start(&g, guest_code);
	expect_syscall(&g, true, 110);
	platform_kick(g.ctx);
	platform_regs(g.ctx)->rax = 3;
	step(&g, false, &event);
	assert_int_equal(event.kind, EVENT_INTERRUPTED);
	expect_syscall(&g, true, 500);
	assert_int_equal(platform_regs(g.ctx)->rdi, 3 + 0x1234);
	guest_end(&g);
}

static void fpstate_goes_out_and_in(void **state)
{
	struct guest g;
	size_t size = platform_fpstate_size();
	unsigned char *image = aligned_alloc(64, (size + 63) & ~63UL);

	guest_start(&g, guest_code);
	expect_syscall(&g, true, 110);
	assert_int_equal(platform_get_fpstate(g.ctx, image, size), 0);
	memset(image + 160 + 3 * 16, 0x5a, 16); /* xmm3 */
	image[512] |= 2;
	assert_int_equal(platform_set_fpstate(g.ctx, image, size), 0);
	platform_regs(g.ctx)->rip = in_guest(guest_bad_number);
	expect_syscall(&g, true, 500);
	assert_int_equal(platform_regs(g.ctx)->rdi, 0x5a5a5a5a5a5a5a5aULL);
	memset(image, 0xff, size);
	assert_int_equal(platform_set_fpstate(g.ctx, image, size), 0);
	free(image);
	guest_end(&g);
}

static void bad_registers_fault_in_the_guest_only(void **state)
{
	struct guest g;
	struct platform_event event;

	guest_start(&g, guest_code);
	platform_regs(g.ctx)->rip = 0x1234567890abcdefULL;
	step(&g, true, &event);
	assert_int_equal(event.kind, EVENT_FAULT);
	assert_int_equal(event.signo, SIGSEGV);
	platform_regs(g.ctx)->rip = in_guest(guest_code);
	platform_regs(g.ctx)->rsp = STACK + 65536;
	expect_syscall(&g, true, 110);
	guest_end(&g);
}

static void hot_syscalls(void **state)
{
	struct guest g;
	struct platform_event event;
	int64_t start;
	int n = 0;

	guest_start(&g, guest_loop);
	platform_regs(g.ctx)->rbx = 20000;
	start = monotonic_ns();
	step(&g, true, &event);
	while (platform_regs(g.ctx)->orig_rax == 110) {
		platform_regs(g.ctx)->rax = 1;
		step(&g, false, &event);
		n++;
	}
	print_message("%d syscalls, %lld ns each\n", n, (long long)(monotonic_ns() - start) / n);
	assert_int_equal(n, 20000);
	guest_end(&g);
}

static void many_address_spaces_come_and_go(void **state)
{
	for (int i = 0; i < 200; i++) {
		struct guest g;

		guest_start(&g, guest_code);
		expect_syscall(&g, true, 110);
		guest_end(&g);
	}
}

static void word_operations_answer_what_stood_there(void **state)
{
	struct guest g;
	uint64_t at = STACK;
	uint32_t old = 0, word = 10;
	struct iovec local = {&word, sizeof(word)}, remote = {(void *)at, sizeof(word)};

	guest_start(&g, guest_code);
	assert_int_equal(platform_write_mem(platform_ctx_as(g.ctx), &local, 1, &remote, 1), 4);
	assert_int_equal(platform_word_op(g.ctx, at, WORD_ADD, 5, 0, &old), 0);
	assert_int_equal(old, 10);
	assert_int_equal(platform_word_op(g.ctx, at, WORD_ANDN, 3, 0, &old), 0);
	assert_int_equal(old, 15);
	assert_int_equal(platform_word_op(g.ctx, at, WORD_XOR, 0xff, 0, &old), 0);
	assert_int_equal(old, 12);
	assert_int_equal(platform_word_op(g.ctx, at, WORD_OR, 0x80000000, 0, &old), 0);
	assert_int_equal(old, 0xf3);
	assert_int_equal(platform_word_op(g.ctx, at, WORD_SET_IF, 7, 1, &old), 0);
	assert_int_equal(old, 0x800000f3);
	assert_int_equal(platform_word_op(g.ctx, at, WORD_SET_IF, 7, 0x800000f3, &old), 0);
	assert_int_equal(platform_word_op(g.ctx, at, WORD_SET, 1, 0, &old), 0);
	assert_int_equal(old, 7);
	assert_int_equal(platform_word_op(g.ctx, 0xdead000, WORD_SET, 1, 0, &old), -EFAULT);
	assert_int_equal(platform_word_op(g.ctx, CODE, WORD_SET, 1, 0, &old), -EFAULT);
	assert_int_equal(platform_word_op(g.ctx, at + 1, WORD_SET, 1, 0, &old), -EINVAL);
	guest_end(&g);
}

/* --- each of these in a process of its own -----------------------------------------------------
 */

static const struct way {
	const char *name, *platform;
	uint32_t without;
} ways[] = {
	{"systrap", "systrap", 0},
	{"systrap, sync-wake-up", "systrap", PLATFORM_WITHOUT_SYNC_WAKE_UP},
	{"systrap, fsgsbase", "systrap", PLATFORM_WITHOUT_FSGSBASE},
	{"systrap, wait-killable", "systrap", PLATFORM_WITHOUT_WAIT_KILLABLE},
	{"ptrace", "ptrace", 0},
	{"ptrace, fsgsbase", "ptrace", PLATFORM_WITHOUT_FSGSBASE},
};
static const struct way *way;

static int start(void **state)
{
	return start_platform(way->platform, way->without);
}

static int run_group(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(syscall_result_reaches_the_guest),
		cmocka_unit_test(fault_is_reported_and_can_be_resolved),
		cmocka_unit_test(commands_return_the_hosts_errors),
		cmocka_unit_test(fork_copies_memory_and_registers),
		cmocka_unit_test(threads_share_memory),
		cmocka_unit_test(kick_interrupts_a_spinning_guest_and_keeps_its_state),
		cmocka_unit_test(kick_of_an_owned_context_is_not_lost),
		cmocka_unit_test(fpstate_goes_out_and_in),
		cmocka_unit_test(bad_registers_fault_in_the_guest_only),
		cmocka_unit_test(word_operations_answer_what_stood_there),
		cmocka_unit_test(hot_syscalls),
		cmocka_unit_test(many_address_spaces_come_and_go),
	};

	return cmocka_run_group_tests_name(way->name, tests, start, stop_platform);
}

int main(void)
{
	int failed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		pid_t child = fork();
		int status = 0;

		way = &ways[i];
		if (child == 0)
			_exit(run_group());
		waitpid(child, &status, 0);
		failed |= status;
	}
	return failed ? 1 : 0;
}
