/* config.json's linux object: paths, namespaces, id mappings, devices, limits. */
#include "boot/oci/oci_linux.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/compiler.h"
#include "base/log.h"

/* Calls fn for each element of an array, with the place set. */
static void each(struct json_bind *b, json_t *obj, const char *key,
		 void (*fn)(struct json_bind *b, json_t *v, void *arg), void *arg)
{
	json_t *array = json_bind_array(b, obj, key, false), *v;
	size_t i;

	json_bind_enter(b, key);
	json_array_foreach(array, i, v)
	{
		if (b->failed)
			break;
		json_bind_enter_index(b, i);
		if (json_is_object(v))
			fn(b, v, arg);
		else
			json_bind_fail(b, "expected an object");
		json_bind_leave(b);
	}
	json_bind_leave(b);
}

enum { NS_UTS = 4 };

/* What the list of namespaces is read into. */
struct namespaces {
	struct sandbox_spec *spec;
	unsigned seen;
};

/* What a path is for: that of a network namespace may also be one that an engine has made. Who
 * makes the container looks what is behind it. */
static void take_path(struct json_bind *b, struct sandbox_spec *spec, const char *type,
		      const char *path)
{
	static const struct {
		const char *type;
		enum spec_ns kind;
	} kinds[] = {{"pid", SPEC_NS_PID}, {"ipc", SPEC_NS_IPC}, {"uts", SPEC_NS_UTS}};
	char **to = strcmp(type, "network") ? NULL : &spec->netns;

	if (*path != '/') {
		json_bind_fail(b, "'%s' is no absolute path", path);
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(type, kinds[i].type))
			to = &spec->ns_path[kinds[i].kind];
	if (!to)
		log_warn("%s: %s: the namespace %s is not joined: the container has its own",
			 b->file, b->path, path);
	else if (!(*to = strdup(path)))
		json_bind_fail(b, "out of memory");
}

/* A container has namespaces of its own whatever is listed, but for the network and those with a
 * path; a list that names others than there are, or one twice, is a mistake that runc and crun
 * report. */
static void check_namespace(struct json_bind *b, json_t *v, void *arg)
{
	static const char *const types[] = {
		"mount", "pid", "network", "ipc", [NS_UTS] = "uts", "user", "cgroup", "time"};
	const char *type = json_bind_string(b, v, "type", true);
	const char *path = json_bind_string(b, v, "path", false);
	struct namespaces *n = arg;

	for (unsigned i = 0; type && i < ARRAY_SIZE(types); i++) {
		if (strcmp(types[i], type))
			continue;
		if (n->seen & 1u << i)
			json_bind_fail(b, "namespace '%s' is there twice", type);
		n->seen |= 1u << i;
		if (!strcmp(type, "network"))
			n->spec->has_netns = true;
		if (path && *path && !b->failed)
			take_path(b, n->spec, type, path);
		return;
	}
	if (type)
		json_bind_fail(b, "no namespace '%s'", type);
}

/* The container's ids are the host's, on its files and volumes too. */
static void check_id_mapping(struct json_bind *b, json_t *v, void *arg)
{
	int64_t inside = json_bind_int(b, v, "containerID", 0, UINT32_MAX, 0);
	int64_t outside = json_bind_int(b, v, "hostID", 0, UINT32_MAX, 0);

	(void)arg;
	if (!b->failed && inside != outside)
		json_bind_fail(b,
			       "ids of the container can only be the host's own, not %lld as "
			       "%lld",
			       (long long)inside, (long long)outside);
}

