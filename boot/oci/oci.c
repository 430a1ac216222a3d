/* config.json: the process, the root, and what surrounds them. Mounts are in oci_mounts.c. */
#include "boot/oci/oci.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/log.h"
#include "boot/spec/egress.h"
#include "boot/spec/json_bind.h"
#include "boot/oci/oci_host.h"
#include "boot/oci/oci_linux.h"
#include "boot/oci/oci_mounts.h"
#include "boot/oci/oci_pod.h"
#include "boot/oci/oci_process.h"

static char *copy_string(struct json_bind *b, const char *s)
{
	char *copy;

	if (!s)
		return NULL;
	copy = strdup(s);
	if (!copy)
		json_bind_fail(b, "out of memory");
	return copy;
}

static void parse_user(struct json_bind *b, json_t *process, struct process_spec *spec)
{
	json_t *user = json_bind_object(b, process, "user", false), *groups, *v;
	size_t i;

	json_bind_enter(b, "user");
	spec->uid = json_bind_int(b, user, "uid", 0, UINT32_MAX - 1, 0);
	spec->gid = json_bind_int(b, user, "gid", 0, UINT32_MAX - 1, 0);
	spec->umask = json_bind_int(b, user, "umask", 0, 0777, 022);
	groups = json_bind_array(b, user, "additionalGids", false);
	json_bind_enter(b, "additionalGids");
	if (json_array_size(groups) > NGROUPS_MAX)
		json_bind_fail(b, "more than %d groups", NGROUPS_MAX);
	if (groups && !b->failed) {
		spec->groups = calloc(json_array_size(groups) + 1, sizeof(gid_t));
		if (!spec->groups)
			json_bind_fail(b, "out of memory");
	}
	json_array_foreach(groups, i, v)
	{
		if (b->failed)
			break;
		json_bind_enter_index(b, i);
		if (!json_is_integer(v) || json_integer_value(v) < 0 ||
		    json_integer_value(v) >= UINT32_MAX)
			json_bind_fail(b, "expected a group id");
		else
			spec->groups[spec->ngroups++] = json_integer_value(v);
		json_bind_leave(b);
	}
	json_bind_leave(b);
	json_bind_leave(b);
}

static uint64_t parse_cap_set(struct json_bind *b, json_t *caps, const char *key)
{
	json_t *names = json_bind_array(b, caps, key, false), *v;
	uint64_t set = 0;
	size_t i;

	json_bind_enter(b, key);
	json_array_foreach(names, i, v)
	{
		cap_value_t cap;

		if (b->failed)
			break;
		json_bind_enter_index(b, i);
		if (!json_is_string(v))
			json_bind_fail(b, "expected a string");
		else if (cap_from_name(json_string_value(v), &cap) || cap > CAP_LAST_CAP)
			/* As runc and crun: a bundle may name those of a newer kernel. */
			log_warn("%s: %s: capability '%s' is unknown, ignored", b->file, b->path,
				 json_string_value(v));
		else
			set |= 1ULL << cap;
		json_bind_leave(b);
	}
	json_bind_leave(b);
	return set;
}

static void parse_caps(struct json_bind *b, json_t *process, struct process_spec *spec)
{
	json_t *caps = json_bind_object(b, process, "capabilities", false);

	json_bind_enter(b, "capabilities");
	spec->caps = (struct spec_caps){
		.bounding = parse_cap_set(b, caps, "bounding"),
		.effective = parse_cap_set(b, caps, "effective"),
		.inheritable = parse_cap_set(b, caps, "inheritable"),
		.permitted = parse_cap_set(b, caps, "permitted"),
		.ambient = parse_cap_set(b, caps, "ambient"),
	};
	if (spec->caps.effective & ~spec->caps.permitted)
		json_bind_fail(b, "effective has capabilities that permitted has not");
	/* `runc spec` lists ambient ones that are not inheritable, which the kernel would refuse to
	 * raise (man 2 PR_CAP_AMBIENT); runc and crun do without them in silence, and so do we. */
	spec->caps.ambient &= spec->caps.permitted & spec->caps.inheritable;
	/* man 2 capset refuses it, and so runc and crun do. */
	if (spec->caps.inheritable & ~spec->caps.bounding)
		json_bind_fail(b, "inheritable has capabilities that bounding has not");
	json_bind_leave(b);
}

