/* System calls: on descriptors and memory that the steps have made, with good arguments and bad
 * ones. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "steps.h"

#define FDS_LOW 10 /* descriptors from here on are the steps' */
#define FDS 12

/* Which of them are sockets. */
static bool is_socket[FDS_LOW + FDS];

static uint64_t any_fd(void)
{
	return one_in(12) ? (uint64_t)-1 : FDS_LOW + below(FDS);
}

static uint64_t bad_pointer(void)
{
	static const uint64_t bad[] = {1, NOWHERE, 0x8000000000000000, 0xffff800000000000};

	return bad[below(4)];
}

static uint64_t buffer(uint64_t *n)
{
	*n = below(one_in(8) ? 9000 : 200);
	return one_in(10) ? NOWHERE : DATA + below(DATA_SIZE - 9100);
}

/* --- descriptors -------------------------------------------------------------------------------
 */

/* Two new ones in place of others. */
static void make_pair(void)
{
	int fd[2] = {-1, -1}, at = FDS_LOW + (int)below(FDS - 1);
	bool sockets = one_in(2);
	long ret = sockets ? syscall(SYS_socketpair, 1, 1 | 04000 | 02000000, 0, fd)
			   : pipe2(fd, O_NONBLOCK | O_CLOEXEC);

	trace("pair %d at %d", (int)ret, at);
	for (int i = 0; i < 2 && fd[i] >= 0; i++) {
		pattern_syscall(SYS_dup3, (uint64_t)fd[i], (uint64_t)at + (uint64_t)i, O_CLOEXEC, 0,
				0, 0);
		close(fd[i]);
		is_socket[at + i] = sockets;
	}
}

static void make_one(void)
{
	int at = FDS_LOW + (int)below(FDS);
	int fd = memfd_create("steps", MFD_CLOEXEC);

	trace("one at %d", at);
	pattern_syscall(SYS_dup2, (uint64_t)fd, (uint64_t)at, 0, 0, 0, 0);
	is_socket[at] = false;
	close(fd);
}

static void call_io(void)
{
	static const struct {
		const char *name;
		long nr;
		bool offset;
	} calls[] = {
		{"read", SYS_read, false},
		{"write", SYS_write, false},
		{"pread", SYS_pread64, true},
		{"pwrite", SYS_pwrite64, true},
	};
	unsigned i = (unsigned)below(4);
	uint64_t n, at = buffer(&n), fd = any_fd();

	/* Whether a write that fails makes a file longer depends on the kernel's version. */
	if (i % 2 && (at < DATA || at >= DATA + DATA_SIZE))
		at = DATA;
	trace("%s(%ld, %lx, %lu)", calls[i].name, (long)fd, at, n);
	pattern_syscall(calls[i].nr, fd, at, n, calls[i].offset ? below(10000) : chance(), 0, 0);
}

static void call_vector(void)
{
	struct iovec *v = (struct iovec *)(DATA + DATA_SIZE - 512);
	uint64_t count = one_in(10) ? 2000 : below(5), fd = any_fd();
	bool write = one_in(2);

	for (unsigned i = 0; i < 5; i++) {
		uint64_t n, at;

		do
			at = buffer(&n);
		while (at < DATA || at >= DATA + DATA_SIZE);
		v[i] = (struct iovec){(void *)at, n % 300};
	}
	trace("%sv(%ld, %lu)", write ? "write" : "read", (long)fd, count);
	pattern_syscall(write ? SYS_writev : SYS_readv, fd, (uint64_t)v, count, 0, 0, 0);
}

static void call_fd(void)
{
	uint64_t fd = any_fd(), to;

	switch (below(6)) {
	case 0:
		trace("lseek(%ld)", (long)fd);
		pattern_syscall(SYS_lseek, fd, below(20000), below(5), 0, 0, 0);
		break;
	case 1:
		trace("ftruncate(%ld)", (long)fd);
		pattern_syscall(SYS_ftruncate, fd, one_in(9) ? ~0ULL : below(30000), 0, 0, 0, 0);
		break;
	case 2:
		trace("close(%ld)", (long)fd);
		pattern_syscall(SYS_close, fd, 0, 0, 0, 0, 0);
		break;
	case 3:
		trace("fcntl(%ld, GETFD)", (long)fd);
		pattern_syscall(SYS_fcntl, fd, F_GETFD, 0, 0, 0, 0);
		break;
	case 4:
		trace("fcntl(%ld, DUPFD)", (long)fd);
		if (pattern_syscall(SYS_fcntl, fd, F_DUPFD, 40, 0, 0, 0) >= 0)
			close(40);
		break;
	case 5:
		to = any_fd();
		trace("dup2(%ld, %ld)", (long)fd, (long)to);
		if (pattern_syscall(SYS_dup2, fd, to, 0, 0, 0, 0) >= 0)
			is_socket[to] = is_socket[fd];
		break;
	}
}

/* --- others ------------------------------------------------------------------------------------
 */