/* Those that the sentry's devtmpfs has anyway are fine. */
static void check_device(struct json_bind *b, json_t *v, void *arg)
{
	static const struct {
		const char *path, *type;
		int major, minor;
	} present[] = {
		{"/dev/null", "c", 1, 3},    {"/dev/zero", "c", 1, 5},	  {"/dev/full", "c", 1, 7},
		{"/dev/random", "c", 1, 8},  {"/dev/urandom", "c", 1, 9}, {"/dev/tty", "c", 5, 0},
		{"/dev/console", "c", 5, 1}, {"/dev/ptmx", "c", 5, 2},
	};
	const char *path = json_bind_string(b, v, "path", true);
	const char *type = json_bind_string(b, v, "type", true);
	int64_t major = json_bind_int(b, v, "major", -1, UINT32_MAX, 0);
	int64_t minor = json_bind_int(b, v, "minor", -1, UINT32_MAX, 0);

	(void)arg;
	if (b->failed)
		return;
	if (!strcmp(type, "u"))
		type = "c";
	for (unsigned i = 0; i < ARRAY_SIZE(present); i++)
		if (!strcmp(present[i].path, path) && !strcmp(present[i].type, type) &&
		    present[i].major == major && present[i].minor == minor)
			return;
	json_bind_fail(b, "moat has no device %s (%s %lld:%lld)", path, type, (long long)major,
		       (long long)minor);
}

/* Those of the network namespace are the stack's; others have no effect. */
static void parse_settings(struct json_bind *b, json_t *lin, struct container_spec *spec)
{
	json_t *settings = json_bind_object(b, lin, "sysctl", false), *v;
	const char *key;
	size_t n = 0;

	spec->sysctls = calloc(json_object_size(settings) + 1, sizeof(char *));
	if (!spec->sysctls) {
		json_bind_fail(b, "out of memory");
		return;
	}
	json_bind_enter(b, "sysctl");
	json_object_foreach(settings, key, v)
	{
		json_bind_enter(b, key);
		if (!json_is_string(v))
			json_bind_fail(b, "expected a string");
		else if (strncmp(key, "net.", 4))
			log_warn("%s: linux.sysctl: %s is not applied", b->file, key);
		else if (asprintf(&spec->sysctls[n], "%s=%s", key, json_string_value(v)) < 0)
			spec->sysctls[n] = NULL;
		else
			n++;
		json_bind_leave(b);
	}
	json_bind_leave(b);
}

static void parse_resources(struct json_bind *b, json_t *lin, struct sandbox_spec *spec)
{
	json_t *resources = json_bind_object(b, lin, "resources", false);
	json_t *memory, *pids;
	int64_t limit;

	json_bind_enter(b, "resources");
	memory = json_bind_object(b, resources, "memory", false);
	json_bind_enter(b, "memory");
	limit = json_bind_int(b, memory, "limit", -1, INT64_MAX, -1);
	if (limit > 0)
		spec->memory = limit;
	json_bind_leave(b);
	pids = json_bind_object(b, resources, "pids", false);
	json_bind_enter(b, "pids");
	limit = json_bind_int(b, pids, "limit", INT64_MIN, INT64_MAX, -1);
	/* As runc has it: 0 and less are no limit. */
	if (limit > 0)
		spec->container.pids_max = (uint64_t)limit;
	json_bind_leave(b);
	json_bind_leave(b);
}

/* Without a uts namespace the host's names are those of the container. */
static void take_host_names(struct json_bind *b, struct container_spec *c)
{
	struct utsname host;

	if (uname(&host))
		return;
	if (!c->hostname && !(c->hostname = strdup(host.nodename)))
		json_bind_fail(b, "out of memory");
	if (!c->domainname && !(c->domainname = strdup(host.domainname)))
		json_bind_fail(b, "out of memory");
}

void oci_parse_linux(struct json_bind *b, json_t *config, struct sandbox_spec *spec)
{
	json_t *lin = json_bind_object(b, config, "linux", false);
	struct namespaces namespaces = {.spec = spec};

	json_bind_enter(b, "linux");
	spec->container.masked_paths = json_bind_strings(b, lin, "maskedPaths", false, true);
	spec->container.readonly_paths = json_bind_strings(b, lin, "readonlyPaths", false, true);
	each(b, lin, "namespaces", check_namespace, &namespaces);
	each(b, lin, "uidMappings", check_id_mapping, NULL);
	each(b, lin, "gidMappings", check_id_mapping, NULL);
	each(b, lin, "devices", check_device, NULL);
	parse_resources(b, lin, spec);
	if (!b->failed && !(namespaces.seen & 1u << NS_UTS))
		take_host_names(b, &spec->container);
	if (!b->failed)
		parse_settings(b, lin, &spec->container);
	json_bind_leave(b);
}
