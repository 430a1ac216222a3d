/* Between the files of kernel/signal. */
#ifndef MOAT_SENTRY_KERNEL_SIGNAL_SIGNAL_INTERNAL_H
#define MOAT_SENTRY_KERNEL_SIGNAL_SIGNAL_INTERNAL_H

#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/task/lifecycle.h"

/* In the kernel's asm/signal.h, which cannot be included together with signal.h. */
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

bool sig_default_ignores(int sig);
bool sig_default_stops(int sig);
bool sig_default_dumps(int sig); /* leaves a core file, too */

/* Puts a handler's frame on the stack of the current task (sigframe.c): registers, mask and
 * alternate stack are then those of the handler. -EFAULT when the stack is bad. */
int setup_signal_frame(struct task *t, int sig, const struct ksigaction *ka,
		       const guest_siginfo_t *info, sigset64_t oldmask);
/* SS_DISABLE, SS_ONSTACK or 0, for a stack pointer. */
uint32_t altstack_state(const struct task *t, uint64_t sp);
/* rt_sigreturn(2): 0, or -EFAULT for a bad frame. */
int restore_signal_frame(struct task *t);

/* signal_mask_take() for all threads. */
void signal_mask_take_all(struct thread_group *g);

#endif
