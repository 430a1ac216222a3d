#include "platform_guest.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

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

uint64_t in_guest(const char *label)
{
	return CODE + (uint64_t)(label - guest_code);
}

void guest_start(struct guest *g, const char *label)
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

void guest_end(struct guest *g)
{
	platform_ctx_exit(g->ctx);
	platform_as_put(g->as);
}

void step(struct guest *g, bool full, struct platform_event *event)
{
	assert_ptr_equal(platform_next(g->ctx, full, event), g->ctx);
}

void expect_syscall(struct guest *g, bool full, uint64_t nr)
{
	struct platform_event event;

	step(g, full, &event);
	assert_int_equal(event.kind, EVENT_SYSCALL);
	assert_int_equal(platform_regs(g->ctx)->orig_rax, nr);
}

void *kicker(void *ctx)
{
	usleep(20000);
	platform_kick(ctx);
	return NULL;
}

int start_platform(const char *name, uint32_t without)
{
	struct platform_config config = {
		.name = name,
		.without = without,
		.num_cpus = (int)sysconf(_SC_NPROCESSORS_ONLN),
		.proc_fd = open("/proc", O_PATH | O_DIRECTORY),
	};

	alarm(100);
	return platform_init(&config) || platform_start_threads();
}

int stop_platform(void **state)
{
	platform_shutdown();
	return 0;
}
