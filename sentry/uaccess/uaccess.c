/*
 * Copies between the sentry and the current task's memory. All of them end in guest_read() and
 * guest_write(); the argument window will be looked up there, before the platform is asked.
 */
#include "sentry/uaccess/uaccess.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "base/log.h"
#include "sentry/kernel/core/current.h"
#include "sentry/platform/platform.h"
#include "sentry/uaccess/uaccess_internal.h"

/* One string of argv or envp (man 2 execve: MAX_ARG_STRLEN). */
#define MAX_ARG_STRLEN (32 * PAGE_SIZE)

bool guest_range_ok(uaddr_t addr, size_t n)
{
	return addr <= GUEST_TASK_SIZE && n <= GUEST_TASK_SIZE - addr;
}

ssize_t guest_read(void *dst, uaddr_t src, size_t n)
{
	struct iovec local = {dst, n};
	struct iovec remote = {(void *)src, n};
	struct platform_as *as = current_as();

	if (unlikely(!guest_range_ok(src, n) || !as))
		return -EFAULT;
	return platform_read_mem(as, &local, 1, &remote, 1);
}

ssize_t guest_write(uaddr_t dst, const void *src, size_t n)
{
	struct iovec local = {(void *)src, n};
	struct iovec remote = {(void *)dst, n};
	struct platform_as *as = current_as();

	if (unlikely(!guest_range_ok(dst, n) || !as))
		return -EFAULT;
	return platform_write_mem(as, &local, 1, &remote, 1);
}

ssize_t copy_from_user_partial(void *dst, uaddr_t src, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = guest_read((char *)dst + done, src + done, n - done);

		if (r <= 0)
			break;
		done += r;
	}
	return done || !n ? (ssize_t)done : -EFAULT;
}

ssize_t copy_to_user_partial(uaddr_t dst, const void *src, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = guest_write(dst + done, (const char *)src + done, n - done);

		if (r <= 0)
			break;
		done += r;
	}
	return done || !n ? (ssize_t)done : -EFAULT;
}

int copy_from_user(void *dst, uaddr_t src, size_t n)
{
	return copy_from_user_partial(dst, src, n) == (ssize_t)n ? 0 : -EFAULT;
}

int copy_to_user(uaddr_t dst, const void *src, size_t n)
{
	return copy_to_user_partial(dst, src, n) == (ssize_t)n ? 0 : -EFAULT;
}

int clear_user(uaddr_t dst, size_t n)
{
	static const char zeros[4 * PAGE_SIZE];

	if (!guest_range_ok(dst, n))
		return -EFAULT;
	while (n) {
		size_t chunk = MIN(n, sizeof(zeros));

		if (copy_to_user(dst, zeros, chunk))
			return -EFAULT;
		dst += chunk;
		n -= chunk;
	}
	return 0;
}

/* Reads at most n bytes, and never makes the end of the guest's range an error. */
static ssize_t read_clipped(void *dst, uaddr_t src, size_t n)
{
	if (src >= GUEST_TASK_SIZE)
		return -EFAULT;
	return guest_read(dst, src, MIN(n, (size_t)(GUEST_TASK_SIZE - src)));
}

ssize_t strncpy_from_user(char *dst, uaddr_t src, size_t max)
{
	size_t done = 0;

	while (done < max) {
		/* Paths are short: the first look is for one that ends soon. */
		size_t want = MIN(max - done, done ? PAGE_SIZE : 256);
		ssize_t r = read_clipped(dst + done, src + done, want);
		char *nul;

		if (r <= 0)
			return -EFAULT;
		nul = memchr(dst + done, 0, r);
		if (nul)
			return nul - dst;
		done += r;
	}
	return -ENAMETOOLONG;
}

int path_from_user(char **out, uaddr_t src)
{
	char buf[PATH_MAX];
	ssize_t len = strncpy_from_user(buf, src, sizeof(buf));

	*out = NULL;
	if (len < 0)
		return (int)len;
	*out = malloc(len + 1);
	if (!*out)
		return -ENOMEM;
	memcpy(*out, buf, len + 1);
	return 0;
}

