/*
 * Runs: processes of a container that are counted and limited on their own, with all that they
 * start. A thread looks at those that have limits, the more often the more they use; the first
 * limit that is passed ends the run.
 */
#ifndef MOAT_BOOT_RUN_H
#define MOAT_BOOT_RUN_H

#include <stdint.h>

#include "control/backend.h"

struct container_mark;
struct run;
struct thread_group;

/* A run with these limits in the container with this mark. NULL: no memory, or no thread to watch
 * it. */
struct run *run_new(struct container_mark *container, const Moat__RunLimits *limits);
/* What its processes are to carry; as long as the run. */
struct container_mark *run_mark(struct run *r);
/* Its first process is about to run: time counts, limits hold from now on. */
void run_start(struct run *r);
/* Kills all of its processes, now and those to come. The first reason stays. */
void run_kill(struct run *r, Moat__ExitStatus__Reason reason);
/* Its first process, `group`, has ended: kills what it has left behind, unless it is to be kept,
 * and says what the run has used; how->wait_status is the caller's. */
void run_ended(struct run *r, struct thread_group *group, struct control_exit *how);
/* The caller's reference; what is still being killed is looked after. */
void run_put(struct run *r);

#endif
