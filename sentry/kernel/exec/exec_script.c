/* "#!" scripts (man 2 execve, "Interpreter scripts"). */
#include <errno.h>
#include <string.h>

#include "sentry/kernel/exec/exec_internal.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"

#define MAX_DEPTH 5

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Splits "#! interp arg" in place. *arg is NULL when there is none. */
static int parse_line(char *head, size_t len, char **interp, char **arg)
{
	char *p = head + 2, *end = memchr(head, '\n', len);
	/* Linux takes the zeros behind the end of a file for an interpreter's name, which is empty.
	 */
	int no_name = end ? -ENOEXEC : -EACCES;

	if (!end) {
		/* A line that goes on beyond what was read is fine if the interpreter's name ends
		 * before; a file that ends without a newline is fine, too. */
		end = head + strnlen(head, len);
		if (len == EXEC_HEAD_SIZE && end == head + len) {
			char *q = p;

			while (q < end && is_blank(*q))
				q++;
			while (q < end && !is_blank(*q))
				q++;
			if (q == end)
				return -ENOEXEC;
			end--;
		}
	}
	while (end > p && is_blank(end[-1]))
		end--;
	*end = 0;
	while (is_blank(*p))
		p++;
	if (!*p)
		return no_name;
	*interp = p;
	*arg = NULL;
	while (*p && !is_blank(*p))
		p++;
	if (*p) {
		*p++ = 0;
		while (is_blank(*p))
			p++;
		if (*p)
			*arg = p;
	}
	return 0;
}

/* argv becomes: interp [arg] name argv[1]... */
static int rewrite_argv(struct exec *e, const char *interp, const char *arg)
{
	const char *script = e->script_name ? e->script_name : e->name;
	size_t old = strv_count(e->argv), n = 0;
	char **v = calloc(old + 4, sizeof(char *));

	if (!v)
		return -ENOMEM;
	v[n++] = strdup(interp);
	if (arg)
		v[n++] = strdup(arg);
	v[n++] = strdup(script);
	for (size_t i = 0; i < n; i++) {
		if (v[i])
			continue;
		for (size_t k = 0; k < n; k++)
			free(v[k]);
		free(v);
		return -ENOMEM;
	}
	for (size_t i = 1; i < old; i++)
		v[n++] = e->argv[i];
	free(e->argv[0]);
	free(e->argv);
	e->argv = v;
	/* An interpreter may be a script itself: then that one's name is the next argument. */
	free(e->script_name);
	e->script_name = strdup(interp);
	return e->script_name ? 0 : -ENOMEM;
}

int exec_resolve_scripts(struct exec *e)
{
	for (int depth = 0;; depth++) {
		char line[EXEC_HEAD_SIZE + 1] = {0}, *interp, *arg;
		int err;

		if (e->head_len < 2 || e->head[0] != '#' || e->head[1] != '!')
			return 0;
		if (depth == MAX_DEPTH)
			return -ELOOP;
		if (e->fd_path_gone)
			return -ENOENT;
		memcpy(line, e->head, e->head_len);
		err = parse_line(line, e->head_len, &interp, &arg);
		if (!err)
			err = rewrite_argv(e, interp, arg);
		if (err)
			return err;
		if (!e->script)
			e->script = file_get(e->file);
		err = exec_open(e, AT_FDCWD, interp, LOOKUP_FOLLOW);
		if (err)
			return err;
	}
}
