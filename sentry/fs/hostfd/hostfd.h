/* Files of the host given to a sandbox as its stdio. See README.md. */
#ifndef MOAT_SENTRY_FS_HOSTFD_H
#define MOAT_SENTRY_FS_HOSTFD_H

#include <stdbool.h>

struct file;

/* Makes the epoll instance and installs the handler of the signal that interrupts host reads.
 * Before the sandbox's filter; 0 or -errno. hostfd_file_create calls it if nobody has. */
int hostfd_init(void);

/* A file for host_fd, which is owned by the file afterwards (by nobody else, error or not).
 * readable and writable are what the guest may do; they should match how the fd was opened. 0 or
 * -errno. */
int hostfd_file_create(int host_fd, bool readable, bool writable, struct file **out);

#endif