static int rlimit_from_name(const char *name)
{
	static const struct {
		const char *name;
		int resource;
	} limits[] = {
		{"AS", RLIMIT_AS},
		{"CORE", RLIMIT_CORE},
		{"CPU", RLIMIT_CPU},
		{"DATA", RLIMIT_DATA},
		{"FSIZE", RLIMIT_FSIZE},
		{"LOCKS", RLIMIT_LOCKS},
		{"MEMLOCK", RLIMIT_MEMLOCK},
		{"MSGQUEUE", RLIMIT_MSGQUEUE},
		{"NICE", RLIMIT_NICE},
		{"NOFILE", RLIMIT_NOFILE},
		{"NPROC", RLIMIT_NPROC},
		{"RSS", RLIMIT_RSS},
		{"RTPRIO", RLIMIT_RTPRIO},
		{"RTTIME", RLIMIT_RTTIME},
		{"SIGPENDING", RLIMIT_SIGPENDING},
		{"STACK", RLIMIT_STACK},
	};

	if (strncmp(name, "RLIMIT_", 7))
		return -1;
	for (unsigned i = 0; i < ARRAY_SIZE(limits); i++)
		if (!strcmp(name + 7, limits[i].name))
			return limits[i].resource;
	return -1;
}

static void parse_one_rlimit(struct json_bind *b, json_t *v, struct process_spec *spec,
			     unsigned *seen)
{
	const char *name;
	struct rlimit lim;
	int resource;

	if (!json_is_object(v)) {
		json_bind_fail(b, "expected an object");
		return;
	}
	name = json_bind_string(b, v, "type", true);
	lim.rlim_cur = json_bind_uint64(b, v, "soft", true);
	lim.rlim_max = json_bind_uint64(b, v, "hard", true);
	if (b->failed)
		return;
	resource = rlimit_from_name(name);
	if (resource < 0)
		json_bind_fail(b, "unknown resource limit '%s'", name);
	else if (*seen & 1u << resource)
		json_bind_fail(b, "%s is there twice", name);
	else if (lim.rlim_cur > lim.rlim_max)
		json_bind_fail(b, "soft limit above the hard limit");
	else
		spec->rlim[resource] = lim;
	if (!b->failed)
		*seen |= 1u << resource;
}

static void parse_rlimits(struct json_bind *b, json_t *process, struct process_spec *spec)
{
	json_t *limits = json_bind_array(b, process, "rlimits", false), *v;
	unsigned seen = 0;
	size_t i;

	json_bind_enter(b, "rlimits");
	json_array_foreach(limits, i, v)
	{
		json_bind_enter_index(b, i);
		parse_one_rlimit(b, v, spec, &seen);
		json_bind_leave(b);
	}
	json_bind_leave(b);
}

/* What follows `process` is where we are. */
static void parse_process(struct json_bind *b, json_t *process, struct process_spec *spec)
{
	json_t *size = json_bind_object(b, process, "consoleSize", false);

	spec->terminal = json_bind_bool(b, process, "terminal", false);
	json_bind_enter(b, "consoleSize");
	spec->rows = (uint16_t)json_bind_int(b, size, "height", 0, UINT16_MAX, 0);
	spec->columns = (uint16_t)json_bind_int(b, size, "width", 0, UINT16_MAX, 0);
	json_bind_leave(b);
	spec->cwd = copy_string(b, json_bind_string(b, process, "cwd", true));
	if (spec->cwd && *spec->cwd != '/') {
		json_bind_enter(b, "cwd");
		json_bind_fail(b, "expected an absolute path");
		json_bind_leave(b);
	}
	spec->argv = json_bind_strings(b, process, "args", true, false);
	if (spec->argv && !spec->argv[0]) {
		json_bind_enter(b, "args");
		json_bind_fail(b, "empty");
		json_bind_leave(b);
	}
	spec->envp = json_bind_strings(b, process, "env", false, false);
	if (!spec->envp && !b->failed && !(spec->envp = calloc(1, sizeof(char *))))
		json_bind_fail(b, "out of memory");
	parse_user(b, process, spec);
	parse_caps(b, process, spec);
	parse_rlimits(b, process, spec);
	spec->no_new_privs = json_bind_bool(b, process, "noNewPrivileges", false);
	spec->oom_score_adj = json_bind_int(b, process, "oomScoreAdj", -1000, 1000, 0);
	oci_parse_label(b, process, spec);
	oci_parse_scheduling(b, process, spec);
}

