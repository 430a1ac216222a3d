/* NULL-terminated vectors of strings: arguments, environment. */
#include <stdlib.h>
#include <string.h>

#include "tools/moat/cli.h"

bool strv_append(char ***v, const char *s)
{
	size_t n = 0;
	char **grown;

	while (*v && (*v)[n])
		n++;
	grown = realloc(*v, (n + 2) * sizeof(char *));
	if (!grown)
		return false;
	*v = grown;
	grown[n + 1] = NULL;
	grown[n] = strdup(s);
	return grown[n] != NULL;
}

const char *env_find(char *const *env, const char *name)
{
	size_t len = strlen(name);

	for (; env && *env; env++)
		if (!strncmp(*env, name, len) && (*env)[len] == '=')
			return *env + len + 1;
	return NULL;
}

bool env_set(char ***env, const char *assignment)
{
	size_t len = strcspn(assignment, "=");

	for (char **e = *env; e && *e; e++) {
		char *copy;

		if (strncmp(*e, assignment, len) || (*e)[len] != '=')
			continue;
		copy = strdup(assignment);
		if (!copy)
			return false;
		free(*e);
		*e = copy;
		return true;
	}
	return strv_append(env, assignment);
}
