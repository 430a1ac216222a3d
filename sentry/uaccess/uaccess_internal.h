/* The two calls under all user access. */
#ifndef MOAT_SENTRY_UACCESS_UACCESS_INTERNAL_H
#define MOAT_SENTRY_UACCESS_UACCESS_INTERNAL_H

#include <sys/uio.h>

#include "sentry/uaccess/uaccess.h"

/* One attempt: bytes moved (short at a fault), or -errno. */
ssize_t guest_read(void *dst, uaddr_t src, size_t n);
ssize_t guest_write(uaddr_t dst, const void *src, size_t n);

#endif
