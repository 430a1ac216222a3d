#include "boot/oci/oci_mounts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/compiler.h"

void oci_parse_root(struct json_bind *b, json_t *config, struct sandbox_spec *spec)
{
	json_t *root = json_bind_object(b, config, "root", true);
	struct spec_mount *m;
	const char *path;

	json_bind_enter(b, "root");
	path = json_bind_string(b, root, "path", true);
	if (path && !*path)
		json_bind_fail(b, "path is empty");
	spec->container.root_readonly = json_bind_bool(b, root, "readonly", false);
	if (!b->failed) {
		if (spec_add_mount(&spec->container, MOUNT_HOST, path, "/", NULL, 0, NULL, &m))
			json_bind_fail(b, "out of memory");
		else
			m->overlay = true;
	}
	json_bind_leave(b);
}

/* Options that are flags of the mount (man 8 mount); what is not among them is for the file
 * system. */
static const struct option_flag {
	const char *name;
	unsigned long set, clear;
} option_flags[] = {
	{"defaults", 0, 0},
	{"tmpcopyup", 0, 0}, /* see split_options() */
	{"ro", MS_RDONLY, 0},
	{"rw", 0, MS_RDONLY},
	{"nosuid", MS_NOSUID, 0},
	{"suid", 0, MS_NOSUID},
	{"nodev", MS_NODEV, 0},
	{"dev", 0, MS_NODEV},
	{"noexec", MS_NOEXEC, 0},
	{"exec", 0, MS_NOEXEC},
	{"noatime", MS_NOATIME, 0},
	{"atime", 0, MS_NOATIME},
	{"nodiratime", MS_NODIRATIME, 0},
	{"diratime", 0, MS_NODIRATIME},
	{"relatime", MS_RELATIME, 0},
	{"norelatime", 0, MS_RELATIME},
	{"strictatime", MS_STRICTATIME, 0},
	{"nostrictatime", 0, MS_STRICTATIME},
	{"sync", MS_SYNCHRONOUS, 0},
	{"async", 0, MS_SYNCHRONOUS},
	{"bind", MS_BIND, 0},
	{"rbind", MS_BIND | MS_REC, 0},
	/* A volume comes without what is mounted below it: all of it is the top. */
	{"rro", MS_RDONLY, 0},
	{"rrw", 0, MS_RDONLY},
	{"rnosuid", MS_NOSUID, 0},
	{"rsuid", 0, MS_NOSUID},
	{"rnodev", MS_NODEV, 0},
	{"rdev", 0, MS_NODEV},
	{"rnoexec", MS_NOEXEC, 0},
	{"rexec", 0, MS_NOEXEC},
	/* Of file systems that keep times and labels otherwise than the sentry does. */
	{"lazytime", 0, 0},
	{"nolazytime", 0, 0},
	{"iversion", 0, 0},
	{"noiversion", 0, 0},
	{"mand", 0, 0},
	{"nomand", 0, 0},
	/* Propagation to and from the host is not moat's to give: nothing crosses the boundary. */
	{"private", 0, 0},
	{"rprivate", 0, 0},
	{"slave", 0, 0},
	{"rslave", 0, 0},
	{"shared", 0, 0},
	{"rshared", 0, 0},
	{"unbindable", 0, 0},
	{"runbindable", 0, 0},
};

const char *oci_mount_option(unsigned i)
{
	return i < ARRAY_SIZE(option_flags) ? option_flags[i].name : NULL;
}

static const struct option_flag *find_flag(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(option_flags); i++)
		if (!strcmp(option_flags[i].name, name))
			return &option_flags[i];
	return NULL;
}

/* What would show the container other files, or permit more, if it were ignored. */
static bool is_unsupported(const char *option)
{
	static const char *const names[] = {"idmap", "ridmap", "nosymfollow", "rnosymfollow"};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i], option))
			return true;
	return false;
}

/* Splits options into flags and the file system's own, and runc's tmpcopyup, comma-separated
 * (malloc'd, or NULL). */
static char *split_options(struct json_bind *b, char **options, unsigned long *flags, bool *copy_up)
{
	char *rest = NULL;
	size_t len = 0;

	for (char **o = options; o && *o; o++) {
		const struct option_flag *f = find_flag(*o);
		size_t n = strlen(*o);
		char *grown;

		if (is_unsupported(*o)) {
			json_bind_fail(b, "option '%s' is not supported", *o);
			break;
		}
		if (f) {
			*flags = (*flags | f->set) & ~f->clear;
			*copy_up = *copy_up || !strcmp(*o, "tmpcopyup");
			continue;
		}
		grown = realloc(rest, len + n + 2);
		if (!grown) {
			json_bind_fail(b, "out of memory");
			break;
		}
		rest = grown;
		len += sprintf(rest + len, "%s%s", len ? "," : "", *o);
	}
	return rest;
}

