/* /proc/PID and /proc/PID/task/TID. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sentry/fs/proc/proc_internal.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/mm/mm.h"

#define HIDE_NO_ACCESS 1
#define HIDE_INVISIBLE 2
#define HIDE_NOT_PTRACEABLE 4

/* --- who may see what
 * ------------------------------------------------------------------------------ */

int proc_ptrace_may_open(struct inode *inode)
{
	struct task *__put_task t = proc_task_get(inode);

	if (!t)
		return -ESRCH;
	return ptrace_may_access(t, true) ? -EACCES : 0;
}

static bool same_process(const struct inode *inode)
{
	struct task *__put_task t = proc_task_get(inode);

	return t && current && t->group == current->group;
}

void proc_set_owner(struct inode *inode, struct task *t)
{
	struct cred *cred = task_cred_get(t);
	struct mm *mm = task_mm_get(t);
	bool dumpable = !mm || mm->dumpable == 1;
	uint32_t mode = inode->mode;
	uid_t uid = mm ? id_to_kernel(mm->user_ns, ID_USER, 0) : 0;
	gid_t gid = mm ? id_to_kernel(mm->user_ns, ID_GROUP, 0) : 0;

	if (mm)
		mm_put(mm);
	/* The directory itself always shows whose process it is. */
	if (mode == (S_IFDIR | 0555))
		dumpable = true;
	inode->uid = dumpable && cred ? cred->euid : uid == INVALID_ID ? 0 : uid;
	inode->gid = dumpable && cred ? cred->egid : gid == INVALID_ID ? 0 : gid;
	if (cred)
		cred_put(cred);
}

/* hidepid: may the caller know of (invisible) or use (no access) the process? */
static bool hidden(struct super_block *sb, struct task *t, int level)
{
	struct proc_sb *p = sb->private;

	if (p->hidepid < level || !current)
		return false;
	if (p->hidepid != HIDE_NOT_PTRACEABLE && p->gid && cred_in_group(current->cred, p->gid))
		return false;
	return ptrace_may_access(t, true) != 0;
}

static int pid_permission(struct inode *inode, int mask)
{
	struct task *__put_task t = proc_task_get(inode);

	if (!t)
		return -ESRCH;
	if (hidden(inode->sb, t, HIDE_NO_ACCESS))
		return ((struct proc_sb *)inode->sb->private)->hidepid == HIDE_NO_ACCESS ? -EPERM
											 : -ENOENT;
	return generic_permission(inode, mask);
}

/* fd and fdinfo: for those who may trace the process, and for itself. */
int proc_private_permission(struct inode *inode, int mask)
{
	if (same_process(inode))
		return 0;
	return proc_ptrace_may_open(inode) ? -EACCES : generic_permission(inode, mask);
}

static int pid_lookup_child(struct inode *dir, struct dentry *dentry)
{
	int err = pseudo_lookup_in(pseudo(dir)->node->children, dir, dentry);

	if (!err && dentry->inode) {
		struct task *__put_task t = proc_task_get(dir);

		if (!t)
			return -ESRCH;
		proc_set_owner(dentry->inode, t);
	}
	return err ? err : pseudo_absent(dir, dentry);
}

static const struct inode_operations pid_iops = {
	.lookup = pid_lookup_child,
	.permission = pid_permission,
};

/* Names of processes stay good as long as the process is there; so do those of its files. */
bool proc_pid_revalidate(struct dentry *dentry)
{
	struct inode *inode = dentry->inode;
	struct task *t;

	if (!inode || !pseudo(inode)->pid)
		return inode != NULL;
	t = proc_task_get(inode);
	if (!t)
		return false;
	proc_set_owner(inode, t);
	task_put(t);
	/* Descriptors and mappings come and go under the same name. */
	return dentry->parent->inode == NULL ||
	       (dentry->parent->inode->ops != &proc_fd_iops &&
		dentry->parent->inode->ops != &proc_fdinfo_iops &&
		dentry->parent->inode->ops != &proc_map_files_iops);
}

/* --- the tree
 * --------------------------------------------------------------------------------------- */

#define DIR(NAME, MODE, CHILDREN)                                                                  \
	{                                                                                          \
		.name = (NAME), .mode = S_IFDIR | (MODE), .children = (CHILDREN)                   \
	}
#define TEXT(NAME, MODE, SHOW)                                                                     \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | (MODE), .show = (SHOW)                           \
	}
