/* Tunables of a stack as text. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "sentry/net/inet/show.h"

#define VALUES_MAX 3

int inet_sysctl_show(struct text *out, struct netstack *s, const char *name)
{
	long values[VALUES_MAX];
	int n = netstack_sysctl_get(s, name, values, VALUES_MAX);

	for (int i = 0; i < n && i < VALUES_MAX; i++)
		text_printf(out, "%s%ld", i ? "\t" : "", values[i]);
	if (n > 0)
		text_puts(out, "\n");
	return n < 0 ? n : 0;
}

int inet_sysctl_set(struct netstack *s, const char *name, const char *text)
{
	long values[VALUES_MAX];
	int n = 0, ret;

	for (;;) {
		char *end;

		while (isspace((unsigned char)*text))
			text++;
		if (!*text)
			break;
		if (n == VALUES_MAX)
			return -EINVAL;
		errno = 0;
		values[n] = strtol(text, &end, 10);
		if (end == text || errno || (*end && !isspace((unsigned char)*end)))
			return -EINVAL;
		n++;
		text = end;
	}
	ret = n ? netstack_sysctl_set(s, name, values, n) : -EINVAL;
	return ret < 0 ? ret : 0;
}
