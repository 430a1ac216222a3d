/* Building and freeing specifications; default mounts. Users are in spec_user.c. */
#include "boot/spec/spec.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/fds.h"
#include "netstack/egress.h"

void process_spec_init(struct process_spec *p)
{
	memset(p, 0, sizeof(*p));
	p->umask = 022;
	for (int i = 0; i < (int)RLIM_NLIMITS; i++)
		if (getrlimit(i, &p->rlim[i]))
			p->rlim[i] = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
}

void container_spec_init(struct container_spec *c)
{
	memset(c, 0, sizeof(*c));
	process_spec_init(&c->process);
}

const char *spec_ns_name(enum spec_ns kind)
{
	static const char *const names[] = {
		[SPEC_NS_PID] = "pid",
		[SPEC_NS_IPC] = "ipc",
		[SPEC_NS_UTS] = "uts",
		[SPEC_NS_NET] = "net",
	};

	return names[kind];
}

void spec_init(struct sandbox_spec *spec)
{
	memset(spec, 0, sizeof(*spec));
	container_spec_init(&spec->container);
	spec->log_fd = spec->egress_log_fd = -1;
	spec->path_listener = spec->abstract_listener = spec->controller = -1;
	for (int i = 0; i < 3; i++)
		spec->stdio[i] = i;
}

static void strv_free_all(char **v)
{
	for (char **p = v; p && *p; p++)
		free(*p);
	free(v);
}

void process_spec_free(struct process_spec *p)
{
	strv_free_all(p->argv);
	strv_free_all(p->envp);
	free(p->groups);
	free(p->cwd);
	free(p->seccomp);
	free(p->label);
}

void container_spec_free(struct container_spec *c)
{
	process_spec_free(&c->process);
	strv_free_all(c->masked_paths);
	strv_free_all(c->readonly_paths);
	strv_free_all(c->sysctls);
	for (unsigned i = 0; i < c->nmounts; i++) {
		free(c->mounts[i].source);
		free(c->mounts[i].target);
		free(c->mounts[i].fstype);
		free(c->mounts[i].options);
		free(c->mounts[i].shared);
	}
	free(c->mounts);
	for (unsigned i = 0; i < SPEC_NS_KINDS; i++)
		free(c->ns_of[i]);
	free(c->hostname);
	free(c->domainname);
}

void spec_free(struct sandbox_spec *spec)
{
	free(spec->netns);
	for (unsigned i = 0; i < SPEC_NS_KINDS; i++)
		free(spec->ns_path[i]);
	if (spec->egress)
		net_egress_free(spec->egress);
	free(spec->egress);
	close_fd_ptr(&spec->egress_log_fd);
	strv_free_all(spec->publish);
	container_spec_free(&spec->container);
	free(spec->id);
}

static char *dup_or_null(const char *s)
{
	return s ? strdup(s) : NULL;
}

int spec_add_mount(struct container_spec *spec, enum spec_mount_kind kind, const char *source,
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
	};
	if (out)
		*out = m;
	return 0;
}

int spec_add_default_mounts(struct container_spec *spec)
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

static bool is_below_internal(const struct container_spec *spec, const char *target)
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

/* True if a mount can be shown: there, and a folder that the caller may enter. What only others may
 * see (a container engine's mounts, to an ordinary user) is left out. */
static bool may_show(const char *point, bool *is_folder)
{
	struct stat st;

	if (stat(point, &st))
		return false;
	*is_folder = S_ISDIR(st.st_mode);
	return *is_folder ? !access(point, X_OK) : S_ISREG(st.st_mode) && !access(point, R_OK);
}

int spec_add_host_submounts(struct container_spec *spec, const char *root)
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
		bool is_folder;

		if (!dash || sscanf(line, "%*d %*d %*s %*s %4095s", point) != 1 ||
		    sscanf(dash, " - %63s", type) != 1)
			continue;
		unescape_octal(point);
		if (strncmp(point, root, rootlen) || point[rootlen] != '/' || !point[rootlen + 1] ||
		    is_pseudo_fs(type) || is_below_internal(spec, point + rootlen) ||
		    !may_show(point, &is_folder))
			continue;
		ret = spec_add_mount(spec, MOUNT_HOST, point, point + rootlen, NULL, 0, NULL, &m);
		/* A file that something is mounted on (a container's /etc/hosts) is read-only: an
		 * overlay is made of folders. */
		if (ret)
			break;
		if (is_folder)
			m->overlay = true;
		else
			m->flags = MS_RDONLY;
		/* Hosts mount and unmount all the time. */
		m->optional = true;
	}
	free(line);
	fclose(f);
	return ret;
}
