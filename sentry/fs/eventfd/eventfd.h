/* Event counters as files (man 2 eventfd). */
#ifndef MOAT_SENTRY_FS_EVENTFD_EVENTFD_H
#define MOAT_SENTRY_FS_EVENTFD_EVENTFD_H

#include "sentry/vfs/file.h"

/* A new one, not in any fd table. flags: O_NONBLOCK. */
int eventfd_create(unsigned initial, bool semaphore, uint32_t flags, struct file **out);
bool is_eventfd(const struct file *file);
/* Adds one, for what happened in the sentry; never waits: a full counter stays full. */
void eventfd_signal(struct file *file);

#endif
