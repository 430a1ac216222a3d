/*
 * The content of tmpfs files.
 *
 * Up to 1 MiB: `mem`, dense, charged by its size. Larger, mapped or with holes: a memfd. Of a memfd
 * the first `dense` pages are known to exist, so writes inside or just behind them are charged
 * without asking the host; other writes reserve the most they can need and settle by st_blocks.
 * Pages that guests touch through mappings are settled at the next such write; the memory limit
 * (kernel/run/memory_limit.c) counts them meanwhile.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "sentry/fs/tmpfs/data_internal.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/mm/backing.h"

#define PAGE 4096ULL
#define MEM_MAX (1ULL << 20)	    /* beyond: a memfd */
#define MEM_MAX_NO_FD (64ULL << 20) /* beyond, while descriptors are scarce: an error */
#define BOUNCE_MAX 65536UL	    /* one host read or write */
#define BOUNCE_STACK 4096UL

struct tmpfs_data {
	struct rwlock lock; /* all below */
	struct tmpfs_quota *quota;
	uint64_t size;
	char *mem;
	uint64_t mem_cap;
	int fd; /* -1: in mem */
	uint64_t dense, charged;
	bool sparse; /* there may be pages past `dense` */
	uint32_t seals;
};

static _Atomic long num_memfds; /* of all objects */

/* Half of the sentry's descriptors; the rest is for those who have no other way. */
static long max_memfds(void)
{
	static _Atomic long max;
	struct rlimit lim;

	if (!atomic_load(&max))
		atomic_store(&max, getrlimit(RLIMIT_NOFILE, &lim)
					   ? 512
					   : (long)MIN(lim.rlim_cur / 2, (rlim_t)1 << 24));
	return atomic_load(&max);
}

static uint64_t pages(uint64_t bytes)
{
	return bytes / PAGE + !!(bytes % PAGE);
}

struct tmpfs_data *tmpfs_data_create(struct tmpfs_quota *q)
{
	struct tmpfs_data *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	rwlock_init(&d->lock);
	d->quota = tmpfs_quota_get(q);
	d->fd = -1;
	d->seals = F_SEAL_SEAL;
	return d;
}

void tmpfs_data_free(struct tmpfs_data *d)
{
	if (!d)
		return;
	if (d->fd >= 0) {
		backing_close(d->fd);
		atomic_fetch_sub(&num_memfds, 1);
	}
	tmpfs_quota_uncharge_pages(d->quota, d->charged);
	tmpfs_quota_put(d->quota);
	rwlock_destroy(&d->lock);
	free(d->mem);
	free(d);
}

uint64_t tmpfs_data_size(struct tmpfs_data *d)
{
	READ_GUARD(&d->lock);
	return d->size;
}

static int set_charge(struct tmpfs_data *d, uint64_t n)
{
	if (n > d->charged) {
		int err = tmpfs_quota_charge_pages(d->quota, n - d->charged);

		if (err)
			return err;
	} else {
		tmpfs_quota_uncharge_pages(d->quota, d->charged - n);
	}
	d->charged = n;
	return 0;
}

/* What the memfd really has. More than the quota allows is possible (mappings): then the charge
 * stays where it was, and new writes fail. */
static void settle(struct tmpfs_data *d)
{
	struct stat st;

	if (!fstat(d->fd, &st))
		(void)set_charge(d, st.st_blocks / 8);
}

uint64_t tmpfs_data_blocks(struct tmpfs_data *d)
{
	WRITE_GUARD(&d->lock);
	if (d->fd >= 0)
		settle(d);
	return d->charged * 8;
}

/* --- from memory to memfd ----------------------------------------------------------------------
 */

static int write_all(int fd, const char *buf, uint64_t n, uint64_t pos)
{
	while (n) {
		ssize_t w = pwrite(fd, buf, n, pos);

		if (w < 0)
			return -errno;
		buf += w;
		pos += w;
		n -= w;
	}
	return 0;
}

