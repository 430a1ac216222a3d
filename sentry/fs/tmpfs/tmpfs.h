/*
 * tmpfs: files in the sandbox's memory (man 5 tmpfs, memfd_create(2)).
 *
 * What others use: a *data object* holds the content of one regular file. Small content is
 * malloc'd; past 1 MiB, or when it is mapped, it moves to a memfd of its own, which stubs can
 * map. The overlay keeps its upper files in such objects. Memory is charged in pages to a
 * *quota*; going over is -ENOSPC.
 *
 * Locks: data->lock is a leaf; it is held while memory is copied from and to guests (which takes no
 * sentry lock), never while blocking for a guest.
 */
#ifndef MOAT_SENTRY_FS_TMPFS_TMPFS_H
#define MOAT_SENTRY_FS_TMPFS_TMPFS_H

#include "sentry/vfs/file.h"
#include "sentry/vfs/vfs.h"

struct tmpfs_data;
struct tmpfs_quota {
	struct refcount refs;
	_Atomic uint64_t pages, max_pages;
	_Atomic uint64_t inodes, max_inodes;
};
/* max_bytes 0: half of machine.total_memory. max_inodes 0: a default from the memory. */
struct tmpfs_quota *tmpfs_quota_create(uint64_t max_bytes, uint64_t max_inodes);
struct tmpfs_quota *tmpfs_quota_get(struct tmpfs_quota *q);
void tmpfs_quota_put(struct tmpfs_quota *q);
int tmpfs_quota_charge_inode(struct tmpfs_quota *q); /* 0 or -ENOSPC */
void tmpfs_quota_uncharge_inode(struct tmpfs_quota *q);
int tmpfs_quota_charge_pages(struct tmpfs_quota *q, uint64_t n); /* 0 or -ENOSPC */
void tmpfs_quota_uncharge_pages(struct tmpfs_quota *q, uint64_t n);

/* An empty file's content. Keeps a reference on the quota. NULL: no memory. */
struct tmpfs_data *tmpfs_data_create(struct tmpfs_quota *q);
void tmpfs_data_free(struct tmpfs_data *d);
uint64_t tmpfs_data_size(struct tmpfs_data *d);
uint64_t tmpfs_data_blocks(struct tmpfs_data *d); /* 512-byte blocks in use */
/* Bytes moved (short at end of file or fault), or -errno: -EFAULT, -ENOSPC, -EFBIG, -EPERM (seals).
 * They do not touch inode times: the caller does, and it copies tmpfs_data_size() to inode->size
 * after writes. */
ssize_t tmpfs_data_read(struct tmpfs_data *d, struct iov_iter *to, uint64_t pos);
ssize_t tmpfs_data_write(struct tmpfs_data *d, struct iov_iter *from, uint64_t pos);
/* Writes at the end, whatever other writers do; *pos is where it wrote. */
ssize_t tmpfs_data_append(struct tmpfs_data *d, struct iov_iter *from, uint64_t *pos);
int tmpfs_data_truncate(struct tmpfs_data *d, uint64_t size);
/* fallocate(2) modes 0, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE. */
int tmpfs_data_fallocate(struct tmpfs_data *d, int mode, uint64_t offset, uint64_t len);
/* SEEK_DATA, SEEK_HOLE: an offset, or -ENXIO. */
int64_t tmpfs_data_seek(struct tmpfs_data *d, int64_t offset, int whence);
/* The memfd, for mmap (see file_operations.mmap); lives as long as the object. writable: a shared
 * mapping that may be written (checked against the seals). -errno on failure. */
int tmpfs_data_mmap(struct tmpfs_data *d, bool shared_writable);
/* The memfd if there is one already, or -1. */
int tmpfs_data_fd(struct tmpfs_data *d);

/* memfd_create(2): a file on the kernel's own tmpfs. */
int memfd_file_create(const char *name, unsigned mfd_flags, struct file **out);

/* Registers the file system type "tmpfs". */
void tmpfs_init(void);

#endif
