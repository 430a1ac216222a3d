/*
 * Dying together where there is no pid namespace to see to it. There the sandbox's process is two:
 * the keeper, which the caller knows, and its child, the sentry. Stubs that have lost the sentry
 * become children of the keeper (or, if that is gone, of the caller), which kills them.
 *
 * Whoever dies, the rest follows: the caller's death is a signal to the keeper, the keeper's kills
 * the sentry (PR_SET_PDEATHSIG), the sentry's wakes the keeper.
 */
#ifndef MOAT_BOOT_KEEPER_H
#define MOAT_BOOT_KEEPER_H

/* Forks. Returns 0 in the child, which goes on as the sentry (and is to set PR_SET_PDEATHSIG once
 * its credentials are final); -errno when it cannot. The parent does not return: it gives up its
 * privileges by `drop`, keeps no descriptor, waits, and ends as its child did. */
int keeper_split(int (*drop)(void *arg), void *arg);
/* Makes orphaned descendants ours (man 2 PR_SET_CHILD_SUBREAPER). */
void keeper_adopt(void);
/* Kills and reaps all children, those that come as orphans meanwhile too. */
void keeper_sweep(void);

#endif
