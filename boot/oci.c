/* config.json: the process, the root, and what surrounds them. Mounts are in oci_mounts.c. */
#include "boot/oci.h"

#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/capability.h>
#include <sys/stat.h>

#include "base/compiler.h"
#include "boot/json_bind.h"
#include "boot/oci_mounts.h"

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

static void parse_user(struct json_bind *b, json_t *process, struct sandbox_spec *spec)
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
			json_bind_fail(b, "unknown capability '%s'", json_string_value(v));
		else
			set |= 1ULL << cap;
		json_bind_leave(b);
	}
	json_bind_leave(b);
	return set;
}

static void parse_caps(struct json_bind *b, json_t *process, struct sandbox_spec *spec)
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
	if (spec->caps.ambient & ~(spec->caps.permitted & spec->caps.inheritable))
		json_bind_fail(b, "ambient needs its capabilities in permitted and inheritable");
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

static void parse_one_rlimit(struct json_bind *b, json_t *v, struct sandbox_spec *spec,
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

static void parse_rlimits(struct json_bind *b, json_t *process, struct sandbox_spec *spec)
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

static void parse_process(struct json_bind *b, json_t *config, struct sandbox_spec *spec)
{
	json_t *process = json_bind_object(b, config, "process", true);

	json_bind_enter(b, "process");
	spec->terminal = json_bind_bool(b, process, "terminal", false);
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
	json_bind_leave(b);
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

static void parse_linux(struct json_bind *b, json_t *config, struct sandbox_spec *spec)
{
	json_t *lin = json_bind_object(b, config, "linux", false);
	json_t *resources, *memory;
	int64_t limit;

	json_bind_enter(b, "linux");
	spec->masked_paths = json_bind_strings(b, lin, "maskedPaths", false, true);
	spec->readonly_paths = json_bind_strings(b, lin, "readonlyPaths", false, true);
	resources = json_bind_object(b, lin, "resources", false);
	json_bind_enter(b, "resources");
	memory = json_bind_object(b, resources, "memory", false);
	json_bind_enter(b, "memory");
	limit = json_bind_int(b, memory, "limit", -1, INT64_MAX, -1);
	if (limit > 0)
		spec->memory = limit;
	json_bind_leave(b);
	json_bind_leave(b);
	json_bind_leave(b);
}

/* A hook that does not run would be a promise broken in silence. */
static void refuse_hooks(struct json_bind *b, json_t *config)
{
	json_t *hooks = json_bind_object(b, config, "hooks", false), *v;
	const char *key;

	json_object_foreach(hooks, key, v)
	{
		if (json_is_array(v) && !json_array_size(v))
			continue;
		json_bind_enter(b, "hooks");
		json_bind_enter(b, key);
		json_bind_fail(b, "hooks are not supported");
		json_bind_leave(b);
		json_bind_leave(b);
	}
}

static void parse_config(struct json_bind *b, json_t *config, struct sandbox_spec *spec)
{
	const char *version;

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
	parse_process(b, config, spec);
	oci_parse_root(b, config, spec);
	oci_parse_mounts(b, config, spec);
	spec->hostname = parse_name(b, config, "hostname");
	spec->domainname = parse_name(b, config, "domainname");
	parse_linux(b, config, spec);
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

int oci_parse(const char *text, size_t len, struct sandbox_spec *spec, char *err, size_t errlen)
{
	struct json_bind b;
	json_error_t where;
	size_t copy_len;
	char *__free copy = with_big_integers_as_reals(text, len, &copy_len);
	json_t *config;

	if (!copy) {
		snprintf(err, errlen, "config.json: %s", strerror(ENOMEM));
		return -ENOMEM;
	}
	config = json_loadb(copy, copy_len, JSON_REJECT_DUPLICATES, &where);
	json_bind_init(&b, "config.json", err, errlen);
	if (!config) {
		snprintf(err, errlen, "config.json: line %d, column %d: %s", where.line,
			 where.column, where.text);
		return -EINVAL;
	}
	parse_config(&b, config, spec);
	json_decref(config);
	return b.failed ? -EINVAL : 0;
}

int oci_resolve(struct sandbox_spec *spec, const char *bundle, char *err, size_t errlen)
{
	struct stat st;

	for (unsigned i = 0; i < spec->nmounts; i++) {
		struct spec_mount *m = &spec->mounts[i];
		char path[PATH_MAX], *resolved;
		bool absolute;

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
	return 0;
}
