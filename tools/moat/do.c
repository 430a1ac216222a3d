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
#include "boot/spec/egress.h"
#include "boot/net/passt.h"
#include "boot/sandbox/sandbox.h"
#include "tools/moat/cli.h"
#include "tools/moat/do_json.h"
#include "tools/moat/sandbox_flags.h"

enum {
	FLAG_ROOTFS = FLAG_OWN,
	FLAG_CWD,
	FLAG_ENV,
	FLAG_USER,
	FLAG_VOLUME,
	FLAG_HOSTNAME,
	FLAG_PUBLISH,
	FLAG_JSON,
};

static const struct option flags[] = {
	{"rootfs", required_argument, NULL, FLAG_ROOTFS},
	{"cwd", required_argument, NULL, FLAG_CWD},
	{"env", required_argument, NULL, FLAG_ENV},
	{"user", required_argument, NULL, FLAG_USER},
	{"volume", required_argument, NULL, FLAG_VOLUME},
	{"hostname", required_argument, NULL, FLAG_HOSTNAME},
	{"publish", required_argument, NULL, FLAG_PUBLISH},
	{"json", no_argument, NULL, FLAG_JSON},
	SANDBOX_FLAGS,
	{0},
};

/* What the flags said that the specification does not hold as it is. */
struct do_flags {
	const char *rootfs, *user;
	char **env, **volumes;
	bool json;
};

static int out_of_memory(void)
{
	return cli_error("do: %s", strerror(ENOMEM));
}

static int take_hostname(struct sandbox_spec *spec, const char *name)
{
	if (!*name || strlen(name) > 64)
		return cli_error("do: --hostname must have 1 to 64 characters");
	free(spec->container.hostname);
	spec->container.hostname = strdup(name);
	return spec->container.hostname ? 0 : out_of_memory();
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
		free(spec->container.process.cwd);
		spec->container.process.cwd = strdup(value);
		return spec->container.process.cwd ? 0 : out_of_memory();
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
	case FLAG_JSON:
		f->json = true;
		return 0;
	case FLAG_PUBLISH:
		if (!passt_publish_valid(value))
			return cli_error("do: --publish must be [ADDRESS:]PORT:PORT[/tcp|/udp]: %s",
					 value);
		spec->network = NETWORK_SANDBOX;
		return strv_append(&spec->publish, value) ? 0 : out_of_memory();
	}
	return sandbox_flag_take("do", spec, flag, value);
}

static int add_volume(struct sandbox_spec *spec, const char *volume)
{
	char *__free copy = strdup(volume), *__free source = NULL;
	char *target, *modes;
	unsigned long mount_flags = MS_NOSUID;

	if (!copy)
		return out_of_memory();
	target = strchr(copy, ':');
	if (target)
		*target++ = 0;
	modes = target ? strchr(target, ':') : NULL;
	if (modes)
		*modes++ = 0;
	if (!target || !*copy || *target != '/')
		return cli_error("do: --volume must be SRC:DST[:ro][,suid], DST absolute: %s",
				 volume);
	for (const char *mode; (mode = strsep(&modes, ","));) {
		if (!strcmp(mode, "ro"))
			mount_flags |= MS_RDONLY;
		else if (!strcmp(mode, "suid"))
			mount_flags &= ~(unsigned long)MS_NOSUID;
		else if (strcmp(mode, "rw") && strcmp(mode, "nosuid"))
			return cli_error("do: --volume %s: unknown mode '%s'", volume, mode);
	}
	source = realpath(copy, NULL);
	if (!source)
		return cli_error("do: --volume %s: %s: %s", volume, copy, strerror(errno));
	return spec_add_mount(&spec->container, MOUNT_HOST, source, target, NULL, mount_flags, NULL,
			      NULL)
		       ? out_of_memory()
		       : 0;
}