/* Lock held for writing. -ENFILE: there are too many. */
static int promote(struct tmpfs_data *d)
{
	int fd, err;

	if (d->fd >= 0)
		return 0;
	if (atomic_load(&num_memfds) >= max_memfds())
		return -ENFILE;
	fd = backing_create("tmpfs", MFD_ALLOW_SEALING);
	if (fd < 0)
		return fd == -EMFILE ? -ENFILE : fd;
	err = write_all(fd, d->mem, d->size, 0);
	if (!err && (d->seals & ~F_SEAL_SEAL) &&
	    fcntl(fd, F_ADD_SEALS, d->seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)))
		err = -errno;
	if (err) {
		backing_close(fd);
		return err;
	}
	atomic_fetch_add(&num_memfds, 1);
	free(d->mem);
	d->mem = NULL;
	d->mem_cap = 0;
	d->fd = fd;
	d->dense = pages(d->size);
	return 0;
}

static int mem_reserve(struct tmpfs_data *d, uint64_t end)
{
	uint64_t cap = MAX(d->mem_cap, 64ULL);
	char *mem;

	if (end <= d->mem_cap)
		return 0;
	while (cap < end)
		cap *= 2;
	mem = realloc(d->mem, cap);
	if (!mem)
		return -ENOMEM;
	d->mem = mem;
	d->mem_cap = cap;
	return 0;
}

/* --- reading -----------------------------------------------------------------------------------
 */

static ssize_t read_fd(struct tmpfs_data *d, struct iov_iter *to, uint64_t pos, uint64_t n)
{
	char small[BOUNCE_STACK], *large __free = NULL, *buf = small;
	size_t room = sizeof(small);
	ssize_t done = 0;

	if (n > sizeof(small)) {
		room = MIN(n, BOUNCE_MAX);
		buf = large = malloc(room);
		if (!buf)
			return -ENOMEM;
	}
	while (n) {
		ssize_t got = pread(d->fd, buf, MIN(n, room), pos), moved;

		if (got <= 0)
			return done ? done : got < 0 ? -errno : 0;
		moved = copy_to_iter(to, buf, got);
		if (moved < 0)
			return done ? done : moved;
		done += moved;
		pos += moved;
		n -= moved;
		if (moved < got)
			break;
	}
	return done;
}

ssize_t tmpfs_data_read(struct tmpfs_data *d, struct iov_iter *to, uint64_t pos)
{
	uint64_t n;

	READ_GUARD(&d->lock);
	if (pos >= d->size)
		return 0;
	n = MIN(d->size - pos, (uint64_t)to->count);
	if (!n)
		return 0;
	return d->fd < 0 ? copy_to_iter(to, d->mem + pos, n) : read_fd(d, to, pos, n);
}

/* --- writing -----------------------------------------------------------------------------------
 */

static ssize_t write_mem(struct tmpfs_data *d, struct iov_iter *from, uint64_t pos, uint64_t n)
{
	uint64_t end = pos + n, old_size = d->size;
	ssize_t got;
	int err = mem_reserve(d, end);

	if (!err && end > d->size)
		err = set_charge(d, pages(end));
	if (err)
		return err;
	if (pos > d->size)
		memset(d->mem + d->size, 0, pos - d->size);
	got = copy_from_iter(from, d->mem + pos, n);
	if (got > 0 && pos + got > d->size)
		d->size = pos + got;
	if (d->size != old_size || end > old_size)
		(void)set_charge(d, pages(d->size));
	return got;
}

/* Charges for a write of [pos, end). */
static int charge_write(struct tmpfs_data *d, uint64_t pos, uint64_t end)
{
	int err;

	if (pos / PAGE <= d->dense) {
		if (pages(end) <= d->dense)
			return 0;
		if (!d->sparse) {
			err = set_charge(d, MAX(pages(end), d->charged));
			if (!err)
				d->dense = pages(end);
			return err;
		}
	}
	d->sparse = true;
	return set_charge(d, d->charged + pages(end) - pos / PAGE);
}

