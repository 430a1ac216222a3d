/* Signals read from a file (man 2 signalfd): always those of the reader, not of the creator. */
#ifndef MOAT_SENTRY_FS_SIGNALFD_SIGNALFD_INTERNAL_H
#define MOAT_SENTRY_FS_SIGNALFD_SIGNALFD_INTERNAL_H

#include "sentry/kernel/core/signals.h"
#include "sentry/vfs/file.h"

int signalfd_create(sigset64_t mask, uint32_t flags, struct file **out);
/* Changes what an existing one reports; -EINVAL if it is no signalfd. */
int signalfd_set_mask(struct file *file, sigset64_t mask);

#endif
