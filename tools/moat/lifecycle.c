/* moat start, kill, delete, wait: one container that exists. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "tools/moat/bundle.h"

#define CALL_MS 30000

/* Parses flags of one letter that take no value, and wants `min` to `max` arguments. 0, or the exit
 * status after a message. */
static int parse(const char *command, int argc, char **argv, const struct option *flags,
		 const char *short_flags, bool *given, int min, int max)
{
	int c;

	while ((c = getopt_long(argc, argv, short_flags, flags, NULL)) != -1) {
		if (c == '?' || c == ':') {
			cli_bad_flag(command, argv, c);
			return EXIT_CLI_FAILED;
		}
		*given = true;
	}
	if (argc - optind < min)
		return cli_fail("%s: no container id given (see 'moat help %s')", command, command);
	if (argc - optind > max)
		return cli_fail("%s: too many arguments (see 'moat help %s')", command, command);
	return 0;
}

static const struct option no_flags[] = {{0}};

static int run_start(const struct cli_options *options, int argc, char **argv)
{
	int __close_fd lock = -1;
	struct state s = {0};
	bool given;
	int ret = parse("start", argc, argv, no_flags, "+:", &given, 1, 1);

	if (!ret)
		ret = lock_container(options, argv[optind], &lock, &s);
	if (ret)
		return ret;
	switch (state_status(&s)) {
	case STATUS_CREATED:
		ret = start_container(options, &s);
		break;
	case STATUS_STOPPED:
		ret = cli_fail("cannot start a container that has stopped");
		break;
	default:
		ret = cli_fail("cannot start an already running container");
	}
	state_free(&s);
	return ret;
}

/* --- kill ------------------------------------------------------------------------------------- */

static int send_signal(const struct cli_options *options, const struct state *s, int sig, bool all)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__Signal body = MOAT__SIGNAL__INIT;
	struct control_client *client;
	struct control_error err;
	int ret = connect_container(options, s, &client);

	if (ret == -ECONNREFUSED || ret == -ENOENT)
		return cli_fail("container not running");
	if (ret)
		return cli_fail("cannot reach the sandbox of %s: %s", s->id, strerror(-ret));
	body.id = s->id;
	body.signal = sig;
	body.delivery = all ? MOAT__DELIVERY__ALL : MOAT__DELIVERY__PROCESS;
	request.call_case = MOAT__REQUEST__CALL_SIGNAL;
	request.signal = &body;
	ret = control_client_call(client, &request, NULL, 0, CALL_MS, NULL, &err);
	control_client_free(client);
	/* It has ended meanwhile: for a SIGKILL that is success. */
	if (ret == -ESRCH || ret == -EPIPE || ret == -ECONNRESET)
		return sig == SIGKILL || all ? 0 : cli_fail("container not running");
	return ret ? cli_fail("kill: %s", err.text) : 0;
}

static int kill_container(const struct cli_options *options, const struct state *s, int sig,
			  bool all)
{
	if (state_status(s) == STATUS_STOPPED)
		return all ? 0 : cli_fail("container not running");
	return send_signal(options, s, sig, all);
}

static int run_kill(const struct cli_options *options, int argc, char **argv)
{
	static const struct option flags[] = {{"all", no_argument, NULL, 'a'}, {0}};
	struct state s = {0};
	bool all = false;
	const char *name;
	int sig, ret = parse("kill", argc, argv, flags, "+:a", &all, 1, 2);

	if (ret)
		return ret;
	name = optind + 1 < argc ? argv[optind + 1] : "SIGTERM";
	sig = parse_signal(name);
	if (sig < 0)
		return isdigit((unsigned char)*name)
			       ? cli_fail("unable to signal init: invalid argument")
			       : cli_fail("unknown signal \"%s\"", name);
	ret = load_container(options, argv[optind], &s);
	if (!ret)
		ret = kill_container(options, &s, sig, all);
	state_free(&s);
	return ret;
}

const struct cli_command cli_kill = {
	.name = "kill",
	.usage = "[--all] ID [SIGNAL]",
	.summary = "Send a signal (default SIGTERM) to the container's first process",
	.flags = "  --all, -a               to every process of the container\n",
	.run = run_kill,
};

/* --- delete ----------------------------------------------------------------------------------- */

static int delete_locked(const struct cli_options *options, struct state *s, bool force)
{
	enum state_status status = state_status(s);

	if (!force && status != STATUS_STOPPED && status != STATUS_CREATED)
		return cli_fail("cannot delete container %s that is not stopped: %s", s->id,
				state_status_name(status));
	return destroy_container(options, s);
}

/* What a create that was killed leaves has no state, and with --force goes, too. */
static int delete_one(const struct cli_options *options, const char *id, bool force)
{
	int __close_fd lock = -1;
	struct state s = {0};
	int ret;

	if (!state_id_is_valid(id))
		return cli_fail("'%s' is not a valid container id", id);
	ret = state_lock(options->root, id, &lock);
	if (ret == -ENOENT || ret == -ENOTDIR)
		return force ? 0 : cli_fail("container does not exist");
	if (ret)
		return cli_fail("%s/%s: %s", options->root, id, strerror(-ret));
	ret = state_load(options->root, id, &s);
	if (!ret)
		ret = delete_locked(options, &s, force);
	else if (force)
		ret = state_remove(options->root, id) ? EXIT_CLI_FAILED : 0;
	else
		ret = ret == -ENOENT
			      ? cli_fail("container does not exist")
			      : cli_fail("%s/%s/state.json: %s", options->root, id, strerror(-ret));
	state_free(&s);
	return ret;
}

static int run_delete(const struct cli_options *options, int argc, char **argv)
{
	static const struct option flags[] = {{"force", no_argument, NULL, 'f'}, {0}};
	bool force = false;
	int ret = parse("delete", argc, argv, flags, "+:f", &force, 1, 1);

	return ret ? ret : delete_one(options, argv[optind], force);
}

const struct cli_command cli_delete = {
	.name = "delete",
	.usage = "[--force] ID",
	.summary = "Remove a container that has stopped, and what was kept of it",
	.flags = "  --force, -f             one that runs, too; none at all is no error\n",
	.run = run_delete,
};

const struct cli_command cli_start = {
	.name = "start",
	.usage = "ID",
	.summary = "Start a container that was created",
	.run = run_start,
};

/* --- wait ------------------------------------------------------------------------------------- */

static int run_wait(const struct cli_options *options, int argc, char **argv)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__Wait wait = MOAT__WAIT__INIT;
	Moat__Response *response = NULL;
	struct control_client *client;
	struct control_error err;
	struct state s = {0};
	bool given;
	int ret = parse("wait", argc, argv, no_flags, "+:", &given, 1, 1);

	if (!ret)
		ret = load_container(options, argv[optind], &s);
	if (ret)
		return ret;
	ret = connect_container(options, &s, &client);
	if (ret) {
		state_free(&s);
		return cli_fail("container not running");
	}
	wait.id = s.id;
	request.call_case = MOAT__REQUEST__CALL_WAIT;
	request.wait = &wait;
	ret = control_client_call(client, &request, NULL, 0, -1, &response, &err);
	control_client_free(client);
	state_free(&s);
	if (ret)
		return cli_fail("wait: %s", err.text);
	if (response->result_case == MOAT__RESPONSE__RESULT_EXIT_STATUS)
		printf("%d\n", status_from_wait((int)response->exit_status->wait_status));
	control_response_free(response);
	return 0;
}

const struct cli_command cli_wait = {
	.name = "wait",
	.usage = "ID",
	.summary = "Wait for a container's end and print its exit status",
	.run = run_wait,
};
