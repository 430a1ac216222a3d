#include "boot/host/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/compiler.h"

#define REMOVE_TRIES 100

/* --- files ------------------------------------------------------------------------------------ */

static int write_text(const char *dir, const char *file, const char *text)
{
	char path[PATH_MAX];
	int __close_fd fd = -1;

	if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static bool read_text(const char *dir, const char *file, char *text, size_t size)
{
	char path[PATH_MAX];
	int __close_fd fd = -1;
	ssize_t n;

	if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, size - 1);
	if (n < 0)
		return false;
	text[n] = 0;
	return true;
}

static bool has_file(const char *dir, const char *file)
{
	char path[PATH_MAX];

	return snprintf(path, sizeof(path), "%s/%s", dir, file) < (int)sizeof(path) &&
	       !access(path, F_OK);
}

/* --- where ------------------------------------------------------------------------------------ */

/* The caller's own group in the hierarchy with these controllers ("" for v2). */
static bool own_group(const char *controllers, char *group, size_t size)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[PATH_MAX + 128];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;

		if (!second)
			continue;
		*second++ = 0;
		second[strcspn(second, "\n")] = 0;
		if (strcmp(first + 1, controllers))
			continue;
		found = snprintf(group, size, "%s", second) < (int)size;
	}
	if (f)
		fclose(f);
	return found;
}

/* Of a v1 mount's options, those that are controllers, as /proc/self/cgroup has them. */
static void controllers_of(const char *options, char *out, size_t size)
{
	static const char *const known[] = {
		"cpu",	"cpuacct", "cpuset",   "memory",     "devices", "freezer", "blkio",
		"pids", "net_cls", "net_prio", "perf_event", "hugetlb", "rdma",	   "misc"};
	char *__free copy = strdup(options), *rest = copy, *o;

	*out = 0;
	while (copy && (o = strsep(&rest, ","))) {
		bool wanted = !strncmp(o, "name=", 5);

		for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
			wanted = wanted || !strcmp(o, known[i]);
		if (wanted && strlen(out) + strlen(o) + 2 < size) {
			if (*out)
				strcat(out, ",");
			strcat(out, o);
		}
	}
}

/* cpuset's groups have nothing to run on until they are told: what their parents have. */
static void fill_cpuset(const char *dir, const char *parent)
{
	static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
	char text[4096];

	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		if (read_text(dir, files[i], text, sizeof(text)) && (!*text || *text == '\n') &&
		    read_text(parent, files[i], text, sizeof(text)))
			write_text(dir, files[i], text);
}

/* Lets the children of a v2 group have what it has itself; what cannot be, cannot. */
static void delegate(const char *dir)
{
	char text[512], *__free copy = NULL, *rest, *name;

	if (!read_text(dir, "cgroup.controllers", text, sizeof(text)))
		return;
	text[strcspn(text, "\n")] = 0;
	rest = copy = strdup(text);
	while (copy && (name = strsep(&rest, " "))) {
		char enable[64];

		if (*name && snprintf(enable, sizeof(enable), "+%s", name) < (int)sizeof(enable))
			write_text(dir, "cgroup.subtree_control", enable);
	}
}

/* mkdir -p below the mount point. */
static int make_group(char *dir, size_t mount_len, bool v2)
{
	char parent[PATH_MAX];

	for (char *p = dir + mount_len + 1;; p++) {
		bool last = !*p;

		if (!last && *p != '/')
			continue;
		*p = 0;
		snprintf(parent, sizeof(parent), "%s", dir);
		*strrchr(parent, '/') = 0;
		if (v2)
			delegate(parent);
		if (mkdir(dir, 0755) && errno != EEXIST)
			return -errno;
		if (!v2)
			fill_cpuset(dir, parent);
		if (last)
			return 0;
		*p = '/';
	}
}

static bool path_is_safe(const char *path)
{
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && !strncmp(p, "..", 2))
			return false;
		p += n + (p[n] == '/');
	}
	return true;
}

/* One line of mountinfo: makes the group if it is a hierarchy, or only names it. */
static int visit_mount(const char *line, const char *path, const char *id, bool make, json_t *dirs)
{
	char point[PATH_MAX], type[64], options[512], controllers[512] = "", group[PATH_MAX];
	char dir[PATH_MAX];
	const char *dash = strstr(line, " - ");
	bool v2;
	int n, ret;

	if (!dash || sscanf(line, "%*d %*d %*s %*s %4095s", point) != 1 ||
	    sscanf(dash, " - %63s %*s %511s", type, options) != 2)
		return 0;
	v2 = !strcmp(type, "cgroup2");
	if (!v2 && strcmp(type, "cgroup"))
		return 0;
	if (!v2)
		controllers_of(options, controllers, sizeof(controllers));
	if (path && *path == '/')
		n = snprintf(dir, sizeof(dir), "%s%s", point, path);
	else if (own_group(controllers, group, sizeof(group)))
		n = snprintf(dir, sizeof(dir), "%s%s/%s", point, strcmp(group, "/") ? group : "",
			     path && *path ? path : id);
	else
		return 0;
	if (n >= (int)sizeof(dir))
		return -ENAMETOOLONG;
	ret = make ? make_group(dir, strlen(point), v2) : 0;
	/* Read-only, or not ours: done without. */
	if (ret == -EROFS || ret == -EACCES || ret == -EPERM || ret == -ENOENT)
		return 0;
	return ret ? ret : json_array_append_new(dirs, json_string(dir)) ? -ENOMEM : 0;
}