static int build_mounts(struct sandbox_spec *spec, const struct do_flags *f, char *root)
{
	struct spec_mount *m;
	int ret;

	ret = spec_add_mount(&spec->container, MOUNT_HOST, root, "/", NULL, 0, NULL, &m);
	if (ret)
		return out_of_memory();
	m->overlay = true;
	if (spec_add_default_mounts(&spec->container))
		return out_of_memory();
	if (!strcmp(root, "/")) {
		ret = spec_add_host_submounts(&spec->container, root);
		if (ret)
			return cli_error("do: cannot read the host's mounts: %s (see 'moat check')",
					 strerror(-ret));
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
		if (spec_set_user(&spec->container.process, strcmp(root, "/") ? root : "", f->user,
				  &home, err, sizeof(err)))
			return cli_error("do: --user: %s", err);
		if (home &&
		    snprintf(assignment, sizeof(assignment), "HOME=%s", home) <
			    (int)sizeof(assignment) &&
		    !env_set(&spec->container.process.envp, assignment))
			return out_of_memory();
	} else {
		spec->container.process.uid = geteuid();
		spec->container.process.gid = getegid();
		n = getgroups(0, NULL);
		if (n > 0) {
			spec->container.process.groups = calloc(n, sizeof(gid_t));
			if (!spec->container.process.groups)
				return out_of_memory();
			n = getgroups(n, spec->container.process.groups);
			spec->container.process.ngroups = n > 0 ? n : 0;
		}
	}
	spec_set_default_caps(&spec->container.process);
	return 0;
}

static int build_process(struct sandbox_spec *spec, const struct do_flags *f, const char *root,
			 char **argv)
{
	int ret;

	for (; *argv; argv++)
		if (!strv_append(&spec->container.process.argv, *argv))
			return out_of_memory();
	for (char **e = environ; e && *e; e++)
		if (!strv_append(&spec->container.process.envp, *e))
			return out_of_memory();
	ret = build_user(spec, f, root);
	if (ret)
		return ret;
	for (char **e = f->env; e && *e; e++)
		if (!env_set(&spec->container.process.envp, *e))
			return out_of_memory();
	if (!spec->container.process.cwd) {
		spec->container.process.cwd = strcmp(root, "/") ? NULL : getcwd(NULL, 0);
		if (!spec->container.process.cwd || *spec->container.process.cwd != '/') {
			free(spec->container.process.cwd);
			spec->container.process.cwd = strdup("/");
		}
	}
	spec->container.process.umask = umask(022);
	umask(spec->container.process.umask);
	spec->container.process.terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
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
	if (!ret)
		ret = sandbox_flags_global("do", options, &spec);
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
	if (!ret && spec.network == NETWORK_HOST && spec.publish)
		ret = cli_error("do: --publish goes with --network=sandbox");
	if (!ret && spec.network != NETWORK_NONE && egress_default_resolvers(&spec, true))
		ret = out_of_memory();
	if (!ret)
		return f.json ? do_json(options, &spec) : cli_launch(options, &spec);
	spec_free(&spec);
	return ret;
}

const struct cli_command cli_do = {
	.name = "do",
	.usage = "[flags] [--] CMD [ARG...]",
	.summary = "Run a program in a fresh sandbox; the host's files stay untouched",
	.flags =
		"  --rootfs DIR            the root file system (default /), copied on write in "
		"memory\n"
		"  --cwd DIR               the program's working directory\n"
		"  --env NAME=VALUE        set a variable; the others are the caller's\n"
		"  --user USER[:GROUP]     names or numbers, looked up in the root file system\n"
		"  --volume SRC:DST[:OPT]  show the host's SRC at DST; OPT: ro (else writable), "
		"suid\n"
		"                          (else no setuid, setgid or file capabilities), or both\n"
		"  --hostname NAME         default: moat\n"
		"  --publish HOST:GUEST    what comes to the host's port goes to the program's;\n"
		"                          [ADDRESS:]HOST:GUEST[/tcp|/udp]; --network=sandbox is "
		"implied\n"
		"  --json                  print one JSON object: output, how it ended, times, "
		"memory\n" SANDBOX_FLAGS_HELP "\n"
		"The exit status is the program's, or 128 and the signal that ended it; 125 when\n"
		"moat failed, 126 when the program cannot be executed, 127 when there is none.\n",
	.run = run_do,
};
