/* The tree of sysfs and its file system type. */
#include "sentry/fs/sysfs/sysfs_internal.h"

#include "sentry/fs/fs.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/kernel/core/machine.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/kernel/task/task.h"

#define SYSFS_MAGIC 0x62656572

static int show_node_meminfo(struct text *out, struct inode *inode)
{
	uint64_t total = machine.total_memory >> 10, used = proc_memory_used(NULL) >> 10;

	used = MIN(used, total);
	text_printf(out,
		    "Node 0 MemTotal:       %8lu kB\nNode 0 MemFree:        %8lu kB\n"
		    "Node 0 MemUsed:        %8lu kB\n",
		    total, total - used, used);
	return 0;
}

#define DIR(NAME, CHILDREN)                                                                        \
	{                                                                                          \
		.name = (NAME), .mode = S_IFDIR | 0755, .children = (CHILDREN)                     \
	}
#define TEXT(NAME, SHOW)                                                                           \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0444, .show = (SHOW)                             \
	}
#define FIXED(NAME, CONTENT)                                                                       \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0444, .content = (CONTENT)                       \
	}

static const struct pseudo_node empty[] = {{0}};

static const struct pseudo_node node0_nodes[] = {
	TEXT("cpulist", sysfs_show_cpu_list),
	TEXT("cpumap", sysfs_show_cpu_mask),
	FIXED("distance", "10\n"),
	TEXT("meminfo", show_node_meminfo),
	{0},
};
static const struct pseudo_node node_nodes[] = {
	FIXED("online", "0\n"),
	FIXED("possible", "0\n"),
	FIXED("has_cpu", "0\n"),
	FIXED("has_memory", "0\n"),
	FIXED("has_normal_memory", "0\n"),
	DIR("node0", node0_nodes),
	{0},
};
static const struct pseudo_node system_nodes[] = {
	{.name = "cpu", .mode = S_IFDIR | 0755, .iops = &sysfs_cpus_iops, .fops = &sysfs_cpus_fops},
	DIR("node", node_nodes),
	{0},
};
static const struct pseudo_node virtual_nodes[] = {
	{.name = "net",
	 .mode = S_IFDIR | 0755,
	 .iops = &sysfs_virtual_net_iops,
	 .fops = &sysfs_net_fops},
	{0},
};
static const struct pseudo_node devices_nodes[] = {
	DIR("system", system_nodes),
	DIR("virtual", virtual_nodes),
	{0},
};
static const struct pseudo_node thp_nodes[] = {
	FIXED("enabled", "always [madvise] never\n"),
	FIXED("defrag", "always defer defer+madvise [madvise] never\n"),
	FIXED("hpage_pmd_size", "2097152\n"),
	FIXED("shmem_enabled", "always within_size advise [never] deny force\n"),
	{0},
};
static const struct pseudo_node mm_nodes[] = {
	DIR("transparent_hugepage", thp_nodes),
	DIR("hugepages", empty),
	{0},
};
static const struct pseudo_node kernel_nodes[] = {DIR("mm", mm_nodes), {0}};
static const struct pseudo_node fs_nodes[] = {DIR("cgroup", empty), {0}};
static const struct pseudo_node class_nodes[] = {
	{.name = "net",
	 .mode = S_IFDIR | 0755,
	 .iops = &sysfs_class_net_iops,
	 .fops = &sysfs_net_fops},
	DIR("block", empty),
	DIR("tty", empty),
	DIR("mem", empty),
	{0},
};
static const struct pseudo_node dev_nodes[] = {DIR("block", empty), DIR("char", empty), {0}};

static const struct pseudo_node top_nodes[] = {
	DIR("block", empty),
	DIR("bus", empty),
	DIR("class", class_nodes),
	DIR("dev", dev_nodes),
	DIR("devices", devices_nodes),
	DIR("firmware", empty),
	DIR("fs", fs_nodes),
	DIR("kernel", kernel_nodes),
	DIR("module", empty),
	DIR("power", empty),
	{0},
};
static const struct pseudo_node root_node = {
	.name = "/", .mode = S_IFDIR | 0555, .children = top_nodes};

static void sysfs_put_super(struct super_block *sb)
{
	if (sb->private)
		net_ns_put(sb->private);
}

static const struct super_operations sysfs_sops = {
	.evict_inode = pseudo_evict,
	.statfs = pseudo_statfs,
	.put_super = sysfs_put_super,
};
static const struct dentry_operations sysfs_dops = {.revalidate = sysfs_net_revalidate};

static int sysfs_get_super(const struct fs_type *type, unsigned long flags, const char *source,
			   const char *data, void *arg, struct super_block **out)
{
	int err = pseudo_sb_create(type, &sysfs_sops, &root_node, SYSFS_MAGIC, out);

	if (err)
		return err;
	(*out)->d_ops = &sysfs_dops;
	if (current && current->net_ns)
		(*out)->private = net_ns_get(current->net_ns);
	return 0;
}

static struct user_ns *sysfs_owner(void)
{
	return namespace_owner(CLONE_NEWNET, current->net_ns);
}

static const struct fs_type sysfs_type = {
	.name = "sysfs",
	.nodev = true,
	.guest_mount = true,
	.userns_mount = true,
	.owner = sysfs_owner,
	.revealing = true,
	.get_super = sysfs_get_super,
};

void sysfs_init(void)
{
	fs_register(&sysfs_type);
}
