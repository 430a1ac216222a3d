/* The memfds that hold what guests share or keep in tmpfs, so that somebody can say how much that
 * is. */
#ifndef MOAT_SENTRY_MM_BACKING_H
#define MOAT_SENTRY_MM_BACKING_H

#include <stdint.h>

/* memfd_create(2) with MFD_CLOEXEC: the fd, or -errno. Closed with backing_close(). */
int backing_create(const char *name, unsigned flags);
void backing_close(int fd);
/* Bytes of memory that all of them have, mapped or not. Takes time: one fstat(2) each. */
uint64_t backing_bytes(void);

#endif
