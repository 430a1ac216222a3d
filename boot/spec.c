/* Building and freeing a sandbox_spec; default mounts; users of a root file system. */
#include "boot/spec.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/compiler.h"

void spec_init(struct sandbox_spec *spec)
{
	memset(spec, 0, sizeof(*spec));
	spec->umask = 022;
	spec->log_fd = -1;
	spec->platform = "systrap";
	for (int i = 0; i < 3; i++)
		spec->stdio[i] = i;
	for (int i = 0; i < (int)RLIM_NLIMITS; i++)
		if (getrlimit(i, &spec->rlim[i]))
			spec->rlim[i] = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
}

static void strv_free_all(char **v)
{
	for (char **p = v; p && *p; p++)
		free(*p);
	free(v);
}

void spec_free(struct sandbox_spec *spec)
{
	strv_free_all(spec->argv);
	strv_free_all(spec->envp);
	strv_free_all(spec->masked_paths);
	strv_free_all(spec->readonly_paths);
	for (unsigned i = 0; i < spec->nmounts; i++) {
		free(spec->mounts[i].source);
		free(spec->mounts[i].target);
		free(spec->mounts[i].fstype);
		free(spec->mounts[i].options);
	}
	free(spec->mounts);
	free(spec->groups);
	free(spec->cwd);
	free(spec->hostname);
	free(spec->domainname);
}

static char *dup_or_null(const char *s)
{
	return s ? strdup(s) : NULL;
}

int spec_add_mount(struct sandbox_spec *spec, enum spec_mount_kind kind, const char *source,
		   const char *target, const char *fstype, unsigned long flags, const char *options,
		   struct spec_mount **out)
{
	struct spec_mount *m;

	m = realloc(spec->mounts, (spec->nmounts + 1) * sizeof(*m));
	if (!m)
		return -ENOMEM;
	spec->mounts = m;
	m += spec->nmounts++;
	*m = (struct spec_mount){
		.kind = kind,
		.source = dup_or_null(source),
		.target = dup_or_null(target),
		.fstype = dup_or_null(fstype),
		.options = dup_or_null(options),
		.flags = flags,
		.gofer = -1,
	};
	if (out)
		*out = m;
	return 0;
}

