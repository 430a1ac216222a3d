/* Copying a lower file's content into memory, when it is about to change. */
#include <errno.h>

#include "sentry/fs/overlay/overlay_internal.h"
#include "sentry/platform/platform.h"

#define CHUNK (256 * 1024)

/* Copies [pos, end) of fd to the same place in data. A file that got shorter just ends. */
static int copy_range(struct tmpfs_data *data, int fd, int64_t pos, int64_t end, char *buf)
{
	while (pos < end) {
		ssize_t n = pread(fd, buf, MIN(end - pos, CHUNK), pos);
		struct iov_iter it;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : 0;
		iov_iter_kernel(&it, buf, n);
		n = tmpfs_data_write(data, &it, pos);
		if (n <= 0)
			return n ? (int)n : -EIO;
		pos += n;
	}
	return 0;
}

/* Data only: holes stay holes. */
static int copy_content(struct tmpfs_data *data, int fd, int64_t end)
{
	char *__free buf = malloc(MIN(end, CHUNK));
	int64_t pos = 0;

	if (!buf)
		return -ENOMEM;
	while (pos < end) {
		int64_t from = lseek(fd, pos, SEEK_DATA), to;
		int ret;

		if (from < 0 && errno == ENXIO)
			break;
		if (from < 0)
			from = pos;
		if (from >= end)
			break;
		to = lseek(fd, from, SEEK_HOLE);
		if (to <= from || to > end)
			to = end;
		ret = copy_range(data, fd, from, to, buf);
		if (ret)
			return ret;
		pos = to;
	}
	return tmpfs_data_truncate(data, end);
}

int ovl_copy_up(struct inode *inode, int64_t keep, struct tmpfs_data **out)
{
	struct ovl_inode *oi = ovl_of(inode);
	struct tmpfs_data *data = atomic_load(&oi->data);
	int64_t end = MIN(keep, atomic_load(&inode->size));
	int ret = 0;

	if (data) {
		*out = data;
		return 0;
	}
	data = tmpfs_data_create(ovl_super_of(inode)->quota);
	if (!data)
		return -ENOMEM;
	if (end > 0) {
		int fd = host_fd_get(&oi->lower, false);

		if (end > CHUNK)
			platform_block_begin(); /* it takes a while */
		ret = fd < 0 ? fd : copy_content(data, fd, end);
		if (end > CHUNK)
			platform_block_end();
		if (fd >= 0)
			host_fd_put(&oi->lower, false);
	}
	if (ret) {
		tmpfs_data_free(data);
		return ret;
	}
	ovl_pin(inode);
	atomic_store(&oi->data, data);
	*out = data;
	return 0;
}
