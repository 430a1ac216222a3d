/* The second way to guest memory: see usermem_file.c. */
#ifndef MOAT_SENTRY_PLATFORM_SHARED_USERMEM_H
#define MOAT_SENTRY_PLATFORM_SHARED_USERMEM_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

/* As process_vm_readv(2) and process_vm_writev(2), with -errno. */
ssize_t usermem_by_file(pid_t pid, const struct iovec *local, int nlocal,
			const struct iovec *remote, int nremote, bool write);

#endif
