#include "base/fds.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/host.h"

static int compare_int(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

/* Closes from..to, which may be beyond all that are open. */
static void close_range_of_fds(unsigned from, unsigned to)
{
	struct rlimit limit;
	struct dirent *e;
	DIR *dir;

	if (host_has(HOST_CLOSE_RANGE)) {
		if (!syscall(SYS_close_range, from, to, 0))
			return;
		host_lacks(HOST_CLOSE_RANGE);
	}
	/* Before Linux 5.9. */
	dir = opendir("/proc/self/fd");
	if (dir) {
		int own = dirfd(dir);

		while ((e = readdir(dir))) {
			unsigned fd = (unsigned)strtoul(e->d_name, NULL, 10);

			if (isdigit((unsigned char)e->d_name[0]) && fd >= from && fd <= to &&
			    (int)fd != own)
				close((int)fd);
		}
		closedir(dir);
		return;
	}
	if (getrlimit(RLIMIT_NOFILE, &limit))
		limit.rlim_max = 1 << 20;
	for (rlim_t fd = from; fd <= to && fd < limit.rlim_max && fd < 1 << 20; fd++)
		close((int)fd);
}

void fds_close_others(const int *keep, int n)
{
	int sorted[600];
	unsigned from = 3;
	int count = 0;

	for (int i = 0; i < n && count < (int)ARRAY_SIZE(sorted); i++)
		if (keep[i] >= 3)
			sorted[count++] = keep[i];
	qsort(sorted, count, sizeof(int), compare_int);
	for (int i = 0; i < count; i++) {
		if ((unsigned)sorted[i] > from)
			close_range_of_fds(from, sorted[i] - 1);
		from = sorted[i] + 1;
	}
	close_range_of_fds(from, ~0U);
}
