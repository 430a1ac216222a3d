/*
 * Access to guest memory: the only way to it. Addresses are checked against GUEST_TASK_SIZE; page
 * protections count. All act on current's address space. Data is copied once: check the copy.
 */
#ifndef MOAT_SENTRY_UACCESS_UACCESS_H
#define MOAT_SENTRY_UACCESS_UACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/compiler.h"

typedef uint64_t uaddr_t;

/* True if [addr, addr+n) is in the guest's part of the address space. */
bool guest_range_ok(uaddr_t addr, size_t n);

/* All or nothing: 0 or -EFAULT. */
int copy_from_user(void *dst, uaddr_t src, size_t n) __must_check;
int copy_to_user(uaddr_t dst, const void *src, size_t n) __must_check;
int clear_user(uaddr_t dst, size_t n) __must_check;
/* Bytes copied, short at a fault; -EFAULT if none (and n > 0). */
ssize_t copy_from_user_partial(void *dst, uaddr_t src, size_t n);
ssize_t copy_to_user_partial(uaddr_t dst, const void *src, size_t n);
/* Copies a NUL-terminated string; returns its length without NUL; -EFAULT; -ENAMETOOLONG when no
 * NUL within max bytes. */
ssize_t strncpy_from_user(char *dst, uaddr_t src, size_t max) __must_check;
/* A path argument: malloc'd, the caller frees (use __free). 0, -EFAULT, -ENAMETOOLONG (PATH_MAX),
 * -ENOMEM. "" is returned as it is: the path walk answers -ENOENT. */
int path_from_user(char **out, uaddr_t src) __must_check;
/* argv/envp style array of strings: malloc'd vector of malloc'd strings, NULL-terminated; total
 * size limited (E2BIG). Free with strv_free. src 0 means empty. */
int strv_from_user(char ***out, uaddr_t src, size_t max_bytes) __must_check;
void strv_free(char **v);

#define get_user(dst, src) copy_from_user((dst), (src), sizeof(*(dst)))
#define put_user(dst, val)                                                                         \
	({                                                                                         \
		__typeof__(val) put_v_ = (val);                                                    \
		copy_to_user((dst), &put_v_, sizeof(put_v_));                                      \
	})

/*
 * Where file operations read from or write to: a list of segments of guest memory, or of sentry
 * memory. Advances as it is used; iov_iter_count() is what is left.
 */
struct iov_iter {
	enum { ITER_USER, ITER_KERNEL } kind;
	const struct iovec *iov; /* not owned; user addresses for ITER_USER */
	int nr;			 /* segments left, *iov included */
	size_t offset;		 /* into *iov */
	size_t count;		 /* bytes left */
	struct iovec single;	 /* storage for one-segment iterators */
};
void iov_iter_user(struct iov_iter *it, uaddr_t base, size_t len);
void iov_iter_kernel(struct iov_iter *it, void *base, size_t len);
void iov_iter_iovec(struct iov_iter *it, const struct iovec *user_iov, int nr, size_t total);
static inline size_t iov_iter_count(const struct iov_iter *it)
{
	return it->count;
}
/* Bytes moved, short at a fault; -EFAULT if none. Both advance by what they moved. */
ssize_t copy_to_iter(struct iov_iter *it, const void *src, size_t n);
ssize_t copy_from_iter(struct iov_iter *it, void *dst, size_t n);
void iov_iter_advance(struct iov_iter *it, size_t n);
/* Steps back over the last n bytes of this iterator's use: only ITER_* from the three above. */
void iov_iter_revert(struct iov_iter *it, size_t n);
/* Reads a user iovec array (at most UIO_MAXIOV = 1024; total clamped to MAX_RW_COUNT) into `fast`
 * (if nr <= nfast) or malloc'd memory in *alloc (the caller frees): 0, -EFAULT, -EINVAL. */
int iovec_from_user(struct iov_iter *it, uaddr_t uiov, int nr, struct iovec *fast, int nfast,
		    struct iovec **alloc);
#define MAX_RW_COUNT 0x7ffff000UL

/* Another process's memory (/proc/PID/mem, process_vm_*, ptrace): see mm_access in mm.h. */

#endif