int spec_add_default_mounts(struct sandbox_spec *spec)
{
	static const struct {
		const char *fstype, *target, *options;
		unsigned long flags;
	} mounts[] = {
		{"proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
		{"sysfs", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY},
		{"devtmpfs", "/dev", "mode=755", MS_NOSUID},
		{"devpts", "/dev/pts", "gid=5,mode=620,ptmxmode=666", MS_NOSUID | MS_NOEXEC},
		{"tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV},
		{"mqueue", "/dev/mqueue", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(mounts); i++) {
		struct spec_mount *m;
		int ret = spec_add_mount(spec, MOUNT_INTERNAL, mounts[i].fstype, mounts[i].target,
					 mounts[i].fstype, mounts[i].flags, mounts[i].options, &m);

		if (ret)
			return ret;
		m->optional = true;
	}
	return 0;
}

/* File systems that hold no files of their own, or the kernel's insides: never shown. */
static bool is_pseudo_fs(const char *type)
{
	static const char *const pseudo[] = {
		"proc",	      "sysfs",	  "devtmpfs",  "devpts",     "cgroup",	  "cgroup2",
		"mqueue",     "debugfs",  "tracefs",   "securityfs", "bpf",	  "configfs",
		"pstore",     "efivarfs", "autofs",    "fusectl",    "hugetlbfs", "binfmt_misc",
		"rpc_pipefs", "nsfs",	  "selinuxfs", "ramfs",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(pseudo); i++)
		if (!strcmp(type, pseudo[i]))
			return true;
	return false;
}

/* Decodes mountinfo's \ooo escapes in place. */
static void unescape_octal(char *s)
{
	char *out = s;

	while (*s) {
		if (s[0] == '\\' && isdigit((unsigned char)s[1]) && isdigit((unsigned char)s[2]) &&
		    isdigit((unsigned char)s[3])) {
			*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = 0;
}

static bool is_below_internal(const struct sandbox_spec *spec, const char *target)
{
	for (unsigned i = 0; i < spec->nmounts; i++) {
		const struct spec_mount *m = &spec->mounts[i];
		size_t n = strlen(m->target);

		if (m->kind == MOUNT_INTERNAL && !strncmp(m->target, target, n) &&
		    (target[n] == '/' || target[n] == 0))
			return true;
	}
	return false;
}

int spec_add_host_submounts(struct sandbox_spec *spec, const char *root)
{
	size_t rootlen = strcmp(root, "/") ? strlen(root) : 0;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;
	int ret = 0;

	if (!f)
		return -errno;
	while (!ret && getline(&line, &size, f) > 0) {
		char point[PATH_MAX], type[64];
		char *dash = strstr(line, " - ");
		struct spec_mount *m;

		if (!dash || sscanf(line, "%*d %*d %*s %*s %4095s", point) != 1 ||
		    sscanf(dash, " - %63s", type) != 1)
			continue;
		unescape_octal(point);
		if (strncmp(point, root, rootlen) || point[rootlen] != '/' || !point[rootlen + 1] ||
		    is_pseudo_fs(type) || is_below_internal(spec, point + rootlen) ||
		    access(point, F_OK))
			continue;
		ret = spec_add_mount(spec, MOUNT_HOST, point, point + rootlen, NULL, 0, NULL, &m);
		if (!ret)
			m->overlay = true;
	}
	free(line);
	fclose(f);
	return ret;
}

/* --- users ---------------------------------------------------------------------------------- */

/* Opens rootfs/etc/NAME without leaving rootfs through a symbolic link. */
static FILE *open_etc(const char *rootfs, const char *name)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof(path), "%s/etc/%s", rootfs, name) >= (int)sizeof(path))
		return NULL;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? NULL : fdopen(fd, "re");
}

static bool parse_id(const char *s, uint32_t *id)
{
	char *end;
	unsigned long v;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	v = strtoul(s, &end, 10);
	if (*end || errno || v >= UINT32_MAX)
		return false;
	*id = (uint32_t)v;
	return true;
}

/* The entry of passwd whose name, or else uid, is `user`. */
static bool find_user(const char *rootfs, const char *user, char *name, size_t namelen, uid_t *uid,
		      gid_t *gid, char **home)
{
	FILE *f = open_etc(rootfs, "passwd");
	char *line = NULL;
	size_t size = 0;
	uint32_t wanted = 0;
	bool by_id = parse_id(user, &wanted), found = false;

	while (f && !found && getline(&line, &size, f) > 0) {
		char *save, *p = line, *field[7] = {0};
		uint32_t u, g;

		line[strcspn(line, "\n")] = 0;
		for (int i = 0; i < 7 && (save = strsep(&p, ":")); i++)
			field[i] = save;
		if (!field[5] || !parse_id(field[2], &u) || !parse_id(field[3], &g))
			continue;
		if (strcmp(field[0], user) && !(by_id && u == wanted))
			continue;
		snprintf(name, namelen, "%s", field[0]);
		*uid = u;
		*gid = g;
		if (home) {
			free(*home);
			*home = strdup(field[5]);
		}
		found = true;
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

/* Walks group: sets *gid if an entry is named `group`; appends the groups that list `member`. */
static int scan_groups(struct sandbox_spec *spec, const char *rootfs, const char *group,
		       const char *member, bool *found)
{
	FILE *f = open_etc(rootfs, "group");
	char *line = NULL;
	size_t size = 0;
	int ret = 0;

	while (f && !ret && getline(&line, &size, f) > 0) {
		char *p = line, *name, *members, *m;
		uint32_t g;

		line[strcspn(line, "\n")] = 0;
		name = strsep(&p, ":");
		strsep(&p, ":");
		m = strsep(&p, ":");
		members = p;
		if (!m || !parse_id(m, &g))
			continue;
		if (group && !strcmp(name, group)) {
			spec->gid = g;
			*found = true;
		}
		while (member && *member && members && (m = strsep(&members, ","))) {
			gid_t *groups;

			if (strcmp(m, member))
				continue;
			groups = realloc(spec->groups, (spec->ngroups + 1) * sizeof(gid_t));
			if (!groups) {
				ret = -ENOMEM;
				break;
			}
			spec->groups = groups;
			groups[spec->ngroups++] = g;
		}
	}
	free(line);
	if (f)
		fclose(f);
	return ret;
}

int spec_set_user(struct sandbox_spec *spec, const char *rootfs, const char *user, char **home,
		  char *err, size_t errlen)
{
	char buf[256], name[256] = "";
	char *group;
	bool known, found = false;
	int ret;

	if (snprintf(buf, sizeof(buf), "%s", user) >= (int)sizeof(buf))
		return -ENAMETOOLONG;
	group = strchr(buf, ':');
	if (group)
		*group++ = 0;
	known = find_user(rootfs, buf, name, sizeof(name), &spec->uid, &spec->gid, home);
	if (!known) {
		if (!parse_id(buf, &spec->uid)) {
			snprintf(err, errlen, "no user \"%s\" in %s/etc/passwd", buf, rootfs);
			return -ENOENT;
		}
		spec->gid = 0;
	}
	if (group && parse_id(group, &spec->gid)) {
		found = true;
		group = NULL;
	}
	ret = scan_groups(spec, rootfs, group, name, &found);
	if (ret)
		return ret;
	if (group && !found) {
		snprintf(err, errlen, "no group \"%s\" in %s/etc/group", group, rootfs);
		return -ENOENT;
	}
	return 0;
}

void spec_set_default_caps(struct sandbox_spec *spec)
{
	uint64_t all = (1ULL << (CAP_LAST_CAP + 1)) - 1;

	memset(&spec->caps, 0, sizeof(spec->caps));
	spec->caps.bounding = all;
	if (spec->uid == 0)
		spec->caps.permitted = spec->caps.effective = all;
}
