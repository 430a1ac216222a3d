/* moat exec: one more process in a container that runs. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/log.h"
#include "boot/oci/oci.h"
#include "boot/spec/spec_wire.h"
#include "boot/sandbox/terminal.h"
#include "tools/moat/exec.h"

enum {
	FLAG_PROCESS = 1000,
	FLAG_PID_FILE,
	FLAG_CONSOLE_SOCKET,
	FLAG_PIDFD_SOCKET,
	FLAG_CWD,
	FLAG_NO_NEW_PRIVS,
	FLAG_PRESERVE_FDS,
	FLAG_IGNORE_PAUSED,
	FLAG_LABEL,
	FLAG_CGROUP,
};

static const struct option flags[] = {
	{"process", required_argument, NULL, FLAG_PROCESS},
	{"pid-file", required_argument, NULL, FLAG_PID_FILE},
	{"console-socket", required_argument, NULL, FLAG_CONSOLE_SOCKET},
	{"pidfd-socket", required_argument, NULL, FLAG_PIDFD_SOCKET},
	{"cwd", required_argument, NULL, FLAG_CWD},
	{"env", required_argument, NULL, 'e'},
	{"user", required_argument, NULL, 'u'},
	{"additional-gids", required_argument, NULL, 'g'},
	{"cap", required_argument, NULL, 'c'},
	{"tty", no_argument, NULL, 't'},
	{"detach", no_argument, NULL, 'd'},
	{"no-new-privs", no_argument, NULL, FLAG_NO_NEW_PRIVS},
	{"preserve-fds", required_argument, NULL, FLAG_PRESERVE_FDS},
	{"ignore-paused", no_argument, NULL, FLAG_IGNORE_PAUSED},
	{"apparmor", required_argument, NULL, FLAG_LABEL},
	{"process-label", required_argument, NULL, FLAG_LABEL},
	{"cgroup", required_argument, NULL, FLAG_CGROUP},
	{0},
};

/* "[CONTROLLER,...:]PATH", below the container's: where the sandbox is, all its processes are. */
static int take_cgroup(const char *value)
{
	const char *path = strchr(value, ':');

	path = path ? path + 1 : value;
	return *path && strcmp(path, "/")
		       ? exec_fail("--cgroup: %s: a process is in the cgroup of its container, and "
				   "in none below that",
				   value)
		       : 0;
}

static int take_flag(struct exec_flags *f, int flag, char *value)
{
	char *end;

	switch (flag) {
	case 'p':
	case FLAG_PROCESS:
		f->process = value;
		return 0;
	case FLAG_PID_FILE:
		f->pid_file = value;
		return 0;
	case FLAG_CONSOLE_SOCKET:
		f->console_socket = *value ? value : NULL;
		return 0;
	case FLAG_PIDFD_SOCKET:
		f->pidfd_socket = *value ? value : NULL;
		return 0;
	case FLAG_CWD:
		f->cwd = value;
		return 0;
	case 'e':
		return strv_append(&f->env, value) ? 0 : exec_fail("no memory");
	case 'u':
		f->user = value;
		return 0;
	case 'g':
		return strv_append(&f->gids, value) ? 0 : exec_fail("no memory");
	case 'c':
		return strv_append(&f->caps, value) ? 0 : exec_fail("no memory");
	case 't':
		f->terminal = true;
		return 0;
	case 'd':
		f->detach = true;
		return 0;
	case FLAG_NO_NEW_PRIVS:
		f->no_new_privs = true;
		return 0;
	case FLAG_PRESERVE_FDS:
		f->preserve_fds = (int)strtol(value, &end, 10);
		if (*end || f->preserve_fds < 0 || f->preserve_fds > EXTRA_FDS_MAX)
			return exec_fail("--preserve-fds must be 0 to 200");
		return 0;
	case FLAG_IGNORE_PAUSED:
		f->ignore_paused = true;
		return 0;
	case FLAG_LABEL:
		return *value ? exec_fail("moat has no security labels to give to a process") : 0;
	case FLAG_CGROUP:
		return take_cgroup(value);
	}
	return exec_fail("unknown flag");
}

/* --- what is to run --------------------------------------------------------------------------- */

