/* The file system type and the root directory of proc. */
#include "sentry/fs/proc/proc_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sentry/fs/fs.h"
#include "sentry/kernel/task/lifecycle.h"

/* Readdir positions of processes, behind those of the static names. */
#define FIRST_PID_POS 256
#define FIRST_MACHINE_POS 128

/* The loader mounts proc before there is a process: it is that of the container, whoever in it
 * looks first. */
static struct pid_ns *container_pid_ns(void)
{
	struct pid_ns *ns = current ? task_pid_ns(current) : kernel.root_pid_ns;

	while (ns->parent && ns->parent != kernel.root_pid_ns)
		ns = ns->parent;
	return ns;
}

struct pid_ns *proc_ns(struct super_block *sb)
{
	struct proc_sb *p = sb->private;
	struct pid_ns *ns = atomic_load(&p->ns), *none = NULL;

	if (ns)
		return ns;
	ns = container_pid_ns();
	pid_ns_get(ns);
	if (!atomic_compare_exchange_strong(&p->ns, &none, ns)) {
		pid_ns_put(ns);
		return none;
	}
	return ns;
}

struct task *proc_task_get(const struct inode *inode)
{
	struct pid *pid = pseudo(inode)->pid;
	struct task *t;

	READ_GUARD(&kernel.tasklist_lock);
	t = pid->task;
	return t ? task_get(t) : NULL;
}

static int link_self(struct inode *inode, char **target, struct path *jump)
{
	struct pid_ns *ns = proc_ns(inode->sb);
	pid_t tgid = current ? group_nr_ns(current->group, ns) : 0;

	if (!tgid)
		return -ENOENT;
	return asprintf(target, "%d", tgid) < 0 ? -ENOMEM : 0;
}

static int link_thread_self(struct inode *inode, char **target, struct path *jump)
{
	struct pid_ns *ns = proc_ns(inode->sb);
	pid_t tgid = current ? group_nr_ns(current->group, ns) : 0;

	if (!tgid)
		return -ENOENT;
	return asprintf(target, "%d/task/%d", tgid, pid_nr_ns(current->pid, ns)) < 0 ? -ENOMEM : 0;
}

static const struct pseudo_node top_nodes[] = {
	{.name = "self", .mode = S_IFLNK | 0777, .get_link = link_self},
	{.name = "thread-self", .mode = S_IFLNK | 0777, .get_link = link_thread_self},
	{.name = "mounts", .mode = S_IFLNK | 0777, .content = "self/mounts"},
	{.name = "net", .mode = S_IFLNK | 0777, .content = "self/net"},
	{.name = "sys", .mode = S_IFDIR | 0555, .children = proc_sys_nodes},
	{.name = "sysvipc", .mode = S_IFDIR | 0555, .children = proc_sysvipc_nodes},
	{0},
};
#define NUM_TOP (ARRAY_SIZE(top_nodes) - 1)

static int root_lookup(struct inode *dir, struct dentry *dentry)
{
	int err;

	if (dentry->name[0] >= '0' && dentry->name[0] <= '9')
		return proc_pid_lookup(dir, dentry);
	err = pseudo_lookup_in(top_nodes, dir, dentry);
	if (!err && !dentry->inode)
		err = pseudo_lookup_in(proc_system_nodes, dir, dentry);
	if (!err && !dentry->inode)
		err = pseudo_lookup_in(proc_machine_nodes, dir, dentry);
	return err ? err : pseudo_absent(dir, dentry);
}

static int root_iterate(struct file *file, struct dir_context *ctx)
{
	if (!dir_emit_dots(file, ctx))
		return 0;
	if (ctx->pos < FIRST_PID_POS) {
		if (!pseudo_emit(top_nodes, file->inode, ctx, 2) ||
		    !pseudo_emit(proc_system_nodes, file->inode, ctx, 2 + (int64_t)NUM_TOP) ||
		    !pseudo_emit(proc_machine_nodes, file->inode, ctx, FIRST_MACHINE_POS))
			return 0;
		ctx->pos = FIRST_PID_POS;
	}
	proc_pid_emit(file->inode, ctx, FIRST_PID_POS);
	return 0;
}

