/* What proc sums up, for other file systems that tell the same. */
#ifndef MOAT_SENTRY_FS_PROC_PROC_H
#define MOAT_SENTRY_FS_PROC_PROC_H

#include <stdbool.h>
#include <stdint.h>

struct pid_ns;
struct task;

/* pid_stat.c: CPU time, faults and memory of a process, or CPU time of a thread. */
struct proc_usage {
	uint64_t utime_ns, stime_ns, minflt, majflt, rss_pages, shared_pages;
};
void proc_usage(struct task *t, bool thread, struct proc_usage *u);
/* The same summed over the sandbox: for /proc/stat. */
void proc_usage_all(struct pid_ns *ns, struct proc_usage *u);

/* Bytes of memory that the processes of ns (NULL: the sandbox's) have in use. */
uint64_t proc_memory_used(struct pid_ns *ns);

#endif
