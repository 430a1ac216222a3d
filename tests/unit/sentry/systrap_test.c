/* What guests can do to systrap's slots and signal masks. */
#include "platform_guest.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <ucontext.h>

#include "sentry/platform/systrap/systrap.h"

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

static void guest_that_blocks_kicks_is_killed(void **state)
{
	const struct stub_header *header = stub_header();
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

static int start(void **state)
{
	return start_platform("systrap", 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fpstate_outside_the_slot_is_not_read),
		cmocka_unit_test(guest_that_blocks_kicks_is_killed),
	};

	return cmocka_run_group_tests(tests, start, stop_platform);
}