static int take_user(struct process_spec *p, const char *user)
{
	unsigned long uid, gid = p->gid;
	char *end;

	uid = strtoul(user, &end, 10);
	if (end != user && *end == ':')
		gid = strtoul(end + 1, &end, 10);
	if (end == user || *end || uid >= UINT32_MAX || gid >= UINT32_MAX)
		return exec_fail("--user must be UID[:GID]");
	p->uid = (uid_t)uid;
	p->gid = (gid_t)gid;
	return 0;
}

static int take_caps(struct process_spec *p, char **names)
{
	for (char **n = names; n && *n; n++) {
		cap_value_t cap;

		/* As runc, and as in config.json: those of a newer kernel are nobody's. */
		if (cap_from_name(*n, &cap))
			continue;
		p->caps.bounding |= 1ULL << cap;
		p->caps.effective |= 1ULL << cap;
		p->caps.permitted |= 1ULL << cap;
	}
	return 0;
}

static int take_groups(struct process_spec *p, char **gids)
{
	for (char **g = gids; g && *g; g++) {
		gid_t *grown = realloc(p->groups, (p->ngroups + 1) * sizeof(gid_t));
		char *end;
		unsigned long gid = strtoul(*g, &end, 10);

		if (grown)
			p->groups = grown;
		if (!grown || end == *g || *end || gid >= UINT32_MAX)
			return exec_fail("--additional-gids must be a number");
		p->groups[p->ngroups++] = (gid_t)gid;
	}
	return 0;
}

static void free_strings(char **v)
{
	for (char **s = v; s && *s; s++)
		free(*s);
	free(v);
}

int exec_process_from_bundle(const struct state *s, const struct exec_flags *f, char **argv,
			     struct process_spec *p)
{
	char path[PATH_MAX], err[512], *__free text = NULL;
	struct oci_host host = {0};
	struct sandbox_spec spec;
	size_t len;
	int ret;

	snprintf(path, sizeof(path), "%s/config.json", s->bundle);
	text = read_text("exec", path, &len);
	if (!text)
		return EXIT_EXEC_FAILED;
	spec_init(&spec);
	/* What there is to warn of has been said when the container was made. */
	log_set_level(LOG_LEVEL_ERROR);
	ret = oci_parse_with_host(text, len, &spec, &host, err, sizeof(err));
	process_spec_free(p);
	*p = spec.container.process;
	memset(&spec.container.process, 0, sizeof(spec.container.process));
	spec_free(&spec);
	oci_host_free(&host);
	if (ret)
		return exec_fail("%s", err);
	free_strings(p->argv);
	p->argv = NULL;
	for (; *argv; argv++)
		if (!strv_append(&p->argv, *argv))
			return exec_fail("no memory");
	for (char **e = f->env; e && *e; e++)
		if (!env_set(&p->envp, *e))
			return exec_fail("no memory");
	if (f->cwd) {
		free(p->cwd);
		p->cwd = strdup(f->cwd);
	}
	p->terminal = f->terminal;
	p->no_new_privs = p->no_new_privs || f->no_new_privs;
	ret = f->user ? take_user(p, f->user) : 0;
	if (!ret)
		ret = take_caps(p, f->caps);
	return ret ? ret : take_groups(p, f->gids);
}

static int read_process(const struct state *s, const struct exec_flags *f, char **argv,
			struct process_spec *p)
{
	char err[512], *__free text = NULL;
	size_t len;

	process_spec_init(p);
	if (!f->process)
		return exec_process_from_bundle(s, f, argv, p);
	text = read_text("exec", f->process, &len);
	if (!text)
		return EXIT_EXEC_FAILED;
	if (oci_parse_process(text, len, p, err, sizeof(err)))
		return exec_fail("%s", err);
	p->terminal = p->terminal || f->terminal;
	return 0;
}

/* --- the command ------------------------------------------------------------------------------ */

static int check(const struct state *s, const struct exec_flags *f, const struct process_spec *p)
{
	if (!strchr(p->argv[0], '/') && !env_find(p->envp, "PATH"))
		return exec_fail("unable to start container process: exec: \"%s\": executable file "
				 "not found in $PATH",
				 p->argv[0]);
	switch (state_status(s)) {
	case STATUS_STOPPED:
		return exec_fail("cannot exec in a stopped container");
	case STATUS_PAUSED:
		if (!f->ignore_paused)
			return exec_fail(
				"cannot exec in a paused container (use --ignore-paused to "
				"override)");
		break;
	default:
		break;
	}
	if (p->terminal && f->detach && !f->console_socket)
		return exec_fail("cannot allocate tty if moat will detach without setting console "
				 "socket");
	if (p->terminal && !f->console_socket && !isatty(STDIN_FILENO))
		return exec_fail("provided file is not a console");
	if (f->console_socket && (!p->terminal || !f->detach))
		return exec_fail(
			"cannot use console socket if moat will not detach or allocate tty");
	return 0;
}