static ssize_t write_fd(struct tmpfs_data *d, struct iov_iter *from, uint64_t pos, uint64_t n)
{
	char small[BOUNCE_STACK], *large __free = NULL, *buf = small;
	size_t room = sizeof(small);
	ssize_t done = 0, got = 0;
	int err = 0;

	if (n > sizeof(small)) {
		room = MIN(n, BOUNCE_MAX);
		buf = large = malloc(room);
		if (!buf)
			return -ENOMEM;
	}
	while (n) {
		uint64_t want = MIN(n, room);

		err = charge_write(d, pos, pos + want);
		if (err) { /* estimates may have been too high */
			settle(d);
			err = charge_write(d, pos, pos + want);
		}
		if (err && PAGE - pos % PAGE < want) {
			/* Nearly full: page by page. */
			want = PAGE - pos % PAGE;
			err = charge_write(d, pos, pos + want);
		}
		if (err)
			break;
		got = copy_from_iter(from, buf, want);
		if (got <= 0)
			break;
		err = write_all(d->fd, buf, got, pos);
		if (err)
			break;
		done += got;
		pos += got;
		n -= got;
		if ((uint64_t)got < want)
			break;
	}
	if (pos > d->size && done)
		d->size = pos;
	if (d->sparse || d->dense > pages(d->size)) {
		d->dense = MIN(d->dense, pages(d->size));
		settle(d);
	}
	return done ? done : err ? err : got;
}

/* What mappings have written into the last page behind the end of the file must not come to light
 * when it grows (man 2 mmap: it is zeroed). */
static void clear_behind_end(struct tmpfs_data *d)
{
	uint64_t tail = d->size % PAGE;

	if (tail)
		(void)fallocate(d->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)d->size,
				(off_t)(PAGE - tail));
}

static ssize_t write_locked(struct tmpfs_data *d, struct iov_iter *from, uint64_t pos)
{
	uint64_t n = from->count, end;
	int err;

	if (!n)
		return 0;
	if (__builtin_add_overflow(pos, n, &end) || end > INT64_MAX)
		return -EFBIG;
	if (d->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return -EPERM;
	if ((d->seals & F_SEAL_GROW) && end > d->size) {
		if (pos >= d->size)
			return -EPERM;
		n = d->size - pos;
		end = d->size;
	}
	/* mem has no holes of a page or more. */
	if (d->fd < 0 && (end > MEM_MAX || pos >= ROUND_UP(d->size, PAGE) + PAGE)) {
		err = promote(d);
		if (err == -ENFILE && end <= MEM_MAX_NO_FD)
			err = 0; /* as long as it is dense enough to afford */
		if (err)
			return err == -ENFILE ? -ENOSPC : err;
	}
	if (d->fd >= 0 && pos > d->size)
		clear_behind_end(d);
	return d->fd < 0 ? write_mem(d, from, pos, n) : write_fd(d, from, pos, n);
}

ssize_t tmpfs_data_write(struct tmpfs_data *d, struct iov_iter *from, uint64_t pos)
{
	WRITE_GUARD(&d->lock);
	return write_locked(d, from, pos);
}

ssize_t tmpfs_data_append(struct tmpfs_data *d, struct iov_iter *from, uint64_t *pos)
{
	WRITE_GUARD(&d->lock);
	*pos = d->size;
	return write_locked(d, from, d->size);
}

/* --- shape -------------------------------------------------------------------------------------
 */

int tmpfs_data_truncate(struct tmpfs_data *d, uint64_t size)
{
	int err;

	WRITE_GUARD(&d->lock);
	if (size > INT64_MAX)
		return -EFBIG;
	if (((d->seals & F_SEAL_SHRINK) && size < d->size) ||
	    ((d->seals & F_SEAL_GROW) && size > d->size))
		return -EPERM;
	if (size == d->size)
		return 0;
	if (d->fd < 0 && size > d->size && pages(size) > pages(d->size)) {
		err = promote(d);
		if (err)
			return err == -ENFILE ? -ENOSPC : err;
	}
	if (d->fd < 0) {
		err = mem_reserve(d, size);
		if (err)
			return err;
		if (size > d->size)
			memset(d->mem + d->size, 0, size - d->size);
		d->size = size;
		return set_charge(d, pages(size));
	}
	if (size > d->size)
		clear_behind_end(d);
	if (ftruncate(d->fd, size))
		return errno == EINVAL ? -EFBIG : -errno;
	if (size > d->size)
		d->sparse = true;
	d->size = size;
	d->dense = MIN(d->dense, pages(size));
	settle(d);
	return 0;
}

int tmpfs_data_fallocate(struct tmpfs_data *d, int mode, uint64_t offset, uint64_t len)
{
	uint64_t end;
	int err;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if (__builtin_add_overflow(offset, len, &end) || end > INT64_MAX)
		return -EFBIG;
	WRITE_GUARD(&d->lock);
	if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) &&
	    (d->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)))
		return -EPERM;
	if (!(mode & FALLOC_FL_KEEP_SIZE) && end > d->size && (d->seals & F_SEAL_GROW))
		return -EPERM;
	err = promote(d);
	if (err)
		return err;
	d->sparse = true;
	if (mode & FALLOC_FL_PUNCH_HOLE) {
		if (fallocate(d->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len))
			return -errno;
		d->dense = MIN(d->dense, offset / PAGE);
		settle(d);
		return 0;
	}
	/* The worst case first, so that the quota is never passed. */
	err = set_charge(d, d->charged + pages(end) - offset / PAGE);
	if (err)
		return err;
	/* shmem has no ZERO_RANGE: a hole, filled again. */
	if ((mode & FALLOC_FL_ZERO_RANGE) &&
	    fallocate(d->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len))
		err = -errno;
	if (!err && fallocate(d->fd, mode & FALLOC_FL_KEEP_SIZE, offset, len))
		err = -errno;
	if (!err && !(mode & FALLOC_FL_KEEP_SIZE) && end > d->size)
		d->size = end;
	settle(d);
	return err;
}

