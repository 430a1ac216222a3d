/* moat spec: a config.json to begin with; the one that `runc spec` writes. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/compiler.h"
#include "tools/moat/cli.h"

static json_t *strings(const char *const *v)
{
	json_t *list = json_array();

	for (; list && *v; v++)
		json_array_append_new(list, json_string(*v));
	return list;
}

static json_t *process(void)
{
	static const char *const caps[] = {"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE",
					   NULL};
	static const char *const env[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm",
		NULL};

	return json_pack("{s:b, s:{s:i, s:i}, s:[s], s:o, s:s, s:{s:o, s:o, s:o}, "
			 "s:[{s:s, s:i, s:i}], s:b}",
			 "terminal", 1, "user", "uid", 0, "gid", 0, "args", "sh", "env",
			 strings(env), "cwd", "/", "capabilities", "bounding", strings(caps),
			 "effective", strings(caps), "permitted", strings(caps), "rlimits", "type",
			 "RLIMIT_NOFILE", "hard", 1024, "soft", 1024, "noNewPrivileges", 1);
}

static const struct {
	const char *destination, *type, *source;
	const char *options[8];
} mounts[] = {
	{"/proc", "proc", "proc", {NULL}},
	{"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
	{"/dev/pts",
	 "devpts",
	 "devpts",
	 {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
	{"/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
	{"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
	{"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}},
	{"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"}},
};

static json_t *mount_list(void)
{
	json_t *list = json_array();

	for (unsigned i = 0; list && i < ARRAY_SIZE(mounts); i++) {
		json_t *m = json_pack("{s:s, s:s, s:s}", "destination", mounts[i].destination,
				      "type", mounts[i].type, "source", mounts[i].source);

		if (mounts[i].options[0])
			json_object_set_new(m, "options", strings(mounts[i].options));
		json_array_append_new(list, m);
	}
	return list;
}

/* An ordinary user's container has a user namespace, his own ids, the host's network; no limits. */
static json_t *linux_part(bool rootless)
{
	static const char *const masked[] = {"/proc/acpi",
					     "/proc/asound",
					     "/proc/kcore",
					     "/proc/keys",
					     "/proc/latency_stats",
					     "/proc/timer_list",
					     "/proc/timer_stats",
					     "/proc/sched_debug",
					     "/sys/firmware",
					     "/proc/scsi",
					     NULL};
	static const char *const readonly[] = {
		"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL};
	static const char *const root[] = {"pid", "network", "ipc", "uts", "mount", NULL};
	static const char *const user[] = {"pid", "ipc", "uts", "mount", "user", NULL};
	json_t *lin = json_object(), *list = json_array();

	if (rootless) {
		json_object_set_new(lin, "uidMappings",
				    json_pack("[{s:i, s:I, s:i}]", "containerID", 0, "hostID",
					      (json_int_t)geteuid(), "size", 1));
		json_object_set_new(lin, "gidMappings",
				    json_pack("[{s:i, s:I, s:i}]", "containerID", 0, "hostID",
					      (json_int_t)getegid(), "size", 1));
	} else {
		json_object_set_new(
			lin, "resources",
			json_pack("{s:[{s:b, s:s}]}", "devices", "allow", 0, "access", "rwm"));
	}
	for (const char *const *type = rootless ? user : root; *type; type++)
		json_array_append_new(list, json_pack("{s:s}", "type", *type));
	json_object_set_new(lin, "namespaces", list);
	json_object_set_new(lin, "maskedPaths", strings(masked));
	json_object_set_new(lin, "readonlyPaths", strings(readonly));
	return lin;
}

static json_t *config(bool rootless)
{
	return json_pack("{s:s, s:o, s:{s:s, s:b}, s:s, s:o, s:o}", "ociVersion", "1.0.2",
			 "process", process(), "root", "path", "rootfs", "readonly", 1, "hostname",
			 "moat", "mounts", mount_list(), "linux", linux_part(rootless));
}

static int write_config(const char *path, bool rootless)
{
	json_t *j = config(rootless);
	int __close_fd fd = -1;
	int ret;

	if (!j)
		return cli_fail("spec: %s", strerror(ENOMEM));
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 && errno == EEXIST)
		ret = cli_fail("File config.json exists. Remove it first");
	else if (fd < 0)
		ret = cli_fail("%s: %s", path, strerror(errno));
	else if (json_dumpfd(j, fd, JSON_INDENT(8)) || write(fd, "\n", 1) != 1)
		ret = cli_fail("%s: %s", path, strerror(errno));
	else
		ret = 0;
	json_decref(j);
	return ret;
}

static int run_spec(const struct cli_options *options, int argc, char **argv)
{
	static const struct option flags[] = {
		{"bundle", required_argument, NULL, 'b'},
		{"rootless", no_argument, NULL, 'r'},
		{0},
	};
	const char *bundle = ".";
	bool rootless = false;
	char path[PATH_MAX];
	int c;

	(void)options;
	while ((c = getopt_long(argc, argv, "+:b:", flags, NULL)) != -1) {
		if (c == 'b') {
			bundle = optarg;
		} else if (c == 'r') {
			rootless = true;
		} else {
			cli_bad_flag("spec", argv, c);
			return EXIT_CLI_FAILED;
		}
	}
	if (optind != argc)
		return cli_fail("spec: too many arguments (see 'moat help spec')");
	if (snprintf(path, sizeof(path), "%s/config.json", bundle) >= (int)sizeof(path))
		return cli_fail("spec: %s: %s", bundle, strerror(ENAMETOOLONG));
	return write_config(path, rootless);
}

const struct cli_command cli_spec = {
	.name = "spec",
	.usage = "[--bundle DIR] [--rootless]",
	.summary = "Write a config.json to begin with",
	.flags = "  --bundle DIR, -b DIR    where to (default: the current directory)\n"
		 "  --rootless              for a container of an ordinary user\n",
	.run = run_spec,
};
