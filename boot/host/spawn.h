/*
 * Forking the processes of a sandbox into as many namespaces as the host lets us have. Nothing is
 * probed: the first way that works is taken, and on hosts that have all of it that is the first.
 */
#ifndef MOAT_BOOT_SPAWN_H
#define MOAT_BOOT_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "boot/spec/spec.h"

/* Forks the sandbox process; 0 in the child. Both sides find in spec->isolation what it got, never
 * more than that said before. *pidfd is set in the parent. -errno with a message. */
pid_t spawn_sandbox(struct sandbox_spec *spec, int *pidfd, char *err, size_t errlen);
/* In the child of either: it is in the groups of spec->cgroup from now on. 0 or -errno. */
int spawn_enter_cgroup(const struct sandbox_spec *spec);
/* Forks the gofer, to go with a sandbox that spawn_sandbox() made. own_ids: into namespaces that an
 * ordinary user can have too, with a user namespace whose ids are to be made. Else it has none yet:
 * spawn_enter_namespaces() is for it to call. */
pid_t spawn_gofer(const struct sandbox_spec *spec, bool own_ids, int *pidfd, char *err,
		  size_t errlen);
/* In root's gofer: network, IPC and UTS namespaces that are not the host's. 0 or -errno. */
int spawn_enter_namespaces(const struct sandbox_spec *spec, int sandbox_pidfd);
/* Makes the ids of a user namespace that `pid` is in: every id of ours is itself in there, or, for
 * an ordinary user, only the caller's own. Ids that our own user namespace does not have, it has
 * not either. 0 or -errno. */
int spawn_write_id_maps(pid_t pid, bool rootless);
/* True if the calling process has a capability in effect. */
bool spawn_has_capability(int cap);
/* Kills pid and waits for it; closes *pidfd. */
void spawn_kill(pid_t pid, int *pidfd);

#endif
