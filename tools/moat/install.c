/*
 * moat install, uninstall: entries for moat in the configuration of container engines. What else is
 * there stays as it is; a file is replaced as a whole or not at all; doing it twice changes
 * nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/compiler.h"
#include "tools/moat/bundle.h"

#define BEGIN_MARK "# moat install: begin\n"
#define END_MARK "# moat install: end\n"

struct job {
	const char *prefix; /* of all paths */
	char program[PATH_MAX];
	bool remove, dry_run;
};

/* --- files ------------------------------------------------------------------------------------ */

/* Makes the directories of path that are missing. */
static int make_parents(const char *path)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s", path);
	for (char *p = strchr(dir + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		if (mkdir(dir, 0755) && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return 0;
}

/* A new file in place of what path leads to, with its mode and owner. */
static int replace(const char *path, const char *text)
{
	char target[PATH_MAX], temporary[PATH_MAX + 16];
	int __close_fd fd = -1;
	size_t n = strlen(text);
	struct stat st;
	int ret;

	ret = make_parents(path);
	if (ret)
		return ret;
	if (!realpath(path, target))
		snprintf(target, sizeof(target), "%s", path);
	snprintf(temporary, sizeof(temporary), "%s.moat-new", target);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return -errno;
	if ((!stat(target, &st) &&
	     (fchmod(fd, st.st_mode & 07777) || fchown(fd, st.st_uid, st.st_gid))) ||
	    write(fd, text, n) != (ssize_t)n || fsync(fd) || rename(temporary, target)) {
		ret = -errno;
		unlink(temporary);
	}
	return ret;
}

/* What becomes of a file: text, or NULL for it to go. Says so. The exit status. */
static int finish(const struct job *job, const char *engine, const char *path, const char *was,
		  const char *text, const char *advice)
{
	int ret = 0;

	if (was && text ? !strcmp(was, text) : !was && !text) {
		printf("%s: %s: nothing to do\n", engine, path);
		return 0;
	}
	if (job->dry_run) {
		printf("%s: %s would %s\n", engine, path, text ? "be:" : "be removed");
		if (text)
			fputs(text, stdout);
		return 0;
	}
	if (text)
		ret = replace(path, text);
	else if (unlink(path))
		ret = -errno;
	if (ret)
		return cli_fail("%s: %s: %s", engine, path, strerror(-ret));
	printf("%s: %s: %s; %s\n", engine, path,
	       !text	     ? "removed"
	       : job->remove ? "runtime moat removed"
			     : "runtime moat added",
	       advice);
	return 0;
}

/* The text of a file in *text; NULL if there is none. The exit status after a message. */
static int read_config(const char *engine, const char *path, char **text)
{
	size_t len;

	*text = NULL;
	if (access(path, F_OK))
		return errno == ENOENT ? 0 : cli_fail("%s: %s: %s", engine, path, strerror(errno));
	*text = read_text(engine, path, &len);
	if (!*text)
		return EXIT_CLI_FAILED;
	(*text)[len] = 0;
	if (strlen(*text) == len)
		return 0;
	free(*text);
	*text = NULL;
	return cli_fail("%s: %s is no text", engine, path);
}

/* --- Docker ----------------------------------------------------------------------------------- */

static int change_daemon_json(const struct job *job, const char *path, json_t *config)
{
	json_t *runtimes = json_object_get(config, "runtimes");
	const char *standard = json_string_value(json_object_get(config, "default-runtime"));

	if (runtimes && !json_is_object(runtimes))
		return cli_fail("docker: %s: runtimes is no object", path);
	if (job->remove) {
		if (standard && !strcmp(standard, "moat"))
			return cli_fail("docker: %s: default-runtime is moat; change that first",
					path);
		json_object_del(runtimes, "moat");
		if (runtimes && !json_object_size(runtimes))
			json_object_del(config, "runtimes");
		return 0;
	}
	if (!runtimes) {
		runtimes = json_object();
		json_object_set_new(config, "runtimes", runtimes);
	}
	/* Its arguments, if somebody has given it some, stay. */
	if (!json_is_object(json_object_get(runtimes, "moat")))
		json_object_set_new(runtimes, "moat", json_object());
	json_object_set_new(json_object_get(runtimes, "moat"), "path", json_string(job->program));
	return 0;
}

static int docker(const struct job *job)
{
	char path[PATH_MAX], *__free was = NULL, *__free now = NULL;
	json_t *config = NULL, *before;
	json_error_t where;
	int ret;

	snprintf(path, sizeof(path), "%s/etc/docker/daemon.json", job->prefix);
	ret = read_config("docker", path, &was);
	if (ret)
		return ret;
	if (was && *was) {
		config = json_loads(was, JSON_REJECT_DUPLICATES, &where);
		if (!json_is_object(config)) {
			json_decref(config);
			return cli_fail("docker: %s: line %d: %s", path, where.line,
					config ? "expected an object" : where.text);
		}
	} else {
		config = json_object();
	}
	before = json_deep_copy(config);
	ret = change_daemon_json(job, path, config);
	if (!ret && was && json_equal(config, before))
		now = strdup(was); /* whatever its spaces are */
	else if (!ret && json_object_size(config) &&
		 (now = json_dumps(config, JSON_INDENT(4) | JSON_PRESERVE_ORDER))) {
		char *line = realloc(now, strlen(now) + 2);

		if (line)
			now = strcat(line, "\n");
	}
	if (!ret)
		ret = finish(job, "docker", path, was, now,
			     "dockerd reads it when it starts, or on SIGHUP");
	json_decref(before);
	json_decref(config);
	return ret;
}

/* --- containerd ------------------------------------------------------------------------------- */

/* Text without the part between the marks; malloc'd. NULL: no memory. *found: there was one. */
static char *without_marked(const char *text, bool *found)
{
	char *copy = strdup(text), *begin = copy ? strstr(copy, BEGIN_MARK) : NULL, *end;

	end = begin ? strstr(begin, END_MARK) : NULL;
	*found = end != NULL;
	if (end) {
		end += strlen(END_MARK);
		/* The empty line before it came with it. */
		if (begin - copy >= 2 && begin[-1] == '\n' && begin[-2] == '\n')
			begin--;
		memmove(begin, end, strlen(end) + 1);
	}
	return copy;
}

/* "version = 3" at the top of the file is that of containerd 2. */
static int config_version(const char *text)
{
	const char *table = strchr(text, '[');
	const char *v = strstr(text, "version");
	int version = 0;

	if (v && (!table || v < table))
		sscanf(v, "version = %d", &version);
	return version;
}

/* alone: nothing else is in the file. */
static char *containerd_block(const struct job *job, int version, bool alone)
{
	const char *plugin =
		version >= 3 ? "io.containerd.cri.v1.runtime" : "io.containerd.grpc.v1.cri";
	char *text = NULL;

	if (asprintf(&text,
		     "%s%s%s[plugins.\"%s\".containerd.runtimes.moat]\n"
		     "  runtime_type = \"io.containerd.runc.v2\"\n"
		     "  [plugins.\"%s\".containerd.runtimes.moat.options]\n"
		     "    BinaryName = \"%s\"\n%s",
		     alone ? "" : "\n", BEGIN_MARK, alone ? "version = 2\n" : "", plugin, plugin,
		     job->program, END_MARK) < 0)
		return NULL;
	return text;
}

static int change_containerd(const struct job *job, const char *path, const char *was)
{
	bool marked = false;
	char *__free rest = without_marked(was ? was : "", &marked);
	char *__free now = NULL, *__free block = NULL;
	bool whole;

	if (!rest)
		return cli_fail("containerd: %s", strerror(ENOMEM));
	if (strstr(rest, ".containerd.runtimes.moat]")) {
		printf("containerd: %s: has a runtime moat that is not of 'moat install': left "
		       "as it is\n",
		       path);
		return 0;
	}
	if (job->remove)
		return finish(job, "containerd", path, was,
			      marked && !*rest ? NULL
			      : was	       ? rest
					       : NULL,
			      "containerd reads it when it starts");
	if (*rest && config_version(rest) < 2)
		return cli_fail("containerd: %s: its form is older than version 2", path);
	whole = !*rest || rest[strlen(rest) - 1] == '\n';
	block = containerd_block(job, config_version(rest), !*rest);
	if (!block || asprintf(&now, "%s%s%s", rest, whole ? "" : "\n", block) < 0)
		return cli_fail("containerd: %s", strerror(ENOMEM));
	return finish(job, "containerd", path, was, now, "containerd reads it when it starts");
}

static int containerd(const struct job *job)
{
	char path[PATH_MAX], *__free was = NULL;
	int ret;

	snprintf(path, sizeof(path), "%s/etc/containerd/config.toml", job->prefix);
	ret = read_config("containerd", path, &was);
	return ret ? ret : change_containerd(job, path, was);
}

/* --- Podman ----------------------------------------------------------------------------------- */

static int podman(const struct job *job)
{
	char path[PATH_MAX], *__free was = NULL, *__free now = NULL;
	int ret;

	/* A file of its own beside containers.conf. */
	snprintf(path, sizeof(path), "%s/etc/containers/containers.conf.d/50-moat.conf",
		 job->prefix);
	ret = read_config("podman", path, &was);
	if (ret)
		return ret;
	if (!job->remove &&
	    asprintf(&now, "[engine.runtimes]\nmoat = [\"%s\"]\n", job->program) < 0)
		return cli_fail("podman: %s", strerror(ENOMEM));
	return finish(job, "podman", path, was, now, "every podman reads it");
}

/* --- the commands ----------------------------------------------------------------------------- */

static const struct engine {
	const char *name, *program;
	int (*change)(const struct job *job);
} engines[] = {
	{"docker", "dockerd", docker},
	{"containerd", "containerd", containerd},
	{"podman", "podman", podman},
};

static bool is_there(const struct job *job, const char *program)
{
	static const char *const dirs[] = {"/usr/bin", "/usr/sbin", "/usr/local/bin",
					   "/usr/local/sbin"};
	char path[PATH_MAX];

	for (unsigned i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%s%s/%s", job->prefix, dirs[i], program);
		if (!access(path, X_OK))
			return true;
	}
	return false;
}

/* Those that are named, or else those that are there. */
static int change_all(const struct job *job, int argc, char **argv)
{
	int status = 0;
	bool any = false;

	for (int a = 0; a < argc; a++) {
		bool known = false;

		for (unsigned i = 0; i < ARRAY_SIZE(engines); i++)
			known = known || !strcmp(argv[a], engines[i].name);
		if (!known)
			return cli_fail("%s is not docker, containerd or podman", argv[a]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(engines); i++) {
		bool wanted = !argc && is_there(job, engines[i].program);

		for (int a = 0; a < argc; a++)
			wanted = wanted || !strcmp(argv[a], engines[i].name);
		any = any || wanted;
		if (wanted && engines[i].change(job))
			status = EXIT_CLI_FAILED;
	}
	return any ? status : cli_fail("no docker, containerd or podman is here");
}

static int run(int argc, char **argv, bool remove)
{
	static const struct option flags[] = {
		{"dry-run", no_argument, NULL, 'n'},
		{"prefix", required_argument, NULL, 'p'},
		{"program", required_argument, NULL, 'r'},
		{0},
	};
	struct job job = {.prefix = "", .remove = remove};
	ssize_t n = readlink("/proc/self/exe", job.program, sizeof(job.program) - 1);
	int c;

	job.program[n > 0 ? n : 0] = 0;
	while ((c = getopt_long(argc, argv, "+:n", flags, NULL)) != -1) {
		if (c == 'n') {
			job.dry_run = true;
		} else if (c == 'p') {
			job.prefix = strcmp(optarg, "/") ? optarg : "";
		} else if (c == 'r') {
			snprintf(job.program, sizeof(job.program), "%s", optarg);
		} else {
			cli_bad_flag(argv[0], argv, c);
			return EXIT_CLI_FAILED;
		}
	}
	/* It goes into JSON and TOML as it is. */
	if (!remove && (*job.program != '/' || strpbrk(job.program, "\"\\\n")))
		return cli_fail("%s: no path that could be written down: %s", argv[0], job.program);
	if (strlen(job.prefix) > PATH_MAX / 2)
		return cli_fail("%s: --prefix: %s", argv[0], strerror(ENAMETOOLONG));
	return change_all(&job, argc - optind, argv + optind);
}

static int run_install(const struct cli_options *options, int argc, char **argv)
{
	(void)options;
	return run(argc, argv, false);
}

static int run_uninstall(const struct cli_options *options, int argc, char **argv)
{
	(void)options;
	return run(argc, argv, true);
}

#define INSTALL_FLAGS_HELP                                                                         \
	"  --dry-run, -n           print what the files would be; change nothing\n"                \
	"  --prefix DIR            the engines' /etc is DIR/etc\n"                                 \
	"\nThe files are /etc/docker/daemon.json, /etc/containerd/config.toml and\n"               \
	"/etc/containers/containers.conf.d/50-moat.conf. What else they have stays. Without an\n"  \
	"engine's name, all that are here are meant.\n"

const struct cli_command cli_install = {
	.name = "install",
	.usage = "[flags] [docker] [containerd] [podman]",
	.summary = "Make moat known to container engines as a runtime",
	.flags =
		"  --program PATH          the moat that they are to start (default: this one)\n" //
	INSTALL_FLAGS_HELP,
	.run = run_install,
};

const struct cli_command cli_uninstall = {
	.name = "uninstall",
	.usage = "[flags] [docker] [containerd] [podman]",
	.summary = "Remove what install has written",
	.flags = INSTALL_FLAGS_HELP,
	.run = run_uninstall,
};
