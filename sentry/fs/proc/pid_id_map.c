/*
 * uid_map, gid_map, projid_map and setgroups of a process's user namespace (man 7 user_namespaces).
 *
 * A file keeps the namespace that the process was in when it was opened. Who may set a map is said
 * by the credentials of the opener and of the writer both, so that handing the descriptor to a
 * program with more rights gains nothing.
 */
#include <errno.h>
#include <linux/sched.h>
#include <string.h>

#include "sentry/fs/proc/proc_internal.h"
#include "sentry/kernel/task/lifecycle.h"

#define NO_CAPABILITY (-1)

static int open_ns(struct inode *inode, struct file *file)
{
	struct task *__put_task t = proc_task_get(inode);
	struct cred *c;

	if (!t)
		return -EINVAL;
	c = task_cred_get(t);
	file->private = user_ns_get(c->user_ns);
	cred_put(c);
	return 0;
}

static void release_ns(struct file *file)
{
	user_ns_put(file->private);
}

static ssize_t read_text(struct text *t, struct iov_iter *to, int64_t *pos)
{
	ssize_t n = 0;

	if (t->failed)
		n = -ENOMEM;
	else if ((uint64_t)*pos < t->len)
		n = copy_to_iter(to, t->buf + *pos, MIN(iov_iter_count(to), t->len - (size_t)*pos));
	if (n > 0)
		*pos += n;
	text_free(t);
	return n;
}

/* The second column is what the reader's namespace calls the ids, or, if it is this one, what its
 * parent does. */
static ssize_t map_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	const struct user_ns *ns = file->private, *viewer = file->cred->user_ns;
	enum id_kind kind = (enum id_kind)pseudo(file->inode)->node->arg;
	const struct id_map *map = user_ns_map(ns, kind);
	struct text text = {0};

	if (viewer == ns && ns->parent)
		viewer = ns->parent;
	for (unsigned i = 0; map && i < map->n; i++)
		text_printf(&text, "%10u %10u %10u\n", map->extents[i].first,
			    id_from_kernel(viewer, kind, map->extents[i].lower),
			    map->extents[i].count);
	return read_text(&text, to, pos);
}

/* --- setting a map ---------------------------------------------------------------------------- */

/* A decimal number and the blanks after it; NULL: none there, or too large. */
static const char *parse_id(const char *s, uint32_t *out)
{
	uint64_t n = 0;

	if (*s < '0' || *s > '9')
		return NULL;
	for (; *s >= '0' && *s <= '9'; s++) {
		n = n * 10 + (uint64_t)(*s - '0');
		if (n > UINT32_MAX)
			return NULL;
	}
	*out = (uint32_t)n;
	if (*s && *s != ' ' && *s != '\t')
		return NULL;
	return s + strspn(s, " \t");
}

static bool overlap(uint32_t a, uint32_t b, const struct id_extent *x, const struct id_extent *y)
{
	return a <= b + (y->count - 1) && b <= a + (x->count - 1);
}

static bool fits(const struct id_map *map, const struct id_extent *e)
{
	uint32_t end;

	if (e->first == INVALID_ID || e->lower == INVALID_ID || !e->count ||
	    __builtin_add_overflow(e->first, e->count, &end) ||
	    __builtin_add_overflow(e->lower, e->count, &end))
		return false;
	for (unsigned i = 0; i < map->n; i++)
		if (overlap(map->extents[i].first, e->first, &map->extents[i], e) ||
		    overlap(map->extents[i].lower, e->lower, &map->extents[i], e))
			return false;
	return true;
}

static int parse_line(const char *line, struct id_map *map)
{
	struct id_extent *e = &map->extents[map->n];
	const char *s = line + strspn(line, " \t");

	if (map->n == ID_MAP_MAX_EXTENTS)
		return -EINVAL;
	s = parse_id(s, &e->first);
	if (s)
		s = parse_id(s, &e->lower);
	if (s)
		s = parse_id(s, &e->count);
	if (!s || *s || !fits(map, e))
		return -EINVAL;
	map->n++;
	return 0;
}

/* `lower` is still as the parent calls the ids. */
static int parse_map(char *text, struct id_map *map)
{
	char *line;
	int err = 0;

	while (!err && (line = strsep(&text, "\n"))) {
		if (!*line && !text)
			break;
		err = parse_line(line, map);
	}
	return err ? err : map->n ? 0 : -EINVAL;
}

/* Whose user 0 is root of the parent can make files with capabilities that count there: that takes
 * CAP_SETFCAP. */
static bool may_map_root(const struct file *file, const struct user_ns *ns,
			 const struct id_map *map)
{
	bool root = false;

	for (unsigned i = 0; i < map->n; i++)
		root = root || map->extents[i].lower == 0;
	if (!root)
		return true;
	if (file->cred->user_ns == ns)
		return ns->parent_could_setfcap;
	return cred_ns_capable(file->cred, ns->parent, CAP_SETFCAP);
}

