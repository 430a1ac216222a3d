/* Containers that exist: finding them, starting and ending them. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"
#include "boot/host/cgroup.h"
#include "boot/oci/hooks.h"
#include "boot/net/setup.h"
#include "tools/moat/bundle.h"
#include "tools/moat/exec.h"

#define START_MS 60000
#define DESTROY_MS 20000
#define DEATH_MS 10000

int load_container(const struct cli_options *options, const char *id, struct state *s)
{
	int ret;

	if (!state_id_is_valid(id))
		return cli_fail("'%s' is not a valid container id", id);
	ret = state_load(options->root, id, s);
	if (ret == -ENOENT || ret == -ENOTDIR)
		return cli_fail("container does not exist");
	return ret ? cli_fail("%s/%s/state.json: %s", options->root, id, strerror(-ret)) : 0;
}

int lock_container(const struct cli_options *options, const char *id, int *lock, struct state *s)
{
	int ret;

	if (!state_id_is_valid(id))
		return cli_fail("'%s' is not a valid container id", id);
	ret = state_lock(options->root, id, lock);
	if (ret == -ENOENT || ret == -ENOTDIR)
		return cli_fail("container does not exist");
	if (ret)
		return cli_fail("%s/%s: %s", options->root, id, strerror(-ret));
	return load_container(options, id, s);
}

int connect_container(const struct cli_options *options, const struct state *s,
		      struct control_client **out)
{
	int __close_fd dir = state_dir(options->root, s->sandbox);
	char path[64];

	if (dir < 0)
		return dir;
	snprintf(path, sizeof(path), "/proc/self/fd/%d/control.sock", dir);
	return control_client_connect(path, out);
}

static int run_hooks(const struct state *s, enum state_status status, const char *kind)
{
	json_t *state = state_to_oci(s, status, false);
	char err[512];
	int ret = state ? hooks_run(s->hooks, kind, state, NULL, err, sizeof(err)) : -ENOMEM;

	if (ret)
		cli_fail("%s", state ? err : strerror(ENOMEM));
	json_decref(state);
	return ret;
}

int run_poststart_hooks(const struct state *s)
{
	return run_hooks(s, STATUS_RUNNING, "poststart");
}

int container_set_up_network(const struct cli_options *options, struct state *s,
			     struct control_client *client)
{
	struct network_place place = {.path = s->netns, .sandbox = s->pid};
	char err[512];

	if (!s->links)
		return 0;
	if (network_set_up(&place, options->rootless, s->id, client, &s->resolver_pid, err,
			   sizeof(err)))
		return cli_fail("%s", err);
	if (s->resolver_pid) {
		s->resolver_start = process_start_time(s->resolver_pid);
		cgroup_join(s->cgroups, s->resolver_pid);
	}
	return 0;
}

int start_container(const struct cli_options *options, struct state *s)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__Start start = MOAT__START__INIT;
	struct control_client *client;
	struct control_error err;
	int ret = connect_container(options, s, &client);

	if (ret)
		return cli_fail("cannot reach the sandbox of %s: %s", s->id, strerror(-ret));
	if (container_set_up_network(options, s, client)) {
		control_client_free(client);
		return EXIT_CLI_FAILED;
	}
	ret = run_start_hooks(options, s);
	if (ret) {
		control_client_free(client);
		return ret;
	}
	start.id = s->id;
	request.call_case = !strcmp(s->sandbox, s->id) ? MOAT__REQUEST__CALL_START_ROOT
						       : MOAT__REQUEST__CALL_START;
	request.start = &start; /* of the same type as start_root */
	ret = control_client_call(client, &request, NULL, 0, START_MS, NULL, &err);
	control_client_free(client);
	if (ret)
		return cli_fail("start: %s", err.text);
	s->status = STATUS_RUNNING;
	ret = state_save(options->root, s);
	if (ret)
		return cli_fail("start: cannot save the state: %s", strerror(-ret));
	return run_poststart_hooks(s) ? EXIT_CLI_FAILED : 0;
}

/* Kills the process if it is the one that the state means, and waits until it is gone. */
static int kill_process(pid_t pid, uint64_t start)
{
	int __close_fd fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	struct pollfd p = {.fd = fd, .events = POLLIN};

	/* The number is looked at after the descriptor was opened: that cannot be another's. */
	if (fd < 0 || !start || process_start_time(pid) != start)
		return 0;
	if (syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) && errno != ESRCH)
		return -errno;
	return poll(&p, 1, DEATH_MS) == 1 ? 0 : -ETIMEDOUT;
}

int stop_container(const struct state *s)
{
	return kill_process(s->pid, s->pid_start);
}

int container_end_resolver(const struct state *s)
{
	return kill_process(s->resolver_pid, s->resolver_start);
}

static int destroy_inside(const struct cli_options *options, const struct state *s)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__ContainerName name = MOAT__CONTAINER_NAME__INIT;
	struct control_client *client;
	struct control_error err;
	int ret = connect_container(options, s, &client);

	/* A sandbox that is gone has taken its containers along. */
	if (ret)
		return 0;
	name.id = s->id;
	request.call_case = MOAT__REQUEST__CALL_DESTROY;
	request.destroy = &name;
	ret = control_client_call(client, &request, NULL, 0, DESTROY_MS, NULL, &err);
	control_client_free(client);
	return ret == -ETIMEDOUT || ret == -EBUSY ? ret : 0;
}

int destroy_container(const struct cli_options *options, struct state *s)
{
	int ret = 0;

	if (strcmp(s->sandbox, s->id))
		ret = destroy_inside(options, s);
	if (!ret)
		ret = kill_process(s->pid, s->pid_start);
	if (!ret)
		ret = kill_process(s->gofer_pid, s->gofer_start);
	if (!ret)
		ret = container_end_resolver(s);
	if (ret)
		return cli_fail("delete: container %s does not end: %s", s->id, strerror(-ret));
	cgroup_remove(s->cgroups);
	run_hooks(s, STATUS_STOPPED, "poststop");
	ret = state_remove(options->root, s->id);
	return ret ? cli_fail("delete: %s/%s: %s", options->root, s->id, strerror(-ret)) : 0;
}
