/*
 * What rooms that know no struct task may ask of signals (man 7 signal). kernel/signal/ answers.
 */
#ifndef MOAT_SENTRY_KERNEL_CORE_SIGNALS_H
#define MOAT_SENTRY_KERNEL_CORE_SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct pid;
struct task;

#define GUEST_NSIG 64
typedef uint64_t sigset64_t; /* bit n-1 is signal n: the kernel's layout */
#define SIG_BIT(sig) (1ULL << ((sig)-1))
/* struct siginfo as the guest sees it: 128 bytes, the kernel's layout. */
typedef siginfo_t guest_siginfo_t;

/* True if the task should leave a sleep: deliverable signal, kill, or stop pending. Cheap: reads
 * one flag word. */
bool signal_pending(struct task *t);
bool fatal_signal_pending(struct task *t);
/* tgkill: queues it, wakes t out of wait_block() and kicks it out of the guest. `info` may be NULL:
 * filled as SI_KERNEL. The caller has checked permission. 0 or -errno (-EAGAIN:
 * RLIMIT_SIGPENDING for real-time signals). */
int task_send_signal(struct task *t, int sig, const guest_siginfo_t *info);

/* SIGPIPE to the current task, as the kernel sends it: it wrote to what nobody reads. */
void task_send_sigpipe(void);
/* SIGIO to the owner of a file (type is F_OWNER_TID, F_OWNER_PID or F_OWNER_PGRP, sig what F_SETSIG
 * chose), as far as who set it, with these ids, may signal it. Any thread; takes tasklist_lock. */
void sigio_send(struct pid *pid, int type, uid_t uid, uid_t euid, int sig,
		const guest_siginfo_t *info);

/* Replaces the blocked mask of the current task (SIGKILL, SIGSTOP removed), re-evaluates pending.
 */
void set_blocked(struct task *t, sigset64_t mask);
/* For ppoll, pselect, epoll_pwait, sigsuspend: temporary mask, restored by signal delivery or by
 * restore_saved_mask() when the call ends without a signal. */
void set_temporary_mask(struct task *t, sigset64_t mask);
void restore_saved_mask(struct task *t);
/* Reads a user sigset argument of `size` bytes (must be 8): 0 or -errno. */
int sigset_from_user(sigset64_t *set, uint64_t uaddr, uint64_t size);

#endif
