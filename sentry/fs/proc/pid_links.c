/* cwd, root, exe, and the namespaces. */
#include <errno.h>
#include <linux/sched.h>

#include "sentry/fs/nsfs/nsfs.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/mm/mm.h"

/* Reading these links takes ptrace access to the process. */
static int task_for_link(struct inode *inode, struct task **out)
{
	struct task *t = proc_task_get(inode);

	if (!t)
		return -ENOENT;
	if (ptrace_may_access(t, true)) {
		task_put(t);
		return -EACCES;
	}
	*out = t;
	return 0;
}

static int fs_link(struct inode *inode, struct path *jump, void (*get)(struct fs *, struct path *))
{
	struct task *__put_task t = NULL;
	struct fs *fs;
	int err = task_for_link(inode, &t);

	if (err)
		return err;
	fs = task_fs_get(t);
	if (!fs)
		return -ENOENT;
	get(fs, jump);
	fs_put(fs);
	return 0;
}

int proc_link_cwd(struct inode *inode, char **target, struct path *jump)
{
	return fs_link(inode, jump, fs_get_cwd);
}

int proc_link_root(struct inode *inode, char **target, struct path *jump)
{
	return fs_link(inode, jump, fs_get_root);
}

int proc_link_exe(struct inode *inode, char **target, struct path *jump)
{
	struct task *__put_task t = NULL;
	struct mm *mm;
	int err = task_for_link(inode, &t);

	if (err)
		return err;
	mm = task_mm_get(t);
	if (!mm)
		return -ENOENT;
	command_lock(&mm->lock);
	if (mm->exe) {
		*jump = mm->exe->path;
		path_get(jump);
	} else {
		err = -ENOENT;
	}
	mutex_unlock(&mm->lock);
	mm_put(mm);
	return err;
}

/* --- ns
 * -------------------------------------------------------------------------------------------------
 */

#define FOR_CHILDREN 1UL /* in node->arg, besides CLONE_NEW* */

static int ns_get_link(struct inode *inode, char **target, struct path *jump)
{
	unsigned long arg = pseudo(inode)->node->arg;
	struct task *__put_task t = NULL;
	int err = task_for_link(inode, &t);

	return err ? err : nsfs_path(t, (unsigned)(arg & ~FOR_CHILDREN), arg & FOR_CHILDREN, jump);
}

#define NS(NAME, KIND)                                                                             \
	{                                                                                          \
		.name = (NAME), .mode = S_IFLNK | 0777, .get_link = ns_get_link, .arg = (KIND)     \
	}
const struct pseudo_node proc_ns_nodes[] = {
	NS("cgroup", CLONE_NEWCGROUP),
	NS("ipc", CLONE_NEWIPC),
	NS("mnt", CLONE_NEWNS),
	NS("net", CLONE_NEWNET),
	NS("pid", CLONE_NEWPID),
	NS("pid_for_children", CLONE_NEWPID | FOR_CHILDREN),
	NS("time", CLONE_NEWTIME),
	NS("time_for_children", CLONE_NEWTIME),
	NS("user", CLONE_NEWUSER),
	NS("uts", CLONE_NEWUTS),
	{0},
};
