/*
 * The task whose event this thread is running, for rooms that know no struct task: mm/ and vfs/
 * stand below it. kernel/task/current.c answers.
 *
 * A thread of the sentry's own, and the loader, run no task: `current` is NULL then, and so is what
 * is asked for, unless the comment says otherwise. Nothing here is counted for the caller: it stays
 * as long as the task's call does not change it.
 */
#ifndef MOAT_SENTRY_KERNEL_CORE_CURRENT_H
#define MOAT_SENTRY_KERNEL_CORE_CURRENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

struct cred;
struct files;
struct fs;
struct mm;
struct mnt_ns;
struct pid;
struct platform_as;
struct platform_ctx;
struct restart_block;
struct task;

extern __thread struct task *current;

struct cred *current_cred(void);
struct mm *current_mm(void);
struct platform_as *current_as(void); /* of current_mm() */
struct platform_ctx *current_ctx(void);
struct files *current_files(void);
struct fs *current_fs(void);
struct mnt_ns *current_mnt_ns(void);
struct pid *current_tgid(void);
/* The soft limit RLIMIT_*; RLIM_INFINITY without a task. */
uint64_t current_rlimit(int resource);
uint64_t current_personality(void); /* 0 without a task */
/* Where a call that is to be restarted leaves what it needs: only in a task. */
struct restart_block *current_restart(void);
/* The deadline of a call that waits for a time that its caller has given: the one computed just
 * now, or, if the call is entered again after a pause, that which it had before. */
int64_t current_kept_deadline(int64_t deadline);

/* Gives the task another table of descriptors; the old one is the caller's now. */
struct files *current_replace_files(struct files *files);
/* Counts one call that moved n bytes, or none if n is an error, for /proc/PID/io. */
void current_count_io(bool write, ssize_t n);

/* Calls fn for the root and cwd of every task, each with a reference for as long as fn runs;
 * tasklist_lock is held. */
void each_task_fs(void (*fn)(struct fs *fs, void *arg), void *arg);

#endif
