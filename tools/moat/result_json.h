/* What became of a program, as JSON: what `moat do --json` prints and `moat mcp` sends. */
#ifndef MOAT_TOOLS_RESULT_JSON_H
#define MOAT_TOOLS_RESULT_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "lib/libmoat.h"

/* Text of a program's, which may be anything: bytes that are no UTF-8 become U+FFFD. A new
 * reference, NULL without memory. */
json_t *text_to_json(const char *text, size_t size);
/* status, exit_code or signal, times in seconds, memory in bytes, output. A new reference, NULL
 * without memory. */
json_t *result_to_json(const struct moat_result *r);

#endif
