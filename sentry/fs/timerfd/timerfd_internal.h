/* Timers as files (man 2 timerfd_create). */
#ifndef MOAT_SENTRY_FS_TIMERFD_TIMERFD_INTERNAL_H
#define MOAT_SENTRY_FS_TIMERFD_TIMERFD_INTERNAL_H

#include <time.h>

#include "sentry/vfs/file.h"

/* -EINVAL for other clocks than timerfd's, -EPERM for alarm clocks without CAP_WAKE_ALARM. */
int timerfd_create_file(int clockid, uint32_t flags, struct file **out);
/* Validates *new; *old (may be NULL) gets what it was set to. -EINVAL if file is no timerfd. */
int timerfd_set(struct file *file, int flags, const struct itimerspec *new, struct itimerspec *old);
int timerfd_get(struct file *file, struct itimerspec *now);

#endif
