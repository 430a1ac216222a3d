/* Files of the host given to a sandbox as its stdio. See README.md. */
#ifndef MOAT_SENTRY_FS_HOSTFD_H
#define MOAT_SENTRY_FS_HOSTFD_H

struct file;

/* Makes the epoll instance and installs the handler of the signal that interrupts host reads.
 * Before the sandbox's filter; 0 or -errno. hostfd_file_create calls it if nobody has. */
int hostfd_init(void);

/* What the guest may do with a host's fd; it should match how that was opened. */
enum hostfd_access {
	HOSTFD_INPUT,  /* read */
	HOSTFD_OUTPUT, /* write; a regular file only at its end, as one that has the append-only
			* attribute (man 1 chattr): what is there is the caller's */
	HOSTFD_FULL,   /* read and write anywhere: an fd that the caller gives on purpose */
};

/* A file for host_fd, which is owned by the file afterwards (by nobody else, error or not). 0 or
 * -errno. */
int hostfd_file_create(int host_fd, enum hostfd_access access, struct file **out);

#endif