#define PRIVATE_TEXT(NAME, MODE, SHOW)                                                             \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | (MODE), .show = (SHOW),                          \
		.may_open = proc_ptrace_may_open                                                   \
	}
#define FIXED(NAME, MODE, CONTENT)                                                                 \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | (MODE), .content = (CONTENT)                     \
	}
/* For its owner to write, on Linux; here nobody may. */
#define SEALED(NAME, CONTENT)                                                                      \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0644, .content = (CONTENT),                      \
		.write = proc_write_refused                                                        \
	}
#define ID_MAP(NAME, KIND)                                                                         \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0644, .fops = &proc_id_map_fops, .arg = (KIND)   \
	}
#define LINK(NAME, GET_LINK)                                                                       \
	{                                                                                          \
		.name = (NAME), .mode = S_IFLNK | 0777, .get_link = (GET_LINK)                     \
	}
#define OWN_DIR(NAME, MODE, IOPS, FOPS)                                                            \
	{                                                                                          \
		.name = (NAME), .mode = S_IFDIR | (MODE), .iops = (IOPS), .fops = (FOPS)           \
	}

/* Nothing has been asked for the next execve. */
static int show_no_label(struct text *t, struct inode *inode)
{
	return 0;
}

static int show_label(struct text *t, struct inode *inode)
{
	struct task *__put_task task = proc_task_get(inode);
	struct cred *cred;
	int err = 0;

	if (!task)
		return -ESRCH;
	cred = task_cred_get(task);
	if (cred->label)
		text_printf(t, "%s\n", cred->label->text);
	else
		err = -EINVAL; /* what Linux says when no security module has a label */
	cred_put(cred);
	return err;
}

static const struct pseudo_node attr_nodes[] = {
	TEXT("current", 0444, show_label),
	TEXT("exec", 0444, show_no_label),
	TEXT("prev", 0444, show_label),
	{0},
};

#define THREAD_NODES                                                                               \
	OWN_DIR("fd", 0500, &proc_fd_iops, &proc_fd_fops),                                         \
		OWN_DIR("fdinfo", 0555, &proc_fdinfo_iops, &proc_fdinfo_fops),                     \
		{.name = "ns",                                                                     \
		 .mode = S_IFDIR | 0511,                                                           \
		 .children = proc_ns_nodes,                                                        \
		 .iops = &ns_dir_iops},                                                            \
		DIR("net", 0555, proc_net_nodes), DIR("attr", 0555, attr_nodes),                   \
		PRIVATE_TEXT("environ", 0400, proc_show_environ),                                  \
		PRIVATE_TEXT("auxv", 0400, proc_show_auxv),                                        \
		TEXT("status", 0444, proc_show_status),                                            \
		PRIVATE_TEXT("personality", 0400, proc_show_personality),                          \
		TEXT("limits", 0444, proc_show_limits), TEXT("sched", 0644, proc_show_sched),      \
		{.name = "comm",                                                                   \
		 .mode = S_IFREG | 0644,                                                           \
		 .show = proc_show_comm,                                                           \
		 .write = proc_write_comm},                                                        \
		TEXT("cmdline", 0444, proc_show_cmdline), TEXT("stat", 0444, proc_show_stat),      \
		TEXT("statm", 0444, proc_show_statm), PRIVATE_TEXT("maps", 0444, proc_show_maps),  \
		{.name = "mem", .mode = S_IFREG | 0600, .fops = &proc_mem_fops},                   \
		LINK("cwd", proc_link_cwd), LINK("root", proc_link_root),                          \
		LINK("exe", proc_link_exe),                                                        \
		{.name = "mounts", .mode = S_IFREG | 0444, .fops = &proc_mounts_fops, .arg = 0},   \
		{.name = "mountinfo",                                                              \
		 .mode = S_IFREG | 0444,                                                           \
		 .fops = &proc_mounts_fops,                                                        \
		 .arg = 1},                                                                        \
		PRIVATE_TEXT("smaps", 0444, proc_show_smaps),                                      \
		PRIVATE_TEXT("smaps_rollup", 0444, proc_show_smaps_rollup),                        \
		FIXED("wchan", 0444, "0"), TEXT("schedstat", 0444, proc_show_schedstat),           \
		FIXED("cpuset", 0444, "/\n"), FIXED("cgroup", 0444, "0::/\n"),                     \
		FIXED("oom_score", 0444, "0\n"),                                                   \
		{.name = "oom_adj",                                                                \
		 .mode = S_IFREG | 0644,                                                           \
		 .show = proc_show_oom,                                                            \
		 .write = proc_write_oom,                                                          \
		 .arg = 1},                                                                        \
		{.name = "oom_score_adj",                                                          \
		 .mode = S_IFREG | 0644,                                                           \
		 .show = proc_show_oom,                                                            \
		 .write = proc_write_oom},                                                         \
		SEALED("loginuid", "4294967295"), FIXED("sessionid", 0444, "4294967295"),          \
		PRIVATE_TEXT("io", 0400, proc_show_io), ID_MAP("uid_map", ID_USER),                \
		ID_MAP("gid_map", ID_GROUP), ID_MAP("projid_map", ID_PROJECT),                     \
		{.name = "setgroups", .mode = S_IFREG | 0644, .fops = &proc_setgroups_fops},       \
		DIR("attr", 0555, proc_attr_nodes),                                                \
		{.name = "clear_refs", .mode = S_IFREG | 0200, .write = proc_write_clear_refs},    \
		PRIVATE_TEXT("stack", 0400, proc_show_stack),                                      \
		PRIVATE_TEXT("syscall", 0400, proc_show_syscall)

