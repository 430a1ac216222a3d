/* What the host counts for a stub: CPU time, faults, resident memory. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "sentry/platform/shared/stub_host.h"
#include "sentry/platform/shared/object.h"
#include "sentry/platform/shared/ops.h"
#include "sentry/platform/shared/usage.h"

#define TICK_NS (NSEC_PER_SEC / 100)

/* Reads a small file of the stub's /proc directory (pid 0: our own): its length, or -errno. */
static ssize_t read_proc(pid_t pid, const char *name, char *buf, size_t size)
{
	int __close_fd fd = stub_host_open_proc(pid, name, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return n;
}

int platform_as_usage(struct platform_as *as, struct platform_usage *usage)
{
	unsigned long long minflt = 0, majflt = 0, utime = 0, stime = 0, rss = 0, shared = 0;
	struct as_head *h = as_head(as);
	char buf[512], *after_name;
	ssize_t n;

	*usage = (struct platform_usage){0};
	if (h->dead)
		return -ESRCH;
	n = read_proc(h->pid, "stat", buf, sizeof(buf));
	if (n < 0)
		return (int)n;
	/* The name may hold anything, so count from its closing parenthesis (man 5 proc). */
	after_name = strrchr(buf, ')');
	if (!after_name ||
	    sscanf(after_name, ") %*c %*d %*d %*d %*d %*d %*u %llu %*u %llu %*u %llu %llu", &minflt,
		   &majflt, &utime, &stime) != 4)
		return -EIO;
	n = read_proc(h->pid, "statm", buf, sizeof(buf));
	if (n < 0)
		return (int)n;
	if (sscanf(buf, "%*u %llu %llu", &rss, &shared) != 2)
		return -EIO;
	usage->minflt = minflt;
	usage->majflt = majflt;
	usage->utime_ns = utime * TICK_NS;
	usage->stime_ns = stime * TICK_NS;
	usage->rss_pages = rss;
	usage->shared_pages = shared;
	return 0;
}

/* man 5 proc_pid_statm: resident, of these file and shared pages. */
static int read_statm_anon(pid_t pid, uint64_t *bytes)
{
	unsigned long long rss, shared;
	char buf[128];
	ssize_t n = read_proc(pid, "statm", buf, sizeof(buf));

	if (n < 0)
		return (int)n;
	if (sscanf(buf, "%*u %llu %llu", &rss, &shared) != 2)
		return -EIO;
	*bytes = (rss - MIN(rss, shared)) * PAGE_SIZE;
	return 0;
}

int platform_as_anon(struct platform_as *as, bool exact, uint64_t *bytes)
{
	struct as_head *h = as_head(as);
	uint64_t taken = 0;
	char buf[2048];
	const char *line;
	ssize_t n;

	if (h->dead)
		return -ESRCH;
	if (platform_ops->taken_memory)
		taken = platform_ops->taken_memory(as);
	if (!exact) {
		int ret = read_statm_anon(h->pid, bytes);

		*bytes += taken;
		return ret;
	}
	n = read_proc(h->pid, "smaps_rollup", buf, sizeof(buf));
	if (n < 0)
		return (int)n;
	line = strstr(buf, "\nPss_Anon:");
	if (!line)
		return -EIO;
	*bytes = strtoull(line + 10, NULL, 10) * 1024 + taken;
	return 0;
}

int platform_self_anon(uint64_t *bytes)
{
	return read_statm_anon(0, bytes);
}

int platform_as_peak_rss(struct platform_as *as, uint64_t *pages)
{
	struct as_head *h = as_head(as);
	char buf[4096];
	const char *line;
	ssize_t n;

	if (h->dead)
		return -ESRCH;
	n = read_proc(h->pid, "status", buf, sizeof(buf));
	if (n < 0)
		return (int)n;
	line = strstr(buf, "\nVmHWM:");
	if (!line)
		return -EIO;
	*pages = strtoull(line + 7, NULL, 10) * 1024 / PAGE_SIZE;
	return 0;
}

/* A file of the thread's directory. */
static ssize_t read_thread(const struct ctx_head *ctx, const char *name, char *buf, size_t size)
{
	char path[48];

	snprintf(path, sizeof(path), "task/%d/%s", ctx->tid, name);
	return read_proc(as_head(ctx->as)->pid, path, buf, size);
}

int platform_ctx_cpu_ns(struct platform_ctx *ctx, uint64_t *ns)
{
	struct as_head *as = as_head(ctx_head(ctx)->as);
	struct timespec ts;
	char buf[128];
	ssize_t n;

	*ns = 0;
	if (as->dead)
		return -ESRCH;
	/* A stub with one thread: its process's clock (Linux: MAKE_PROCESS_CPUCLOCK), one call. */
	if (as->nctx == 1) {
		if (clock_gettime((clockid_t)((~(unsigned)as->pid << 3) | 2), &ts))
			return -ESRCH;
		*ns = (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
		return 0;
	}
	n = read_thread(ctx_head(ctx), "schedstat", buf, sizeof(buf));
	if (n < 0)
		return (int)n;
	*ns = strtoull(buf, NULL, 10);
	ctx_head(ctx)->cpu_ns_seen = *ns;
	*ns -= MIN(*ns, ctx_head(ctx)->cpu_ns_before);
	return 0;
}

int stub_thread_stat(struct platform_ctx *ctx, char *state, uint64_t *user_ms)
{
	unsigned long long utime;
	char buf[512], *after_name;
	ssize_t n = read_thread(ctx_head(ctx), "stat", buf, sizeof(buf));

	if (n < 0)
		return (int)n;
	after_name = strrchr(buf, ')');
	if (!after_name || sscanf(after_name, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu",
				  state, &utime) != 2)
		return -EIO;
	*user_ms = utime * (TICK_NS / 1000000);
	return 0;
}

static int parse_waited(const char *schedstat, uint64_t *ms)
{
	unsigned long long waited_ns;

	if (sscanf(schedstat, "%*u %llu", &waited_ns) != 1)
		return -EIO;
	*ms = waited_ns / 1000000;
	return 0;
}

int stub_thread_waited(struct platform_ctx *ctx, uint64_t *ms)
{
	char buf[128];
	ssize_t n = read_thread(ctx_head(ctx), "schedstat", buf, sizeof(buf));

	return n < 0 ? (int)n : parse_waited(buf, ms);
}

int own_thread_waited(pid_t tid, uint64_t *ms)
{
	char name[48], buf[128];
	ssize_t n;

	snprintf(name, sizeof(name), "task/%d/schedstat", tid);
	n = read_proc(0, name, buf, sizeof(buf));
	return n < 0 ? (int)n : parse_waited(buf, ms);
}

/* --- memory by mapping -------------------------------------------------------------------------
 */

/* A small file of /proc read line by line. */
struct line_reader {
	int fd;
	size_t at, len;
	char buf[16384];
};

/* The next line without its newline, or NULL; one that does not fit is cut in two. */
static char *next_line(struct line_reader *r)
{
	for (;;) {
		char *nl = memchr(r->buf + r->at, '\n', r->len - r->at), *line = r->buf + r->at;
		ssize_t n;

		if (nl) {
			*nl = '\0';
			r->at = (size_t)(nl - r->buf) + 1;
			return line;
		}
		memmove(r->buf, line, r->len - r->at);
		r->len -= r->at;
		r->at = 0;
		if (r->len == sizeof(r->buf)) {
			r->buf[sizeof(r->buf) - 1] = '\n';
			continue;
		}
		n = read(r->fd, r->buf + r->len, sizeof(r->buf) - r->len);
		if (n <= 0)
			return NULL;
		r->len += (size_t)n;
	}
}

/* One line of numbers of a mapping (man 5 proc_pid_smaps): "Rss:     4 kB". */
static void read_counter(const char *line, struct platform_resident *u)
{
	static const struct {
		const char *name;
		size_t offset;
	} fields[] = {
#define FIELD(NAME, MEMBER) {NAME, offsetof(struct platform_resident, MEMBER)}
		FIELD("Rss:", rss),
		FIELD("Pss:", pss),
		FIELD("Shared_Clean:", shared_clean),
		FIELD("Shared_Dirty:", shared_dirty),
		FIELD("Private_Clean:", private_clean),
		FIELD("Private_Dirty:", private_dirty),
		FIELD("Referenced:", referenced),
		FIELD("Anonymous:", anonymous),
		FIELD("AnonHugePages:", anon_huge),
		FIELD("Swap:", swap),
#undef FIELD
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		size_t len = strlen(fields[i].name);

		if (!strncmp(line, fields[i].name, len))
			*(uint64_t *)((char *)u + fields[i].offset) =
				strtoull(line + len, NULL, 10) * 1024;
	}
}

int platform_as_each_mapping(struct platform_as *as,
			     void (*fn)(void *arg, uint64_t start, uint64_t end,
					const struct platform_resident *u),
			     void *arg)
{
	struct line_reader *r __free = calloc(1, sizeof(*r));
	struct platform_resident u = {0};
	uint64_t start = 0, end = 0;
	char *line;

	if (!r)
		return -ENOMEM;
	if (as_head(as)->dead)
		return -ESRCH;
	r->fd = stub_host_open_proc(as_head(as)->pid, "smaps", O_RDONLY);
	if (r->fd < 0)
		return r->fd;
	while ((line = next_line(r))) {
		unsigned long long from, to;

		/* The first line of a mapping is its range; names of counters have no digits. */
		if (sscanf(line, "%llx-%llx ", &from, &to) == 2) {
			if (end)
				fn(arg, start, end, &u);
			u = (struct platform_resident){0};
			start = from;
			end = to;
		} else {
			read_counter(line, &u);
		}
	}
	if (end)
		fn(arg, start, end, &u);
	close(r->fd);
	return 0;
}
