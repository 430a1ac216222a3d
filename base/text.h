/* A string that grows, for generated files. Never fails half-way: when memory runs out or the text
 * passes TEXT_MAX, `failed` is set and further output is dropped. */
#ifndef MOAT_BASE_TEXT_H
#define MOAT_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define TEXT_MAX (64UL << 20)	     /* of one text */
#define TEXT_TOTAL_MAX (128UL << 20) /* of all that are open */

struct text {
	char *buf; /* malloc'd; not NUL-terminated */
	size_t len, cap;
	bool failed;
};

void text_printf(struct text *t, const char *fmt, ...) __printf(2, 3);
void text_write(struct text *t, const void *p, size_t n);
void text_puts(struct text *t, const char *s);
/* " <number>": what long lines such as /proc/PID/stat are made of, without printf's cost. */
void text_num(struct text *t, int64_t n);
void text_unum(struct text *t, uint64_t n);
/* Space, tab, newline and backslash as octal escapes (/proc/PID/mounts, maps). */
void text_escaped(struct text *t, const char *s, const char *escape);
void text_free(struct text *t);

#endif
