/* Iterators over guest or sentry memory (see uaccess.h). */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "sentry/kernel/core/current.h"
#include "sentry/platform/platform.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/uaccess/uaccess_internal.h"

/* Segments handed to the platform in one call. */
#define BATCH 32

void iov_iter_user(struct iov_iter *it, uaddr_t base, size_t len)
{
	*it = (struct iov_iter){.kind = ITER_USER, .nr = 1, .count = len};
	it->single = (struct iovec){(void *)base, len};
	it->iov = &it->single;
}

void iov_iter_kernel(struct iov_iter *it, void *base, size_t len)
{
	*it = (struct iov_iter){.kind = ITER_KERNEL, .nr = 1, .count = len};
	it->single = (struct iovec){base, len};
	it->iov = &it->single;
}

void iov_iter_iovec(struct iov_iter *it, const struct iovec *user_iov, int nr, size_t total)
{
	*it = (struct iov_iter){.kind = ITER_USER, .iov = user_iov, .nr = nr, .count = total};
}

void iov_iter_advance(struct iov_iter *it, size_t n)
{
	if (n > it->count)
		n = it->count;
	it->count -= n;
	while (n && it->nr) {
		size_t left = it->iov->iov_len - it->offset;

		if (n < left) {
			it->offset += n;
			return;
		}
		n -= left;
		it->iov++;
		it->nr--;
		it->offset = 0;
	}
}

void iov_iter_revert(struct iov_iter *it, size_t n)
{
	it->count += n;
	while (n > it->offset) {
		n -= it->offset;
		it->iov--;
		it->nr++;
		it->offset = it->iov->iov_len;
	}
	it->offset -= n;
}

/* The next segments, at most n bytes and BATCH of them; *bytes is their sum. Stops before one that
 * is not the guest's. */
static int next_segments(const struct iov_iter *it, size_t n, struct iovec *vec, size_t *bytes)
{
	size_t offset = it->offset;
	int count = 0;

	*bytes = 0;
	for (int i = 0; i < it->nr && count < BATCH && n; i++, offset = 0) {
		size_t len = MIN(it->iov[i].iov_len - offset, n);
		uaddr_t base = (uaddr_t)it->iov[i].iov_base + offset;

		if (!len)
			continue;
		if (!guest_range_ok(base, len))
			break;
		vec[count++] = (struct iovec){(void *)base, len};
		*bytes += len;
		n -= len;
	}
	return count;
}

static ssize_t kernel_copy(struct iov_iter *it, void *buf, size_t n, bool to_iter)
{
	size_t done = 0;

	while (done < n) {
		size_t len = MIN(it->iov->iov_len - it->offset, n - done);
		char *seg = (char *)it->iov->iov_base + it->offset;

		if (to_iter)
			memcpy(seg, (char *)buf + done, len);
		else
			memcpy((char *)buf + done, seg, len);
		done += len;
		iov_iter_advance(it, len);
	}
	return (ssize_t)done;
}

static ssize_t iter_copy(struct iov_iter *it, void *buf, size_t n, bool to_iter)
{
	struct platform_as *as = current_as();
	size_t done = 0;

	if (n > it->count)
		n = it->count;
	if (it->kind == ITER_KERNEL)
		return kernel_copy(it, buf, n, to_iter);
	if (unlikely(!as))
		return n ? -EFAULT : 0;
	while (done < n) {
		struct iovec remote[BATCH];
		struct iovec local = {(char *)buf + done, 0};
		int nr = next_segments(it, n - done, remote, &local.iov_len);
		ssize_t r;

		if (!nr)
			break;
		r = to_iter ? platform_write_mem(as, &local, 1, remote, nr)
			    : platform_read_mem(as, &local, 1, remote, nr);
		if (r <= 0)
			break;
		iov_iter_advance(it, r);
		done += r;
	}
	return done || !n ? (ssize_t)done : -EFAULT;
}

ssize_t copy_to_iter(struct iov_iter *it, const void *src, size_t n)
{
	return iter_copy(it, (void *)src, n, true);
}

ssize_t copy_from_iter(struct iov_iter *it, void *dst, size_t n)
{
	return iter_copy(it, dst, n, false);
}

int iovec_from_user(struct iov_iter *it, uaddr_t uiov, int nr, struct iovec *fast, int nfast,
		    struct iovec **alloc)
{
	struct iovec *vec = fast;
	size_t total = 0;

	*alloc = NULL;
	if (nr < 0 || nr > IOV_MAX)
		return -EINVAL;
	if (nr > nfast) {
		vec = malloc(nr * sizeof(*vec));
		if (!vec)
			return -ENOMEM;
		*alloc = vec;
	}
	if (nr && copy_from_user(vec, uiov, nr * sizeof(*vec)))
		goto fault;
	for (int i = 0; i < nr; i++) {
		if ((ssize_t)vec[i].iov_len < 0) {
			free(*alloc);
			*alloc = NULL;
			return -EINVAL;
		}
		if (!guest_range_ok((uaddr_t)vec[i].iov_base, vec[i].iov_len))
			goto fault;
		if (vec[i].iov_len > MAX_RW_COUNT - total)
			vec[i].iov_len = MAX_RW_COUNT - total;
		total += vec[i].iov_len;
	}
	iov_iter_iovec(it, vec, nr, total);
	return 0;
fault:
	free(*alloc);
	*alloc = NULL;
	return -EFAULT;
}
