/* moat sandbox: a sandbox that another program drives over a socket (lib/, python/). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/fds.h"
#include "base/host.h"
#include "base/log.h"
#include "boot/sandbox/sandbox.h"
#include "sentry/platform/platform.h"
#include "tools/moat/cli.h"
#include "tools/moat/sandbox_flags.h"

#define DEFAULT_DISK (512ULL << 20)
#define DEFAULT_PROCESSES 4096
#define NOBODY 65534

enum {
	FLAG_CONTROL = FLAG_OWN,
	FLAG_ROOTFS,
	FLAG_VOLUME,
	FLAG_DISK,
	FLAG_USER,
	FLAG_PROCESSES,
};

static const struct option flags[] = {
	{"control", required_argument, NULL, FLAG_CONTROL},
	{"rootfs", required_argument, NULL, FLAG_ROOTFS},
	{"volume", required_argument, NULL, FLAG_VOLUME},
	{"disk", required_argument, NULL, FLAG_DISK},
	{"user", required_argument, NULL, FLAG_USER},
	{"processes", required_argument, NULL, FLAG_PROCESSES},
	SANDBOX_FLAGS,
	{0},
};

struct sandbox_cli_flags {
	const char *rootfs;
	char **volumes;
	uint64_t disk;
};

static int take_number(const char *text, unsigned long max, unsigned long *out, char **end)
{
	errno = 0;
	*out = strtoul(text, end, 10);
	return errno || *end == text || *out > max ? -EINVAL : 0;
}

static int take_user(struct process_spec *p, const char *text)
{
	unsigned long uid, gid;
	char *end;

	if (take_number(text, UINT32_MAX - 1UL, &uid, &end) ||
	    (*end == ':' ? take_number(end + 1, UINT32_MAX - 1UL, &gid, &end) : (gid = uid, 0)) ||
	    *end)
		return cli_error("sandbox: --user must be UID[:GID]: %s", text);
	p->uid = (uid_t)uid;
	p->gid = (gid_t)gid;
	return 0;
}

static int take_flag(struct sandbox_spec *spec, struct sandbox_cli_flags *f, int flag,
		     const char *value)
{
	unsigned long fd;
	char *end;

	switch (flag) {
	case FLAG_CONTROL:
		if (take_number(value, INT_MAX, &fd, &end) || *end || fd < 3 ||
		    fcntl((int)fd, F_SETFD, FD_CLOEXEC))
			return cli_error("sandbox: --control must be an open descriptor: %s",
					 value);
		spec->controller = (int)fd;
		return 0;
	case FLAG_ROOTFS:
		f->rootfs = value;
		return 0;
	case FLAG_VOLUME:
		return strv_append(&f->volumes, value) ? 0 : cli_error("sandbox: no memory");
	case FLAG_DISK:
		if (!parse_size(value, &f->disk) || f->disk < 1 << 16)
			return cli_error("sandbox: --disk must be a size of at least 64K: %s",
					 value);
		return 0;
	case FLAG_PROCESSES:
		if (take_number(value, INT_MAX, &fd, &end) || *end || fd < 2)
			return cli_error("sandbox: --processes must be 2 or more: %s", value);
		spec->container.pids_max = fd;
		return 0;
	case FLAG_USER:
		return take_user(&spec->container.process, value);
	}
	return sandbox_flag_take("sandbox", spec, flag, value);
}

/* --- what it sees of the host ----------------------------------------------------------------- */

/* root/name, with symbolic links followed as seen from root; malloc'd, NULL: not there. */
static char *resolve(const char *root, const char *name)
{
	char path[PATH_MAX], target[PATH_MAX], *__free found = NULL;
	ssize_t n;

	if (snprintf(path, sizeof(path), "%s/%s", root, name) >= (int)sizeof(path))
		return NULL;
	n = readlink(path, target, sizeof(target) - 1);
	if (n > 0 && *target == '/' && *root) {
		target[n] = 0;
		if (snprintf(path, sizeof(path), "%s%s", root, target) >= (int)sizeof(path))
			return NULL;
	}
	found = realpath(path, NULL);
	/* An image may say what it likes: nothing outside of it is shown. */
	if (!found || (*root && strncmp(found, root, strlen(root))))
		return NULL;
	return steal_ptr(&found);
}

static int show(struct sandbox_spec *spec, const char *source, const char *target, bool writable)
{
	struct spec_mount *m;

	if (spec_add_mount(&spec->container, MOUNT_HOST, source, target, NULL,
			   MS_NOSUID | MS_NODEV | (writable ? 0 : MS_RDONLY), NULL, &m))
		return cli_error("sandbox: no memory");
	m->cached = !writable;
	m->optional = true;
	return 0;
}