/* One link for each process, and its own. */
static int root_getattr(struct inode *inode, struct kstat *stat, uint32_t mask, unsigned flags)
{
	struct pid_ns *ns = proc_ns(inode->sb);
	struct thread_group *g;

	generic_fillattr(inode, stat);
	READ_GUARD(&kernel.tasklist_lock);
	TAILQ_FOREACH (g, &kernel.groups, all_link)
		stat->nlink += group_nr_ns(g, ns) != 0;
	return 0;
}

static const struct inode_operations root_iops = {
	.lookup = root_lookup,
	.getattr = root_getattr,
};
static const struct file_operations root_fops = {.iterate = root_iterate};
static const struct pseudo_node root_node = {
	.name = "/", .mode = S_IFDIR | 0555, .iops = &root_iops, .fops = &root_fops};

/* --- the super block
 * ------------------------------------------------------------------------------ */

static void proc_put_super(struct super_block *sb)
{
	struct proc_sb *p = sb->private;

	if (p && p->ns)
		pid_ns_put(p->ns);
	free(p);
}

static void proc_show_options(struct super_block *sb, char *buf, size_t size)
{
	static const char *const hide[] = {"", "noaccess", "invisible", "", "ptraceable"};
	struct proc_sb *p = sb->private;
	size_t n = 0;

	*buf = 0;
	if (p->gid)
		n = (size_t)snprintf(buf, size, ",gid=%u", p->gid);
	if (p->hidepid && n < size)
		snprintf(buf + n, size - n, ",hidepid=%s", hide[p->hidepid]);
}

static int parse_hidepid(const char *s)
{
	static const char *const names[] = {"off", "noaccess", "invisible", "", "ptraceable"};

	for (int i = 0; i < (int)ARRAY_SIZE(names); i++)
		if (i != 3 && (!strcmp(s, names[i]) || (s[0] == '0' + i && !s[1])))
			return i;
	return -EINVAL;
}

static int parse_options(struct proc_sb *p, const char *data)
{
	char *__free copy = strdup(data ? data : ""), *rest = copy, *opt;

	if (!copy)
		return -ENOMEM;
	while ((opt = strsep(&rest, ","))) {
		if (!strncmp(opt, "hidepid=", 8)) {
			p->hidepid = parse_hidepid(opt + 8);
			if (p->hidepid < 0)
				return -EINVAL;
		} else if (!strncmp(opt, "gid=", 4)) {
			p->gid = make_kgid((gid_t)strtoul(opt + 4, NULL, 10));
			if (p->gid == INVALID_ID)
				return -EINVAL;
		} else if (*opt && strncmp(opt, "subset=", 7)) {
			return -EINVAL;
		}
	}
	return 0;
}

static int proc_remount(struct super_block *sb, unsigned long flags, const char *options)
{
	struct proc_sb new = {.hidepid = 0};
	struct proc_sb *p = sb->private;
	int err = parse_options(&new, options);

	if (err)
		return err;
	if (options && *options) {
		p->hidepid = new.hidepid;
		p->gid = new.gid;
	}
	return 0;
}

static const struct super_operations proc_sops = {
	.evict_inode = pseudo_evict,
	.statfs = pseudo_statfs,
	.put_super = proc_put_super,
	.remount = proc_remount,
	.show_options = proc_show_options,
};
static const struct dentry_operations proc_dops = {.revalidate = proc_pid_revalidate};

static int proc_get_super(const struct fs_type *type, unsigned long flags, const char *source,
			  const char *data, void *arg, struct super_block **out)
{
	struct proc_sb *p = calloc(1, sizeof(*p));
	int err = p ? parse_options(p, data) : -ENOMEM;

	if (!err)
		err = pseudo_sb_create(type, &proc_sops, &root_node, PROC_MAGIC, out);
	if (err) {
		free(p);
		return err;
	}
	(*out)->private = p;
	(*out)->d_ops = &proc_dops;
	if (current)
		p->ns = pid_ns_get(task_pid_ns(current));
	return 0;
}

static struct user_ns *proc_owner(void)
{
	return task_pid_ns(current)->user_ns;
}

static const struct fs_type proc_type = {
	.name = "proc",
	.nodev = true,
	.guest_mount = true,
	.userns_mount = true,
	.owner = proc_owner,
	.revealing = true,
	.get_super = proc_get_super,
};

void proc_init(void)
{
	fs_register(&proc_type);
}
