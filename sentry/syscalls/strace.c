/*
 * --strace: a line per syscall, decoded by the argument kinds of table.def. Strings and structures
 * are read from the guest's memory when the call ends (results), or before it (paths: the call may
 * replace the program).
 */
#include "sentry/syscalls/strace.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/log.h"
#include "sentry/kernel/task/task.h"
#include "sentry/syscalls/strace_names_internal.h"
#include "sentry/syscalls/table_internal.h"
#include "sentry/uaccess/uaccess.h"

#define LINE_MAX_LEN 900
#define STRING_SHOWN 64

bool strace_enabled;

struct line {
	char text[LINE_MAX_LEN];
	size_t len;
};

/* Arguments of the call under way, as text: made on entry, completed on exit. */
static __thread struct line line;

static void __printf(1, 2) put(const char *fmt, ...)
{
	va_list ap;
	int n;

	if (line.len >= sizeof(line.text) - 1)
		return;
	va_start(ap, fmt);
	n = vsnprintf(line.text + line.len, sizeof(line.text) - line.len, fmt, ap);
	va_end(ap);
	if (n > 0)
		line.len = MIN(line.len + (size_t)n, sizeof(line.text) - 1);
}

static void put_bytes(const unsigned char *s, size_t n, bool more)
{
	put("\"");
	for (size_t i = 0; i < n; i++) {
		unsigned char c = s[i];

		if (c == '\n')
			put("\\n");
		else if (c == '\t')
			put("\\t");
		else if (c == '"' || c == '\\')
			put("\\%c", c);
		else if (c < 32 || c > 126)
			put("\\%o", c);
		else
			put("%c", c);
	}
	put(more ? "\"..." : "\"");
}

static void put_string(uint64_t addr)
{
	char buf[256];
	ssize_t n;

	if (!addr) {
		put("NULL");
		return;
	}
	n = strncpy_from_user(buf, addr, sizeof(buf));
	if (n == -ENAMETOOLONG)
		put_bytes((unsigned char *)buf, sizeof(buf), true);
	else if (n < 0)
		put("%#" PRIx64, addr);
	else
		put_bytes((unsigned char *)buf, n, false);
}

static void put_buffer(uint64_t addr, int64_t n)
{
	unsigned char buf[STRING_SHOWN];
	ssize_t got;

	if (n < 0)
		n = 0;
	got = copy_from_user_partial(buf, addr, MIN((uint64_t)n, sizeof(buf)));
	if (got < 0 || !addr)
		put("%#" PRIx64, addr);
	else
		put_bytes(buf, got, got < n);
}

static void put_strv(uint64_t addr)
{
	put("[");
	for (int i = 0;; i++) {
		uint64_t p;

		if (i == 16) {
			put(", ...");
			break;
		}
		if (!addr || get_user(&p, addr + i * sizeof(p)) || !p)
			break;
		if (i)
			put(", ");
		put_string(p);
	}
	put("]");
}

static void put_two_longs(uint64_t addr, const char *a, const char *b)
{
	int64_t v[2];

	if (!addr)
		put("NULL");
	else if (copy_from_user(v, addr, sizeof(v)))
		put("%#" PRIx64, addr);
	else
		put("{%s=%" PRId64 ", %s=%" PRId64 "}", a, v[0], b, v[1]);
}

static void put_sigset(uint64_t addr)
{
	sigset64_t set;
	bool first = true;

	if (!addr) {
		put("NULL");
		return;
	}
	if (get_user(&set, addr)) {
		put("%#" PRIx64, addr);
		return;
	}
	/* Sets with more in than out are shown by what is out, as strace(1) does. */
	if (__builtin_popcountll(set) > GUEST_NSIG / 2) {
		put("~");
		set = ~set;
	}
	put("[");
	for (int sig = 1; sig <= GUEST_NSIG; sig++) {
		if (!(set & SIG_BIT(sig)))
			continue;
		put(first ? "%s" : " %s", strace_signal_name(sig));
		first = false;
	}
	put("]");
}

static void put_flags(uint64_t v, const struct strace_flag *names)
{
	bool first = true;

	for (; names->name; names++) {
		if (names->value && (v & names->value) == names->value) {
			put(first ? "%s" : "|%s", names->name);
			v &= ~names->value;
			first = false;
		}
	}
	if (v || first)
		put(first ? "%#" PRIx64 : "|%#" PRIx64, v);
}

static void put_oflags(uint64_t v)
{
	static const char *const modes[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};

	put("%s", modes[v & O_ACCMODE]);
	v &= ~(uint64_t)O_ACCMODE & 0xffffffff;
	if (v) {
		put("|");
		put_flags(v, strace_open_flags);
	}
}

static void put_sockaddr(uint64_t addr)
{
	struct {
		uint16_t family;
		char data[108];
	} sa = {0};
	ssize_t n = addr ? copy_from_user_partial(&sa, addr, sizeof(sa)) : 0;

	if (n < (ssize_t)sizeof(sa.family))
		put("%#" PRIx64, addr);
	else if (sa.family == 1)
		put("{AF_UNIX, \"%s%.100s\"}", sa.data[0] ? "" : "@",
		    sa.data[0] ? sa.data : sa.data + 1);
	else
		put("{family=%u}", sa.family);
}

static bool kind_is(const char *kind, size_t n, const char *name)
{
	return strlen(name) == n && !memcmp(kind, name, n);
}

/* Kinds that the call fills: shown when it has ended. */
static bool is_result(const char *k, size_t n)
{
	return kind_is(k, n, "out") || kind_is(k, n, "stat") || kind_is(k, n, "fdpair");
}

