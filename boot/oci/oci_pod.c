#include "boot/oci/oci_pod.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/compiler.h"

#define HINT_PREFIX "dev.gvisor.spec.mount."
#define HINT_NAME_MAX 255

static const char *hint_value(json_t *annotations, const char *name, size_t len, const char *key)
{
	char full[sizeof(HINT_PREFIX) + HINT_NAME_MAX + 16];

	snprintf(full, sizeof(full), HINT_PREFIX "%.*s.%s", (int)len, name, key);
	return json_string_value(json_object_get(annotations, full));
}

static bool is_one_of(const char *value, const char *const *values)
{
	for (; *values; values++)
		if (!strcmp(value, *values))
			return true;
	return false;
}

/* Of a volume's options only what tmpfs knows. malloc'd; NULL: none, or no memory. */
static char *tmpfs_options(const char *options)
{
	static const char *const known[] = {"size=", "nr_inodes=", "mode=", "uid=", "gid="};
	char *__free copy = strdup(options ? options : ""), *rest = copy, *o;
	char *out = copy ? calloc(1, strlen(copy) + 1) : NULL;

	while (out && (o = strsep(&rest, ",")))
		for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
			if (!strncmp(o, known[i], strlen(known[i]))) {
				if (*out)
					strcat(out, ",");
				strcat(out, o);
			}
	if (out && !*out) {
		free(out);
		out = NULL;
	}
	return out;
}

/* The mount becomes a file system in memory: shared by name, or its own. */
static void into_memory(struct json_bind *b, struct spec_mount *m, const char *name, size_t len,
			const char *options, bool pod)
{
	char *fstype = strdup("tmpfs"), *shared = pod ? strndup(name, len) : NULL;

	if (!fstype || (pod && !shared)) {
		free(fstype);
		free(shared);
		json_bind_fail(b, "out of memory");
		return;
	}
	free(m->fstype);
	free(m->options);
	free(m->shared);
	m->kind = MOUNT_INTERNAL;
	m->fstype = fstype;
	m->options = tmpfs_options(options);
	m->shared = shared;
	m->overlay = false;
}

static void apply(struct json_bind *b, json_t *annotations, const char *name, size_t len,
		  const char *source, struct container_spec *spec)
{
	static const char *const types[] = {"tmpfs", "bind", NULL};
	static const char *const shares[] = {"container", "pod", "shared", NULL};
	const char *type = hint_value(annotations, name, len, "type");
	const char *share = hint_value(annotations, name, len, "share");
	const char *options = hint_value(annotations, name, len, "options");

	if (!type || !is_one_of(type, types) || !share || !is_one_of(share, shares)) {
		json_bind_fail(b,
			       "mount %.*s needs a type (tmpfs, bind) and a share (container, pod, "
			       "shared)",
			       (int)len, name);
		return;
	}
	/* What others outside may change stays the host's. */
	if (strcmp(type, "tmpfs") || !strcmp(share, "shared"))
		return;
	for (unsigned i = 1; i < spec->nmounts && !b->failed; i++) {
		struct spec_mount *m = &spec->mounts[i];

		if (m->source && !strcmp(m->source, source) &&
		    (m->kind == MOUNT_HOST || (m->fstype && !strcmp(m->fstype, "tmpfs"))))
			into_memory(b, m, name, len, options, !strcmp(share, "pod"));
	}
}

/* resolve: the sources of the mounts have become absolute paths without links. */
static void apply_all(struct json_bind *b, json_t *annotations, struct container_spec *spec,
		      bool resolve)
{
	const char *key;
	json_t *v;

	json_bind_enter(b, "annotations");
	json_object_foreach(annotations, key, v)
	{
		const char *name = key + strlen(HINT_PREFIX), *dot;
		size_t len;

		if (b->failed || strncmp(key, HINT_PREFIX, strlen(HINT_PREFIX)))
			continue;
		dot = strrchr(name, '.');
		len = dot ? (size_t)(dot - name) : 0;
		if (!len || len > HINT_NAME_MAX || strcmp(dot, ".source"))
			continue;
		if (!json_is_string(v)) {
			json_bind_fail(b, "'%s' is no string", key);
		} else {
			char *__free real = resolve ? realpath(json_string_value(v), NULL) : NULL;

			apply(b, annotations, name, len, real ? real : json_string_value(v), spec);
		}
	}
	json_bind_leave(b);
}

void oci_apply_mount_hints(struct json_bind *b, json_t *annotations, struct container_spec *spec)
{
	apply_all(b, annotations, spec, false);
}

int oci_mount_hints(json_t *annotations, struct container_spec *spec, char *err, size_t errlen)
{
	struct json_bind b;

	json_bind_init(&b, "the sandbox", err, errlen);
	apply_all(&b, annotations, spec, true);
	return b.failed ? -EINVAL : 0;
}

void oci_parse_shared_pids(struct json_bind *b, json_t *lin, struct container_spec *spec)
{
	json_t *list = json_bind_array(b, lin, "namespaces", false), *v;
	size_t i;

	if (!json_array_size(list))
		return;
	spec->share_pids = true;
	json_array_foreach(list, i, v)
	{
		const char *type = json_string_value(json_object_get(v, "type"));
		const char *path = json_string_value(json_object_get(v, "path"));

		if (type && !strcmp(type, "pid") && (!path || !*path))
			spec->share_pids = false;
	}
}