static int show_below(struct sandbox_spec *spec, const char *root, const char *name)
{
	char *__free source = resolve(root, name), *__free target = NULL;

	if (!source)
		return 0;
	if (asprintf(&target, "/%s", name) < 0)
		return cli_error("sandbox: no memory");
	return show(spec, source, target, false);
}

/* The host's programs and libraries, and of its settings what those look at; no home, no data. */
static int show_system(struct sandbox_spec *spec)
{
	static const char *const names[] = {
		"usr",
		"bin",
		"sbin",
		"lib",
		"lib32",
		"lib64",
		"libx32",
		"etc/alternatives",
		"etc/ssl/certs",
		"etc/passwd",
		"etc/group",
		"etc/nsswitch.conf",
		"etc/ld.so.cache",
		"etc/localtime",
	};
	int ret = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(names) && !ret; i++)
		ret = show_below(spec, "", names[i]);
	return ret;
}

static bool is_made_anew(const char *name)
{
	static const char *const names[] = {".", "..", "proc", "sys", "dev", "tmp", "w", "run"};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

/* What is at the top of an image's directory. */
static int show_image(struct sandbox_spec *spec, const char *root)
{
	char *__free real = realpath(root, NULL);
	DIR *d = real ? opendir(real) : NULL;
	struct dirent *e;
	int ret = 0;

	if (!d)
		return cli_error("sandbox: --rootfs %s: %s", root, strerror(errno));
	while (!ret && (e = readdir(d)))
		if (!is_made_anew(e->d_name))
			ret = show_below(spec, real, e->d_name);
	closedir(d);
	return ret;
}

static int show_volume(struct sandbox_spec *spec, const char *volume)
{
	char *__free copy = strdup(volume), *__free source = NULL;
	char *target = copy ? strchr(copy, ':') : NULL, *mode;

	if (target)
		*target++ = 0;
	mode = target ? strchr(target, ':') : NULL;
	if (mode)
		*mode++ = 0;
	if (!target || *target != '/' || (mode && strcmp(mode, "ro") && strcmp(mode, "rw")))
		return cli_error("sandbox: --volume must be SRC:DST[:ro|:rw], DST absolute: %s",
				 volume);
	source = realpath(copy, NULL);
	if (!source)
		return cli_error("sandbox: --volume %s: %s", volume, strerror(errno));
	return show(spec, source, target, mode && !strcmp(mode, "rw"));
}

static int build_mounts(struct sandbox_spec *spec, const struct sandbox_cli_flags *f)
{
	const unsigned long flags_of_disk = MS_NOSUID | MS_NODEV;
	char disk[64];
	int ret;

	snprintf(disk, sizeof(disk), "mode=1777,size=%llu", (unsigned long long)f->disk);
	if (spec_add_mount(&spec->container, MOUNT_INTERNAL, "tmpfs", "/", "tmpfs", 0,
			   "mode=755,size=1m", NULL) ||
	    spec_add_default_mounts(&spec->container) ||
	    spec_add_mount(&spec->container, MOUNT_INTERNAL, "tmpfs", "/tmp", "tmpfs",
			   flags_of_disk, disk, NULL) ||
	    spec_add_mount(&spec->container, MOUNT_INTERNAL, "tmpfs", "/w", "tmpfs", flags_of_disk,
			   disk, NULL))
		return cli_error("sandbox: no memory");
	ret = f->rootfs ? show_image(spec, f->rootfs) : show_system(spec);
	for (char **v = f->volumes; !ret && v && *v; v++)
		ret = show_volume(spec, *v);
	spec->container.root_readonly = true;
	return ret;
}

/* --- the one process that is loaded and never runs -------------------------------------------- */

static int build_process(struct sandbox_spec *spec)
{
	static const char *const programs[] = {"/bin/true", "/usr/bin/true", "/bin/sh",
					       "/bin/busybox"};
	struct process_spec *p = &spec->container.process;
	const char *program = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(programs) && !program; i++) {
		const char *slash = strrchr(programs[i], '/');
		char *__free dir = strndup(programs[i], (size_t)(slash - programs[i]));

		for (unsigned j = 0; dir && j < spec->container.nmounts; j++) {
			const struct spec_mount *m = &spec->container.mounts[j];
			size_t n = strlen(m->target);
			char *__free path = NULL;

			if (m->kind == MOUNT_HOST && !strncmp(m->target, programs[i], n) &&
			    programs[i][n] == '/' &&
			    asprintf(&path, "%s%s", m->source, programs[i] + n) > 0 &&
			    !access(path, X_OK))
				program = programs[i];
		}
	}
	if (!program)
		return cli_error("sandbox: the root has neither true nor sh in it");
	return strv_append(&p->argv, program) ? 0 : cli_error("sandbox: no memory");
}