static const struct inode_operations private_dir_iops = {
	.lookup = pid_lookup_child,
	.permission = proc_private_permission,
};
#define ns_dir_iops private_dir_iops

const struct pseudo_node proc_tid_nodes[] = {
	THREAD_NODES,
	TEXT("children", 0444, proc_show_children),
	{0},
};

const struct pseudo_node proc_pid_nodes[] = {
	OWN_DIR("task", 0555, &proc_task_iops, &proc_task_fops),
	THREAD_NODES,
	{.name = "mountstats", .mode = S_IFREG | 0400, .fops = &proc_mounts_fops, .arg = 2},
	{.name = "coredump_filter",
	 .mode = S_IFREG | 0644,
	 .show = proc_show_coredump_filter,
	 .write = proc_write_coredump_filter},
	OWN_DIR("map_files", 0500, &proc_map_files_iops, &proc_map_files_fops),
	{.name = "timens_offsets",
	 .mode = S_IFREG | 0644,
	 .show = proc_show_timens_offsets,
	 .write = proc_write_timens_offsets},
	{.name = "timers", .mode = S_IFREG | 0444, .content = "", .may_open = proc_ptrace_may_open},
	{.name = "timerslack_ns",
	 .mode = S_IFREG | 0666,
	 .show = proc_show_timerslack,
	 .write = proc_write_timerslack},
	{0},
};

static int pid_iterate(struct file *file, struct dir_context *ctx)
{
	return pseudo_dir_fops.iterate(file, ctx);
}

static struct pid *pid_of_dir(const struct file *file)
{
	return pseudo(file->inode)->pid;
}

static const struct file_operations pid_dir_fops = {
	.iterate = pid_iterate,
	.process = pid_of_dir,
};

static const struct pseudo_node pid_dir_node = {.name = "PID",
						.mode = S_IFDIR | 0555,
						.children = proc_pid_nodes,
						.iops = &pid_iops,
						.fops = &pid_dir_fops};
static const struct pseudo_node tid_dir_node = {.name = "TID",
						.mode = S_IFDIR | 0555,
						.children = proc_tid_nodes,
						.iops = &pid_iops,
						.fops = &pseudo_dir_fops};

/* --- /proc
 * ------------------------------------------------------------------------------------------ */

static pid_t parse_pid(const char *name)
{
	pid_t nr = 0;

	if (*name == '0')
		return 0;
	for (; *name; name++) {
		if (*name < '0' || *name > '9' || nr > GUEST_PID_MAX)
			return 0;
		nr = nr * 10 + (*name - '0');
	}
	return nr;
}

static int instantiate(struct inode *dir, struct dentry *dentry, const struct pseudo_node *node,
		       struct task *t, struct pid *pid, int64_t number)
{
	struct inode *inode =
		pseudo_inode_new(dir->sb, node, pid, number, pseudo_ino(dir->ino, dentry->name));

	if (!inode)
		return -ENOMEM;
	proc_set_owner(inode, t);
	d_instantiate(dentry, inode);
	return 0;
}

