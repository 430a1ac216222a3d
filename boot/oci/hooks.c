#include "boot/oci/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"

static const char *const kinds[] = {"prestart",	      "createRuntime", "createContainer",
				    "startContainer", "poststart",     "poststop"};

const char *hooks_kind(unsigned i)
{
	return i < ARRAY_SIZE(kinds) ? kinds[i] : NULL;
}

static void free_strings(char **v)
{
	for (char **p = v; p && *p; p++)
		free(*p);
	free(v);
}

static void check_one(struct json_bind *b, json_t *hook)
{
	const char *path;

	if (!json_is_object(hook)) {
		json_bind_fail(b, "expected an object");
		return;
	}
	path = json_bind_string(b, hook, "path", true);
	if (path && *path != '/')
		json_bind_fail(b, "path is not absolute");
	free_strings(json_bind_strings(b, hook, "args", false, false));
	free_strings(json_bind_strings(b, hook, "env", false, false));
	json_bind_int(b, hook, "timeout", 1, 1 << 30, 0);
}

void hooks_check(struct json_bind *b, json_t *config)
{
	json_t *hooks = json_bind_object(b, config, "hooks", false);

	json_bind_enter(b, "hooks");
	for (unsigned k = 0; k < ARRAY_SIZE(kinds) && !b->failed; k++) {
		json_t *list = json_bind_array(b, hooks, kinds[k], false), *hook;
		size_t i;

		json_bind_enter(b, kinds[k]);
		json_array_foreach(list, i, hook)
		{
			json_bind_enter_index(b, i);
			check_one(b, hook);
			json_bind_leave(b);
		}
		json_bind_leave(b);
	}
	json_bind_leave(b);
}

static char **strings(json_t *list, const char *first)
{
	size_t n = json_array_size(list), used = 0;
	char **v = calloc(n + 2, sizeof(char *));

	if (v && !n && first)
		v[used++] = strdup(first);
	for (size_t i = 0; v && i < n; i++)
		v[used++] = strdup(json_string_value(json_array_get(list, i)));
	return v;
}

/* The state for the hook to read: in a file without a name, so that nobody waits for it to read. */
static int state_file(const char *text)
{
	int fd = (int)syscall(SYS_memfd_create, "state", 1 /* MFD_CLOEXEC */);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0) {
		close_fd_ptr(&fd);
		return -errno;
	}
	return fd;
}

/* arg: the directory. */
static pid_t spawn_on_host(void *arg, json_t *hook, int input)
{
	const char *path = json_string_value(json_object_get(hook, "path"));
	char **argv = strings(json_object_get(hook, "args"), path);
	json_t *env = json_object_get(hook, "env");
	/* As runc: what is not said is ours. */
	char **envp = env ? strings(env, NULL) : NULL;
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	pid_t pid = 0;
	int ret = ENOMEM;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
	if (arg)
		posix_spawn_file_actions_addchdir_np(&actions, arg);
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&attr, &none);
	sigaddset(&none, SIGPIPE);
	posix_spawnattr_setsigdefault(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (argv && (envp || !env))
		ret = posix_spawn(&pid, path, &actions, &attr, argv, envp ? envp : environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	free_strings(argv);
	free_strings(envp);
	return ret ? -ret : pid;
}

/* Waits for it, no longer than timeout seconds (0: for ever). Its wait status, or -ETIMEDOUT. */
static int wait_for(pid_t pid, int64_t timeout)
{
	int __close_fd fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int64_t end = monotonic_ns() + timeout * NSEC_PER_SEC;
	int status = 0, n = 1;

	while (timeout && fd >= 0) {
		int64_t left = (end - monotonic_ns()) / 1000000;

		n = poll(&p, 1, left < 0 ? 0 : left > 1000000 ? 1000000 : (int)left);
		if (n > 0 || (n == 0 && monotonic_ns() >= end))
			break;
	}
	if (n == 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return n == 0 ? -ETIMEDOUT : status;
}

static int run_one(json_t *hook, const char *kind, size_t i, const char *text, hook_spawn *spawn,
		   void *arg, char *err, size_t errlen)
{
	const char *path = json_string_value(json_object_get(hook, "path"));
	int __close_fd input = state_file(text);
	pid_t pid = input < 0 ? input : spawn(arg, hook, input);
	int status;

	if (pid < 0) {
		snprintf(err, errlen, "error running %s hook #%zu: %s: %s", kind, i, path,
			 strerror(-pid));
		return pid;
	}
	status = wait_for(pid, json_integer_value(json_object_get(hook, "timeout")));
	if (!status)
		return 0;
	if (status == -ETIMEDOUT)
		snprintf(err, errlen, "error running %s hook #%zu: %s: time limit reached", kind, i,
			 path);
	else if (WIFSIGNALED(status))
		snprintf(err, errlen, "error running %s hook #%zu: %s: signal: %s", kind, i, path,
			 strsignal(WTERMSIG(status)));
	else
		snprintf(err, errlen, "error running %s hook #%zu: %s: exit status %d", kind, i,
			 path, WEXITSTATUS(status));
	return status == -ETIMEDOUT ? status : -EIO;
}

int hooks_run_by(json_t *hooks, const char *kind, json_t *state, hook_spawn *spawn, void *arg,
		 char *err, size_t errlen)
{
	json_t *list = hooks ? json_object_get(hooks, kind) : NULL, *hook;
	char *__free text = NULL;
	int ret = 0;
	size_t i;

	if (!json_array_size(list))
		return 0;
	text = json_dumps(state, JSON_COMPACT);
	if (!text)
		return -ENOMEM;
	json_array_foreach(list, i, hook)
	{
		ret = run_one(hook, kind, i, text, spawn, arg, err, errlen);
		if (ret)
			break;
	}
	return ret;
}

int hooks_run(json_t *hooks, const char *kind, json_t *state, const char *dir, char *err,
	      size_t errlen)
{
	return hooks_run_by(hooks, kind, state, spawn_on_host, (void *)(uintptr_t)dir, err, errlen);
}
