/*
 * The platform alone, with a toy kernel on top: this file's main thread is the only worker. Guest
 * code is a small blob of assembly that is copied into a clean stub.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/clock.h"
#include "sentry/platform/layout.h"
#include "sentry/platform/platform.h"
#include "sentry/platform/systrap.h"

#define CODE 0x400000ULL
#define STACK 0x10000000ULL

/* Numbers of the toy kernel: 500 reports rdi; 501 ends the context. */
__asm__(".section .rodata\n"
	".globl guest_code, guest_code_end, guest_fault, guest_loop, guest_spin, guest_bad_number, "
	"guest_sigreturn\n"
	"guest_code:\n" /* reports getppid's answer, keeps callee-saved registers */
	"	mov $0x1234, %rbx\n"
	"	mov $110, %eax\n"
	"	syscall\n"
	"	mov %rax, %rdi\n"
	"	add %rbx, %rdi\n"
	"	mov $500, %eax\n"
	"	syscall\n"
	"	mov $501, %eax\n"
	"	syscall\n"
	"guest_fault:\n"
	"	mov $0xdead000, %rax\n"
	"	mov (%rax), %rbx\n"
	"	mov %rbx, %rdi\n"
	"	mov $500, %eax\n"
	"	syscall\n"
	"guest_loop:\n" /* rbx system calls */
	"1:	mov $110, %eax\n"
	"	syscall\n"
	"	dec %rbx\n"
	"	jnz 1b\n"
	"	mov $501, %eax\n"
	"	syscall\n"
	"guest_spin:\n"
	"	pxor %xmm3, %xmm3\n"
	"	pcmpeqd %xmm3, %xmm3\n"
	"	movq %xmm3, %r12\n"
	"2:	incq (%rsi)\n"
	"	jmp 2b\n"
	"guest_bad_number:\n"
	"	mov $500, %eax\n"
	"	movq %xmm3, %rdi\n"
	"	syscall\n"
	"guest_sigreturn:\n" /* to the stub's rt_sigreturn at rax, with the frame at rsp */
	"	jmp *%rax\n"
	"guest_code_end:\n"
	".text\n");
extern const char guest_code[], guest_code_end[], guest_fault[], guest_loop[], guest_spin[],
	guest_bad_number[], guest_sigreturn[];
extern const char stub_image[];

struct guest {
	struct platform_as *as;
	struct platform_ctx *ctx;
};

static uint64_t in_guest(const char *label)
{
	return CODE + (uint64_t)(label - guest_code);
}