static int visit_all(const char *path, const char *id, bool make, json_t **dirs, char *err,
		     size_t errlen)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *__free line = NULL;
	size_t size = 0;
	int ret = 0;

	*dirs = json_array();
	if (!*dirs || !f)
		ret = f ? -ENOMEM : -errno;
	if (path && !path_is_safe(path))
		ret = -EINVAL;
	while (!ret && getline(&line, &size, f) > 0)
		ret = visit_mount(line, path, id, make, *dirs);
	if (f)
		fclose(f);
	if (ret)
		snprintf(err, errlen, "cgroup %s: %s", path ? path : id, strerror(-ret));
	return ret;
}

int cgroup_name(const char *path, const char *id, json_t **dirs, char *err, size_t errlen)
{
	return visit_all(path, id, false, dirs, err, errlen);
}

int cgroup_create(const char *path, const char *id, json_t *resources, json_t **dirs, char *err,
		  size_t errlen)
{
	int ret = visit_all(path, id, true, dirs, err, errlen);

	if (ret)
		return ret;
	return resources ? cgroup_set(*dirs, resources, err, errlen) : 0;
}

/* --- limits ----------------------------------------------------------------------------------- */

struct setter {
	json_t *dirs;
	char *err;
	size_t errlen;
	int ret;
};

/* Writes to each of the groups that has such a file. */
static void put(struct setter *s, const char *file, const char *text)
{
	json_t *dir;
	size_t i;

	json_array_foreach(s->dirs, i, dir)
	{
		const char *d = json_string_value(dir);
		int ret;

		if (s->ret || !d || !has_file(d, file))
			continue;
		ret = write_text(d, file, text);
		if (ret) {
			s->ret = ret;
			snprintf(s->err, s->errlen, "cannot write %s to %s of cgroup %s: %s", text,
				 file, d, strerror(-ret));
		}
	}
}

static void put_number(struct setter *s, const char *file, json_int_t n)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", (long long)n);
	put(s, file, text);
}

static void put_max(struct setter *s, const char *file, json_int_t n)
{
	if (n < 0)
		put(s, file, "max");
	else
		put_number(s, file, n);
}

static bool number(json_t *object, const char *key, json_int_t *n)
{
	json_t *v = json_object_get(object, key);

	if (!v || !(json_is_integer(v) || json_is_real(v)))
		return false;
	*n = json_is_integer(v) ? json_integer_value(v) : (json_int_t)json_real_value(v);
	return *n != 0;
}

/* The limit with swap is never below that without: which is written first depends on which grows.
 */
static void set_memory(struct setter *s, json_t *memory)
{
	json_int_t limit = 0, swap = 0, reservation;
	bool has_limit = number(memory, "limit", &limit);
	bool has_swap = number(memory, "swap", &swap);
	unsigned long long now;

	if (has_swap && has_limit && cgroup_read(s->dirs, "memory.memsw.limit_in_bytes", &now) &&
	    (swap < 0 || (unsigned long long)swap > now)) {
		put_number(s, "memory.memsw.limit_in_bytes", swap);
		put_number(s, "memory.limit_in_bytes", limit);
	} else {
		if (has_limit)
			put_number(s, "memory.limit_in_bytes", limit);
		if (has_swap)
			put_number(s, "memory.memsw.limit_in_bytes", swap);
	}
	if (has_limit)
		put_max(s, "memory.max", limit);
	if (has_swap)
		put_max(s, "memory.swap.max", swap < 0 || limit <= 0 ? -1 : swap - limit);
	if (number(memory, "reservation", &reservation)) {
		put_number(s, "memory.soft_limit_in_bytes", reservation);
		put_max(s, "memory.low", reservation);
	}
}

