/* The two calls under all user access, for files of sentry/mm only. */
#ifndef MOAT_SENTRY_MM_GUEST_COPY_H
#define MOAT_SENTRY_MM_GUEST_COPY_H

#include <stdbool.h>
#include <sys/uio.h>

#include "sentry/mm/uaccess.h"

/* True if [addr, addr+n) is in the guest's part of the address space. */
bool guest_range_ok(uaddr_t addr, size_t n);
/* One attempt: bytes moved (short at a fault), or -errno. */
ssize_t guest_read(void *dst, uaddr_t src, size_t n);
ssize_t guest_write(uaddr_t dst, const void *src, size_t n);
struct mm;
/* From one local buffer to several places. */
ssize_t guest_writev(struct mm *mm, const struct iovec *local, const struct iovec *remote, int nr);

#endif
