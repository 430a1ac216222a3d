/*
 * A toy kernel's guest: code that is copied into a clean stub. Its numbers: 500 reports rdi, 501
 * ends the context. The thread that runs the test is the only worker.
 */
#ifndef MOAT_TESTS_PLATFORM_GUEST_H
#define MOAT_TESTS_PLATFORM_GUEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdint.h>

#include "sentry/platform/platform.h"

#define CODE 0x400000ULL
#define STACK 0x10000000ULL

extern const char guest_code[], guest_code_end[], guest_fault[], guest_loop[], guest_spin[],
	guest_bad_number[], guest_sigreturn[];

struct guest {
	struct platform_as *as;
	struct platform_ctx *ctx;
};

/* Where a label of the code is in the guest. */
uint64_t in_guest(const char *label);
/* A guest that is about to run from a label on. */
void guest_start(struct guest *g, const char *label);
void guest_end(struct guest *g);
/* Its next event. */
void step(struct guest *g, bool full, struct platform_event *event);
void expect_syscall(struct guest *g, bool full, uint64_t nr);
/* A thread's function: kicks the context after a while. */
void *kicker(void *ctx);
/* Starts the platform in a test group's process; NULL: whichever starts. */
int start_platform(const char *name, uint32_t without);
int stop_platform(void **state);

#endif
