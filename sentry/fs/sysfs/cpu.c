/* CPUs: one package of machine.num_cpus cores, with the caches that cpuid tells of. */
#include <cpuid.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sentry/fs/sysfs/sysfs_internal.h"
#include "sentry/kernel/core/machine.h"

#define MAX_CACHES 8

/* --- lists and masks
 * ------------------------------------------------------------------------------------- */

int sysfs_show_cpu_list(struct text *out, struct inode *inode)
{
	if (machine.num_cpus == 1)
		text_puts(out, "0\n");
	else
		text_printf(out, "0-%d\n", machine.num_cpus - 1);
	return 0;
}

static void mask_text(struct text *out, int first, int last)
{
	for (int word = (machine.num_cpus - 1) / 32; word >= 0; word--) {
		uint32_t bits = 0;

		for (int i = 0; i < 32; i++)
			if (word * 32 + i >= first && word * 32 + i <= last)
				bits |= 1u << i;
		text_printf(out, word == (machine.num_cpus - 1) / 32 ? "%x" : ",%08x", bits);
	}
	text_puts(out, "\n");
}

int sysfs_show_cpu_mask(struct text *out, struct inode *inode)
{
	mask_text(out, 0, machine.num_cpus - 1);
	return 0;
}

static int cpu_of(const struct inode *inode)
{
	return (int)(pseudo(inode)->number & 0xffff);
}

static int show_own_id(struct text *out, struct inode *inode)
{
	text_printf(out, "%d\n", cpu_of(inode));
	return 0;
}

static int show_own_mask(struct text *out, struct inode *inode)
{
	mask_text(out, cpu_of(inode), cpu_of(inode));
	return 0;
}

/* --- caches
 * -------------------------------------------------------------------------------------------------
 */

struct cache {
	unsigned type, level, line, ways, sets, sharers;
};

/* cpuid leaf 4, or AMD's 0x8000001d: the index-th cache. False: there is none. */
static bool cache_read(unsigned index, struct cache *c)
{
	static const uint32_t leaves[] = {4, 0x8000001d};

	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
		uint32_t a, b, ecx, d;

		if (!__get_cpuid_count(leaves[i], index, &a, &b, &ecx, &d) || !(a & 31))
			continue;
		*c = (struct cache){
			.type = a & 31,
			.level = (a >> 5) & 7,
			.sharers = ((a >> 14) & 0xfff) + 1,
			.line = (b & 0xfff) + 1,
			.ways = (b >> 22) + 1,
			.sets = ecx + 1,
		};
		c->ways *= ((b >> 12) & 0x3ff) + 1;
		return true;
	}
	return false;
}

enum cache_field {
	CACHE_LEVEL,
	CACHE_TYPE,
	CACHE_SIZE,
	CACHE_LINE,
	CACHE_WAYS,
	CACHE_SETS,
	CACHE_LIST,
	CACHE_MAP
};

/* inode number: cpu | cache index << 16 */
static int show_cache(struct text *out, struct inode *inode)
{
	static const char *const types[] = {"", "Data", "Instruction", "Unified"};
	struct cache c;
	int cpu = cpu_of(inode), last = machine.num_cpus - 1;
	bool shared;

	if (!cache_read((unsigned)(pseudo(inode)->number >> 16), &c))
		return -EIO;
	/* Cores are not hyperthreads of each other here: only the last level is shared. */
	shared = c.level >= 3 && c.sharers > 1;
	switch ((enum cache_field)pseudo(inode)->node->arg) {
	case CACHE_LEVEL:
		text_printf(out, "%u\n", c.level);
		break;
	case CACHE_TYPE:
		text_printf(out, "%s\n", types[MIN(c.type, 3u)]);
		break;
	case CACHE_SIZE:
		text_printf(out, "%luK\n", (uint64_t)c.line * c.ways * c.sets / 1024);
		break;
	case CACHE_LINE:
		text_printf(out, "%u\n", c.line);
		break;
	case CACHE_WAYS:
		text_printf(out, "%u\n", c.ways);
		break;
	case CACHE_SETS:
		text_printf(out, "%u\n", c.sets);
		break;
	case CACHE_LIST:
		if (shared)
			return sysfs_show_cpu_list(out, inode);
		text_printf(out, "%d\n", cpu);
		break;
	case CACHE_MAP:
		mask_text(out, shared ? 0 : cpu, shared ? last : cpu);
		break;
	}
	return 0;
}

#define CACHE(NAME, FIELD)                                                                         \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0444, .show = show_cache, .arg = (FIELD)         \
	}
static const struct pseudo_node cache_nodes[] = {
	CACHE("level", CACHE_LEVEL),
	CACHE("type", CACHE_TYPE),
	CACHE("size", CACHE_SIZE),
	CACHE("coherency_line_size", CACHE_LINE),
	CACHE("ways_of_associativity", CACHE_WAYS),
	CACHE("number_of_sets", CACHE_SETS),
	CACHE("shared_cpu_list", CACHE_LIST),
	CACHE("shared_cpu_map", CACHE_MAP),
	{0},
};
static const struct pseudo_node cache_node = {
	.name = "index", .mode = S_IFDIR | 0755, .children = cache_nodes};