/* Any thread's number finds it here, though only leaders are listed; as on Linux. */
int proc_pid_lookup(struct inode *root, struct dentry *dentry)
{
	pid_t nr = parse_pid(dentry->name);
	struct pid *pid = nr ? pid_find(proc_ns(root->sb), nr) : NULL;
	struct task *t = NULL;
	int err = 0;

	if (!pid)
		return 0;
	read_lock(&kernel.tasklist_lock);
	if (pid->task)
		t = task_get(pid->task);
	read_unlock(&kernel.tasklist_lock);
	if (t && !hidden(root->sb, t, HIDE_INVISIBLE))
		err = instantiate(root, dentry, &pid_dir_node, t, pid, PROC_PROCESS);
	if (t)
		task_put(t);
	pid_put(pid);
	return err;
}

static bool group_hidden(struct super_block *sb, struct thread_group *g)
{
	struct task *t = NULL;
	bool hide;

	if (((struct proc_sb *)sb->private)->hidepid < HIDE_INVISIBLE)
		return false;
	read_lock(&kernel.tasklist_lock);
	if (g->leader)
		t = task_get(g->leader);
	read_unlock(&kernel.tasklist_lock);
	if (!t)
		return true;
	hide = hidden(sb, t, HIDE_INVISIBLE);
	task_put(t);
	return hide;
}

bool proc_pid_emit(struct inode *root, struct dir_context *ctx, int64_t base)
{
	struct pid_ns *ns = proc_ns(root->sb);

	for (;;) {
		pid_t nr = (pid_t)(ctx->pos - base);
		struct thread_group *g = group_next(ns, &nr);
		char name[16];
		bool full = false;

		if (!g)
			return true;
		snprintf(name, sizeof(name), "%d", nr);
		ctx->pos = base + nr;
		if (!group_hidden(root->sb, g))
			full = !ctx->actor(ctx, name, strlen(name), base + nr + 1,
					   pseudo_ino(root->ino, name), DT_DIR);
		group_put(g);
		if (full)
			return false;
		ctx->pos = base + nr + 1;
	}
}

/* --- /proc/PID/task
 * --------------------------------------------------------------------------------- */

static int task_lookup(struct inode *dir, struct dentry *dentry)
{
	pid_t nr = parse_pid(dentry->name);
	struct pid *pid = nr ? pid_find(proc_ns(dir->sb), nr) : NULL;
	struct task *__put_task leader = proc_task_get(dir);
	struct task *t = NULL;
	int err = 0;

	if (!pid)
		return 0;
	read_lock(&kernel.tasklist_lock);
	if (leader && pid->task && pid->task->group == leader->group)
		t = task_get(pid->task);
	read_unlock(&kernel.tasklist_lock);
	if (t) {
		err = instantiate(dir, dentry, &tid_dir_node, t, pid, PROC_THREAD);
		task_put(t);
	}
	pid_put(pid);
	return err;
}

/* The thread with the lowest number >= nr; 0: none. */
static pid_t next_thread(struct thread_group *g, struct pid_ns *ns, pid_t nr)
{
	pid_t best = 0;
	struct task *t;

	READ_GUARD(&kernel.tasklist_lock);
	for_each_thread (g, t) {
		pid_t n = pid_nr_ns(t->pid, ns);

		if (n >= nr && (!best || n < best))
			best = n;
	}
	return best;
}

static int task_iterate(struct file *file, struct dir_context *ctx)
{
	struct task *__put_task t = proc_task_get(file->inode);
	struct pid_ns *ns = proc_ns(file->inode->sb);
	pid_t nr;

	if (!t)
		return -ENOENT;
	if (!dir_emit_dots(file, ctx))
		return 0;
	while ((nr = next_thread(t->group, ns, (pid_t)(ctx->pos - 2)))) {
		char name[16];

		snprintf(name, sizeof(name), "%d", nr);
		if (!ctx->actor(ctx, name, strlen(name), nr + 3, pseudo_ino(file->inode->ino, name),
				DT_DIR))
			return 0;
		ctx->pos = nr + 3;
	}
	return 0;
}

/* Programs count their threads by it. */
static int task_getattr(struct inode *inode, struct kstat *stat, uint32_t mask, unsigned flags)
{
	struct task *__put_task t = proc_task_get(inode);

	generic_fillattr(inode, stat);
	if (t) {
		READ_GUARD(&kernel.tasklist_lock);
		stat->nlink += (uint32_t)t->group->num_threads;
	}
	return 0;
}

const struct inode_operations proc_task_iops = {
	.lookup = task_lookup,
	.getattr = task_getattr,
};
const struct file_operations proc_task_fops = {.iterate = task_iterate};