static int exec_in(const struct cli_options *options, struct state *s, const struct exec_flags *f,
		   char **argv)
{
	struct process_spec p;
	int ret = read_process(s, f, argv, &p);

	if (!ret)
		ret = check(s, f, &p);
	/* As runc: of the user, in the root that the container was made with. */
	if (!ret && spec_default_home(&p, s->rootfs))
		ret = exec_fail("no memory");
	if (!ret)
		ret = exec_run(options, s, f, &p);
	process_spec_free(&p);
	return ret;
}

static int run_exec(const struct cli_options *options, int argc, char **argv)
{
	struct exec_flags f = {0};
	struct state s = {0};
	int c, ret = exec_begin_sync();

	while (!ret && (c = getopt_long(argc, argv, "+:p:e:u:g:c:td", flags, NULL)) != -1) {
		if (c == '?' || c == ':') {
			cli_bad_flag("exec", argv, c);
			ret = EXIT_EXEC_FAILED;
		} else {
			ret = take_flag(&f, c, optarg);
		}
	}
	if (!ret && optind == argc)
		ret = cli_fail("exec: no container id given (see 'moat help exec')");
	if (!ret && !f.process && argc - optind < 2)
		ret = exec_fail("process args cannot be empty");
	if (!ret &&
	    (!state_id_is_valid(argv[optind]) || state_load(options->root, argv[optind], &s)))
		ret = exec_fail("container does not exist");
	if (!ret)
		ret = exec_in(options, &s, &f, argv + optind + 1);
	state_free(&s);
	free_strings(f.env);
	free_strings(f.caps);
	free_strings(f.gids);
	return ret;
}

#define EXEC_FLAGS_HELP                                                                            \
	"  --process FILE, -p      what to run, as config.json has it\n"                           \
	"  --detach, -d            leave a process behind that stands for it\n"                    \
	"  --tty, -t               give it a terminal\n"                                           \
	"  --console-socket PATH   send the terminal's master to this socket\n"                    \
	"  --pid-file FILE         write the number of the process that stands for it\n"           \
	"  --pidfd-socket PATH     send a pidfd of that process to this socket\n"                  \
	"  --cwd DIR               its working directory\n"                                        \
	"  --env NAME=VALUE, -e    set a variable\n"                                               \
	"  --user UID[:GID], -u    run as this user\n"                                             \
	"  --additional-gids, -g   one more group\n"                                               \
	"  --cap NAME, -c          one more capability\n"                                          \
	"  --no-new-privs          it cannot gain privileges\n"                                    \
	"  --preserve-fds N        pass N descriptors more, from 3 on\n"                           \
	"  --ignore-paused         also in a container that is paused\n"

const struct cli_command cli_exec = {
	.name = "exec",
	.usage = "[flags] ID CMD [ARG...]",
	.summary = "Run one more process in a container",
	.flags = EXEC_FLAGS_HELP,
	.run = run_exec,
};

/* --- runcext ---------------------------------------------------------------------------------- */

static int run_runcext(const struct cli_options *options, int argc, char **argv)
{
	if (argc < 2 || strcmp(argv[1], "exec"))
		return cli_fail("runcext: there is 'runcext exec' only (see 'moat help runcext')");
	return run_exec(options, argc - 1, argv + 1);
}

const struct cli_command cli_runcext = {
	.name = "runcext",
	.usage = "exec [flags] ID CMD [ARG...]",
	.summary = "Run one more process, and tell the caller how far it is",
	.flags = EXEC_FLAGS_HELP
	"\nOver the socket whose number _RUNCEXT_PROC_SYNC_PIPE has in the environment, it says\n"
	"in JSON {\"type\":\"execPid\",\"pid\":N} and waits for execPidDone, then execStatus with\n"
	"\"exited\" and \"exited_status\" and waits for execStatusDone; or {\"type\":\"error\",\n"
	"\"message\":...} (control/procsync.h). The process ends with its caller.\n",
	.run = run_runcext,
};
