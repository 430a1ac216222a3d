/* io_setup, io_destroy, io_submit, io_cancel, io_getevents, io_pgetevents (man 2). */
#include <errno.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "sentry/fs/aio/context_internal.h"
#include "sentry/fs/eventfd/eventfd.h"
#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/core/timeout.h"
#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"

#define FAST_IOV 8
#define AIO_RING_MAX 0x10000000U /* bytes: what Linux takes for a mistake */

static inline void aio_context_put_ptr(struct aio_context **ctx)
{
	if (*ctx)
		aio_context_put(*ctx);
}
#define __put_context __cleanup(aio_context_put_ptr)

/* --- contexts
 * --------------------------------------------------------------------------------- */

SYSCALL_DEFINE2(io_setup, unsigned, nr, uaddr_t, uid)
{
	struct aio_context *ctx;
	int64_t page;
	uint64_t id;
	int err;

	if (get_user(&id, uid))
		return -EFAULT;
	if (id || !nr || nr > AIO_RING_MAX / sizeof(struct io_event))
		return -EINVAL;
	err = aio_context_create(nr, &ctx);
	if (err)
		return err;
	page = mm_mmap(t->mm, t->ctx, 0, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, NULL,
		       0);
	if (page < 0) {
		aio_context_put(ctx);
		return page;
	}
	id = (uint64_t)page;
	err = aio_context_publish(t->mm, ctx, id);
	if (err) {
		aio_context_put(ctx);
		mm_munmap(t->mm, t->ctx, id, PAGE_SIZE);
		return err;
	}
	if (put_user(uid, id)) {
		ctx = aio_context_remove(t->mm, id);
		if (ctx)
			aio_context_put(ctx);
		mm_munmap(t->mm, t->ctx, id, PAGE_SIZE);
		return -EFAULT;
	}
	return 0;
}

SYSCALL_DEFINE1(io_destroy, uint64_t, id)
{
	struct aio_context *ctx = aio_context_remove(t->mm, id);

	if (!ctx)
		return -EINVAL;
	mm_munmap(t->mm, t->ctx, id, PAGE_SIZE);
	aio_context_put(ctx);
	return 0;
}

/* --- requests
 * --------------------------------------------------------------------------------- */

/* What the request is to move, or the error that io_submit gives. */
static int request_iter(const struct iocb *cb, struct iov_iter *it, struct iovec *fast,
			struct iovec **heap)
{
	if (cb->aio_lio_opcode == IOCB_CMD_PREADV || cb->aio_lio_opcode == IOCB_CMD_PWRITEV)
		return cb->aio_nbytes > INT_MAX
			       ? -EINVAL
			       : iovec_from_user(it, cb->aio_buf, (int)cb->aio_nbytes, fast,
						 FAST_IOV, heap);
	iov_iter_user(it, cb->aio_buf, MIN(cb->aio_nbytes, MAX_RW_COUNT));
	return 0;
}

static int transfer(struct file *file, const struct iocb *cb, bool write, ssize_t *res)
{
	struct iovec fast[FAST_IOV], *heap __free = NULL;
	int64_t pos = cb->aio_offset;
	struct iov_iter it;
	int err;

	if (!(write ? file->can_write : file->can_read))
		return -EBADF;
	if (!(write ? (void *)file->ops->write : (void *)file->ops->read))
		return -EINVAL;
	if (file->has_pos && pos < 0)
		return -EINVAL;
	err = request_iter(cb, &it, fast, &heap);
	if (err)
		return err;
	*res = write ? vfs_write(file, &it, &pos, (int)cb->aio_rw_flags)
		     : vfs_read(file, &it, &pos, (int)cb->aio_rw_flags);
	if (*res == -EOPNOTSUPP && cb->aio_rw_flags)
		return -EOPNOTSUPP;
	return 0;
}

static int sync_file(struct file *file, const struct iocb *cb, ssize_t *res)
{
	if (cb->aio_buf || cb->aio_offset || cb->aio_nbytes || cb->aio_rw_flags)
		return -EINVAL;
	if (!file->ops->fsync)
		return -EINVAL;
	*res = file->ops->fsync(file, 0, INT64_MAX, cb->aio_lio_opcode == IOCB_CMD_FDSYNC);
	return 0;
}

/* Carries the request out. An error is the submission's; what happened to an accepted request is in
 * *res. */
static int perform(struct file *file, const struct iocb *cb, ssize_t *res)
{
	int err;

	switch (cb->aio_lio_opcode) {
	case IOCB_CMD_PREAD:
	case IOCB_CMD_PREADV:
		err = transfer(file, cb, false, res);
		break;
	case IOCB_CMD_PWRITE:
	case IOCB_CMD_PWRITEV:
		err = transfer(file, cb, true, res);
		break;
	case IOCB_CMD_FSYNC:
	case IOCB_CMD_FDSYNC:
		err = sync_file(file, cb, res);
		break;
	default:
		return -EINVAL;
	}
	/* A request cannot be made again by a restart of the call that submitted it. */
	if (!err && (*res == -ERESTARTSYS || *res == -ERESTARTNOINTR || *res == -ERESTARTNOHAND ||
		     *res == -ERESTART_RESTARTBLOCK))
		*res = -EINTR;
	return err;
}

