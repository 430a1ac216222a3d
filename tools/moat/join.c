/*
 * Namespaces of other containers that a new one is to have (linux.namespaces with a path). Those of
 * moat's are not the host's: what a path names is a process that stands for a container, and the
 * new container is made in that one's sandbox, where it has the sentry's namespaces of it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/compiler.h"
#include "base/log.h"
#include "boot/spec/egress.h"
#include "tools/moat/bundle.h"

/* The sandbox that a container of a pod is to live in, by the annotations of CRI runtimes, or NULL.
 */
static const char *pod_of(const struct new_container *c)
{
	static const char *const keys[][2] = {
		{"io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"},
		{"io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *type =
			json_string_value(json_object_get(c->host.annotations, keys[i][0]));

		if (type && !strcmp(type, "container"))
			return json_string_value(json_object_get(c->host.annotations, keys[i][1]));
	}
	return NULL;
}

/* PID of "/proc/PID/ns/KIND"; 0: the path is of another form. */
static pid_t pid_of(const char *path, enum spec_ns kind)
{
	char again[64];
	int pid;

	if (sscanf(path, "/proc/%d/ns/", &pid) != 1 || pid <= 0)
		return 0;
	snprintf(again, sizeof(again), "/proc/%d/ns/%s", pid, spec_ns_name(kind));
	return strcmp(again, path) ? 0 : pid;
}

static bool same_file(const struct stat *a, const char *path)
{
	struct stat b;

	return !stat(path, &b) && a->st_dev == b.st_dev && a->st_ino == b.st_ino;
}

/* Is it that of the process of s? One in its own sandbox has namespaces of the host's that are no
 * other's; where it could have none, they are the host's, and say nothing. */
static bool is_its_namespace(const struct state *s, const struct stat *ns, enum spec_ns kind)
{
	char path[64];

	if (s->netns && kind == SPEC_NS_NET && same_file(ns, s->netns))
		return true;
	snprintf(path, sizeof(path), "/proc/self/ns/%s", spec_ns_name(kind));
	if (same_file(ns, path) || strcmp(s->id, s->sandbox))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/ns/%s", s->pid, spec_ns_name(kind));
	return same_file(ns, path);
}

/* The container whose namespace a path is of: by the number of its process, or else by what is
 * there. 1, and *out is to be freed; 0: none. */
static int find_owner(const char *root, const char *path, enum spec_ns kind, struct state *out)
{
	char **names = state_list(root);
	pid_t pid = pid_of(path, kind);
	bool found = false, there;
	struct stat ns;

	there = !stat(path, &ns);
	for (char **name = names; name && *name && !found; name++) {
		struct state s = {0};

		/* A number that the process does not have any more may be another's. */
		if (state_load(root, *name, &s) || state_status(&s) == STATUS_STOPPED) {
			state_free(&s);
			continue;
		}
		found = pid ? s.pid == pid : there && is_its_namespace(&s, &ns, kind);
		if (found)
			*out = s;
		else
			state_free(&s);
	}
	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
	return found;
}

static int take(struct new_container *c, const struct state *owner, enum spec_ns kind,
		const char *path)
{
	struct container_spec *spec = &c->spec.container;

	if (c->pod && strcmp(c->pod, owner->sandbox))
		return cli_error("%s: config.json: linux.namespaces: %s is of the sandbox of '%s', "
				 "others are of that of '%s'",
				 c->flags->command, path, owner->sandbox, c->pod);
	if (!c->pod)
		c->pod = strdup(owner->sandbox);
	spec->joins = true;
	spec->ns_of[kind] = strdup(owner->id);
	return c->pod && spec->ns_of[kind]
		       ? 0
		       : cli_error("%s: %s", c->flags->command, strerror(ENOMEM));
}

static int find_by_path(struct new_container *c, const char *path, enum spec_ns kind)
{
	struct state owner = {0};
	int status = 0;

	if (find_owner(c->options->root, path, kind, &owner))
		status = take(c, &owner, kind, path);
	else if (kind != SPEC_NS_NET) /* one that an engine has made */
		status = cli_error("%s: config.json: linux.namespaces: %s is no %s namespace of a "
				   "container of moat that lives (--root %s)",
				   c->flags->command, path, spec_ns_name(kind), c->options->root);
	state_free(&owner);
	return status;
}

/* What it has of a network in the other one's sandbox. */
static int check_network(struct new_container *c)
{
	if (c->spec.container.ns_of[SPEC_NS_NET]) {
		c->spec.network = NETWORK_NONE;
		free(c->spec.netns);
		c->spec.netns = NULL;
		return 0;
	}
	/* The annotation's and the flag's alike: in there is one policy only, the sandbox's. */
	if (c->spec.network == NETWORK_SANDBOX &&
	    (c->spec.egress_given || json_object_get(c->host.annotations, EGRESS_ANNOTATION)))
		return cli_error("%s: --egress: not for a container with a network of its own in "
				 "another one's sandbox",
				 c->flags->command);
	if (c->spec.network == NETWORK_SANDBOX && c->options->rootless && !c->spec.netns) {
		log_info("an ordinary user's container has a loopback in another one's sandbox");
		c->spec.network = NETWORK_NONE;
	}
	return 0;
}

int join_find(struct new_container *c)
{
	const char *pod = pod_of(c);
	int status = 0;

	if (pod) {
		c->pod = strdup(pod);
		return c->pod ? 0 : cli_error("%s: %s", c->flags->command, strerror(ENOMEM));
	}
	for (unsigned i = 0; i < SPEC_NS_KINDS && !status; i++) {
		const char *path = i == SPEC_NS_NET ? c->spec.netns : c->spec.ns_path[i];

		/* --network=none is stronger than config.json. */
		if (i == SPEC_NS_NET && c->spec.network != NETWORK_SANDBOX)
			continue;
		if (path)
			status = find_by_path(c, path, (enum spec_ns)i);
	}
	return status || !c->pod ? status : check_network(c);
}