static void put_number(const char *k, size_t n, uint64_t v)
{
	if (kind_is(k, n, "int") || kind_is(k, n, "fd"))
		put("%d", (int)v);
	else if (kind_is(k, n, "dfd"))
		put((int)v == AT_FDCWD ? "AT_FDCWD" : "%d", (int)v);
	else if (kind_is(k, n, "uint"))
		put("%u", (unsigned)v);
	else if (kind_is(k, n, "int64"))
		put("%" PRId64, (int64_t)v);
	else if (kind_is(k, n, "size"))
		put("%" PRIu64, v);
	else if (kind_is(k, n, "mode"))
		put("%#o", (unsigned)v);
	else if (v || kind_is(k, n, "hex"))
		put("%#" PRIx64, v);
	else
		put("NULL");
}

static void put_argument(const char *k, size_t n, const uint64_t *a, int i)
{
	static const char *const whences[] = {"SEEK_SET", "SEEK_CUR", "SEEK_END", "SEEK_DATA",
					      "SEEK_HOLE"};
	uint64_t v = a[i];

	if (kind_is(k, n, "path"))
		put_string(v);
	else if (kind_is(k, n, "strv"))
		put_strv(v);
	else if (kind_is(k, n, "buf2"))
		put_buffer(v, i < 5 ? (int64_t)a[i + 1] : 0);
	else if (kind_is(k, n, "timespec"))
		put_two_longs(v, "tv_sec", "tv_nsec");
	else if (kind_is(k, n, "timeval"))
		put_two_longs(v, "tv_sec", "tv_usec");
	else if (kind_is(k, n, "sigset"))
		put_sigset(v);
	else if (kind_is(k, n, "sockaddr"))
		put_sockaddr(v);
	else if (kind_is(k, n, "sig"))
		put("%s", strace_signal_name((int)v));
	else if (kind_is(k, n, "oflags"))
		put_oflags(v);
	else if (kind_is(k, n, "prot"))
		put_flags(v, strace_prot_flags);
	else if (kind_is(k, n, "mapflags"))
		put_flags(v, strace_map_flags);
	else if (kind_is(k, n, "atflags"))
		put_flags(v, strace_at_flags);
	else if (kind_is(k, n, "cloneflags"))
		put_flags(v, strace_clone_flags);
	else if (kind_is(k, n, "whence") && v < ARRAY_SIZE(whences))
		put("%s", whences[v]);
	else
		put_number(k, n, v);
}

static void put_result_argument(const char *k, size_t n, uint64_t v, long result)
{
	int32_t fds[2];

	if (result < 0 || !v) {
		put("%#" PRIx64, v);
	} else if (kind_is(k, n, "out")) {
		put_buffer(v, result);
	} else if (kind_is(k, n, "fdpair")) {
		if (copy_from_user(fds, v, sizeof(fds)))
			put("%#" PRIx64, v);
		else
			put("[%d, %d]", fds[0], fds[1]);
	} else {
		uint64_t st[8]; /* struct stat: mode at byte 24, size at byte 48 */

		if (copy_from_user(st, v, sizeof(st)))
			put("%#" PRIx64, v);
		else
			put("{st_mode=%#o, st_size=%" PRId64 ", ...}", (unsigned)st[3],
			    (int64_t)st[6]);
	}
}

/* Arguments from the one with index *i and kind *kinds on; stops at one that is a result, when
 * `entry`. */
static void put_arguments(const char **kinds, int *i, const struct syscall_args *args, bool entry,
			  long result)
{
	const char *k = *kinds;

	while (*k && *i < 6) {
		size_t n = strcspn(k, " ");

		if (entry && is_result(k, n))
			break;
		if (*i)
			put(", ");
		if (is_result(k, n))
			put_result_argument(k, n, args->a[*i], result);
		else
			put_argument(k, n, args->a, *i);
		k += n;
		while (*k == ' ')
			k++;
		(*i)++;
	}
	*kinds = k;
}

/* How far the entry got; per thread of the sentry, as the text is. A blocked call keeps its worker.
 */
static __thread const char *kinds_left;
static __thread int next_arg;

static void begin(struct task *t, unsigned nr)
{
	line.len = 0;
	put("[%d:%d] %s(", task_tgid(t), task_tid(t), syscall_table[nr].name);
	kinds_left = syscall_table[nr].kinds;
	next_arg = 0;
}

int64_t strace_enter(struct task *t, unsigned nr, const struct syscall_args *args)
{
	begin(t, nr);
	put_arguments(&kinds_left, &next_arg, args, true, 0);
	/* What does not come back is written now. */
	if (nr == 60 || nr == 231 || nr == 15)
		log_write(LOG_LEVEL_INFO, NULL, 0, "%s) = ?", line.text);
	return monotonic_ns();
}

void strace_exit(struct task *t, unsigned nr, const struct syscall_args *args, long result,
		 int64_t start)
{
	int64_t us = (monotonic_ns() - start) / 1000;

	if (nr == 60 || nr == 231 || nr == 15)
		return;
	put_arguments(&kinds_left, &next_arg, args, false, result);
	if (result < 0 && result >= -4095)
		put(") = -1 %s", strace_errno_name((int)-result));
	else if (result > 0xffff || result < 0)
		put(") = %#lx", result);
	else
		put(") = %ld", result);
	log_write(LOG_LEVEL_INFO, NULL, 0, "%s <%" PRId64 " us>", line.text, us);
}