/* Keeps of "size=64k,mode=755" only what devtmpfs knows. */
static void keep_mode_only(char *options)
{
	char *mode = options ? strstr(options, "mode=") : NULL;
	size_t n;

	if (!options)
		return;
	n = mode ? strcspn(mode, ",") : 0;
	if (n)
		memmove(options, mode, n);
	options[n] = 0;
}

/* The sentry's file system for a type, or NULL. */
static const char *internal_type(const char *type, const char *source, const char *target,
				 bool bind)
{
	static const char *const types[] = {"tmpfs",  "proc",	"sysfs",   "devpts",
					    "mqueue", "cgroup", "cgroup2", "devtmpfs"};

	/* What `runc spec --rootless` writes for /sys: the host's. The guest's is meant. */
	if (bind && source && !strcmp(source, target)) {
		if (!strcmp(target, "/sys"))
			return "sysfs";
		if (!strcmp(target, "/proc"))
			return "proc";
	}
	if (bind || !type)
		return NULL;
	/* The runtime fills /dev: that is what the sentry's devtmpfs is. */
	if (!strcmp(type, "tmpfs") && !strcmp(target, "/dev"))
		return "devtmpfs";
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(types[i], type))
			return types[i];
	return NULL;
}

/* Files would belong to others than is asked for. */
static void check_mappings(struct json_bind *b, json_t *mount, const char *key)
{
	json_t *list = json_bind_array(b, mount, key, false), *m;
	size_t i;

	json_array_foreach(list, i, m) if (!json_is_object(m) ||
					   !json_equal(json_object_get(m, "containerID"),
						       json_object_get(m, "hostID")))
		json_bind_fail(b, "%s: ids can only be the host's own", key);
}

static void parse_one(struct json_bind *b, json_t *mount, struct sandbox_spec *spec)
{
	const char *target, *source, *type, *internal;
	unsigned long flags = 0;
	char **options, *data;
	bool copy_up = false;
	int ret = 0;

	if (!json_is_object(mount)) {
		json_bind_fail(b, "expected an object");
		return;
	}
	target = json_bind_string(b, mount, "destination", true);
	source = json_bind_string(b, mount, "source", false);
	type = json_bind_string(b, mount, "type", false);
	options = json_bind_strings(b, mount, "options", false, false);
	check_mappings(b, mount, "uidMappings");
	check_mappings(b, mount, "gidMappings");
	data = split_options(b, options, &flags, &copy_up);
	if (target && *target != '/')
		json_bind_fail(b, "destination is not an absolute path");
	if (!b->failed) {
		struct spec_mount *m;
		bool bind = (flags & MS_BIND) || (type && !strcmp(type, "bind"));

		flags &= ~(unsigned long)(MS_BIND | MS_REC);
		internal = internal_type(type, source, target, bind);
		if (internal) {
			if (!strcmp(internal, "devtmpfs"))
				keep_mode_only(data);
			ret = spec_add_mount(&spec->container, MOUNT_INTERNAL,
					     source ? source : internal, target, internal, flags,
					     data && *data ? data : NULL, &m);
			/* Programs that look for it get on without, and every bundle names it. */
			if (!ret)
				m->optional = !strcmp(internal, "mqueue");
			if (!ret)
				m->copy_up = copy_up && !strcmp(internal, "tmpfs");
		} else if (!bind) {
			json_bind_fail(b, "no file system '%s'", type ? type : "");
		} else if (!source || !*source) {
			json_bind_fail(b, "a bind mount needs a source");
		} else {
			ret = spec_add_mount(&spec->container, MOUNT_HOST, source, target, NULL,
					     flags, NULL, NULL);
		}
	}
	if (ret)
		json_bind_fail(b, "out of memory");
	free(data);
	for (char **o = options; o && *o; o++)
		free(*o);
	free(options);
}

void oci_parse_mounts(struct json_bind *b, json_t *config, struct sandbox_spec *spec)
{
	json_t *mounts = json_bind_array(b, config, "mounts", false), *v;
	bool dev = false;
	size_t i;

	json_bind_enter(b, "mounts");
	json_array_foreach(mounts, i, v)
	{
		if (b->failed)
			break;
		json_bind_enter_index(b, i);
		parse_one(b, v, spec);
		json_bind_leave(b);
	}
	json_bind_leave(b);
	for (unsigned n = 0; n < spec->container.nmounts; n++)
		dev = dev || !strcmp(spec->container.mounts[n].target, "/dev");
	if (!dev && !b->failed &&
	    spec_add_mount(&spec->container, MOUNT_INTERNAL, "devtmpfs", "/dev", "devtmpfs",
			   MS_NOSUID, "mode=755", NULL))
		json_bind_fail(b, "out of memory");
}
