/* Sizes and durations as people write them. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "tools/moat/cli.h"

bool parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	unsigned long long n;
	unsigned shift = 0;
	const char *u;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return false;
	if (*end && (u = strchr(units, toupper((unsigned char)*end)))) {
		shift = 10 * (unsigned)(u - units + 1);
		end++;
		if (!strcasecmp(end, "ib"))
			end += 2;
	}
	if (!strcasecmp(end, "b"))
		end++;
	if (*end || n > UINT64_MAX >> shift)
		return false;
	*bytes = n << shift;
	return true;
}

bool parse_duration(const char *text, int64_t *ns)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
	double total = 0;

	if (!*text)
		return false;
	while (*text) {
		size_t len;
		unsigned i;
		double n;
		char *end;

		/* No sign, no "inf", no hexadecimal. */
		if (!isdigit((unsigned char)*text) || (text[0] == '0' && tolower(text[1]) == 'x'))
			return false;
		n = strtod(text, &end);
		len = strcspn(end, "0123456789.");
		if (!len) {
			if (*end || total > 0)
				return false;
			total = n * 1e9;
			break;
		}
		for (i = 0; i < ARRAY_SIZE(units); i++)
			if (strlen(units[i].name) == len && !strncmp(end, units[i].name, len))
				break;
		if (i == ARRAY_SIZE(units))
			return false;
		total += n * units[i].ns;
		text = end + len;
	}
	if (!(total >= 1 && total < 9e18))
		return false;
	*ns = (int64_t)total;
	return true;
}