static char *parse_name(struct json_bind *b, json_t *config, const char *key)
{
	const char *name = json_bind_string(b, config, key, false);

	if (name && strlen(name) > 64) {
		json_bind_enter(b, key);
		json_bind_fail(b, "longer than 64 characters");
		json_bind_leave(b);
	}
	return copy_string(b, name);
}

/* A hook that does not run would be a promise broken in silence. */
static void refuse_hooks(struct json_bind *b, json_t *config)
{
	json_t *hooks = json_bind_object(b, config, "hooks", false), *v;
	const char *key;

	json_object_foreach(hooks, key, v)
	{
		if (json_is_null(v) || (json_is_array(v) && !json_array_size(v)))
			continue;
		json_bind_enter(b, "hooks");
		json_bind_enter(b, key);
		json_bind_fail(b, "hooks are not supported");
		json_bind_leave(b);
		json_bind_leave(b);
	}
}

/* Whoever starts the runtime may have said what holds; a container's own wish does not change that.
 */
static void parse_egress(struct json_bind *b, json_t *annotations, struct sandbox_spec *spec)
{
	json_t *v = json_object_get(annotations, EGRESS_ANNOTATION);
	char err[256];

	if (!v || b->failed)
		return;
	json_bind_enter(b, "annotations");
	json_bind_enter(b, EGRESS_ANNOTATION);
	if (spec->egress_given)
		log_warn("%s: %s: --egress holds", b->file, b->path);
	else if (!spec->egress && !(spec->egress = calloc(1, sizeof(*spec->egress))))
		json_bind_fail(b, "out of memory");
	else if (!json_is_string(v))
		json_bind_fail(b, "expected a string");
	else if (egress_parse(json_string_value(v), json_string_length(v), "policy", spec->egress,
			      err, sizeof(err)))
		json_bind_fail(b, "%s", err);
	json_bind_leave(b);
	json_bind_leave(b);
}

static void parse_config(struct json_bind *b, json_t *config, struct sandbox_spec *spec,
			 struct oci_host *host)
{
	const char *version;
	json_t *process;

	if (!json_is_object(config)) {
		json_bind_fail(b, "expected an object");
		return;
	}
	version = json_bind_string(b, config, "ociVersion", true);
	if (version && strncmp(version, "1.", 2)) {
		json_bind_enter(b, "ociVersion");
		json_bind_fail(b, "version '%s' is not supported; 1.x is", version);
		json_bind_leave(b);
	}
	process = json_bind_object(b, config, "process", true);
	json_bind_enter(b, "process");
	parse_process(b, process, &spec->container.process);
	json_bind_leave(b);
	oci_parse_root(b, config, spec);
	oci_parse_mounts(b, config, spec);
	spec->container.hostname = parse_name(b, config, "hostname");
	spec->container.domainname = parse_name(b, config, "domainname");
	oci_parse_linux(b, config, spec);
	oci_parse_shared_pids(b, json_object_get(config, "linux"), &spec->container);
	oci_apply_mount_hints(b, json_bind_object(b, config, "annotations", false),
			      &spec->container);
	parse_egress(b, json_bind_object(b, config, "annotations", false), spec);
	if (host)
		oci_host_parse(b, config, &spec->container.process, host);
	else
		refuse_hooks(b, config);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * A copy in which integers of 19 digits and more (RLIM_INFINITY is one) are written as reals, since
 * jansson refuses what does not fit an int64_t. json_bind_uint64() takes both. NULL: no memory.
 */
static char *with_big_integers_as_reals(const char *text, size_t len, size_t *out_len)
{
	char *out = malloc(len + len / 19 * 2 + 3);
	size_t n = 0, digits = 0;
	bool in_string = false;

	for (size_t i = 0; out && i <= len; i++) {
		char c = i < len ? text[i] : 0;

		if (!in_string && digits >= 19 && !is_digit(c) && c != '.' && c != 'e' &&
		    c != 'E') {
			out[n++] = 'e';
			out[n++] = '0';
		}
		digits = is_digit(c) ? digits + 1 : 0;
		if (c == '"')
			in_string = !in_string;
		out[n++] = c;
		if (in_string && c == '\\' && i + 1 < len)
			out[n++] = text[++i];
	}
	*out_len = n ? n - 1 : 0;
	return out;
}

/* The document in text; NULL with a message. `name` is that of the file. */
static json_t *load(const char *text, size_t len, const char *name, char *err, size_t errlen)
{
	size_t copy_len;
	char *__free copy = with_big_integers_as_reals(text, len, &copy_len);
	json_error_t where;
	json_t *j;

	if (!copy) {
		snprintf(err, errlen, "%s: %s", name, strerror(ENOMEM));
		return NULL;
	}
	j = json_loadb(copy, copy_len, JSON_REJECT_DUPLICATES, &where);
	if (!j)
		snprintf(err, errlen, "%s: line %d, column %d: %s", name, where.line, where.column,
			 where.text);
	return j;
}

int oci_parse_with_host(const char *text, size_t len, struct sandbox_spec *spec,
			struct oci_host *host, char *err, size_t errlen)
{
	json_t *config = load(text, len, "config.json", err, errlen);
	struct json_bind b;

