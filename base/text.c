#include "base/text.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* Texts live as long as the files that show them: all together they are bounded. */
static atomic_size_t total;

static bool reserve(struct text *t, size_t n)
{
	size_t need, cap = t->cap ? t->cap : 1024;
	char *p;

	if (t->failed || __builtin_add_overflow(t->len, n, &need) || need > TEXT_MAX) {
		t->failed = true;
		return false;
	}
	if (need <= t->cap)
		return true;
	while (cap < need)
		cap *= 2;
	if (atomic_fetch_add(&total, cap - t->cap) > TEXT_TOTAL_MAX)
		p = NULL;
	else
		p = realloc(t->buf, cap);
	if (!p) {
		atomic_fetch_sub(&total, cap - t->cap);
		t->failed = true;
		return false;
	}
	t->buf = p;
	t->cap = cap;
	return true;
}

void text_write(struct text *t, const void *p, size_t n)
{
	if (!n || !reserve(t, n))
		return;
	memcpy(t->buf + t->len, p, n);
	t->len += n;
}

void text_puts(struct text *t, const char *s)
{
	text_write(t, s, strlen(s));
}

void text_printf(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (!reserve(t, 128))
		return;
	va_start(ap, fmt);
	n = vsnprintf(t->buf + t->len, t->cap - t->len, fmt, ap);
	va_end(ap);
	if (n < 0) {
		t->failed = true;
		return;
	}
	if ((size_t)n >= t->cap - t->len) {
		if (!reserve(t, (size_t)n + 1))
			return;
		va_start(ap, fmt);
		vsnprintf(t->buf + t->len, t->cap - t->len, fmt, ap);
		va_end(ap);
	}
	t->len += (size_t)n;
}

void text_unum(struct text *t, uint64_t n)
{
	char digits[24];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	digits[--at] = ' ';
	text_write(t, digits + at, sizeof(digits) - at);
}

void text_num(struct text *t, int64_t n)
{
	if (n >= 0)
		text_unum(t, (uint64_t)n);
	else
		text_printf(t, " %lld", (long long)n);
}

void text_escaped(struct text *t, const char *s, const char *escape)
{
	for (; *s; s++) {
		if (strchr(escape, *s))
			text_printf(t, "\\%03o", (unsigned char)*s);
		else
			text_write(t, s, 1);
	}
}

void text_free(struct text *t)
{
	atomic_fetch_sub(&total, t->cap);
	free(t->buf);
	*t = (struct text){0};
}
