/*
 * Secure computing (man 2 seccomp): programs of the guest that judge its system calls.
 *
 * A task has the newest filter, which refers to older ones; all are asked, the strictest answer
 * counts. Filters are immutable and only get more, so a task's chain may be read by whoever holds a
 * reference to the task. It is changed under group->lock.
 */
#ifndef MOAT_SENTRY_KERNEL_SECCOMP_SECCOMP_H
#define MOAT_SENTRY_KERNEL_SECCOMP_SECCOMP_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>

#include "sentry/arch/regs.h"
#include "sentry/uaccess/uaccess.h"

struct task;
struct seccomp_filter;

/* Read, write, exit and rt_sigreturn only, from now on. -EINVAL: it has filters. */
int seccomp_set_strict(struct task *t);
/* Adds a filter to the current task, or (SECCOMP_FILTER_FLAG_TSYNC) to all threads of its process.
 * Copies prog. 0; -EINVAL: not a program that can be; -EACCES: neither no_new_privs nor
 * CAP_SYS_ADMIN; -ENOMEM; with TSYNC the number of a thread that has filters of its own, or -ESRCH
 * for SECCOMP_FILTER_FLAG_TSYNC_ESRCH. */
int seccomp_add_filter(struct task *t, const struct sock_filter *prog, unsigned len,
		       unsigned flags);
/* Likewise, for a container's own profile: whoever made the container has the right to. */
int seccomp_impose_filter(struct task *t, const struct sock_filter *prog, unsigned len,
			  unsigned flags);
bool seccomp_action_known(uint32_t action);
/* The same with the program in a struct sock_fprog of the guest's. */
int seccomp_filter_from_user(struct task *t, unsigned flags, uaddr_t uprog);

/* SECCOMP_MODE_*, and how many filters. The caller has a reference to t. */
int seccomp_mode(const struct task *t);
unsigned seccomp_filters(const struct task *t);
/* Judges the call that t, the current task with seccomp on, wants to make. True: it may. Otherwise
 * regs->rax, a signal, or the end of the task is what it gets. */
bool seccomp_allows(struct task *t, struct guest_regs *regs);

#endif
