/*
 * File descriptions and fd tables.
 */
#ifndef MOAT_SENTRY_VFS_FILE_H
#define MOAT_SENTRY_VFS_FILE_H

#include <stdatomic.h>

#include "sentry/vfs/path.h"
#include "sentry/vfs/vfs.h"

struct pid;

/* A directory reader: actor returns false when the buffer is full. */
struct dir_context {
	bool (*actor)(struct dir_context *ctx, const char *name, size_t len, int64_t next_pos,
		      uint64_t ino, unsigned type /* DT_* */);
	int64_t pos; /* where the next entry starts; the file system sets its own cookies */
};
/* Emits "." and ".." at positions 0 and 1. False when full. */
bool dir_emit_dots(struct file *file, struct dir_context *ctx);

struct file_operations {
	/* After the generic part of open: may set file->private. NULL: nothing to do. */
	int (*open)(struct inode *inode, struct file *file);
	void (*release)(struct file *file); /* last reference is gone */
	int (*flush)(struct file *file);    /* each close(2) */
	/* *pos is read and advanced by the callee. Return bytes or -errno. O_NONBLOCK is in
	 * file->flags; rwf are RWF_* flags of preadv2. Blocking ones use wait_event_interruptible
	 * and return -ERESTARTSYS when interrupted before anything was moved. */
	ssize_t (*read)(struct file *file, struct iov_iter *to, int64_t *pos, int rwf);
	ssize_t (*write)(struct file *file, struct iov_iter *from, int64_t *pos, int rwf);
	int64_t (*llseek)(struct file *file, int64_t offset,
			  int whence); /* NULL: generic or ESPIPE */
	int (*iterate)(struct file *file, struct dir_context *ctx);
	uint32_t (*poll)(struct file *file, struct poll_table *pt);   /* NULL: always IN|OUT */
	long (*ioctl)(struct file *file, unsigned cmd, uint64_t arg); /* -ENOIOCTLCMD: unknown */
	/* An fd of the sentry and an offset in it that the stub can map for [offset, offset+len):
	 * it stays valid while `file` is referenced. PROT_WRITE with MAP_SHARED only if the file is
	 * open for writing (the VFS checks). NULL: -ENODEV. */
	int (*mmap)(struct file *file, uint64_t offset, uint64_t len, int prot, int flags,
		    int *host_fd, uint64_t *host_offset);
	int (*fsync)(struct file *file, int64_t start, int64_t end, bool datasync);
	int (*fallocate)(struct file *file, int mode, int64_t offset, int64_t len);
	/* A host fd that reads/writes can be passed to directly (splice, sendfile, exec); or -1. */
	int (*host_fd)(struct file *file);
	/* fcntl commands that belong to the file's kind (F_SETPIPE_SZ, F_ADD_SEALS); -EINVAL */
	long (*fcntl)(struct file *file, unsigned cmd, uint64_t arg);
	/* O_ASYNC works. The others do without: F_SETFL ignores it, FIOASYNC is ENOTTY. */
	bool can_async;
	/* splice and sendfile are EINVAL: reads and writes are messages, not a stream of bytes. */
	bool no_splice;
	/* Files that stand for a namespace (man 2 setns): its type, CLONE_NEW*, and itself (struct
	 * mnt_ns and so on; NULL for kinds of which there is only one), which lives as long as
	 * the file. NULL: the file does not. */
	void (*namespace)(const struct file *file, unsigned *type, void **ns);
	/* Directories that stand for a process (/proc/PID; man 2 pidfd_send_signal): its id, which
	 * lives as long as the file. NULL: the file does not. */
	struct pid *(*process)(const struct file *file);
	/* Extra lines of /proc/PID/fdinfo/N; bytes written into buf. */
	int (*show_fdinfo)(struct file *file, char *buf, size_t size);
	/* O_ASYNC or F_SETFL changes the kind wants to hear of; NULL: nothing. */
	int (*set_flags)(struct file *file, unsigned flags);
};

