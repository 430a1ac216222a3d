/*
 * What a crash of the sentry leaves in the log: signal, address, and the return addresses as
 * offsets into the binary, for addr2line. Then the process dies of the signal as it would have. The
 * one fault that is no crash is that of a word in a mapped file (sentry/mm/guarded_word.h).
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/log.h"
#include "boot/sandbox/sandbox.h"
#include "sentry/mm/guarded_word.h"

#define MAX_FRAMES 24

extern const char __ehdr_start[];

/* Reads two words of our own memory that may be unmapped. */
static bool read_frame(uintptr_t frame, uintptr_t words[2])
{
	struct iovec local = {words, 2 * sizeof(uintptr_t)};
	struct iovec remote = {(void *)frame, 2 * sizeof(uintptr_t)};

	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) ==
	       (ssize_t)(2 * sizeof(uintptr_t));
}

static void on_crash(int sig, siginfo_t *si, void *context)
{
	const ucontext_t *uc = context;
	uintptr_t frame = uc->uc_mcontext.gregs[REG_RBP], words[2];
	char text[MAX_FRAMES * 12 + 32];
	int n;

	if (sig == SIGBUS && guarded_word_fixup(context))
		return;
	signal(sig, SIG_DFL);
	n = snprintf(text, sizeof(text), "0x%lx",
		     (long)(uc->uc_mcontext.gregs[REG_RIP] - (uintptr_t)__ehdr_start));
	for (int i = 0; i < MAX_FRAMES && read_frame(frame, words) && words[0] > frame; i++) {
		n += snprintf(text + n, sizeof(text) - n, " 0x%lx",
			      (long)(words[1] - (uintptr_t)__ehdr_start));
		if (n >= (int)sizeof(text) - 32)
			break;
		frame = words[0];
	}
	log_error("the sentry crashed: signal %d, address %p, code at %s", sig, si->si_addr, text);
	/* Returning repeats the fault, which now kills; abort() goes on by itself. */
}

void crash_report_install(void)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
	struct sigaction sa = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &sa, NULL);
}
