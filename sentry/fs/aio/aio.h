/* Asynchronous I/O, as /proc tells of it. */
#ifndef MOAT_SENTRY_FS_AIO_AIO_H
#define MOAT_SENTRY_FS_AIO_AIO_H

/* Events of all contexts of the sandbox: /proc/sys/fs/aio-max-nr, aio-nr. */
#define AIO_MAX_NR 65536
unsigned aio_nr(void);

#endif