static int submit_with_files(struct aio_context *ctx, const struct iocb *cb, uaddr_t ucb)
{
	struct file *__put_file file = fd_get((int)cb->aio_fildes);
	struct file *__put_file eventfd = NULL;
	uint32_t key = 0;
	ssize_t res;
	int err;

	if (!file)
		return -EBADF;
	if (cb->aio_flags & IOCB_FLAG_RESFD) {
		eventfd = fd_get((int)cb->aio_resfd);
		if (!eventfd)
			return -EBADF;
		if (!is_eventfd(eventfd))
			return -EINVAL;
	}
	if (put_user(ucb + offsetof(struct iocb, aio_key), key))
		return -EFAULT;
	err = perform(file, cb, &res);
	if (err)
		return err;
	aio_context_complete(
		ctx, &(struct io_event){.data = cb->aio_data, .obj = ucb, .res = (int64_t)res});
	if (eventfd)
		eventfd_signal(eventfd);
	return 0;
}

static int submit_one(struct aio_context *ctx, uaddr_t ucb)
{
	struct iocb cb;
	int err;

	if (copy_from_user(&cb, ucb, sizeof(cb)))
		return -EFAULT;
	if (cb.aio_reserved2 || (int64_t)cb.aio_nbytes < 0)
		return -EINVAL;
	if (!aio_context_reserve(ctx))
		return -EAGAIN;
	err = submit_with_files(ctx, &cb, ucb);
	if (err)
		aio_context_unreserve(ctx);
	return err;
}

SYSCALL_DEFINE3(io_submit, uint64_t, id, int64_t, nr, uaddr_t, ucbs)
{
	struct aio_context *ctx __put_context = NULL;
	int64_t done;
	int err = 0;

	if (nr < 0)
		return -EINVAL;
	ctx = aio_context_find(t->mm, id);
	if (!ctx)
		return -EINVAL;
	/* The context holds no more requests than this, so there is no need to look further. */
	nr = MIN(nr, (int64_t)aio_context_capacity(ctx) + 1);
	for (done = 0; done < nr; done++) {
		uaddr_t ucb;

		err = get_user(&ucb, ucbs + (uint64_t)done * sizeof(ucb)) ? -EFAULT
									  : submit_one(ctx, ucb);
		if (err)
			break;
	}
	return done ? done : err;
}

/* No request is ever under way between calls: none can be cancelled. */
SYSCALL_DEFINE3(io_cancel, uint64_t, id, uaddr_t, ucb, uaddr_t, uresult)
{
	struct aio_context *ctx __put_context = NULL;
	uint32_t key;

	if (get_user(&key, ucb + offsetof(struct iocb, aio_key)))
		return -EFAULT;
	ctx = aio_context_find(t->mm, id);
	return -EINVAL;
}

/* --- events
 * ----------------------------------------------------------------------------------- */

/* -EINTR: a signal came before any event. */
static long get_events(struct task *t, uint64_t id, int64_t min_nr, int64_t nr, uaddr_t events,
		       uaddr_t utimeout)
{
	struct aio_context *ctx __put_context = NULL;
	int64_t deadline = NO_DEADLINE;

	if (utimeout) {
		struct timespec ts;

		if (get_user(&ts, utimeout))
			return -EFAULT;
		deadline = MAX(deadline_of_call(&ts), 0);
	}
	ctx = aio_context_find(t->mm, id);
	if (!ctx || min_nr < 0 || min_nr > nr)
		return -EINVAL;
	return aio_context_read(ctx, min_nr, nr, events, deadline);
}

SYSCALL_DEFINE5(io_getevents, uint64_t, id, int64_t, min_nr, int64_t, nr, uaddr_t, events, uaddr_t,
		utimeout)
{
	return get_events(t, id, min_nr, nr, events, utimeout);
}

SYSCALL_DEFINE6(io_pgetevents, uint64_t, id, int64_t, min_nr, int64_t, nr, uaddr_t, events, uaddr_t,
		utimeout, uaddr_t, usig)
{
	struct {
		uint64_t mask, size;
	} sig = {0};
	sigset64_t mask;
	long ret;

	if (usig && get_user(&sig, usig))
		return -EFAULT;
	if (sig.mask) {
		ret = sigset_from_user(&mask, sig.mask, sig.size);
		if (ret)
			return ret;
		set_temporary_mask(t, mask);
	}
	ret = get_events(t, id, min_nr, nr, events, utimeout);
	if (ret == -EINTR)
		return -ERESTARTNOHAND;
	if (sig.mask)
		restore_saved_mask(t);
	return ret;
}