/* --- vectors of strings ---------------------------------------------------------------------- */

/* What was read last: strings of argv and envp stand one after the other, so most of them come out
 * of one read. Each byte is used once from here. */
struct window {
	uaddr_t base;
	size_t len;
	char buf[PAGE_SIZE];
};

/* The bytes at addr that the window holds, reading anew when it holds none. */
static ssize_t window_at(struct window *w, uaddr_t addr, const char **p)
{
	if (addr < w->base || addr >= w->base + w->len) {
		ssize_t r = read_clipped(w->buf, addr, sizeof(w->buf));

		if (r <= 0)
			return -EFAULT;
		w->base = addr;
		w->len = r;
	}
	*p = w->buf + (addr - w->base);
	return (ssize_t)(w->base + w->len - addr);
}

/* *out: malloc'd string; its length with NUL, or -errno. */
static ssize_t window_string(struct window *w, uaddr_t addr, size_t max, char **out)
{
	char *s = NULL;
	size_t len = 0;

	*out = NULL;
	for (;;) {
		const char *p, *nul;
		ssize_t n = window_at(w, addr + len, &p);
		char *bigger;

		if (n < 0) {
			free(s);
			return n;
		}
		nul = memchr(p, 0, n);
		if (nul)
			n = nul - p + 1;
		if (len + n > max) {
			free(s);
			return -E2BIG;
		}
		bigger = realloc(s, len + n);
		if (!bigger) {
			free(s);
			return -ENOMEM;
		}
		s = bigger;
		memcpy(s + len, p, n);
		len += n;
		if (nul) {
			*out = s;
			return (ssize_t)len;
		}
	}
}

static int vector_push(char ***v, size_t *n, size_t *room, char *s)
{
	if (*n + 1 >= *room) {
		size_t bigger = *room ? *room * 2 : 32;
		char **p = reallocarray(*v, bigger, sizeof(*p));

		if (!p)
			return -ENOMEM;
		*v = p;
		*room = bigger;
	}
	(*v)[(*n)++] = s;
	(*v)[*n] = NULL;
	return 0;
}

static int read_pointer(struct window *w, uaddr_t addr, uint64_t *value)
{
	const char *p;
	ssize_t n = window_at(w, addr, &p);

	if (n >= (ssize_t)sizeof(*value)) {
		memcpy(value, p, sizeof(*value));
		return 0;
	}
	return n < 0 ? -EFAULT : copy_from_user(value, addr, sizeof(*value));
}

int strv_from_user(char ***out, uaddr_t src, size_t max_bytes)
{
	struct window *pointers = calloc(2, sizeof(*pointers));
	struct window *strings = pointers + 1;
	size_t n = 0, room = 0, total = 0;
	char **v = NULL;
	int ret;

	*out = NULL;
	if (!pointers)
		return -ENOMEM;
	for (;;) {
		uint64_t p = 0;
		char *s;
		ssize_t len;

		ret = src ? read_pointer(pointers, src + n * sizeof(p), &p) : 0;
		if (ret || !p)
			break;
		if (total + sizeof(p) >= max_bytes) {
			ret = -E2BIG;
			break;
		}
		total += sizeof(p);
		len = window_string(strings, p, MIN(max_bytes - total, MAX_ARG_STRLEN), &s);
		if (len < 0) {
			ret = (int)len;
			break;
		}
		total += len;
		ret = vector_push(&v, &n, &room, s);
		if (ret) {
			free(s);
			break;
		}
	}
	free(pointers);
	if (!ret && !v) {
		v = calloc(1, sizeof(*v));
		ret = v ? 0 : -ENOMEM;
	}
	if (ret) {
		strv_free(v);
		return ret;
	}
	*out = v;
	return 0;
}

void strv_free(char **v)
{
	if (!v)
		return;
	for (char **p = v; *p; p++)
		free(*p);
	free(v);
}