static bool may_map(const struct file *file, const struct user_ns *ns, enum id_kind kind,
		    const struct id_map *map)
{
	int cap = kind == ID_USER ? CAP_SETUID : kind == ID_GROUP ? CAP_SETGID : NO_CAPABILITY;
	const struct cred *c = file->cred;

	if (kind == ID_USER && !may_map_root(file, ns, map))
		return false;
	/* Its maker may give itself another name. */
	if (map->n == 1 && map->extents[0].count == 1 && ns->owner == c->euid) {
		uint32_t id = id_to_kernel(ns->parent, kind, map->extents[0].lower);

		if (kind == ID_USER && id == c->euid)
			return true;
		if (kind == ID_GROUP && id == c->egid && !atomic_load(&ns->setgroups_allowed))
			return true;
	}
	return cap == NO_CAPABILITY ||
	       (ns_capable(ns->parent, cap) && cred_ns_capable(c, ns->parent, cap));
}

/* Once only, and of ids that have names in the parent. ns->lock held. Consumes map on success. */
static int set_map(const struct file *file, struct user_ns *ns, enum id_kind kind,
		   struct id_map *map)
{
	if (user_ns_map(ns, kind))
		return -EPERM;
	if (kind != ID_PROJECT && !cred_ns_capable(file->cred, ns, CAP_SYS_ADMIN))
		return -EPERM;
	if (!may_map(file, ns, kind, map))
		return -EPERM;
	for (unsigned i = 0; i < map->n; i++) {
		struct id_extent *e = &map->extents[i];

		e->lower = id_range_to_kernel(ns->parent, kind, e->lower, e->count);
		if (e->lower == INVALID_ID)
			return -EPERM;
	}
	atomic_store_explicit(&ns->maps[kind], map, memory_order_release);
	return 0;
}

static ssize_t map_write(struct file *file, struct iov_iter *from, int64_t *pos, int rwf)
{
	struct user_ns *ns = file->private;
	const struct user_ns *opener = file->cred->user_ns;
	enum id_kind kind = (enum id_kind)pseudo(file->inode)->node->arg;
	size_t n = iov_iter_count(from);
	char text[PSEUDO_WRITE_MAX];
	struct id_map *map;
	int err;

	if (!ns->parent || (opener != ns && opener != ns->parent))
		return -EPERM;
	if (*pos || n >= sizeof(text))
		return -EINVAL;
	if (copy_from_iter(from, text, n) != (ssize_t)n)
		return -EFAULT;
	text[n] = 0;
	map = malloc(sizeof(*map) + (ID_MAP_MAX_EXTENTS + 1) * sizeof(map->extents[0]));
	if (!map)
		return -ENOMEM;
	map->n = 0;
	/* What is after a NUL is not looked at. */
	err = parse_map(text, map);
	mutex_lock(&ns->lock);
	if (!err)
		err = set_map(file, ns, kind, map);
	mutex_unlock(&ns->lock);
	if (err) {
		free(map);
		return err;
	}
	if (kind != ID_PROJECT)
		tasks_show_user_ns(ns);
	*pos = (int64_t)n;
	return (ssize_t)n;
}

const struct file_operations proc_id_map_fops = {
	.open = open_ns,
	.release = release_ns,
	.read = map_read,
	.write = map_write,
};

/* --- setgroups -------------------------------------------------------------------------------- */

static int setgroups_open(struct inode *inode, struct file *file)
{
	int err = open_ns(inode, file);

	if (!err && file->can_write && !ns_capable(file->private, CAP_SYS_ADMIN)) {
		user_ns_put(file->private);
		file->private = NULL;
		return -EACCES;
	}
	return err;
}

static ssize_t setgroups_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	const struct user_ns *ns = file->private;
	struct text text = {0};

	text_puts(&text, atomic_load(&ns->setgroups_allowed) ? "allow\n" : "deny\n");
	return read_text(&text, to, pos);
}

/* "deny" stays, and only before there are groups; those below inherit it when they are made. */
static int set_setgroups(struct user_ns *ns, bool allow)
{
	MUTEX_GUARD(&ns->lock);
	if (allow)
		return atomic_load(&ns->setgroups_allowed) ? 0 : -EPERM;
	if (user_ns_map(ns, ID_GROUP))
		return -EPERM;
	atomic_store(&ns->setgroups_allowed, false);
	return 0;
}

static ssize_t setgroups_write(struct file *file, struct iov_iter *from, int64_t *pos, int rwf)
{
	size_t n = iov_iter_count(from), len;
	char text[8];
	bool allow;
	int err;

	if (*pos || n >= sizeof(text))
		return -EINVAL;
	if (copy_from_iter(from, text, n) != (ssize_t)n)
		return -EFAULT;
	text[n] = 0;
	allow = !strncmp(text, "allow", 5);
	if (!allow && strncmp(text, "deny", 4))
		return -EINVAL;
	len = allow ? 5 : 4;
	if (text[len + strspn(text + len, " \t\n\v\f\r")])
		return -EINVAL;
	err = set_setgroups(file->private, allow);
	if (err)
		return err;
	*pos = (int64_t)n;
	return (ssize_t)n;
}

const struct file_operations proc_setgroups_fops = {
	.open = setgroups_open,
	.release = release_ns,
	.read = setgroups_read,
	.write = setgroups_write,
};
