/* Making a container from a bundle: state on disk, sockets to drive it by, its sandbox. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/host.h"
#include "base/log.h"
#include "boot/oci/hooks.h"
#include "boot/spec/egress.h"
#include "boot/oci/oci.h"
#include "tools/moat/bundle.h"

#define EXTRA_FDS_MAX 200
#define OOM_SCORE_NEVER (-1000)

/* --- the bundle ------------------------------------------------------------------------------- */

/* Folders only: of those an overlay is made. */
static void overlay_volumes(struct container_spec *spec)
{
	struct stat st;

	for (unsigned i = 1; i < spec->nmounts; i++) {
		struct spec_mount *m = &spec->mounts[i];

		if (m->kind == MOUNT_HOST && !stat(m->source, &st) && S_ISDIR(st.st_mode))
			m->overlay = true;
	}
}

static int read_bundle(struct new_container *c)
{
	char *__free text = NULL;
	char path[PATH_MAX], err[512];
	size_t len;

	if (snprintf(path, sizeof(path), "%s/config.json", c->flags->bundle) >= (int)sizeof(path))
		return cli_error("%s: --bundle: %s", c->flags->command, strerror(ENAMETOOLONG));
	text = read_text(c->flags->command, path, &len);
	if (!text)
		return EXIT_MOAT_FAILED;
	if (oci_parse_with_host(text, len, &c->spec, &c->host, err, sizeof(err)) ||
	    oci_resolve(&c->spec, c->flags->bundle, err, sizeof(err)))
		return cli_error("%s: %s", c->flags->command, err);
	/* What a container writes is in its root file system, as with runc, unless it is told to
	 * stay in memory. */
	c->spec.container.mounts[0].overlay =
		c->flags->overlay && strcmp(c->flags->overlay, "none");
	if (c->spec.container.root_readonly)
		c->spec.container.mounts[0].overlay = true;
	if (c->flags->overlay && !strncmp(c->flags->overlay, "all:", 4))
		overlay_volumes(&c->spec.container);
	c->spec.container.mounts[0].cached = c->spec.file_access == ACCESS_EXCLUSIVE;
	c->spec.container.init_unkillable = true;
	if (egress_default_resolvers(&c->spec, false))
		return cli_error("%s: %s", c->flags->command, strerror(ENOMEM));
	if (c->spec.has_netns && c->spec.network == NETWORK_HOST)
		return cli_error("%s: --network=host, but config.json asks for a network namespace",
				 c->flags->command);
	if (!c->spec.has_netns && c->spec.network == NETWORK_SANDBOX) {
		log_info("config.json names no network namespace: the host's network is not to be "
			 "had, the container has a loopback");
		c->spec.network = NETWORK_NONE;
	}
	return 0;
}

static int check_terminal(const struct new_container *c)
{
	bool terminal = c->spec.container.process.terminal;

	if (!c->flags->console_socket && terminal && c->flags->detach)
		return cli_error("cannot allocate tty if moat will detach without setting console "
				 "socket");
	if (c->flags->console_socket && (!terminal || !c->flags->detach))
		return cli_error("cannot use console socket if moat will not detach or allocate "
				 "tty");
	if (terminal && !c->flags->console_socket && !isatty(STDIN_FILENO))
		return cli_error("%s: config.json: process.terminal: standard input is not a "
				 "terminal",
				 c->flags->command);
	return 0;
}

/* --- sockets ---------------------------------------------------------------------------------- */

static int listen_at(const struct sockaddr_un *addr, socklen_t len)
{
	int __close_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)addr, len) || listen(fd, 128))
		return -errno;
	return steal_fd(&fd);
}

/* Both are made here, in the host's namespaces; the sandbox inherits them. */
static int make_listeners(struct new_container *c, const char *id)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int __close_fd dir = state_dir(c->options->root, id);
	mode_t mask;
	int n;

	if (dir < 0)
		return dir;
	/* By way of the directory: a path below --root may be longer than an address. */
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/control.sock", dir);
	mask = umask(0177);
	c->spec.path_listener = listen_at(&addr, sizeof(addr));
	umask(mask);
	if (c->spec.path_listener < 0)
		return c->spec.path_listener;
	n = snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1, "moat-sandbox.%s", id);
	addr.sun_path[0] = 0;
	if (n >= (int)sizeof(addr.sun_path) - 1)
		return 0;
	c->spec.abstract_listener =
		listen_at(&addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n));
	if (c->spec.abstract_listener < 0)
		log_info("no abstract name for %s: %s", id, strerror(-c->spec.abstract_listener));
	return 0;
}

