/* cwd, root, exe, and the namespaces. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sentry/fs/proc/proc.h"
#include "sentry/kernel/namespaces.h"
#include "sentry/mm/mm.h"
#include "sentry/vfs/mount.h"

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

enum ns_kind {
	NS_CGROUP,
	NS_IPC,
	NS_MNT,
	NS_NET,
	NS_PID,
	NS_PID_CHILDREN,
	NS_TIME,
	NS_USER,
	NS_UTS
};

/* Linux's numbers of the initial namespaces, for the kinds of which there is only one. */
#define TIME_NS_INUM 0xeffffffaUL
#define CGROUP_NS_INUM 0xeffffffbUL
#define USER_NS_INUM 0xeffffffdUL

static unsigned long ns_number(struct task *t, enum ns_kind kind)
{
	MUTEX_GUARD(&t->group->lock);
	switch (kind) {
	case NS_IPC:
		return t->ipc_ns ? t->ipc_ns->inum : 0;
	case NS_MNT:
		return t->mnt_ns ? t->mnt_ns->inum : 0;
	case NS_NET:
		return t->net_ns ? t->net_ns->inum : 0;
	case NS_PID:
		return t->pid->ns->inum;
	case NS_PID_CHILDREN:
		return t->pid_ns_children ? t->pid_ns_children->inum : t->pid->ns->inum;
	case NS_UTS:
		return t->uts_ns ? t->uts_ns->inum : 0;
	case NS_TIME:
		return TIME_NS_INUM;
	case NS_CGROUP:
		return CGROUP_NS_INUM;
	case NS_USER:
	default:
		return USER_NS_INUM;
	}
}

static const struct file_operations ns_fops = {0};

/* Names a namespace; two tasks are in the same one if the numbers are the same. */
static int ns_get_link(struct inode *inode, char **target, struct path *jump)
{
	const struct pseudo_node *node = pseudo(inode)->node;
	struct task *__put_task t = NULL;
	unsigned long inum;
	struct file *f;
	char name[48];
	int err = task_for_link(inode, &t);

	if (err)
		return err;
	inum = ns_number(t, (enum ns_kind)node->arg);
	if (!inum)
		return -ENOENT;
	snprintf(name, sizeof(name), "%.*s:[%lu]", (int)strcspn(node->name, "_"), node->name, inum);
	err = anon_file_create(name, S_IFREG | 0444, &ns_fops, NULL, O_RDONLY, &f);
	if (err)
		return err;
	f->inode->ino = inum;
	*jump = f->path;
	path_get(jump);
	file_put(f);
	return 0;
}

#define NS(NAME, KIND)                                                                             \
	{                                                                                          \
		.name = (NAME), .mode = S_IFLNK | 0777, .get_link = ns_get_link, .arg = (KIND)     \
	}
const struct pseudo_node proc_ns_nodes[] = {
	NS("cgroup", NS_CGROUP),
	NS("ipc", NS_IPC),
	NS("mnt", NS_MNT),
	NS("net", NS_NET),
	NS("pid", NS_PID),
	NS("pid_for_children", NS_PID_CHILDREN),
	NS("time", NS_TIME),
	NS("time_for_children", NS_TIME),
	NS("user", NS_USER),
	NS("uts", NS_UTS),
	{0},
};
