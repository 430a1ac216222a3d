/* select(2), pselect6(2). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/core/timeout.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/poll/poll_internal.h"
#include "sentry/vfs/poll/write_back_internal.h"

#define IN_MASK (EPOLLRDNORM | EPOLLRDBAND | EPOLLIN | EPOLLHUP | EPOLLERR)
#define OUT_MASK (EPOLLWRBAND | EPOLLWRNORM | EPOLLOUT | EPOLLERR)
#define EX_MASK EPOLLPRI

/* Bit sets as the ABI has them: 64-bit words. [0] in, [1] out, [2] except. */
struct select_set {
	int n; /* bits */
	unsigned words;
	uint64_t *want[3], *got[3];
	int nfiles;
	struct select_file {
		struct file *file;
		int fd;
		uint32_t wanted;
	} * files;
};

static const uint32_t masks[3] = {IN_MASK, OUT_MASK, EX_MASK};

static bool bit(const uint64_t *set, int i)
{
	return set[i / 64] >> (i % 64) & 1;
}

/* References to all files that are named: 0, -EBADF, -ENOMEM. */
static int collect_files(struct select_set *s)
{
	int count = 0;

	for (unsigned w = 0; w < s->words; w++)
		count += __builtin_popcountll(s->want[0][w] | s->want[1][w] | s->want[2][w]);
	s->files = count ? malloc((size_t)count * sizeof(*s->files)) : NULL;
	if (count && !s->files)
		return -ENOMEM;
	for (int fd = 0; fd < s->n; fd++) {
		struct select_file *f = &s->files[s->nfiles];
		uint32_t wanted = 0;

		for (int k = 0; k < 3; k++)
			if (bit(s->want[k], fd))
				wanted |= masks[k];
		if (!wanted)
			continue;
		f->file = fd_get(fd);
		if (!f->file)
			return -EBADF;
		f->fd = fd;
		f->wanted = wanted | EPOLLERR | EPOLLHUP;
		s->nfiles++;
	}
	return 0;
}

static int scan(struct select_set *s, struct poll_table *pt)
{
	int ready = 0;

	for (int i = 0; i < s->nfiles; i++) {
		struct select_file *f = &s->files[i];
		uint32_t mask;

		if (pt)
			pt->events = f->wanted;
		mask = vfs_poll(f->file, pt);
		for (int k = 0; k < 3; k++)
			if ((mask & masks[k]) && bit(s->want[k], f->fd)) {
				s->got[k][f->fd / 64] |= 1ULL << (f->fd % 64);
				ready++;
			}
		if (ready)
			pt = NULL;
	}
	return ready;
}

static int select_loop(struct select_set *s, int64_t deadline)
{
	struct poll_wqueues pwq;
	struct poll_table *pt = deadline ? &pwq.pt : NULL;
	int ret;

	poll_wqueues_init(&pwq);
	for (;;) {
		wait_prepare();
		ret = scan(s, pt);
		if (ret)
			break;
		ret = pwq.error;
		if (ret || deadline == 0)
			break;
		pt = NULL;
		ret = wait_block(deadline, true);
		if (ret) {
			int ready = scan(s, NULL);

			ret = ready ? ready : ret == -ETIMEDOUT ? 0 : -ERESTARTNOHAND;
			break;
		}
	}
	poll_wqueues_end(&pwq);
	return ret;
}

static int read_sets(struct select_set *s, uint64_t *bits, const uaddr_t usets[3])
{
	for (unsigned k = 0; k < 3; k++) {
		s->want[k] = bits + k * s->words;
		s->got[k] = bits + (3 + k) * s->words;
		if (usets[k] && s->words && copy_from_user(s->want[k], usets[k], s->words * 8))
			return -EFAULT;
		/* Bits from n on do not count. */
		if (s->words && s->n % 64)
			s->want[k][s->words - 1] &= (1ULL << (s->n % 64)) - 1;
	}
	return 0;
}

static int do_select(int n, const uaddr_t usets[3], int64_t deadline)
{
	struct select_set s = {0};
	struct files *files = current_files();
	uint64_t fast[6 * 4] = {0}, *__free heap = NULL;
	int ret, size;

	if (n < 0)
		return -EINVAL;
	mutex_lock(&files->lock);
	size = files->size;
	mutex_unlock(&files->lock);
	/* As Linux: fds past the table, which has a whole number of words, are not looked at. */
	s.n = MIN(n, ROUND_UP(MAX(size, 64), 64));
	s.words = (unsigned)(s.n + 63) / 64;
	if (s.words > 4) {
		heap = calloc(6, s.words * 8);
		if (!heap)
			return -ENOMEM;
	}
	ret = read_sets(&s, heap ? heap : fast, usets);
	if (ret)
		return ret;
	ret = collect_files(&s);
	if (!ret)
		ret = select_loop(&s, deadline);
	for (int i = 0; i < s.nfiles; i++)
		file_put(s.files[i].file);
	free(s.files);
	for (int k = 0; ret >= 0 && k < 3; k++)
		if (usets[k] && s.words && copy_to_user(usets[k], s.got[k], s.words * 8))
			ret = -EFAULT;
	return ret;
}

SYSCALL_DEFINE5(select, int, n, uaddr_t, in, uaddr_t, out, uaddr_t, ex, uaddr_t, utimeout)
{
	int64_t deadline = NO_DEADLINE;
	long ret;

	if (utimeout) {
		struct timeval tv;
		struct timespec ts;

		if (get_user(&tv, utimeout))
			return -EFAULT;
		/* Linux normalises microseconds of a second or more. */
		if (tv.tv_sec < 0 || tv.tv_usec < 0)
			return -EINVAL;
		if (__builtin_add_overflow(tv.tv_sec, tv.tv_usec / 1000000, &ts.tv_sec))
			ts.tv_sec = INT64_MAX;
		ts.tv_nsec = tv.tv_usec % 1000000 * 1000;
		deadline = deadline_of_call(&ts);
	}
	ret = do_select(n, (uaddr_t[3]){in, out, ex}, deadline);
	return write_back_timeval(utimeout, deadline, ret);
}

SYSCALL_DEFINE6(pselect6, int, n, uaddr_t, in, uaddr_t, out, uaddr_t, ex, uaddr_t, utimeout,
		uaddr_t, usig)
{
	struct {
		uint64_t mask, size;
	} sig = {0};
	int64_t deadline = NO_DEADLINE;
	sigset64_t mask;
	long ret;

	if (usig && get_user(&sig, usig))
		return -EFAULT;
	if (utimeout) {
		struct timespec ts;

		if (get_user(&ts, utimeout))
			return -EFAULT;
		deadline = deadline_of_call(&ts);
		if (deadline < 0)
			return deadline;
	}
	if (sig.mask) {
		ret = sigset_from_user(&mask, sig.mask, sig.size);
		if (ret)
			return ret;
		set_temporary_mask(t, mask);
	}
	ret = do_select(n, (uaddr_t[3]){in, out, ex}, deadline);
	if (sig.mask && ret != -ERESTARTNOHAND)
		restore_saved_mask(t);
	return write_back_timespec(utimeout, deadline, ret);
}