/* --- directories whose names have a number at the end
 * ----------------------------------------------------- */

/* "prefix" and a decimal number below limit: the number, or -1. */
static int numbered(const char *name, const char *prefix, int limit)
{
	size_t len = strlen(prefix);
	int n = 0;

	if (strncmp(name, prefix, len) || !name[len] || (name[len] == '0' && name[len + 1]))
		return -1;
	for (name += len; *name; name++) {
		if (*name < '0' || *name > '9' || n > limit)
			return -1;
		n = n * 10 + (*name - '0');
	}
	return n < limit ? n : -1;
}

static int numbered_lookup(struct inode *dir, struct dentry *dentry, const struct pseudo_node *node,
			   int64_t number)
{
	struct inode *inode =
		pseudo_inode_new(dir->sb, node, NULL, number, pseudo_ino(dir->ino, dentry->name));

	if (!inode)
		return -ENOMEM;
	d_instantiate(dentry, inode);
	return 0;
}

static bool numbered_emit(struct inode *dir, struct dir_context *ctx, const char *prefix, int count,
			  int64_t base)
{
	while (ctx->pos - base < count) {
		char name[32];

		snprintf(name, sizeof(name), "%s%d", prefix, (int)(ctx->pos - base));
		if (!ctx->actor(ctx, name, strlen(name), ctx->pos + 1, pseudo_ino(dir->ino, name),
				DT_DIR))
			return false;
		ctx->pos++;
	}
	return true;
}

static int caches_lookup(struct inode *dir, struct dentry *dentry)
{
	int n = numbered(dentry->name, "index", MAX_CACHES);
	struct cache c;

	if (n < 0 || !cache_read((unsigned)n, &c))
		return 0;
	return numbered_lookup(dir, dentry, &cache_node, cpu_of(dir) | (int64_t)n << 16);
}

static int caches_iterate(struct file *file, struct dir_context *ctx)
{
	struct cache c;
	int count = 0;

	while (count < MAX_CACHES && cache_read((unsigned)count, &c))
		count++;
	if (dir_emit_dots(file, ctx))
		numbered_emit(file->inode, ctx, "index", count, 2);
	return 0;
}

static const struct inode_operations caches_iops = {.lookup = caches_lookup};
static const struct file_operations caches_fops = {.iterate = caches_iterate};

#define TEXT(NAME, SHOW)                                                                           \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0444, .show = (SHOW)                             \
	}
#define FIXED(NAME, CONTENT)                                                                       \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0444, .content = (CONTENT)                       \
	}
static const struct pseudo_node topology_nodes[] = {
	TEXT("core_id", show_own_id),
	FIXED("physical_package_id", "0\n"),
	FIXED("die_id", "0\n"),
	TEXT("thread_siblings", show_own_mask),
	TEXT("thread_siblings_list", show_own_id),
	TEXT("core_cpus", show_own_mask),
	TEXT("core_cpus_list", show_own_id),
	TEXT("core_siblings", sysfs_show_cpu_mask),
	TEXT("core_siblings_list", sysfs_show_cpu_list),
	TEXT("package_cpus", sysfs_show_cpu_mask),
	TEXT("package_cpus_list", sysfs_show_cpu_list),
	{0},
};
static const struct pseudo_node cpu_nodes[] = {
	{.name = "topology", .mode = S_IFDIR | 0755, .children = topology_nodes},
	{.name = "cache", .mode = S_IFDIR | 0755, .iops = &caches_iops, .fops = &caches_fops},
	{0},
};
static const struct pseudo_node cpu_node = {
	.name = "cpu", .mode = S_IFDIR | 0755, .children = cpu_nodes};

static const struct pseudo_node cpus_nodes[] = {
	TEXT("online", sysfs_show_cpu_list),
	TEXT("possible", sysfs_show_cpu_list),
	TEXT("present", sysfs_show_cpu_list),
	FIXED("offline", "\n"),
	FIXED("isolated", "\n"),
	FIXED("kernel_max", "8191\n"),
	{0},
};

static int cpus_lookup(struct inode *dir, struct dentry *dentry)
{
	int n = numbered(dentry->name, "cpu", machine.num_cpus);

	if (n >= 0)
		return numbered_lookup(dir, dentry, &cpu_node, n);
	return pseudo_lookup_in(cpus_nodes, dir, dentry);
}

static int cpus_iterate(struct file *file, struct dir_context *ctx)
{
	if (dir_emit_dots(file, ctx) && pseudo_emit(cpus_nodes, file->inode, ctx, 2))
		numbered_emit(file->inode, ctx, "cpu", machine.num_cpus,
			      1 + (int64_t)ARRAY_SIZE(cpus_nodes));
	return 0;
}

const struct inode_operations sysfs_cpus_iops = {.lookup = cpus_lookup};
const struct file_operations sysfs_cpus_fops = {.iterate = cpus_iterate};
