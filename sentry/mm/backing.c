/* The table of memfds: a bit for each fd number. */
#include "sentry/mm/backing.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/lock.h"

#define MAX_FDS (1 << 20) /* Linux's fs.nr_open; pages of the table exist once they are used */
#define WORD_BITS 64

static struct mutex lock = MUTEX_INIT; /* over each close, so that a bit stands for its memfd */
static uint64_t in_use[MAX_FDS / WORD_BITS];
static int top; /* words up to the highest one ever used */

int backing_create(const char *name, unsigned flags)
{
	int fd = memfd_create(name, MFD_CLOEXEC | flags);

	if (fd < 0)
		return -errno;
	if (fd >= MAX_FDS) {
		close(fd);
		return -EMFILE;
	}
	MUTEX_GUARD(&lock);
	in_use[fd / WORD_BITS] |= 1ULL << (fd % WORD_BITS);
	if (top <= fd / WORD_BITS)
		top = fd / WORD_BITS + 1;
	return fd;
}

void backing_close(int fd)
{
	MUTEX_GUARD(&lock);

	in_use[fd / WORD_BITS] &= ~(1ULL << (fd % WORD_BITS));
	close(fd);
}

/* Those of one word: the lock is not held for long. */
static uint64_t bytes_of_word(int i)
{
	uint64_t word, sum = 0;
	MUTEX_GUARD(&lock);

	for (word = in_use[i]; word; word &= word - 1) {
		struct stat st;

		if (!fstat(i * WORD_BITS + __builtin_ctzll(word), &st))
			sum += (uint64_t)st.st_blocks * 512;
	}
	return sum;
}

uint64_t backing_bytes(void)
{
	uint64_t sum = 0;
	int n;

	mutex_lock(&lock);
	n = top;
	mutex_unlock(&lock);
	for (int i = 0; i < n; i++)
		sum += bytes_of_word(i);
	return sum;
}
