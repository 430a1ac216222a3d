/* The files at the top of /proc that are about the whole sandbox. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sentry/fs/proc/proc_internal.h"
#include "sentry/kernel/core/machine.h"
#include "sentry/kernel/run/load.h"
#include "sentry/kernel/run/version.h"
#include "sentry/mm/mm.h"

static uint64_t kb(uint64_t bytes)
{
	return bytes >> 10;
}

/* --- memory
 * --------------------------------------------------------------------------------------------- */

struct memory {
	uint64_t total, free, anon, mapped; /* bytes */
};

static void memory_now(struct inode *inode, struct memory *m)
{
	struct proc_usage u;
	uint64_t used;

	proc_usage_all(proc_ns(inode->sb), &u);
	used = u.rss_pages * PAGE_SIZE;
	m->total = machine.total_memory;
	m->free = used < m->total ? m->total - used : 0;
	m->mapped = MIN(u.shared_pages, u.rss_pages) * PAGE_SIZE;
	m->anon = used - m->mapped;
}

static int show_meminfo(struct text *out, struct inode *inode)
{
	struct memory m;

	memory_now(inode, &m);
	const struct {
		const char *name;
		uint64_t bytes;
	} rows[] = {
		{"MemTotal:", m.total},
		{"MemFree:", m.free},
		{"MemAvailable:", m.free},
		{"Buffers:", 0},
		{"Cached:", m.mapped},
		{"SwapCached:", 0},
		{"Active:", m.anon + m.mapped},
		{"Inactive:", 0},
		{"Active(anon):", m.anon},
		{"Inactive(anon):", 0},
		{"Active(file):", m.mapped},
		{"Inactive(file):", 0},
		{"Unevictable:", 0},
		{"Mlocked:", 0},
		{"SwapTotal:", 0},
		{"SwapFree:", 0},
		{"Dirty:", 0},
		{"Writeback:", 0},
		{"AnonPages:", m.anon},
		{"Mapped:", m.mapped},
		{"Shmem:", 0},
		{"KReclaimable:", 0},
		{"Slab:", 0},
		{"SReclaimable:", 0},
		{"SUnreclaim:", 0},
		{"KernelStack:", 0},
		{"PageTables:", 0},
		{"NFS_Unstable:", 0},
		{"Bounce:", 0},
		{"WritebackTmp:", 0},
		{"CommitLimit:", m.total / 2},
		{"Committed_AS:", m.anon},
		{"VmallocTotal:", 34359738367ULL << 10},
		{"VmallocUsed:", 0},
		{"VmallocChunk:", 0},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		text_printf(out, "%-16s%8lu kB\n", rows[i].name, kb(rows[i].bytes));
	text_puts(out, "HugePages_Total:       0\nHugePages_Free:        0\n"
		       "HugePages_Rsvd:        0\nHugePages_Surp:        0\n"
		       "Hugepagesize:       2048 kB\nHugetlb:               0 kB\n");
	return 0;
}

static int show_vmstat(struct text *out, struct inode *inode)
{
	struct memory m;

	memory_now(inode, &m);
	text_printf(out,
		    "nr_free_pages %lu\nnr_inactive_anon 0\nnr_active_anon %lu\n"
		    "nr_inactive_file 0\nnr_active_file %lu\nnr_unevictable 0\nnr_mlock 0\n"
		    "nr_anon_pages %lu\nnr_mapped %lu\nnr_file_pages %lu\nnr_dirty 0\n"
		    "nr_writeback 0\nnr_shmem 0\npgpgin 0\npgpgout 0\npswpin 0\npswpout 0\n"
		    "pgfault 0\npgmajfault 0\noom_kill 0\n",
		    m.free / PAGE_SIZE, m.anon / PAGE_SIZE, m.mapped / PAGE_SIZE,
		    m.anon / PAGE_SIZE, m.mapped / PAGE_SIZE, m.mapped / PAGE_SIZE);
	return 0;
}

/* --- time
 * ------------------------------------------------------------------------------------------------
 */

static uint64_t uptime_ns(void)
{
	return (uint64_t)(monotonic_ns() - machine.boot_mono_ns);
}

static int show_uptime(struct text *out, struct inode *inode)
{
	uint64_t up = uptime_ns(), idle;
	struct proc_usage u;

	proc_usage_all(proc_ns(inode->sb), &u);
	idle = up * (uint64_t)machine.num_cpus;
	idle -= MIN(idle, u.utime_ns + u.stime_ns);
	up /= NSEC_PER_SEC / 100;
	idle /= NSEC_PER_SEC / 100;
	text_printf(out, "%lu.%02lu %lu.%02lu\n", up / 100, up % 100, idle / 100, idle % 100);
	return 0;
}

static int show_loadavg(struct text *out, struct inode *inode)
{
	struct pid_ns *ns = proc_ns(inode->sb);
	struct load load;

	kernel_load(ns, &load);
	text_printf(out, "%.2f %.2f %.2f %d/%d %d\n", load.average[0], load.average[1],
		    load.average[2], load.running, load.total, ns->last);
	return 0;
}

static void cpu_line(struct text *out, const char *name, uint64_t user, uint64_t system,
		     uint64_t up)
{
	uint64_t idle = up - MIN(up, user + system);
	const uint64_t tick = NSEC_PER_SEC / USER_HZ;

	text_printf(out, "%s %lu 0 %lu %lu 0 0 0 0 0 0\n", name, user / tick, system / tick,
		    idle / tick);
}

static int show_stat(struct text *out, struct inode *inode)
{
	struct pid_ns *ns = proc_ns(inode->sb);
	uint64_t up = uptime_ns(), n = (uint64_t)machine.num_cpus;
	struct proc_usage u;
	struct load load;

	proc_usage_all(ns, &u);
	kernel_load(ns, &load);
	cpu_line(out, "cpu ", u.utime_ns, u.stime_ns, up * n);
	for (uint64_t i = 0; i < n; i++) {
		char name[32];

		snprintf(name, sizeof(name), "cpu%lu", i);
		cpu_line(out, name, u.utime_ns / n, u.stime_ns / n, up);
	}
	text_printf(out,
		    "intr 0\nctxt 0\nbtime %lld\nprocesses %d\nprocs_running %d\n"
		    "procs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
		    machine.boot_time_ns / NSEC_PER_SEC, ns->last, load.running);
	return 0;
}

/* --- the rest
 * --------------------------------------------------------------------------------------------- */

static int show_filesystems(struct text *out, struct inode *inode)
{
	const struct fs_type *type;

	for (int i = 0; (type = fs_type_at(i)) != NULL; i++)
		text_printf(out, "%s\t%s\n", type->nodev ? "nodev" : "", type->name);
	return 0;
}

static int show_interrupts(struct text *out, struct inode *inode)
{
	text_puts(out, "    ");
	for (int i = 0; i < machine.num_cpus; i++)
		text_printf(out, "       CPU%-d", i);
	text_puts(out, "\n");
	return 0;
}

static int show_version(struct text *out, struct inode *inode)
{
	text_puts(out, KERNEL_SYSNAME " version " KERNEL_RELEASE " (moat@moat) (" __VERSION__
				      ") " KERNEL_VERSION "\n");
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
const struct pseudo_node proc_system_nodes[] = {
	TEXT("meminfo", show_meminfo),
	TEXT("vmstat", show_vmstat),
	TEXT("uptime", show_uptime),
	TEXT("loadavg", show_loadavg),
	TEXT("stat", show_stat),
	TEXT("cpuinfo", proc_show_cpuinfo),
	TEXT("version", show_version),
	TEXT("filesystems", show_filesystems),
	TEXT("interrupts", show_interrupts),
	FIXED("cmdline", "BOOT_IMAGE=moat quiet\n"),
	FIXED("partitions", "major minor  #blocks  name\n\n"),
	FIXED("swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
	FIXED("diskstats", ""),
	FIXED("devices", "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n"
			 "  5 /dev/ptmx\n136 pts\n\nBlock devices:\n"),
	FIXED("misc", ""),
	FIXED("modules", ""),
	FIXED("cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\n"),
	TEXT("locks", proc_show_locks),
	{0},
};
