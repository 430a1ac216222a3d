/*
 * The files at the top of /proc that are about a machine and its kernel. The machine of a sandbox
 * has no devices, buses, interrupts or zones to tell of; what is here has the form that programs
 * read, and nothing of the host.
 */
#include <errno.h>

#include "sentry/fs/proc/proc_internal.h"
#include "sentry/kernel/core/machine.h"

#define FREE_ORDERS 11

static int show_buddyinfo(struct text *out, struct inode *inode)
{
	uint64_t blocks = machine.total_memory / PAGE_SIZE >> (FREE_ORDERS - 1);

	text_puts(out, "Node 0, zone   Normal ");
	for (int i = 0; i < FREE_ORDERS; i++)
		text_printf(out, "%6lu ", i == FREE_ORDERS - 1 ? blocks : 0);
	text_puts(out, "\n");
	return 0;
}

static int show_zoneinfo(struct text *out, struct inode *inode)
{
	uint64_t pages = machine.total_memory / PAGE_SIZE;

	text_printf(out,
		    "Node 0, zone   Normal\n  pages free     %lu\n        boost    0\n"
		    "        min      0\n        low      0\n        high     0\n"
		    "        spanned  %lu\n        present  %lu\n        managed  %lu\n"
		    "        cma      0\n        protection: (0, 0, 0, 0, 0)\n"
		    "  node_unreclaimable:  0\n  start_pfn:           0\n",
		    pages, pages, pages, pages);
	return 0;
}

static int show_pagetypeinfo(struct text *out, struct inode *inode)
{
	text_puts(out,
		  "Page block order: 9\nPages per block:  512\n\n"
		  "Free pages count per migrate type at order       0      1      2      3      "
		  "4      5      6      7      8      9     10 \n");
	return 0;
}

static int show_softirqs(struct text *out, struct inode *inode)
{
	static const char *const names[] = {"HI",	"TIMER",   "NET_TX", "NET_RX",	"BLOCK",
					    "IRQ_POLL", "TASKLET", "SCHED",  "HRTIMER", "RCU"};

	text_puts(out, "                ");
	for (int i = 0; i < machine.num_cpus; i++)
		text_printf(out, "    CPU%-4d", i);
	text_puts(out, "\n");
	for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
		text_printf(out, "%12s:", names[n]);
		for (int i = 0; i < machine.num_cpus; i++)
			text_puts(out, "          0");
		text_puts(out, "\n");
	}
	return 0;
}

static int show_timer_list(struct text *out, struct inode *inode)
{
	text_printf(out,
		    "Timer List Version: v0.10\nHRTIMER_MAX_CLOCK_BASES: 8\nnow at %ld nsecs\n",
		    (long)(monotonic_ns() - machine.boot_mono_ns));
	return 0;
}

/* A mask with a bit for each CPU, in words of 32 as the kernel writes them. */
static int show_affinity(struct text *out, struct inode *inode)
{
	int words = (machine.num_cpus + 31) / 32;

	for (int w = words - 1; w >= 0; w--) {
		int bits = MIN(machine.num_cpus - w * 32, 32);

		text_printf(out, "%0*x%s", w == words - 1 ? (bits + 3) / 4 : 8,
			    bits == 32 ? UINT32_MAX : (1U << bits) - 1, w ? "," : "\n");
	}
	return 0;
}

static ssize_t refuse(struct inode *inode, char *s, size_t n)
{
	return -EOPNOTSUPP;
}

#define DIR(NAME, CHILDREN)                                                                        \
	{                                                                                          \
		.name = (NAME), .mode = S_IFDIR | 0555, .children = (CHILDREN)                     \
	}
#define TEXT(NAME, MODE, SHOW)                                                                     \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | (MODE), .show = (SHOW)                           \
	}
#define FIXED(NAME, MODE, CONTENT)                                                                 \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | (MODE), .content = (CONTENT)                     \
	}

/* Nobody measures what waits here; triggers are refused. */
#define NO_PRESSURE                                                                                \
	"some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"                                         \
	"full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
#define PRESSURE(NAME)                                                                             \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0666, .content = NO_PRESSURE, .write = refuse    \
	}

static const struct pseudo_node none[] = {{0}};
static const struct pseudo_node pci_nodes[] = {FIXED("devices", 0444, ""), {0}};
static const struct pseudo_node input_nodes[] = {
	FIXED("devices", 0444, ""), FIXED("handlers", 0444, ""), {0}};
static const struct pseudo_node bus_nodes[] = {
	DIR("input", input_nodes), DIR("pci", pci_nodes), {0}};
static const struct pseudo_node irq_nodes[] = {TEXT("default_smp_affinity", 0444, show_affinity),
					       {0}};
static const struct pseudo_node pressure_nodes[] = {
	PRESSURE("cpu"), PRESSURE("io"), PRESSURE("memory"), {0}};
static const struct pseudo_node tty_nodes[] = {
	DIR("driver", none),
	FIXED("drivers", 0444,
	      "/dev/tty             /dev/tty        5       0 system:/dev/tty\n"
	      "/dev/console         /dev/console    5       1 system:console\n"
	      "/dev/ptmx            /dev/ptmx       5       2 system\n"
	      "pty_slave            /dev/pts      136 0-1048575 pty:slave\n"
	      "pty_master           /dev/ptm      128 0-1048575 pty:master\n"),
	DIR("ldisc", none),
	FIXED("ldiscs", 0444, "n_tty       0\n"),
	{0},
};

const struct pseudo_node proc_machine_nodes[] = {
	TEXT("buddyinfo", 0444, show_buddyinfo),
	DIR("bus", bus_nodes),
	FIXED("consoles", 0444, ""),
	FIXED("crypto", 0444, ""),
	FIXED("dma", 0444, ""),
	DIR("driver", none),
	FIXED("execdomains", 0444, "0-0\tLinux           \t[kernel]\n"),
	DIR("fs", none),
	FIXED("iomem", 0444, ""),
	FIXED("ioports", 0444, ""),
	DIR("irq", irq_nodes),
	FIXED("kallsyms", 0444, ""),
	FIXED("key-users", 0444, ""),
	FIXED("keys", 0444, ""),
	FIXED("kmsg", 0400, ""),
	TEXT("pagetypeinfo", 0400, show_pagetypeinfo),
	DIR("pressure", pressure_nodes),
	FIXED("slabinfo", 0400,
	      "slabinfo - version: 2.1\n"
	      "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : "
	      "tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> "
	      "<sharedavail>\n"),
	TEXT("softirqs", 0444, show_softirqs),
	TEXT("timer_list", 0400, show_timer_list),
	DIR("tty", tty_nodes),
	FIXED("vmallocinfo", 0400, ""),
	TEXT("zoneinfo", 0444, show_zoneinfo),
	{0},
};