	if (!config)
		return -EINVAL;
	json_bind_init(&b, "config.json", err, errlen);
	parse_config(&b, config, spec, host);
	json_decref(config);
	return b.failed ? -EINVAL : 0;
}

int oci_parse(const char *text, size_t len, struct sandbox_spec *spec, char *err, size_t errlen)
{
	return oci_parse_with_host(text, len, spec, NULL, err, errlen);
}

int oci_parse_process(const char *text, size_t len, struct process_spec *spec, char *err,
		      size_t errlen)
{
	json_t *process = load(text, len, "process", err, errlen);
	struct json_bind b;

	if (!process)
		return -EINVAL;
	json_bind_init(&b, "process", err, errlen);
	if (!json_is_object(process))
		json_bind_fail(&b, "expected an object");
	else
		parse_process(&b, process, spec);
	json_decref(process);
	return b.failed ? -EINVAL : 0;
}

/* Opens a directory of the container's root, by its symlinks. */
static int open_in_root(const char *root, const char *target)
{
	struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	int __close_fd dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd;

	if (dir < 0)
		return -errno;
	fd = (int)syscall(SYS_openat2, dir, target, &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}

/* A tmpfs with what the root has there is that directory under a layer in memory. Where there is
 * none, or it cannot be told, it is an empty tmpfs. */
static int resolve_copy_up(const char *root, struct spec_mount *m)
{
	int __close_fd fd = open_in_root(root, m->target);
	char link[64], path[PATH_MAX];
	size_t len = strlen(root);
	ssize_t n;

	m->copy_up = false;
	if (fd < 0)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return -errno;
	path[n] = 0;
	if (strncmp(path, root, len) || (path[len] != '/' && strcmp(root, "/")))
		return 0;
	free(m->source);
	m->source = strdup(path);
	m->kind = MOUNT_HOST;
	m->overlay = true;
	return m->source ? 0 : -ENOMEM;
}

int oci_resolve(struct sandbox_spec *spec, const char *bundle, char *err, size_t errlen)
{
	struct stat st;
	int error;

	for (unsigned i = 0; i < spec->container.nmounts; i++) {
		struct spec_mount *m = &spec->container.mounts[i];
		char path[PATH_MAX], *resolved;
		bool absolute;

		if (m->copy_up && resolve_copy_up(spec->container.mounts[0].source, m)) {
			snprintf(err, errlen, "config.json: mount at %s: tmpcopyup", m->target);
			return -EIO;
		}
		if (m->kind != MOUNT_HOST)
			continue;
		absolute = m->source[0] == '/';
		if (snprintf(path, sizeof(path), "%s%s%s", absolute ? "" : bundle,
			     absolute ? "" : "/", m->source) >= (int)sizeof(path)) {
			snprintf(err, errlen, "config.json: path too long");
			return -ENAMETOOLONG;
		}
		resolved = realpath(path, NULL);
		if (!resolved || (i == 0 && !stat(resolved, &st) && !S_ISDIR(st.st_mode))) {
			int ret = resolved ? -ENOTDIR : -errno;

			free(resolved);
			if (i == 0)
				snprintf(err, errlen, "config.json: root.path: %s: %s", path,
					 strerror(-ret));
			else
				snprintf(err, errlen, "config.json: mount at %s: %s: %s", m->target,
					 path, strerror(-ret));
			return ret;
		}
		free(m->source);
		m->source = resolved;
	}
	error = spec->container.nmounts ? spec_default_home(&spec->container.process,
							    spec->container.mounts[0].source)
					: 0;
	if (error)
		snprintf(err, errlen, "config.json: process.env: %s", strerror(-error));
	return error;
}