/* --- its life --------------------------------------------------------------------------------- */

static int serve(struct sandbox_spec *spec)
{
	struct sandbox sb;
	char err[600];
	int status;

	if (sandbox_start(spec, &sb, err, sizeof(err)))
		return cli_error("%s (see 'moat check')", err);
	status = sandbox_wait_created(&sb, err, sizeof(err));
	if (status)
		return status == SANDBOX_CONFINED ? status : (cli_error("%s", err), status);
	printf("ready %s\n", sb.platform);
	fflush(stdout);
	close_fd_ptr(&spec->controller);
	for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; fd++)
		close(fd);
	for (;;) {
		struct pollfd fds[] = {{.fd = sb.sandbox_pidfd, .events = POLLIN},
				       {.fd = sb.gofer_pidfd, .events = POLLIN}};

		/* One of them does not go on without the other. */
		if (poll(fds, 2, -1) > 0)
			break;
	}
	sandbox_kill(&sb);
	return 0;
}

static int launch(const struct cli_options *options, struct sandbox_spec *spec)
{
	int status;

	spec->rootless = options->rootless;
	spec->debug = options->debug;
	spec->num_cpus = host_cpus();
	if (spec->log_fd >= 0)
		log_set_fd(spec->log_fd);
	status = serve(spec);
	while (status == SANDBOX_CONFINED && spec->isolation < ISOLATION_NONE) {
		spec->isolation++;
		status = serve(spec);
	}
	return status;
}

static void free_strings(char **v)
{
	for (char **s = v; s && *s; s++)
		free(*s);
	free(v);
}

/* Whoever has started us may have left descriptors open that we would keep for as long as we live.
 */
static void close_inherited(const struct sandbox_spec *spec)
{
	int keep[] = {spec->controller, spec->log_fd};

	fds_close_others(keep, ARRAY_SIZE(keep));
}

static int run_sandbox(const struct cli_options *options, int argc, char **argv)
{
	struct sandbox_cli_flags f = {.disk = DEFAULT_DISK};
	struct sandbox_spec spec;
	int c, ret = 0;

	spec_init(&spec);
	spec.container.process.uid = spec.container.process.gid = NOBODY;
	spec.container.pids_max = DEFAULT_PROCESSES;
	spec.container.driven = spec.container.init_unkillable = true;
	while (!ret && (c = getopt_long(argc, argv, "+:", flags, NULL)) != -1)
		ret = c == '?' || c == ':' ? cli_bad_flag("sandbox", argv, c)
					   : take_flag(&spec, &f, c, optarg);
	if (!ret && optind != argc)
		ret = cli_error("sandbox: takes no arguments (see 'moat help sandbox')");
	if (!ret && spec.controller < 0)
		ret = cli_error("sandbox: --control is needed (see 'moat help sandbox')");
	if (!ret && (spec.network != NETWORK_NONE || spec.timeout_ns))
		ret = cli_error("sandbox: there are no --network and no --timeout");
	if (!ret)
		close_inherited(&spec);
	if (!ret)
		ret = build_mounts(&spec, &f);
	if (!ret)
		ret = build_process(&spec);
	if (!ret)
		ret = launch(options, &spec);
	free_strings(f.volumes);
	spec_free(&spec);
	return ret;
}

const struct cli_command cli_sandbox = {
	.name = "sandbox",
	.usage = "--control FD [flags]",
	.summary = "Keep a sandbox that another program drives over a socket",
	.flags = "  --control FD            the socket (see control/moat.proto); the sandbox ends "
		 "with "
		 "it\n"
		 "  --rootfs DIR            an image's directory, shown read-only; default: the "
		 "host's\n"
		 "                          programs and libraries, without homes and data\n"
		 "  --volume SRC:DST[:rw]   show the host's SRC at DST, read-only unless rw\n"
		 "  --disk SIZE             of /w and of /tmp, each, in memory (default 512M)\n"
		 "  --processes N           threads of all programs together (default 4096)\n"
		 "  --user UID[:GID]        who reads and writes files from outside (default "
		 "65534)\n" SANDBOX_FLAGS_HELP "\n"
		 "It prints 'ready PLATFORM' on standard output once it can be driven. /w and /tmp "
		 "are\n"
		 "all that can be written. Programs use libmoat or the Python package instead.\n",
	.run = run_sandbox,
};
