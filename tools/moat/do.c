/* moat do: one program in a fresh sandbox over the host's files. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"
#include "boot/sandbox.h"
#include "tools/moat/cli.h"
#include "tools/moat/sandbox_flags.h"

enum {
	FLAG_ROOTFS = FLAG_OWN,
	FLAG_CWD,
	FLAG_ENV,
	FLAG_USER,
	FLAG_VOLUME,
	FLAG_HOSTNAME,
};

static const struct option flags[] = {
	{"rootfs", required_argument, NULL, FLAG_ROOTFS},
	{"cwd", required_argument, NULL, FLAG_CWD},
	{"env", required_argument, NULL, FLAG_ENV},
	{"user", required_argument, NULL, FLAG_USER},
	{"volume", required_argument, NULL, FLAG_VOLUME},
	{"hostname", required_argument, NULL, FLAG_HOSTNAME},
	SANDBOX_FLAGS,
	{0},
};

/* What the flags said that the specification does not hold as it is. */
struct do_flags {
	const char *rootfs, *user;
	char **env, **volumes;
};

static int out_of_memory(void)
{
	return cli_error("do: %s", strerror(ENOMEM));
}

static int take_hostname(struct sandbox_spec *spec, const char *name)
{
	if (!*name || strlen(name) > 64)
		return cli_error("do: --hostname must have 1 to 64 characters");
	free(spec->hostname);
	spec->hostname = strdup(name);
	return spec->hostname ? 0 : out_of_memory();
}

static int take_flag(struct sandbox_spec *spec, struct do_flags *f, int flag, const char *value)
{
	switch (flag) {
	case FLAG_ROOTFS:
		f->rootfs = value;
		return 0;
	case FLAG_CWD:
		if (*value != '/')
			return cli_error("do: --cwd must be an absolute path: %s", value);
		free(spec->cwd);
		spec->cwd = strdup(value);
		return spec->cwd ? 0 : out_of_memory();
	case FLAG_ENV:
		if (!strchr(value, '=') || *value == '=')
			return cli_error("do: --env must be NAME=VALUE: %s", value);
		return strv_append(&f->env, value) ? 0 : out_of_memory();
	case FLAG_USER:
		f->user = value;
		return 0;
	case FLAG_VOLUME:
		return strv_append(&f->volumes, value) ? 0 : out_of_memory();
	case FLAG_HOSTNAME:
		return take_hostname(spec, value);
	}
	return sandbox_flag_take("do", spec, flag, value);
}

static int add_volume(struct sandbox_spec *spec, const char *volume)
{
	char *__free copy = strdup(volume), *__free source = NULL;
	char *target, *mode;
	unsigned long mount_flags = 0;

	if (!copy)
		return out_of_memory();
	target = strchr(copy, ':');
	if (target)
		*target++ = 0;
	mode = target ? strchr(target, ':') : NULL;
	if (mode)
		*mode++ = 0;
	if (!target || !*copy || *target != '/')
		return cli_error("do: --volume must be SRC:DST[:ro], DST absolute: %s", volume);
	if (mode && strcmp(mode, "ro") && strcmp(mode, "rw"))
		return cli_error("do: --volume %s: unknown mode '%s'", volume, mode);
	if (mode && !strcmp(mode, "ro"))
		mount_flags = MS_RDONLY;
	source = realpath(copy, NULL);
	if (!source)
		return cli_error("do: --volume %s: %s: %s", volume, copy, strerror(errno));
	return spec_add_mount(spec, MOUNT_HOST, source, target, NULL, mount_flags, NULL, NULL)
		       ? out_of_memory()
		       : 0;
}

static int build_mounts(struct sandbox_spec *spec, const struct do_flags *f, char *root)
{
	struct spec_mount *m;
	int ret;

	ret = spec_add_mount(spec, MOUNT_HOST, root, "/", NULL, 0, NULL, &m);
	if (ret)
		return out_of_memory();
	m->overlay = true;
	if (spec_add_default_mounts(spec))
		return out_of_memory();
	if (!strcmp(root, "/")) {
		ret = spec_add_host_submounts(spec, root);
		if (ret)
			return cli_error("do: cannot read the host's mounts: %s", strerror(-ret));
	}
	for (char **v = f->volumes; v && *v; v++) {
		ret = add_volume(spec, *v);
		if (ret)
			return ret;
	}
	return 0;
}

