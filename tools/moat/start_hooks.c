/* startContainer hooks: programs of the container's, run in it, as its user, before its first
 * process is. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "boot/oci/hooks.h"
#include "tools/moat/exec.h"

struct place {
	const struct cli_options *options;
	const struct state *s;
};

static int take_words(char ***v, json_t *list)
{
	json_t *word;
	size_t i;

	json_array_foreach(list, i,
			   word) if (!strv_append(v, json_string_value(word))) return -ENOMEM;
	return 0;
}

/* In the child. Its program is path: args[0] is not passed on as another name for it. */
static int run_inside(const struct place *place, json_t *hook)
{
	struct exec_flags f = {0};
	struct process_spec p;
	json_t *rest = json_deep_copy(json_object_get(hook, "args"));
	char **argv = NULL, **env = NULL;
	int ret;

	json_array_remove(rest, 0);
	process_spec_init(&p);
	if (!strv_append(&argv, json_string_value(json_object_get(hook, "path"))) ||
	    take_words(&argv, rest) || take_words(&env, json_object_get(hook, "env")))
		return EXIT_EXEC_FAILED;
	ret = exec_process_from_bundle(place->s, &f, argv, &p);
	if (ret)
		return ret;
	p.envp = env ? env : calloc(1, sizeof(char *));
	return p.envp ? exec_run(place->options, place->s, &f, &p) : EXIT_EXEC_FAILED;
}

static pid_t spawn_inside(void *arg, json_t *hook, int input)
{
	pid_t pid = fork();
	int null;

	if (pid)
		return pid < 0 ? -errno : pid;
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null < 0 || dup2(input, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		_exit(EXIT_EXEC_FAILED);
	_exit(run_inside(arg, hook));
}

int run_start_hooks(const struct cli_options *options, struct state *s)
{
	struct place place = {options, s};
	json_t *state;
	char err[512];
	int ret;

	if (!json_array_size(json_object_get(s->hooks, "startContainer")))
		return 0;
	state = state_to_oci(s, STATUS_CREATED, false);
	/* As the container itself numbers it. */
	json_object_set_new(state, "pid", json_integer(1));
	ret = state ? hooks_run_by(s->hooks, "startContainer", state, spawn_inside, &place, err,
				   sizeof(err))
		    : -ENOMEM;
	json_decref(state);
	if (!ret)
		return 0;
	cli_fail("%s", ret == -ENOMEM ? strerror(ENOMEM) : err);
	stop_container(s);
	return EXIT_CLI_FAILED;
}