static void guest_start(struct guest *g, const char *label)
{
	struct iovec local = {(void *)guest_code, (size_t)(guest_code_end - guest_code)};
	struct iovec remote = {(void *)CODE, local.iov_len};

	assert_int_equal(platform_as_create(NULL, &g->as, &g->ctx), 0);
	assert_int_equal(platform_mmap(g->ctx, CODE, 4096, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
			 0);
	assert_int_equal(platform_write_mem(g->as, &local, 1, &remote, 1), local.iov_len);
	assert_int_equal(platform_mprotect(g->ctx, CODE, 4096, PROT_READ | PROT_EXEC), 0);
	assert_int_equal(platform_mmap(g->ctx, STACK, 65536, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
			 0);
	platform_regs(g->ctx)->rip = in_guest(label);
	platform_regs(g->ctx)->rsp = STACK + 65536;
}

static void guest_end(struct guest *g)
{
	platform_ctx_exit(g->ctx);
	platform_as_put(g->as);
}

static void step(struct guest *g, bool full, struct platform_event *event)
{
	assert_ptr_equal(platform_next(g->ctx, full, event), g->ctx);
}

static void expect_syscall(struct guest *g, bool full, uint64_t nr)
{
	struct platform_event event;

	step(g, full, &event);
	assert_int_equal(event.kind, EVENT_SYSCALL);
	assert_int_equal(platform_regs(g->ctx)->orig_rax, nr);
}

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
	assert_int_equal(platform_madvise(g.ctx, 0x5000000, 4096, MADV_DONTNEED), -ENOMEM);
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
	assert_int_equal(platform_clone_thread(g.ctx, NULL, &thread), 0);
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

static void *kicker(void *arg)
{
	usleep(20000);
	platform_kick(arg);
	return NULL;
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

/* Slots are the guest's to scribble on: the image's address is taken only if it is in the slot. */
static void fpstate_outside_the_slot_is_not_read(void **state)
{
	static const uint64_t bad[] = {0x40, STUB_SLOTS - 64, STUB_SLOTS + SLOT_STACK_TOP, -64ULL,
				       -256ULL};
	size_t size = platform_fpstate_size();
	unsigned char *image = aligned_alloc(64, (size + 63) & ~63UL);
	struct platform_event event;
	struct guest g;

	guest_start(&g, guest_code);
	expect_syscall(&g, true, 110);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		g.ctx->slot->fpstate = bad[i];
		ctx_load_event(g.ctx, &event);
		assert_int_equal(g.ctx->fpu_addr, STUB_SLOTS + SLOT_STACK);
		assert_int_equal(platform_get_fpstate(g.ctx, image, size), 0);
	}
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

static void guest_that_blocks_kicks_is_killed(void **state)
{
	const struct stub_header *header = (const struct stub_header *)stub_image;
	struct guest g;
	struct platform_event event;
	ucontext_t uc = {0};
	pthread_t thread;
	struct iovec local = {&uc, sizeof(uc)}, remote = {(void *)(STACK + 4096), sizeof(uc)};

	guest_start(&g, guest_sigreturn);
	uc.uc_mcontext.gregs[REG_RIP] = (long long)in_guest(guest_spin);
	uc.uc_mcontext.gregs[REG_RSP] = STACK + 65536;
	uc.uc_mcontext.gregs[REG_RSI] = STACK;
	uc.uc_mcontext.gregs[REG_EFL] = 0x202;
	uc.uc_mcontext.gregs[REG_CSGSFS] = 0x002b000000000033;
	memset(&uc.uc_sigmask, 0xff, sizeof(uc.uc_sigmask));
	assert_int_equal(platform_write_mem(g.as, &local, 1, &remote, 1), sizeof(uc));
	platform_regs(g.ctx)->rsp = STACK + 4096;
	platform_regs(g.ctx)->rax = header->sigreturn;
	pthread_create(&thread, NULL, kicker, g.ctx);
	step(&g, true, &event);
	pthread_join(thread, NULL);
	assert_int_equal(event.kind, EVENT_DEAD);
	guest_end(&g);
}

static bool futex_only;

static int start_platform(void **state)
{
	struct platform_config config = {
		.name = "systrap",
		.futex_only = futex_only,
		.num_cpus = (int)sysconf(_SC_NPROCESSORS_ONLN),
		.proc_fd = open("/proc", O_PATH | O_DIRECTORY),
	};

	alarm(100);
	return platform_init(&config) || platform_start_threads();
}

static int stop_platform(void **state)
{
	platform_shutdown();
	return 0;
}

int main(void)
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
		cmocka_unit_test(fpstate_outside_the_slot_is_not_read),
		cmocka_unit_test(bad_registers_fault_in_the_guest_only),
		cmocka_unit_test(guest_that_blocks_kicks_is_killed),
		cmocka_unit_test(hot_syscalls),
		cmocka_unit_test(many_address_spaces_come_and_go),
	};

	/* Once as on an older kernel, in a process of its own. */
	pid_t child = fork();
	int status = 0;

	if (child == 0) {
		futex_only = true;
		_exit(cmocka_run_group_tests_name("futex", tests, start_platform, stop_platform));
	}
	waitpid(child, &status, 0);
	return cmocka_run_group_tests(tests, start_platform, stop_platform) || status;
}