static void call_futex(void)
{
	uint64_t word = one_in(6) ? bad_pointer() : DATA + below(64) * 4 + one_in(10);

	switch (below(4)) {
	case 0:
		trace("futex wake");
		pattern_syscall(SYS_futex, word, FUTEX_WAKE, below(3), 0, 0, 0);
		break;
	case 1:
		/* The word would have to be that by chance. */
		trace("futex wait");
		pattern_syscall(SYS_futex, word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG,
				0xabcd1234 + below(3), 0, 0, 0);
		break;
	case 2:
		trace("futex wake_op");
		pattern_syscall(
			SYS_futex, word, FUTEX_WAKE_OP, 1, 1, DATA + below(64) * 4,
			(below(5) << 28 | below(6) << 24 | below(4096) << 12 | below(4096)));
		break;
	case 3:
		trace("futex requeue");
		pattern_syscall(SYS_futex, word, FUTEX_CMP_REQUEUE, 1, 1, DATA + below(64) * 4,
				chance());
		break;
	}
}

static void call_mask(void)
{
	uint64_t *set = (uint64_t *)(DATA + 0x8000), none = 0;

	set[0] = chance() & ~(1ULL << (SIGSEGV - 1));
	trace("sigprocmask");
	pattern_syscall(SYS_rt_sigprocmask, below(4), one_in(8) ? bad_pointer() : (uint64_t)set,
			(uint64_t)(set + 1), one_in(9) ? 7 : 8, 0, 0);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
}

static void call_unknown(void)
{
	static const uint64_t high[] = {0x40000000ULL, 0x80000000ULL, 0xffffffff00000000ULL, 0};
	uint64_t nr = 600 + below(400);

	nr |= high[below(4)];
	trace("no call %lx", nr);
	pattern_syscall((long)nr, chance(), chance(), chance(), chance(), chance(), chance());
}

/* The simple ones; the shape that has its number before it. */
static void call_simple(void)
{
	if (one_in(2)) {
		trace("umask");
		pattern_syscall(SYS_umask, 022, 0, 0, 0, 0, 0);
		return;
	}
	trace("sched_yield");
	pattern_fill();
	pattern.snippet = snippet_syscall_a;
	run_pattern();
	trace_registers(true);
}

void step_call(void)
{
	static void (*const calls[])(void) = {
		make_pair, make_one,	call_io,    call_io,   call_io,	     call_io,	  call_fd,
		call_fd,   call_vector, call_futex, call_mask, call_unknown, call_simple,
	};

	calls[below(sizeof(calls) / sizeof(calls[0]))]();
}

/* --- the field ---------------------------------------------------------------------------------
 */

static uint64_t field_range(uint64_t *n)
{
	uint64_t first = below(FIELD_PAGES), pages = 1 + below(FIELD_PAGES - first);

	*n = (pages > 6 ? 1 + pages % 6 : pages) * PAGE;
	return FIELD + first * PAGE + (one_in(20) ? 1 : 0);
}

/* Always with reading: whether memory that may only be executed can be read depends on the CPU. */
static const int prots[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
			    PROT_READ | PROT_EXEC};

static void field_mmap(void)
{
	uint64_t n, at = field_range(&n), fd = any_fd();
	int prot = prots[below(5)];
	int flags = MAP_FIXED | (one_in(2) ? MAP_PRIVATE : MAP_SHARED);

	/* A socket refuses when what was there is gone already; with several mistakes at once the
	 * kernel is free which to name. */
	if (one_in(2) || (fd != ~0ULL && is_socket[fd])) {
		flags |= MAP_ANONYMOUS;
	} else {
		at &= ~(PAGE - 1);
		prot &= ~PROT_EXEC;
	}
	trace("mmap(%lx, %lx, %d, %x, %ld)", at, n, prot, (unsigned)flags, (long)fd);
	pattern_syscall(SYS_mmap, at, n, (uint64_t)prot, (uint64_t)flags, fd, below(4) * PAGE);
}

static void field_change(void)
{
	uint64_t n, at = field_range(&n), m, to = field_range(&m);

	switch (below(6)) {
	case 0:
	case 1:
		trace("munmap(%lx, %lx)", at, n);
		pattern_syscall(SYS_munmap, at, n, 0, 0, 0, 0);
		break;
	case 2:
	case 3:
		trace("mprotect(%lx, %lx)", at, n);
		pattern_syscall(SYS_mprotect, at, n, (uint64_t)prots[below(5)], 0, 0, 0);
		break;
	case 4:
		/* Since Linux 6.17 a move without a change of size may be of several mappings. */
		m = n == m ? m + PAGE : m;
		trace("mremap(%lx, %lx, %lx, %lx)", at, n, m, to);
		pattern_syscall(SYS_mremap, at, n, m, MREMAP_MAYMOVE | MREMAP_FIXED, to, 0);
		break;
	case 5:
		trace("madvise(%lx, %lx)", at, n);
		pattern_syscall(SYS_madvise, at, n, one_in(2) ? MADV_DONTNEED : MADV_WILLNEED, 0, 0,
				0);
		break;
	}
}

void step_memory(void)
{
	if (one_in(2))
		field_mmap();
	else
		field_change();
	trace(" field=%016lx", hash_memory(true));
}

/* --- the FS base -------------------------------------------------------------------------------
 */

void step_base(void)
{
	trace("base");
	pattern_fill();
	pattern.in[RBX] = DATA + below(0x1000) * 8;
	syscall(SYS_arch_prctl, 0x1003 /* ARCH_GET_FS */, &pattern.in[R13]);
	/* Where this thread's storage is. */
	pattern.ids = 1u << R13 | 1u << RSI;
	pattern.snippet = snippet_fs;
	run_pattern();
	trace_registers(true);
}
