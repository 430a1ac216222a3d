/*
 * The gofer: the process on the host's side that owns a sandbox's host files.
 *
 * It serves one socket per mount with the protocol of sentry/fs/host/protocol.h and exits when all
 * sockets are closed. It trusts nothing that comes out of them: every path is resolved beneath the
 * mount's root without following symbolic links, only regular files and directories are ever
 * opened, nothing is changed on a read-only mount, and nothing is ever executed.
 */
#ifndef MOAT_BOOT_GOFER_H
#define MOAT_BOOT_GOFER_H

#include <stdbool.h>
#include <stddef.h>

struct gofer_request;

struct gofer_mount {
	int root_fd;   /* O_PATH directory: the root of a detached clone, or a plain one */
	bool readonly; /* refuse every change */
	/* Give no file setuid or setgid bits, nor capabilities: what a sandbox leaves on the host
	 * makes nobody more than he is. */
	bool nosuid;
	bool directfs; /* attach donates root_fd */
	/* The mount is this one file (not a directory) of root_fd, and its path is "": a volume
	 * that is a file. NULL: the whole tree. Without directfs. */
	const char *only;
};

/*
 * Opens `path` (a directory, symbolic links followed) as the root of a mount. Where the kernel
 * permits, the fd is the root of a detached, recursive clone of the tree, set nosuid and nodev, and
 * read-only if asked: then not even a write by whom the fd is donated to gets through. Otherwise
 * (no CAP_SYS_ADMIN) it is a plain O_PATH fd. *cloned says which; may be NULL.
 * 0, and the caller owns mount->root_fd; or -errno.
 */
int gofer_mount_open(const char *path, bool readonly, struct gofer_mount *mount, bool *cloned);

/*
 * What a detached clone is, for kernels without mount_setattr (before 5.12): `path`, without what
 * is mounted below it, as a mount of its own that is nosuid, nodev and perhaps read-only, and in no
 * tree. Takes a mount namespace of the process's own (which it makes). An O_PATH fd, or -errno;
 * -EPERM, -EACCES or -EINVAL where it is not to be had.
 */
int gofer_bind_tree(const char *path, bool readonly);

/*
 * Gives up what the gofer does not need: all but the file capabilities (CAP_CHOWN,
 * CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_SETFCAP, CAP_MKNOD is not
 * among them), the sight of the host's files (an empty root of its own mount namespace; without the
 * right to make one, an unreadable cwd is all that is left), new privileges. 0 or -errno; then the
 * gofer must not serve. in_empty_root: it is in one already.
 */
int gofer_sandbox(bool in_empty_root);

/*
 * Serves until all `n` sockets are closed; takes ownership of the sockets; -1: none. sockets[i]
 * belongs to mounts[i]. Calls gofer_sandbox(in_empty_root) first. Returns the process's exit
 * status.
 *
 * After gofer_sandbox() these system calls suffice, for the filter that the caller may install in
 * `before_serving` (NULL: none; non-zero ends the gofer): openat2, openat, close, statx, fstat,
 * newfstatat, readlinkat, getdents64, lseek, fstatfs, mkdirat, mknodat (not S_IFBLK, S_IFCHR),
 * symlinkat, linkat, unlinkat, renameat2, fchmod, fchmodat2, fchownat, utimensat, ftruncate,
 * fgetxattr, flistxattr, fsetxattr, fremovexattr, recvmsg, sendmsg, poll, write (log), mmap,
 * munmap, mprotect, brk, madvise, futex, rt_sigprocmask, rt_sigaction, rt_sigreturn,
 * restart_syscall, getpid, gettid, clock_gettime, tgkill, exit, exit_group.
 */
int gofer_main(const struct gofer_mount *mounts, int n, const int *sockets, bool in_empty_root,
	       int (*before_serving)(void));

/* --- inside; for tests and fuzzing ---------------------------------------------------------- */

struct gofer_reply;
/* A decoded request; the strings point into the message, NUL-terminated copies for the paths. */
struct gofer_call {
	const struct gofer_mount *mount;
	const struct gofer_request *req;
	const char *path, *path2;
	const unsigned char *data;
	bool squash; /* chown is beyond the gofer's rights */
};
/* Checks a message of n bytes and splits it. 0, or -EBADMSG: close the socket. path and path2 are
 * buffers of GOFER_PATH_MAX + 1. */
int gofer_decode(const void *msg, size_t n, struct gofer_call *call, char *path, char *path2);
/* Runs it. *reply_fd is -1 or an fd for the reply, which the caller closes. `data` has room for
 * GOFER_DATA_MAX bytes; reply->data_len says how many were filled. */
void gofer_run(const struct gofer_call *call, struct gofer_reply *reply, void *data, int *reply_fd);

#endif
