/* Base64 (RFC 4648, section 4): bytes in JSON. */
#include <stdlib.h>
#include <string.h>

#include "serve.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

json_t *base64_json(const void *data, size_t size)
{
	const unsigned char *in = data;
	char *text = size < SIZE_MAX / 2 ? malloc((size + 2) / 3 * 4 + 1) : NULL, *out = text;
	json_t *j;

	if (!text)
		return NULL;
	for (size_t i = 0; i < size; i += 3) {
		size_t n = size - i;
		unsigned bits = (unsigned)in[i] << 16 | (n > 1 ? (unsigned)in[i + 1] << 8 : 0) |
				(n > 2 ? in[i + 2] : 0u);

		*out++ = digits[bits >> 18];
		*out++ = digits[bits >> 12 & 63];
		*out++ = n > 1 ? digits[bits >> 6 & 63] : '=';
		*out++ = n > 2 ? digits[bits & 63] : '=';
	}
	j = json_stringn(text, (size_t)(out - text));
	free(text);
	return j;
}

void *base64_decode(const char *text, size_t *size)
{
	size_t length = strlen(text), n = 0;
	unsigned bits = 0, have = 0;
	unsigned char *out;

	if (length % 4)
		return NULL;
	for (int i = 0; i < 2 && length && text[length - 1] == '='; i++)
		length--;
	out = malloc(length + 1);
	if (!out)
		return NULL;
	for (size_t i = 0; i < length; i++) {
		const char *digit = memchr(digits, text[i], 64);

		if (!digit) {
			free(out);
			return NULL;
		}
		bits = bits << 6 | (unsigned)(digit - digits);
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[n++] = (unsigned char)(bits >> have);
		}
	}
	*size = n;
	return out;
}
