/* Hooks of config.json (runtime-spec, config.md "POSIX-platform Hooks"). */
#ifndef MOAT_BOOT_HOOKS_H
#define MOAT_BOOT_HOOKS_H

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

#include "boot/spec/json_bind.h"

/* Checks the form of config.json's hooks. */
void hooks_check(struct json_bind *b, json_t *config);
/* Runs the hooks of one kind ("prestart", …) in order, each with the state on its standard input,
 * in the host's namespaces and in the directory dir (NULL: ours). The first that fails, or lasts
 * longer than its timeout, ends it: -errno or -EIO with a message. hooks: config.json's object, or
 * NULL. */
int hooks_run(json_t *hooks, const char *kind, json_t *state, const char *dir, char *err,
	      size_t errlen);
/* The same with a way of the caller's to start one: its process, a child of ours, or -errno. input
 * is a descriptor with the state. */
typedef pid_t hook_spawn(void *arg, json_t *hook, int input);
int hooks_run_by(json_t *hooks, const char *kind, json_t *state, hook_spawn *spawn, void *arg,
		 char *err, size_t errlen);

/* The i-th kind of hooks; NULL behind the last. */
const char *hooks_kind(unsigned i);

#endif
