/* cgroup2: one group, that of the reader's container; its memory is the sandbox's (Linux:
 * Documentation/admin-guide/cgroup-v2). */
#include <errno.h>
#include <linux/sched.h>

#include "sentry/fs/fs.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/fs/pseudo/pseudo.h"
#include "sentry/kernel/core/container_mark.h"
#include "sentry/kernel/core/machine.h"
#include "sentry/kernel/run/container.h"
#include "sentry/kernel/run/kernel.h"
#include "sentry/kernel/task/task.h"
#include "sentry/mm/mm.h"

#define CGROUP2_MAGIC 0x63677270

static const struct container_mark *current_mark(void)
{
	return current ? current->group->container : NULL;
}

static int show_procs(struct text *out, struct inode *inode)
{
	struct pid_ns *ns = current ? task_pid_ns(current) : kernel.root_pid_ns;
	struct thread_group *g;
	pid_t nr = 1;

	for (; (g = group_next(ns, &nr)); nr++) {
		if (!current_mark() || container_mark_within(g->container, current_mark()))
			text_printf(out, "%d\n", nr);
		group_put(g);
	}
	return 0;
}

static int show_memory_current(struct text *out, struct inode *inode)
{
	text_printf(out, "%lu\n", kernel_memory_used(true));
	return 0;
}

static int show_memory_max(struct text *out, struct inode *inode)
{
	text_printf(out, "%lu\n", machine.total_memory);
	return 0;
}

static int show_memory_events(struct text *out, struct inode *inode)
{
	uint64_t kills = kernel.oom_kills;

	text_printf(out, "low 0\nhigh 0\nmax %lu\noom %lu\noom_kill %lu\noom_group_kill 0\n", kills,
		    kills, kills);
	return 0;
}

static int show_memory_stat(struct text *out, struct inode *inode)
{
	struct proc_usage u;
	uint64_t shared;

	proc_usage_all(kernel.root_pid_ns, &u);
	shared = MIN(u.shared_pages, u.rss_pages);
	text_printf(out, "anon %lu\nfile %lu\nkernel 0\nshmem 0\nfile_mapped %lu\n",
		    (u.rss_pages - shared) * PAGE_SIZE, shared * PAGE_SIZE, shared * PAGE_SIZE);
	return 0;
}

static int show_cpu_stat(struct text *out, struct inode *inode)
{
	struct proc_usage u = {0};
	struct container_usage mine;

	if (!current_mark()) {
		proc_usage_all(kernel.root_pid_ns, &u);
	} else {
		int ret = kernel_container_usage(current_mark(), &mine);

		if (ret)
			return ret;
		u.utime_ns = mine.user_ns;
		u.stime_ns = mine.kernel_ns;
	}
	text_printf(out,
		    "usage_usec %lu\nuser_usec %lu\nsystem_usec %lu\nnr_periods 0\n"
		    "nr_throttled 0\nthrottled_usec 0\n",
		    (u.utime_ns + u.stime_ns) / 1000, u.utime_ns / 1000, u.stime_ns / 1000);
	return 0;
}

static int show_cpu_max(struct text *out, struct inode *inode)
{
	text_printf(out, "%d 100000\n", machine.num_cpus * 100000);
	return 0;
}

static int show_cpuset(struct text *out, struct inode *inode)
{
	text_printf(out, machine.num_cpus > 1 ? "0-%d\n" : "0\n", machine.num_cpus - 1);
	return 0;
}

static int show_pids_current(struct text *out, struct inode *inode)
{
	const struct container_mark *m = current_mark();

	text_printf(out, "%lu\n", m ? atomic_load(&m->tasks) : (uint64_t)kernel.num_tasks);
	return 0;
}

static int show_pids_max(struct text *out, struct inode *inode)
{
	uint64_t max = current_mark() ? atomic_load(&current_mark()->tasks_max) : 0;

	if (max)
		text_printf(out, "%lu\n", max);
	else
		text_puts(out, "max\n");
	return 0;
}

#define TEXT(NAME, SHOW)                                                                           \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0444, .show = (SHOW)                             \
	}
#define FIXED(NAME, CONTENT)                                                                       \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0444, .content = (CONTENT)                       \
	}
static const struct pseudo_node top_nodes[] = {
	FIXED("cgroup.controllers", "cpuset cpu memory pids\n"),
	FIXED("cgroup.subtree_control", "\n"),
	FIXED("cgroup.type", "domain\n"),
	FIXED("cgroup.events", "populated 1\nfrozen 0\n"),
	FIXED("cgroup.freeze", "0\n"),
	FIXED("cgroup.max.depth", "0\n"),
	FIXED("cgroup.max.descendants", "0\n"),
	FIXED("cgroup.stat", "nr_descendants 0\nnr_dying_descendants 0\n"),
	TEXT("cgroup.procs", show_procs),
	TEXT("cpu.max", show_cpu_max),
	TEXT("cpu.stat", show_cpu_stat),
	FIXED("cpu.weight", "100\n"),
	TEXT("cpuset.cpus.effective", show_cpuset),
	FIXED("cpuset.mems.effective", "0\n"),
	TEXT("memory.current", show_memory_current),
	TEXT("memory.max", show_memory_max),
	FIXED("memory.high", "max\n"),
	FIXED("memory.low", "0\n"),
	FIXED("memory.min", "0\n"),
	TEXT("memory.stat", show_memory_stat),
	TEXT("memory.events", show_memory_events),
	FIXED("memory.swap.current", "0\n"),
	FIXED("memory.swap.max", "0\n"),
	TEXT("pids.current", show_pids_current),
	TEXT("pids.max", show_pids_max),
	{0},
};
static const struct pseudo_node root_node = {
	.name = "/", .mode = S_IFDIR | 0555, .children = top_nodes};

static const struct super_operations cgroup_sops = {
	.evict_inode = pseudo_evict,
	.statfs = pseudo_statfs,
};

static int cgroup_get_super(const struct fs_type *type, unsigned long flags, const char *source,
			    const char *data, void *arg, struct super_block **out)
{
	return pseudo_sb_create(type, &cgroup_sops, &root_node, CGROUP2_MAGIC, out);
}

static struct user_ns *cgroup_owner(void)
{
	return namespace_owner(CLONE_NEWCGROUP, current->cgroup_ns);
}

static const struct fs_type cgroup2_type = {.name = "cgroup2",
					    .nodev = true,
					    .guest_mount = true,
					    .userns_mount = true,
					    .owner = cgroup_owner,
					    .get_super = cgroup_get_super};
static const struct fs_type cgroup_type = {.name = "cgroup",
					   .nodev = true,
					   .guest_mount = true,
					   .userns_mount = true,
					   .owner = cgroup_owner,
					   .get_super = cgroup_get_super};

void cgroupfs_init(void)
{
	fs_register(&cgroup2_type);
	fs_register(&cgroup_type);
}
