/* For prctl.c. */
#ifndef MOAT_SENTRY_SYSCALLS_SECCOMP_H
#define MOAT_SENTRY_SYSCALLS_SECCOMP_H

#include "sentry/mm/uaccess.h"

struct task;

/* Adds the filter of a struct sock_fprog; flags: SECCOMP_FILTER_FLAG_*. */
int seccomp_filter_from_user(struct task *t, unsigned flags, uaddr_t uprog);

#endif
