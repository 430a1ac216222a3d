/* Where the core file goes: core_pattern (man 5 core). */
#include <errno.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sentry/kernel/coredump/coredump_internal.h"
#include "sentry/kernel/ns/namespaces.h"

static struct mutex lock = MUTEX_INIT;
static char pattern[CORE_PATTERN_MAX + 1] = "core";
static _Atomic bool uses_pid;

void core_pattern_get(char out[CORE_PATTERN_MAX + 1])
{
	MUTEX_GUARD(&lock);
	memcpy(out, pattern, sizeof(pattern));
}

int core_pattern_set(const char *p)
{
	if (*p == '|' || *p == '@')
		return -EINVAL;
	MUTEX_GUARD(&lock);
	memset(pattern, 0, sizeof(pattern));
	memcpy(pattern, p, strnlen(p, CORE_PATTERN_MAX));
	return 0;
}

bool core_uses_pid_get(void)
{
	return uses_pid;
}

void core_uses_pid_set(bool on)
{
	uses_pid = on;
}

/* A part of the name that is no directory, and no name with a meaning of its own. */
static void put_name(struct text *out, const char *s, size_t max)
{
	size_t from = out->len, n = strnlen(s, max);

	text_write(out, s, n);
	if (out->failed)
		return;
	if ((n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
		out->buf[from] = '!';
	for (size_t i = from; i < out->len; i++)
		if (out->buf[i] == '/')
			out->buf[i] = '!';
	if (!n)
		text_puts(out, "!");
}

/* The program's path, or its last part. */
static void put_exe(struct text *out, struct task *t, bool whole)
{
	char *path __free = NULL, *name = NULL;
	struct file *exe;

	command_lock(&t->mm->lock);
	exe = t->mm->exe ? file_get(t->mm->exe) : NULL;
	mutex_unlock(&t->mm->lock);
	if (exe) {
		path = d_path(&exe->path, NULL);
		file_put(exe);
	}
	if (path && !whole)
		name = strrchr(path, '/');
	put_name(out, name ? name + 1 : path ? path : t->comm, path ? PATH_MAX : TASK_COMM_LEN);
}

static void put_host(struct text *out)
{
	struct uts_ns *ns = current->uts_ns;
	char name[UTS_NAME_LEN + 1] = "";

	if (ns) {
		MUTEX_GUARD(&ns->lock);
		memcpy(name, ns->nodename, sizeof(name));
	}
	put_name(out, name, sizeof(name));
}

static void expand(struct text *out, char c, const struct core_dump *d, bool *has_pid)
{
	struct task *t = d->owner;

	switch (c) {
	case '%':
		text_puts(out, "%");
		break;
	case 'p':
		*has_pid = true;
		text_printf(out, "%d", task_tgid(t));
		break;
	case 'P':
		text_printf(out, "%d", group_nr_ns(t->group, kernel.root_pid_ns));
		break;
	case 'i':
		text_printf(out, "%d", task_tid(t));
		break;
	case 'I':
		text_printf(out, "%d", pid_nr_ns(t->pid, kernel.root_pid_ns));
		break;
	case 'u':
		text_printf(out, "%u", t->cred->uid);
		break;
	case 'g':
		text_printf(out, "%u", t->cred->gid);
		break;
	case 'd':
		text_printf(out, "%d", t->mm->dumpable);
		break;
	case 's':
		text_printf(out, "%d", d->sig);
		break;
	case 't':
		text_printf(out, "%lld", (long long)time(NULL));
		break;
	case 'h':
		put_host(out);
		break;
	case 'e':
		put_name(out, t->comm, TASK_COMM_LEN);
		break;
	case 'f':
		put_exe(out, t, false);
		break;
	case 'E':
		put_exe(out, t, true);
		break;
	case 'c':
		text_printf(out, "%lu", current_rlimit(RLIMIT_CORE));
		break;
	}
}

char *core_name(const struct core_dump *d)
{
	char p[CORE_PATTERN_MAX + 1];
	struct text out = {0};
	bool has_pid = false;

	core_pattern_get(p);
	if (!*p)
		return NULL;
	for (const char *c = p; *c; c++) {
		if (*c != '%') {
			text_write(&out, c, 1);
			continue;
		}
		if (!*++c) /* a single % at the end is dropped, like those that mean nothing */
			break;
		expand(&out, *c, d, &has_pid);
	}
	if (core_uses_pid_get() && !has_pid)
		text_printf(&out, ".%d", task_tgid(d->owner));
	text_write(&out, "", 1);
	if (out.failed || out.len > PATH_MAX) {
		text_free(&out);
		return NULL;
	}
	return out.buf;
}
