#include "tools/moat/result_json.h"

#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

#include "base/compiler.h"

/* Bytes of the well-formed UTF-8 character at p (Unicode 3.9, table 3-7), 0 if there is none. */
static size_t character(const unsigned char *p, size_t left)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n;

	if (*p < 0x80)
		return 1;
	if (*p < 0xc2 || *p > 0xf4)
		return 0;
	n = *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
	if (*p == 0xe0)
		low = 0xa0;
	else if (*p == 0xed)
		high = 0x9f;
	else if (*p == 0xf0)
		low = 0x90;
	else if (*p == 0xf4)
		high = 0x8f;
	if (left < n || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

json_t *text_to_json(const char *text, size_t size)
{
	const unsigned char *p = (const unsigned char *)text;
	char *__free clean = NULL;
	json_t *j = json_stringn(text, size);
	size_t used = 0;

	if (j)
		return j;
	clean = malloc(size * 3 + 1);
	if (!clean)
		return NULL;
	for (size_t i = 0; i < size;) {
		size_t n = character(p + i, size - i);

		if (n)
			memcpy(clean + used, p + i, n);
		else
			memcpy(clean + used, "\xef\xbf\xbd", 3);
		used += n ? n : 3;
		i += n ? n : 1;
	}
	return json_stringn(clean, used);
}

static double seconds(uint64_t ns)
{
	return (double)ns / 1e9;
}

json_t *result_to_json(const struct moat_result *r)
{
	return json_pack("{s:s, s:o, s:o, s:f, s:f, s:f, s:I, s:o, s:o, s:b, s:b}", "status",
			 moat_status_name(r->status), "exit_code",
			 r->signal || r->status != MOAT_EXITED ? json_null()
							       : json_integer(r->exit_code),
			 "signal", r->signal ? json_integer(r->signal) : json_null(), "user_time",
			 seconds(r->user_ns), "system_time", seconds(r->kernel_ns), "wall_time",
			 seconds(r->wall_ns), "memory_peak", (json_int_t)r->memory_peak, "stdout",
			 text_to_json(r->out ? r->out : "", r->out_size), "stderr",
			 text_to_json(r->err ? r->err : "", r->err_size), "stdout_truncated",
			 r->out_truncated, "stderr_truncated", r->err_truncated);
}