static void set_cpu(struct setter *s, json_t *cpu)
{
	json_int_t shares, quota = 0, period = 0;
	bool has_quota = number(cpu, "quota", &quota), has_period = number(cpu, "period", &period);
	const char *cpus = json_string_value(json_object_get(cpu, "cpus"));
	const char *mems = json_string_value(json_object_get(cpu, "mems"));
	char text[64];

	if (number(cpu, "shares", &shares)) {
		put_number(s, "cpu.shares", shares);
		/* The same proportion on v2's scale. */
		put_number(s, "cpu.weight", 1 + ((shares - 2) * 9999) / 262142);
	}
	if (has_period)
		put_number(s, "cpu.cfs_period_us", period);
	if (has_quota)
		put_number(s, "cpu.cfs_quota_us", quota);
	if (has_quota || has_period) {
		if (quota > 0)
			snprintf(text, sizeof(text), "%lld %lld", (long long)quota,
				 (long long)(has_period ? period : 100000));
		else
			snprintf(text, sizeof(text), "max %lld",
				 (long long)(has_period ? period : 100000));
		put(s, "cpu.max", text);
	}
	if (cpus && *cpus)
		put(s, "cpuset.cpus", cpus);
	if (mems && *mems)
		put(s, "cpuset.mems", mems);
}

int cgroup_set(json_t *dirs, json_t *resources, char *err, size_t errlen)
{
	struct setter s = {.dirs = dirs, .err = err, .errlen = errlen};
	json_t *unified = json_object_get(resources, "unified"), *value;
	const char *key;

	set_memory(&s, json_object_get(resources, "memory"));
	set_cpu(&s, json_object_get(resources, "cpu"));
	json_object_foreach(unified, key, value)
	{
		if (!json_is_string(value) || strchr(key, '/'))
			continue;
		put(&s, key, json_string_value(value));
	}
	return s.ret;
}

/* --- who is in them --------------------------------------------------------------------------- */

static int open_file(const char *dir, const char *file, int flags)
{
	char path[PATH_MAX];
	int fd;

	if (!dir || snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_group(const char *dir, struct cgroup_door *door)
{
	int fd = open_file(dir, "tasks", O_WRONLY);

	if (fd >= 0 && door->n == CGROUP_HIERARCHIES) {
		close(fd);
		return -E2BIG;
	}
	if (fd >= 0) {
		door->tasks[door->n++] = fd;
		return 0;
	}
	if (fd != -ENOENT || door->unified >= 0)
		return fd;
	door->unified = open_file(dir, ".", O_PATH | O_DIRECTORY);
	door->procs = open_file(dir, "cgroup.procs", O_WRONLY);
	return door->procs < 0 ? door->procs : 0;
}

int cgroup_open(json_t *dirs, struct cgroup_door *door)
{
	json_t *dir;
	size_t i;

	*door = (struct cgroup_door){.unified = -1, .procs = -1};
	json_array_foreach(dirs, i, dir)
	{
		int ret = open_group(json_string_value(dir), door);

		if (ret)
			return ret;
	}
	return 0;
}

void cgroup_close(struct cgroup_door *door)
{
	while (door->n)
		close(door->tasks[--door->n]);
	close_fd_ptr(&door->unified);
	close_fd_ptr(&door->procs);
}

int cgroup_enter(const struct cgroup_door *door, bool born_in)
{
	for (unsigned i = 0; i < door->n; i++)
		if (write(door->tasks[i], "0", 1) < 0)
			return -errno;
	return door->procs >= 0 && !born_in && write(door->procs, "0", 1) < 0 ? -errno : 0;
}

int oom_score_set(pid_t pid, int score)
{
	char dir[32], text[16];

	snprintf(dir, sizeof(dir), "/proc/%d", pid);
	snprintf(text, sizeof(text), "%d", score);
	return write_text(dir, "oom_score_adj", text);
}

int cgroup_join(json_t *dirs, pid_t pid)
{
	char text[16];
	json_t *dir;
	size_t i;

	snprintf(text, sizeof(text), "%d", pid);
	json_array_foreach(dirs, i, dir)
	{
		int ret = write_text(json_string_value(dir), "cgroup.procs", text);

		if (ret)
			return ret;
	}
	return 0;
}

void cgroup_remove(json_t *dirs)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	json_t *dir;
	size_t i;

	json_array_foreach(dirs, i, dir)
	{
		const char *d = json_string_value(dir);

		for (int n = 0; d && n < REMOVE_TRIES && rmdir(d) && errno == EBUSY; n++)
			nanosleep(&pause, NULL);
	}
}

bool cgroup_read_text(json_t *dirs, const char *file, char *text, size_t size)
{
	json_t *dir;
	size_t i;

	json_array_foreach(
		dirs, i, dir) if (read_text(json_string_value(dir), file, text, size)) return true;
	return false;
}

bool cgroup_read(json_t *dirs, const char *file, unsigned long long *value)
{
	char text[64];

	if (!cgroup_read_text(dirs, file, text, sizeof(text)))
		return false;
	if (!strncmp(text, "max", 3)) {
		*value = ULLONG_MAX;
		return true;
	}
	return sscanf(text, "%llu", value) == 1;
}