/* The caller's own ids, as natively, unless --user says otherwise. */
static int build_user(struct sandbox_spec *spec, const struct do_flags *f, const char *root)
{
	char *__free home = NULL;
	char err[256], assignment[PATH_MAX];
	int n;

	if (f->user) {
		if (spec_set_user(spec, strcmp(root, "/") ? root : "", f->user, &home, err,
				  sizeof(err)))
			return cli_error("do: --user: %s", err);
		if (home &&
		    snprintf(assignment, sizeof(assignment), "HOME=%s", home) <
			    (int)sizeof(assignment) &&
		    !env_set(&spec->envp, assignment))
			return out_of_memory();
	} else {
		spec->uid = geteuid();
		spec->gid = getegid();
		n = getgroups(0, NULL);
		if (n > 0) {
			spec->groups = calloc(n, sizeof(gid_t));
			if (!spec->groups)
				return out_of_memory();
			n = getgroups(n, spec->groups);
			spec->ngroups = n > 0 ? n : 0;
		}
	}
	spec_set_default_caps(spec);
	return 0;
}

static int build_process(struct sandbox_spec *spec, const struct do_flags *f, const char *root,
			 char **argv)
{
	int ret;

	for (; *argv; argv++)
		if (!strv_append(&spec->argv, *argv))
			return out_of_memory();
	for (char **e = environ; e && *e; e++)
		if (!strv_append(&spec->envp, *e))
			return out_of_memory();
	ret = build_user(spec, f, root);
	if (ret)
		return ret;
	for (char **e = f->env; e && *e; e++)
		if (!env_set(&spec->envp, *e))
			return out_of_memory();
	if (!spec->cwd) {
		spec->cwd = strcmp(root, "/") ? NULL : getcwd(NULL, 0);
		if (!spec->cwd || *spec->cwd != '/') {
			free(spec->cwd);
			spec->cwd = strdup("/");
		}
	}
	spec->umask = umask(022);
	umask(spec->umask);
	spec->terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	return 0;
}

static void free_strv(char **v)
{
	for (char **p = v; p && *p; p++)
		free(*p);
	free(v);
}

static int run_do(const struct cli_options *options, int argc, char **argv)
{
	struct sandbox_spec spec;
	struct do_flags f = {.rootfs = "/"};
	char *__free root = NULL;
	struct stat st;
	int c, ret = 0;

	spec_init(&spec);
	while (!ret && (c = getopt_long(argc, argv, "+:", flags, NULL)) != -1)
		ret = c == '?' || c == ':' ? cli_bad_flag("do", argv, c)
					   : take_flag(&spec, &f, c, optarg);
	if (!ret && optind == argc)
		ret = cli_error("do: no program given (see 'moat help do')");
	if (!ret && (!(root = realpath(f.rootfs, NULL)) || stat(root, &st)))
		ret = cli_error("do: --rootfs %s: %s", f.rootfs, strerror(errno));
	else if (!ret && !S_ISDIR(st.st_mode))
		ret = cli_error("do: --rootfs %s: %s", f.rootfs, strerror(ENOTDIR));
	if (!ret)
		ret = build_mounts(&spec, &f, root);
	if (!ret)
		ret = build_process(&spec, &f, root, argv + optind);
	free_strv(f.env);
	free_strv(f.volumes);
	if (!ret)
		return cli_launch(options, &spec);
	spec_free(&spec);
	return ret;
}

const struct cli_command cli_do = {
	.name = "do",
	.usage = "[flags] [--] CMD [ARG...]",
	.summary = "Run a program in a fresh sandbox; the host's files stay untouched",
	.flags = "  --rootfs DIR            the root file system (default /), copied on write in "
		 "memory\n"
		 "  --cwd DIR               the program's working directory\n"
		 "  --env NAME=VALUE        set a variable; the others are the caller's\n"
		 "  --user USER[:GROUP]     names or numbers, looked up in the root file system\n"
		 "  --volume SRC:DST[:ro]   show the host's SRC at DST, writable unless ro\n"
		 "  --hostname NAME         default: moat\n" SANDBOX_FLAGS_HELP "\n"
		 "The exit status is the program's, or 128 and the signal that ended it; 125 when\n"
		 "moat failed, 126 when the program cannot be executed, 127 when there is none.\n",
	.run = run_do,
};
