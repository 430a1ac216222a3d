#include "boot/oci/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/compiler.h"
#include "boot/spec/json_bind.h"

#define STATE_MAX (16 << 20)

static const char *const status_names[] = {
	[STATUS_CREATING] = "creating", [STATUS_CREATED] = "created", [STATUS_RUNNING] = "running",
	[STATUS_PAUSED] = "paused",	[STATUS_STOPPED] = "stopped",
};

void state_free(struct state *s)
{
	free(s->id);
	free(s->sandbox);
	free(s->bundle);
	free(s->netns);
	free(s->rootfs);
	free(s->oci_version);
	json_decref(s->annotations);
	json_decref(s->hooks);
	json_decref(s->cgroups);
	memset(s, 0, sizeof(*s));
}

bool state_id_is_valid(const char *id)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_+-.";

	return *id && strlen(id) <= 255 && strspn(id, allowed) == strlen(id) && strcmp(id, ".") &&
	       strcmp(id, "..");
}

/* --- the directory ---------------------------------------------------------------------------- */

static int make_root(const char *root)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s", root) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		if (mkdir(path, 0711) && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return mkdir(path, 0711) && errno != EEXIST ? -errno : 0;
}

static int open_root(const char *root)
{
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int state_dir(const char *root, const char *id)
{
	int __close_fd dir = open_root(root);
	int fd;

	if (dir < 0)
		return dir;
	fd = openat(dir, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

/* flock of dir/lock, made if need be; -ENOENT if the directory was removed meanwhile. */
static int take_lock(int dir, int *lock)
{
	int __close_fd fd = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;

	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX))
		if (errno != EINTR)
			return -errno;
	/* Who had the lock may have removed the container. */
	if (fstat(fd, &st) || st.st_nlink == 0)
		return -ENOENT;
	*lock = steal_fd(&fd);
	return 0;
}

int state_create(const char *root, const char *id, int *lock)
{
	int __close_fd dir = -1;
	int __close_fd own = -1;
	int ret = make_root(root);

	if (ret)
		return ret;
	dir = open_root(root);
	if (dir < 0)
		return dir;
	if (mkdirat(dir, id, 0711))
		return -errno;
	own = openat(dir, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (own < 0)
		return -errno;
	return take_lock(own, lock);
}

int state_lock(const char *root, const char *id, int *lock)
{
	int __close_fd dir = state_dir(root, id);

	return dir < 0 ? dir : take_lock(dir, lock);
}

int state_remove(const char *root, const char *id)
{
	static const char *const names[] = {"state.json", "state.json.new", "control.sock",
					    "sandbox.log", "lock"};
	int __close_fd dir = state_dir(root, id);
	int __close_fd parent = -1;

	if (dir < 0)
		return dir;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (unlinkat(dir, names[i], 0) && errno != ENOENT)
			return -errno;
	parent = open_root(root);
	if (parent < 0)
		return parent;
	return unlinkat(parent, id, AT_REMOVEDIR) ? -errno : 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char **state_list(const char *root)
{
	DIR *d = opendir(root);
	char **names = calloc(1, sizeof(char *));
	struct dirent *e;
	size_t n = 0;

	while (d && names && (e = readdir(d))) {
		char **grown;

		if (!state_id_is_valid(e->d_name))
			continue;
		grown = realloc(names, (n + 2) * sizeof(char *));
		if (!grown)
			break;
		names = grown;
		names[n] = strdup(e->d_name);
		names[n + 1] = NULL;
		if (!names[n])
			break;
		n++;
	}
	if (d)
		closedir(d);
	if (n)
		qsort(names, n, sizeof(char *), compare_names);
	return names;
}

/* --- the file --------------------------------------------------------------------------------- */

static void token_to_hex(const unsigned char *token, char *hex)
{
	for (int i = 0; i < 32; i++)
		sprintf(hex + 2 * i, "%02x", token[i]);
}

static bool token_from_hex(const char *hex, unsigned char *token)
{
	if (strlen(hex) != 64 || strspn(hex, "0123456789abcdef") != 64)
		return false;
	for (int i = 0; i < 32; i++) {
		unsigned byte;

		sscanf(hex + 2 * i, "%2x", &byte);
		token[i] = (unsigned char)byte;
	}
	return true;
}

static json_t *to_json(const struct state *s)
{
	char hex[65];
	json_t *j;

	token_to_hex(s->token, hex);
	j = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:s}",
		      "version", 1, "id", s->id, "sandbox", s->sandbox, "bundle", s->bundle,
		      "rootfs", s->rootfs, "ociVersion", s->oci_version, "pid", (json_int_t)s->pid,
		      "pidStart", (json_int_t)s->pid_start, "goferPid", (json_int_t)s->gofer_pid,
		      "goferStart", (json_int_t)s->gofer_start, "status", status_names[s->status],
		      "created", (json_int_t)s->created_ns, "owner", (json_int_t)s->owner, "token",
		      hex);
	if (j && s->annotations)
		json_object_set(j, "annotations", s->annotations);
	if (j && s->hooks)
		json_object_set(j, "hooks", s->hooks);
	if (j && s->cgroups)
		json_object_set(j, "cgroups", s->cgroups);
	if (j)
		json_object_set_new(j, "links", json_boolean(s->links));
	if (j && s->resolver_pid) {
		json_object_set_new(j, "resolverPid", json_integer(s->resolver_pid));
		json_object_set_new(j, "resolverStart",
				    json_integer((json_int_t)s->resolver_start));
	}
	if (j && s->netns)
		json_object_set_new(j, "netns", json_string(s->netns));
	return j;
}

static int write_all(int fd, const char *text, size_t n)
{
	while (n) {
		ssize_t w = write(fd, text, n);

		if (w < 0 && errno != EINTR)
			return -errno;
		if (w > 0) {
			text += w;
			n -= (size_t)w;
		}
	}
	return 0;
}

int state_save(const char *root, const struct state *s)
{
	int __close_fd dir = state_dir(root, s->id);
	int __close_fd fd = -1;
	char *__free text = NULL;
	json_t *j;
	int ret;

	if (dir < 0)
		return dir;
	j = to_json(s);
	text = j ? json_dumps(j, JSON_INDENT(1)) : NULL;
	json_decref(j);
	if (!text)
		return -ENOMEM;
	fd = openat(dir, "state.json.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		    0600);
	if (fd < 0)
		return -errno;
	ret = write_all(fd, text, strlen(text));
	if (!ret && (fsync(fd) || renameat(dir, "state.json.new", dir, "state.json")))
		ret = -errno;
	return ret;
}

static char *copy(struct json_bind *b, json_t *j, const char *key)
{
	const char *s = json_bind_string(b, j, key, true);

	return s ? strdup(s) : NULL;
}

static void from_json(struct json_bind *b, json_t *j, struct state *s)
{
	const char *status, *token, *netns;
	json_t *annotations, *hooks, *cgroups, *dir;
	size_t i;

	s->id = copy(b, j, "id");
	s->sandbox = copy(b, j, "sandbox");
	s->bundle = copy(b, j, "bundle");
	s->rootfs = copy(b, j, "rootfs");
	s->oci_version = copy(b, j, "ociVersion");
	s->pid = (pid_t)json_bind_int(b, j, "pid", 0, INT32_MAX, 0);
	s->pid_start = (uint64_t)json_bind_int(b, j, "pidStart", 0, INT64_MAX, 0);
	s->gofer_pid = (pid_t)json_bind_int(b, j, "goferPid", 0, INT32_MAX, 0);
	s->gofer_start = (uint64_t)json_bind_int(b, j, "goferStart", 0, INT64_MAX, 0);
	s->resolver_pid = (pid_t)json_bind_int(b, j, "resolverPid", 0, INT32_MAX, 0);
	s->resolver_start = (uint64_t)json_bind_int(b, j, "resolverStart", 0, INT64_MAX, 0);
	s->created_ns = json_bind_int(b, j, "created", 0, INT64_MAX, 0);
	s->owner = (uid_t)json_bind_int(b, j, "owner", 0, UINT32_MAX, 0);
	s->links = json_bind_bool(b, j, "links", false);
	netns = json_bind_string(b, j, "netns", false);
	if (netns && !(s->netns = strdup(netns)))
		json_bind_fail(b, "out of memory");
	status = json_bind_string(b, j, "status", true);
	token = json_bind_string(b, j, "token", true);
	annotations = json_bind_object(b, j, "annotations", false);
	hooks = json_bind_object(b, j, "hooks", false);
	cgroups = json_bind_array(b, j, "cgroups", false);
	json_array_foreach(cgroups, i, dir) if (!json_is_string(dir))
		json_bind_fail(b, "cgroups: expected strings");
	if (b->failed)
		return;
	s->annotations = json_incref(annotations);
	s->hooks = json_incref(hooks);
	s->cgroups = json_incref(cgroups);
	s->status = STATUS_STOPPED;
	for (unsigned n = 0; n < ARRAY_SIZE(status_names); n++)
		if (!strcmp(status, status_names[n]))
			s->status = (enum state_status)n;
	if (!token_from_hex(token, s->token) || !s->id || !s->sandbox || !s->bundle || !s->rootfs ||
	    !s->oci_version || !state_id_is_valid(s->id) || !state_id_is_valid(s->sandbox))
		json_bind_fail(b, "not what moat writes");
}

int state_load(const char *root, const char *id, struct state *out)
{
	int __close_fd dir = state_dir(root, id);
	int __close_fd fd = -1;
	char err[256];
	struct json_bind b;
	struct stat st;
	json_t *j;

	memset(out, 0, sizeof(*out));
	if (dir < 0)
		return dir;
	fd = openat(dir, "state.json", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > STATE_MAX)
		return -EINVAL;
	j = json_loadfd(fd, JSON_REJECT_DUPLICATES, NULL);
	if (!j || !json_is_object(j)) {
		json_decref(j);
		return -EINVAL;
	}
	json_bind_init(&b, "state.json", err, sizeof(err));
	from_json(&b, j, out);
	json_decref(j);
	if (!b.failed && strcmp(out->id, id))
		b.failed = true;
	if (b.failed)
		state_free(out);
	return b.failed ? -EINVAL : 0;
}

/* --- what it means ---------------------------------------------------------------------------- */

uint64_t process_start_time(pid_t pid)
{
	char path[64], text[1024], *p;
	int __close_fd fd = -1;
	unsigned long long start = 0;
	char state = 0;
	ssize_t n;

	if (pid <= 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = 0;
	/* The name may hold anything: what follows its last parenthesis counts. */
	p = strrchr(text, ')');
	if (!p || sscanf(p + 1,
			 " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
			 "%*d %llu",
			 &state, &start) != 2)
		return 0;
	return state == 'Z' || state == 'X' ? 0 : start;
}

enum state_status state_status(const struct state *s)
{
	if (s->status == STATUS_STOPPED || !s->pid_start ||
	    process_start_time(s->pid) != s->pid_start)
		return STATUS_STOPPED;
	return s->status;
}

const char *state_status_name(enum state_status status)
{
	return status_names[status];
}

void format_time(int64_t ns, char *buf, size_t n)
{
	time_t seconds = ns / 1000000000;
	struct tm tm;
	size_t len;
	char fraction[16];

	gmtime_r(&seconds, &tm);
	len = strftime(buf, n, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(fraction, sizeof(fraction), ".%09lld", (long long)(ns % 1000000000));
	for (char *p = fraction + strlen(fraction) - 1; *p == '0' || *p == '.'; p--) {
		bool dot = *p == '.';

		*p = 0;
		if (dot)
			break;
	}
	snprintf(buf + len, n - len, "%sZ", fraction);
}

json_t *state_to_oci(const struct state *s, enum state_status status, bool with_rootfs)
{
	json_t *j = json_pack("{s:s, s:s, s:I, s:s, s:s}", "ociVersion", s->oci_version, "id",
			      s->id, "pid", (json_int_t)(status == STATUS_STOPPED ? 0 : s->pid),
			      "status", status_names[status], "bundle", s->bundle);
	char created[64];

	if (!j)
		return NULL;
	/* Hooks are not told of a process that there is not. */
	if (!with_rootfs && status == STATUS_STOPPED)
		json_object_del(j, "pid");
	if (with_rootfs) {
		format_time(s->created_ns, created, sizeof(created));
		json_object_set_new(j, "rootfs", json_string(s->rootfs));
		json_object_set_new(j, "created", json_string(created));
	}
	if (s->annotations && json_object_size(s->annotations))
		json_object_set(j, "annotations", s->annotations);
	if (with_rootfs)
		json_object_set_new(j, "owner", json_string(""));
	return j;
}
