/* A specification's user: names and numbers, looked up in the container's own etc/passwd. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "boot/spec/spec.h"

/* Opens rootfs/etc/NAME without leaving rootfs through a symbolic link. */
static FILE *open_etc(const char *rootfs, const char *name)
{
	int __close_fd root = open(*rootfs ? rootfs : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int __close_fd etc = openat(root, "etc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int fd = openat(etc, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);

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
static int scan_groups(struct process_spec *spec, const char *rootfs, const char *group,
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

int spec_set_user(struct process_spec *spec, const char *rootfs, const char *user, char **home,
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

int spec_default_home(struct process_spec *spec, const char *rootfs)
{
	char user[16], name[256];
	char *__free home = NULL, *assignment;
	uid_t uid;
	gid_t gid;
	char **envp;
	size_t n = 0;

	for (; spec->envp && spec->envp[n]; n++)
		if (!strncmp(spec->envp[n], "HOME=", 5))
			return 0;
	snprintf(user, sizeof(user), "%u", spec->uid);
	find_user(rootfs, user, name, sizeof(name), &uid, &gid, &home);
	if (asprintf(&assignment, "HOME=%s", home && *home ? home : "/") < 0)
		return -ENOMEM;
	envp = realloc(spec->envp, (n + 2) * sizeof(*envp));
	if (!envp) {
		free(assignment);
		return -ENOMEM;
	}
	envp[n] = assignment;
	envp[n + 1] = NULL;
	spec->envp = envp;
	return 0;
}

void spec_set_default_caps(struct process_spec *spec)
{
	uint64_t all = (1ULL << (CAP_LAST_CAP + 1)) - 1;

	memset(&spec->caps, 0, sizeof(spec->caps));
	spec->caps.bounding = all;
	if (spec->uid == 0)
		spec->caps.permitted = spec->caps.effective = all;
}