int64_t tmpfs_data_seek(struct tmpfs_data *d, int64_t offset, int whence)
{
	int64_t pos;

	READ_GUARD(&d->lock);
	if (offset < 0 || (uint64_t)offset >= d->size)
		return -ENXIO;
	if (d->fd < 0)
		return whence == SEEK_DATA ? offset : (int64_t)d->size;
	pos = lseek(d->fd, offset, whence);
	return pos < 0 ? -errno : pos;
}

int tmpfs_data_mmap(struct tmpfs_data *d, bool shared_writable)
{
	int err;

	WRITE_GUARD(&d->lock);
	if (shared_writable && (d->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)))
		return -EPERM;
	err = promote(d);
	if (err)
		return err;
	if (shared_writable)
		d->sparse = true; /* pages may come without a write(2) */
	return d->fd;
}

int tmpfs_data_fd(struct tmpfs_data *d)
{
	READ_GUARD(&d->lock);
	return d->fd;
}

/* --- seals -------------------------------------------------------------------------------------
 */

void tmpfs_data_init_seals(struct tmpfs_data *d, uint32_t seals)
{
	d->seals = seals;
}

uint32_t tmpfs_data_get_seals(struct tmpfs_data *d)
{
	READ_GUARD(&d->lock);
	return d->seals;
}

int tmpfs_data_add_seals(struct tmpfs_data *d, uint32_t seals)
{
	WRITE_GUARD(&d->lock);
	if (d->seals & F_SEAL_SEAL)
		return -EPERM;
	/* The host knows whether a writable mapping is left: -EBUSY. */
	if (d->fd >= 0 && (seals & F_SEAL_WRITE & ~d->seals) &&
	    fcntl(d->fd, F_ADD_SEALS, F_SEAL_WRITE))
		return -errno;
	d->seals |= seals;
	return 0;
}