struct file {
	struct refcount refs;
	_Atomic uint32_t flags; /* O_* as F_GETFL shows (no O_CREAT, O_CLOEXEC ...) */
	bool can_read, can_write;
	bool is_path; /* O_PATH */
	bool has_pos; /* false: streams; pread is ESPIPE */
	struct path path;
	struct inode *inode; /* path.dentry's, counted */
	const struct file_operations *ops;
	struct mutex pos_lock;
	_Atomic int64_t pos;
	struct cred *cred; /* of the opener; counted */
	void *private;
	/* SIGIO owner: vfs/file/fcntl.c */
	struct mutex owner_lock;
	struct pid *owner_pid;
	int owner_type, owner_sig;
	_Atomic int async_fd;	     /* the descriptor that O_ASYNC was set through: si_fd */
	uid_t owner_uid, owner_euid; /* of who set the owner: SIGIO is sent on their behalf */
	struct fasync *fasync;	     /* while O_ASYNC is set */
	void *epoll_items;	     /* list of epoll items that watch this file: fs/epoll */
	void (*epoll_release)(struct file *f); /* set with them: ends them when the file goes */
	struct mutex epoll_lock;
	bool write_counted, read_counted; /* in the inode's counts */
};

/* A file on `path` (references taken). Runs ops->open. */
int file_open(const struct path *path, uint32_t flags, struct file **out);
/* Opens by name for the kernel (exec, loader), with the current task's credentials. */
int file_open_at(int dfd, const char *name, uint32_t flags, mode_t mode, struct file **out);
/* A file without a place in a tree: pipes, sockets, eventfd ... `class` names it for /proc/PID/fd
 * ("anon_inode:[eventfd]", or a printf-like "pipe:[%lu]" with the inode number). The inode gets
 * `mode`; private goes to file->private. No fops->open call. */
int anon_file_create(const char *dname, uint32_t mode, const struct file_operations *ops,
		     void *private, uint32_t flags, struct file **out);
/* The same on a mount for files of one kind, which statfs and /proc/PID/mountinfo tell from others;
 * that is made once, and stays. `type` need not be registered. */
struct mount *anon_mount_create(const struct fs_type *type, uint64_t magic);
int anon_file_create_on(struct mount *mnt, const char *dname, uint32_t mode,
			const struct file_operations *ops, void *private, uint32_t flags,
			struct file **out);
struct file *file_get(struct file *f);
void file_put(struct file *f);
const char *file_name_for_log(struct file *f);

/* Generic I/O on a file with all checks (mode, RLIMIT_FSIZE, O_APPEND by the file system,
 * notifications). */
ssize_t vfs_read(struct file *f, struct iov_iter *to, int64_t *pos, int rwf);
ssize_t vfs_write(struct file *f, struct iov_iter *from, int64_t *pos, int rwf);
/* Into sentry memory (exec, proc, splice). */
ssize_t kernel_read(struct file *f, void *buf, size_t n, int64_t pos);
ssize_t kernel_write(struct file *f, const void *buf, size_t n, int64_t pos);
int64_t generic_llseek(struct file *f, int64_t offset, int whence, int64_t size, int64_t max);
/* file_operations.llseek of what has no position but does not mind: it stays where it is. */
int64_t file_noop_llseek(struct file *f, int64_t offset, int whence);
uint32_t vfs_poll(struct file *f, struct poll_table *pt);

/* --- fd tables ---------------------------------------------------------------------------------
 */

struct files {
	struct refcount refs;
	struct mutex lock;
	struct fdtable_slot {
		struct file *file; /* counted */
		bool cloexec;
	} * slots;
	int size;      /* allocated */
	int next_hint; /* no free slot below */
};
struct files *files_alloc(void);
struct files *files_dup(struct files *files);
struct files *files_get(struct files *files);
void files_put(struct files *files); /* last: closes all */
void files_close_on_exec(struct files *files);
/* A reference to the current task's file `fd`, or NULL (EBADF). O_PATH files are not returned by
 * fd_get, but by fd_get_raw. */
struct file *fd_get(int fd);
struct file *fd_get_raw(int fd);
struct file *files_fd_get(struct files *files, int fd);
/* Lowest free fd >= min under RLIMIT_NOFILE (-EMFILE); consumes the file reference on success only.
 */
int fd_install_from(struct files *files, int min, struct file *file, bool cloexec);
int fd_install(struct file *file, bool cloexec); /* in the current task, from 0 */
int fd_close(struct files *files, int fd);
/* Next open fd >= *fd of a table; reference or NULL. For /proc/PID/fd. */
struct file *files_next(struct files *files, int *fd, bool *cloexec);

#define DEFINE_CLEANUP_PUT(type, fn)                                                               \
	static inline void fn##_ptr(type **p)                                                      \
	{                                                                                          \
		if (*p)                                                                            \
			fn(*p);                                                                    \
	}
DEFINE_CLEANUP_PUT(struct file, file_put)
/* struct file *__put_file f = fd_get(fd); */
#define __put_file __cleanup(file_put_ptr)

#endif
