/*
 * Guest memory where process_vm_readv and process_vm_writev are forbidden, as by the seccomp
 * profile of older container engines: /proc/PID/mem moves the bytes. It does not ask for
 * protections (it is made for debuggers), so /proc/PID/maps is asked first. Slow: a few tens of
 * microseconds more.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sentry/platform/shared/stub_host.h"
#include "sentry/platform/shared/usermem.h"

/* The whole of /proc/PID/maps, malloc'd, NUL-terminated; NULL with *error. */
static char *read_maps(pid_t pid, int *error)
{
	int __close_fd fd = stub_host_open_proc(pid, "maps", O_RDONLY);
	size_t size = 16384, used = 0;
	char *text = fd < 0 ? NULL : malloc(size);

	*error = fd < 0 ? fd : -ENOMEM;
	while (text) {
		ssize_t n = read(fd, text + used, size - used - 1);
		char *grown;

		if (n < 0) {
			*error = -errno;
			free(text);
			return NULL;
		}
		used += (size_t)n;
		text[used] = 0;
		if (n == 0)
			break;
		if (size - used > 4096)
			continue;
		size *= 2;
		grown = realloc(text, size);
		if (!grown)
			free(text);
		text = grown;
	}
	return text;
}

/* How many bytes from addr on, at most n, may be read or written. */
static size_t accessible(const char *maps, uint64_t addr, size_t n, bool write)
{
	size_t have = 0;

	for (const char *line = maps; *line && have < n;) {
		const char *end = strchr(line, '\n');
		uint64_t from, to;
		char *p;

		from = strtoull(line, &p, 16);
		to = *p == '-' ? strtoull(p + 1, &p, 16) : 0;
		/* "00400000-00452000 r-xp …" */
		if (to > addr + have) {
			if (from > addr + have || p[0] != ' ' || p[write ? 2 : 1] == '-')
				break;
			have = to - addr;
		}
		line = end ? end + 1 : line + strlen(line);
	}
	return MIN(have, n);
}

ssize_t usermem_by_file(pid_t pid, const struct iovec *local, int nlocal,
			const struct iovec *remote, int nremote, bool write)
{
	int __close_fd mem = stub_host_open_proc(pid, "mem", write ? O_WRONLY : O_RDONLY);
	size_t local_done = 0, remote_done = 0;
	ssize_t total = 0;
	char *__free maps = NULL;
	int error;

	if (mem < 0)
		return mem;
	maps = read_maps(pid, &error);
	if (!maps)
		return error;
	while (nlocal && nremote) {
		size_t want = MIN(local->iov_len - local_done, remote->iov_len - remote_done);
		uint64_t addr = (uint64_t)remote->iov_base + remote_done;
		char *buf = (char *)local->iov_base + local_done;
		size_t n = want ? accessible(maps, addr, want, write) : 0;
		ssize_t r = 0;

		if (n)
			r = write ? pwrite(mem, buf, n, (off_t)addr)
				  : pread(mem, buf, n, (off_t)addr);
		if (r > 0) {
			total += r;
			local_done += (size_t)r;
			remote_done += (size_t)r;
		}
		if (r < (ssize_t)want)
			return total ? total : -EFAULT;
		if (local_done == local->iov_len) {
			local++;
			nlocal--;
			local_done = 0;
		}
		if (remote_done == remote->iov_len) {
			remote++;
			nremote--;
			remote_done = 0;
		}
	}
	return total;
}
