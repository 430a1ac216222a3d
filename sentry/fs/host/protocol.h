/*
 * What the sentry and the gofer say to each other over one mount's socket (SOCK_SEQPACKET).
 *
 * One request, one reply, in order. A message is a fixed structure followed by up to three byte
 * strings, without padding or NUL: path, path2, data. `size` is the length of the whole message and
 * equals the sum of its parts, or the message is malformed: the gofer then closes the socket, the
 * sentry answers EIO. File descriptors go from the gofer to the sentry only, at most one per reply,
 * and only where the operation says so; each side drops any other.
 *
 * Paths are relative to the mount's root: components separated by single slashes, none of them
 * empty, "." or ".."; the empty path is the root itself. The gofer follows no symbolic link in
 * them. It treats every byte of a request as written by an attacker; the sentry does the same with
 * replies.
 */
#ifndef MOAT_SENTRY_FS_HOST_PROTOCOL_H
#define MOAT_SENTRY_FS_HOST_PROTOCOL_H

#include <stdint.h>

#define GOFER_VERSION 1
#define GOFER_PATH_MAX 4095
#define GOFER_NAME_MAX 255
#define GOFER_DATA_MAX 65536

enum gofer_op {
	/* -> fd: O_PATH of the root (directfs); flags: GOFER_ATTACH_*; uid, gid: whom the gofer
	 * runs as; stat of the root. */
	GOFER_ATTACH = 1,
	/* path, flags: O_RDONLY, O_WRONLY or O_RDWR, with O_DIRECTORY, or O_PATH -> fd, stat.
	 * Regular files and directories; with O_PATH symbolic links, too. */
	GOFER_OPEN,
	GOFER_STAT,	/* path -> stat */
	GOFER_READLINK, /* path -> data: the target */
	/* path, arg: cookie of the entry before, 0 at first -> data: struct linux_dirent64s of one
	 * buffer; empty at the end. */
	GOFER_READDIR,
	GOFER_STATFS, /* path -> data: struct statfs */

	/* Changes; -EROFS on a read-only mount. uid and gid are the new object's owner. Each but
	 * unlink and rename replies the object's stat. */
	GOFER_CREATE,  /* path, mode, uid, gid -> fd: O_RDWR; never an existing file */
	GOFER_MKDIR,   /* path, mode, uid, gid */
	GOFER_MKNOD,   /* path, mode (S_IFIFO, S_IFSOCK, S_IFREG), uid, gid */
	GOFER_SYMLINK, /* path, data: target; uid, gid */
	GOFER_LINK,    /* path: existing, path2: the new name */
	GOFER_UNLINK,  /* path, flags: AT_REMOVEDIR or 0 */
	GOFER_RENAME,  /* path, path2, flags: RENAME_NOREPLACE or RENAME_EXCHANGE */
	GOFER_SETATTR, /* path, valid: GOFER_SET_*; mode, uid, gid, arg: size; atime, mtime */

	/* Extended attributes of regular files and directories; path2 is the name. */
	GOFER_GETXATTR,	   /* -> data */
	GOFER_LISTXATTR,   /* -> data: names, each NUL-terminated */
	GOFER_SETXATTR,	   /* data, flags: XATTR_CREATE, XATTR_REPLACE */
	GOFER_REMOVEXATTR, /* path2 */
	GOFER_OP_END
};

#define GOFER_ATTACH_READONLY 1u
/* The gofer may not give files away: what is created belongs to whom it runs as. */
#define GOFER_ATTACH_SQUASH 2u

#define GOFER_SET_MODE 0x1u
#define GOFER_SET_UID 0x2u
#define GOFER_SET_GID 0x4u
#define GOFER_SET_SIZE 0x8u
#define GOFER_SET_ATIME 0x10u
#define GOFER_SET_MTIME 0x20u
#define GOFER_SET_ALL 0x3fu

struct gofer_time {
	int64_t sec;
	uint32_t nsec;
	uint32_t pad;
};

struct gofer_request {
	uint16_t version;
	uint16_t op;   /* enum gofer_op */
	uint32_t size; /* whole message */
	uint32_t flags;
	uint32_t mode;
	uint32_t uid, gid;
	uint32_t valid;
	uint32_t path_len, path2_len, data_len;
	int64_t arg;
	struct gofer_time atime, mtime;
};

struct gofer_stat {
	uint64_t ino, dev, rdev; /* dev_t as glibc's makedev makes it */
	uint64_t size, blocks;	 /* bytes; 512-byte units */
	uint32_t mode, nlink, uid, gid, blksize;
	uint32_t pad;
	struct gofer_time atime, mtime, ctime, btime;
};

struct gofer_reply {
	uint16_t version;
	uint16_t op;   /* of the request */
	uint32_t size; /* whole message */
	int32_t error; /* 0 or -errno; then nothing else counts */
	uint32_t flags;
	uint32_t uid, gid;
	uint32_t has_fd; /* an fd comes with it */
	uint32_t data_len;
	struct gofer_stat stat;
};

#define GOFER_REQUEST_MAX (sizeof(struct gofer_request) + 2 * GOFER_PATH_MAX + GOFER_DATA_MAX)
#define GOFER_REPLY_MAX (sizeof(struct gofer_reply) + GOFER_DATA_MAX)

_Static_assert(sizeof(struct gofer_request) == 80, "same on both sides");
_Static_assert(sizeof(struct gofer_reply) == 160, "same on both sides");

#endif