/* What is to be said before there is a log: standard error is the container's. */
static int early_log = -1;

static void begin_early_log(const struct new_container *c)
{
	if (c->spec.log_fd < 0 && c->flags->detach)
		early_log = (int)syscall(SYS_memfd_create, "log", MFD_CLOEXEC);
	if (early_log >= 0)
		log_set_fd(early_log);
}

static void move_early_log(int log)
{
	char buf[4096];
	ssize_t n;

	for (off_t at = 0; early_log >= 0 && (n = pread(early_log, buf, sizeof(buf), at)) > 0;
	     at += n)
		if (write(log, buf, (size_t)n) != n)
			break;
	close_fd_ptr(&early_log);
}

static int open_log(struct new_container *c, const char *id)
{
	int __close_fd dir = -1;

	if (c->spec.log_fd >= 0 || !c->flags->detach)
		return 0;
	dir = state_dir(c->options->root, id);
	if (dir < 0)
		return dir;
	c->spec.log_fd = openat(dir, "sandbox.log",
				O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (c->spec.log_fd < 0)
		return -errno;
	move_early_log(c->spec.log_fd);
	log_set_fd(c->spec.log_fd);
	return 0;
}

/* --- descriptors ------------------------------------------------------------------------------ */

static int take_extra_fds(struct new_container *c)
{
	static int fds[EXTRA_FDS_MAX];

	if (c->flags->preserve_fds < 0 || c->flags->preserve_fds > EXTRA_FDS_MAX)
		return cli_error("%s: --preserve-fds must be 0 to %d", c->flags->command,
				 EXTRA_FDS_MAX);
	for (int i = 0; i < c->flags->preserve_fds; i++) {
		if (fcntl(3 + i, F_GETFD) < 0)
			return cli_error("%s: --preserve-fds: descriptor %d is not open",
					 c->flags->command, 3 + i);
		fds[i] = 3 + i;
	}
	c->spec.extra_fds = fds;
	c->spec.container.process.extra_files = (unsigned)c->flags->preserve_fds;
	return 0;
}

int container_open_console(struct new_container *c)
{
	const struct process_spec *p = &c->spec.container.process;
	int fd;

	if (!p->terminal)
		return 0;
	if (c->flags->console_socket) {
		fd = console_open(c->flags->command, c->flags->console_socket, p->rows, p->columns);
		if (fd < 0)
			return EXIT_MOAT_FAILED;
		c->spec.own_console = true;
	} else {
		/* A description of its own for the terminal, so that the sandbox may make it
		 * non-blocking without the caller's shell noticing. */
		fd = open("/proc/self/fd/0", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			return 0;
	}
	for (int i = 0; i < 3; i++)
		c->spec.stdio[i] = fd;
	return 0;
}

/* --- the sandbox ------------------------------------------------------------------------------ */

int container_make_cgroup(struct new_container *c)
{
	struct state *s = &c->state;
	char err[512];
	int ret = cgroup_name(c->host.cgroups_path, s->id, &s->cgroups, err, sizeof(err));

	s->status = STATUS_CREATING;
	if (!ret) {
		ret = state_save(c->options->root, s);
		if (ret)
			snprintf(err, sizeof(err), "cannot save the state: %s", strerror(-ret));
	}
	if (!ret) {
		json_decref(s->cgroups);
		ret = cgroup_create(c->host.cgroups_path, s->id, c->host.resources, &s->cgroups,
				    err, sizeof(err));
	}
	if (ret)
		return cli_error("%s: %s", c->flags->command, err);
	ret = cgroup_open(s->cgroups, &c->cgroup);
	if (ret)
		cgroup_close(&c->cgroup);
	/* An ordinary user may have none. */
	if (ret && !c->options->rootless)
		return cli_error("%s: cannot open the cgroup: %s", c->flags->command,
				 strerror(-ret));
	if (!ret)
		c->spec.cgroup = &c->cgroup;
	c->spec.cgroup_required = !c->options->rootless;
	/* A group without memory to give wants an end, and the kernel may think of one more while
	 * the first is under way: never of the sentry and the gofer, or the container would go with
	 * them. */
	c->spec.oom_spared = c->spec.memory && c->spec.cgroup && !c->options->rootless;
	return 0;
}

void container_set_oom_score(const struct new_container *c, pid_t pid)
{
	int score = c->spec.oom_spared ? OOM_SCORE_NEVER : c->spec.container.process.oom_score_adj;
	int ret = score ? oom_score_set(pid, score) : 0;

	if (ret)
		log_info("oom_score_adj of process %d stays: %s", pid, strerror(-ret));
}

int container_run_create_hooks(struct new_container *c, pid_t pid, char *err, size_t errlen)
{
	static const char *const kinds[] = {"prestart", "createRuntime", "createContainer"};
	json_t *state;
	int ret;

	container_set_oom_score(c, pid);
	c->state.pid = pid;
	c->state.pid_start = process_start_time(pid);
	ret = state_save(c->options->root, &c->state);
	if (ret)
		snprintf(err, errlen, "cannot save the state: %s", strerror(-ret));
	if (ret || !c->host.hooks)
		return ret;
	state = state_to_oci(&c->state, STATUS_CREATING, false);
	if (!state)
		return -ENOMEM;
	for (unsigned i = 0; i < ARRAY_SIZE(kinds) && !ret; i++)
		/* The last has its place in the container's root. */
		ret = hooks_run(c->host.hooks, kinds[i], state, i == 2 ? c->state.rootfs : NULL,
				err, errlen);
	json_decref(state);
	return ret;
}

static int before_files(void *arg, pid_t sandbox, char *err, size_t errlen)
{
	return container_run_create_hooks(arg, sandbox, err, errlen);
}

int container_fill_state(struct new_container *c, const char *id)
{
	struct state *s = &c->state;

	s->id = strdup(id);
	s->sandbox = strdup(id);
	s->bundle = realpath(c->flags->bundle, NULL);
	s->rootfs = strdup(c->spec.container.mounts[0].source);
	s->oci_version = strdup(c->host.version);
	s->annotations = json_incref(c->host.annotations);
	s->hooks = json_incref(c->host.hooks);
	s->created_ns = clock_ns(CLOCK_REALTIME);
	s->owner = geteuid();
	s->status = STATUS_CREATED;
	s->netns = c->spec.netns ? strdup(c->spec.netns) : NULL;
	if (c->spec.netns && !s->netns)
		return -ENOMEM;
	if (!s->id || !s->sandbox || !s->bundle || !s->rootfs || !s->oci_version)
		return -ENOMEM;
	if (getrandom(s->token, sizeof(s->token), 0) != sizeof(s->token))
		return -errno;
	memcpy(c->spec.token, s->token, sizeof(s->token));
	return 0;
}

static int try_sandbox(struct new_container *c)
{
	char err[600];
	int status;

	if (sandbox_start(&c->spec, &c->sandbox, err, sizeof(err)))
		return cli_error("%s (see 'moat check')", err);
	container_set_oom_score(c, c->sandbox.gofer_pid);
	if (c->spec.isolation == ISOLATION_NONE)
		fprintf(stderr, "moat: warning: no namespaces are to be had here: the boundary is "
				"weaker (see 'moat check')\n");
	status = sandbox_wait_created(&c->sandbox, err, sizeof(err));
	if (status && status != SANDBOX_CONFINED)
		cli_error("unable to start container process: %s", err);
	return status;
}

static int start_sandbox(struct new_container *c, const char *id)
{
	int status;

	c->spec.id = strdup(id);
	if (!c->spec.id)
		return cli_error("%s: %s", c->flags->command, strerror(ENOMEM));
	c->spec.rootless = c->options->rootless;
	c->spec.debug = c->options->debug;
	c->spec.num_cpus = host_cpus();
	c->spec.detached = c->flags->detach;
	c->spec.before_files = before_files;
	c->spec.before_files_arg = c;
	if (c->spec.log_fd >= 0)
		log_set_fd(c->spec.log_fd);
	status = container_make_cgroup(c);
	if (!status)
		status = try_sandbox(c);
	while (status == SANDBOX_CONFINED && c->spec.isolation < ISOLATION_NONE) {
		c->spec.isolation++;
		status = try_sandbox(c);
	}
	return status == SANDBOX_CONFINED ? EXIT_MOAT_FAILED : status;
}

/* execvp(3) has directories of its own when there is no PATH; container engines do not. */
static int check_program(const struct process_spec *p)
{
	if (strchr(p->argv[0], '/') || env_find(p->envp, "PATH"))
		return 0;
	cli_error("unable to start container process: exec: \"%s\": executable file not found in "
		  "$PATH",
		  p->argv[0]);
	return EXIT_NOT_FOUND;
}

static int save(struct new_container *c)
{
	struct state *s = &c->state;
	int ret;

	s->pid = c->sandbox.sandbox_pid;
	s->pid_start = process_start_time(s->pid);
	s->gofer_pid = c->sandbox.gofer_pid;
	s->gofer_start = process_start_time(s->gofer_pid);
	s->status = STATUS_CREATED;
	s->links = c->spec.network == NETWORK_SANDBOX;
	/* Without namespaces it is in the caller's. */
	if (s->links && c->spec.isolation == ISOLATION_NONE && !s->netns) {
		log_warn("no network namespace is to be had here: the container has a loopback");
		s->links = false;
	}
	ret = state_save(c->options->root, s);
	if (ret)
		return cli_error("%s: cannot save the state: %s", c->flags->command,
				 strerror(-ret));
	ret = c->flags->pid_file ? write_pid_file(c->flags->pid_file, s->pid) : 0;
	if (ret)
		return cli_error("%s: %s: %s", c->flags->command, c->flags->pid_file,
				 strerror(-ret));
	return c->flags->pidfd_socket && pidfd_send(c->flags->command, c->flags->pidfd_socket,
						    s->pid, "standard")
		       ? EXIT_CLI_FAILED
		       : 0;
}

static int prepare(struct new_container *c, const char *id)
{
	int ret = make_listeners(c, id);

	if (!ret)
		ret = open_log(c, id);
	if (!ret)
		ret = container_fill_state(c, id);
	return ret ? cli_error("%s: %s: %s", c->flags->command, id, strerror(-ret)) : 0;
}

static int build(struct new_container *c, const char *id)
{
	int status = prepare(c, id);

	if (!status)
		status = container_open_console(c);
	if (!status)
		status = start_sandbox(c, id);
	if (!status) {
		status = save(c);
		if (status)
			sandbox_kill(&c->sandbox);
	}
	return status;
}

int container_new(struct new_container *c, const char *id)
{
	int ret, status;

	c->lock = -1;
	if (!*id)
		return cli_error("container id cannot be empty");
	if (!state_id_is_valid(id))
		return cli_error("invalid container ID format");
	begin_early_log(c);
	status = read_bundle(c);
	if (!status)
		status = join_find(c);
	if (!status)
		status = check_terminal(c);
	if (!status)
		status = check_program(&c->spec.container.process);
	if (!status)
		status = take_extra_fds(c);
	if (status)
		return status;
	ret = state_create(c->options->root, id, &c->lock);
	if (ret == -EEXIST)
		return cli_error("container with given ID already exists");
	if (ret)
		return cli_error("%s: %s/%s: %s", c->flags->command, c->options->root, id,
				 strerror(-ret));
	status = c->pod ? pod_build(c, id) : build(c, id);
	if (status) {
		cgroup_remove(c->state.cgroups);
		state_remove(c->options->root, id);
	}
	return status;
}

int container_detach(struct new_container *c)
{
	int ret = c->pod ? 0 : sandbox_release(&c->sandbox);

	if (!ret)
		return 0;
	cgroup_remove(c->state.cgroups);
	state_remove(c->options->root, c->state.id);
	return cli_error("%s: the sandbox does not answer: %s", c->flags->command, strerror(-ret));
}

static int after_start(void *arg)
{
	struct new_container *c = arg;

	return run_poststart_hooks(&c->state) ? EXIT_CLI_FAILED : 0;
}

int container_run(struct new_container *c)
{
	json_t *state;
	char err[512];
	int status = container_set_up_network(c->options, &c->state, c->sandbox.client);

	if (status) {
		sandbox_kill(&c->sandbox);
		destroy_container(c->options, &c->state);
		return EXIT_MOAT_FAILED;
	}
	status = run_start_hooks(c->options, &c->state);
	c->state.status = STATUS_RUNNING;
	state_save(c->options->root, &c->state);
	/* Others may have their say while it runs. */
	close_fd_ptr(&c->lock);
	c->spec.started = after_start;
	c->spec.started_arg = c;
	if (status)
		sandbox_kill(&c->sandbox);
	else
		status = sandbox_wait(&c->spec, &c->sandbox);
	container_end_resolver(&c->state);
	if (c->flags->keep)
		return status;
	state = state_to_oci(&c->state, STATUS_STOPPED, false);
	if (state && hooks_run(c->host.hooks, "poststop", state, NULL, err, sizeof(err)))
		cli_error("%s", err);
	json_decref(state);
	cgroup_remove(c->state.cgroups);
	state_remove(c->options->root, c->state.id);
	return status;
}

void container_free(struct new_container *c)
{
	close_fd_ptr(&c->lock);
	if (c->spec.cgroup)
		cgroup_close(&c->cgroup);
	free(c->pod);
	spec_free(&c->spec);
	oci_host_free(&c->host);
	state_free(&c->state);
}
