/* What the files of fs/proc share. */
#ifndef MOAT_SENTRY_FS_PROC_PROC_INTERNAL_H
#define MOAT_SENTRY_FS_PROC_PROC_INTERNAL_H

#include "sentry/fs/proc/proc.h"
#include "sentry/fs/pseudo/pseudo.h"
#include "sentry/kernel/task/task.h"
#include "sentry/mm/mm.h"

#define PROC_MAGIC 0x9fa0
#define USER_HZ 100

/* sb->private */
struct proc_sb {
	_Atomic(struct pid_ns *) ns; /* whose numbers it shows; counted, set at first use */
	int hidepid;
	gid_t gid;
};

/* The pid namespace whose processes the file system shows. */
struct pid_ns *proc_ns(struct super_block *sb);

/* pseudo_inode.number of everything under /proc/PID (0) and /proc/PID/task/TID (1), and of
 * fd entries (PROC_FD_BASE + fd, of either: the files are found through the inode's pid). */
#define PROC_PROCESS 0
#define PROC_THREAD 1
static inline bool proc_is_thread(const struct inode *inode)
{
	return pseudo(inode)->number == PROC_THREAD;
}

/* The task of an inode under /proc/PID: reference, or NULL when it is gone (-ESRCH). */
struct task *proc_task_get(const struct inode *inode);
static inline void task_put_ptr(struct task **t)
{
	if (*t)
		task_put(*t);
}
#define __put_task __cleanup(task_put_ptr)

/* Reference, NULL when the process has none (a zombie). -ESRCH in *err when it is gone. */
struct mm *proc_mm_get(struct inode *inode, int *err);
static inline void put_mm_ptr(struct mm **mm)
{
	if (*mm)
		mm_put(*mm);
}
#define __put_mm __cleanup(put_mm_ptr)

/* may_open of files that show a process's innards: ptrace access to it. */
int proc_ptrace_may_open(struct inode *inode);
/* The same as inode_operations.permission of a directory; the process itself may. */
int proc_private_permission(struct inode *inode, int mask);

/* Inodes under /proc/PID belong to the process's user if it is dumpable, to root otherwise. */
void proc_set_owner(struct inode *inode, struct task *t);

/* The nodes of the parts */
extern const struct pseudo_node proc_pid_nodes[], proc_tid_nodes[];
extern const struct pseudo_node proc_system_nodes[];
extern const struct pseudo_node proc_machine_nodes[];
extern const struct pseudo_node proc_attr_nodes[];
extern const struct pseudo_node proc_sys_nodes[];
extern const struct pseudo_node proc_net_nodes[];
extern const struct pseudo_node proc_sysvipc_nodes[];
extern const struct pseudo_node proc_ns_nodes[];
extern const struct inode_operations proc_fd_iops, proc_fdinfo_iops, proc_task_iops;
extern const struct file_operations proc_fd_fops, proc_fdinfo_fops, proc_task_fops;
extern const struct inode_operations proc_map_files_iops;
extern const struct file_operations proc_map_files_fops;
extern const struct file_operations proc_id_map_fops, proc_setgroups_fops;
extern const struct file_operations proc_mem_fops, proc_mounts_fops;

int proc_pid_lookup(struct inode *root, struct dentry *dentry);
/* Emits the processes; positions are base + number. False when full. */
bool proc_pid_emit(struct inode *root, struct dir_context *ctx, int64_t base);
bool proc_pid_revalidate(struct dentry *dentry);

/* show functions: see proc_pid_nodes */
int proc_show_stat(struct text *t, struct inode *inode);
int proc_show_statm(struct text *t, struct inode *inode);
int proc_show_status(struct text *t, struct inode *inode);
int proc_show_maps(struct text *t, struct inode *inode);
int proc_show_smaps(struct text *t, struct inode *inode);
int proc_show_smaps_rollup(struct text *t, struct inode *inode);
/* A mapping's line in maps and smaps; mm->lock held. */
void proc_show_vma(struct text *t, const struct vm_area *vma);
int proc_show_auxv(struct text *t, struct inode *inode);
int proc_show_cmdline(struct text *t, struct inode *inode);
int proc_show_environ(struct text *t, struct inode *inode);
int proc_show_comm(struct text *t, struct inode *inode);
ssize_t proc_write_comm(struct inode *inode, char *s, size_t n);
int proc_show_limits(struct text *t, struct inode *inode);
int proc_show_io(struct text *t, struct inode *inode);
int proc_show_sched(struct text *t, struct inode *inode);
int proc_show_schedstat(struct text *t, struct inode *inode);
int proc_show_oom(struct text *t, struct inode *inode);
ssize_t proc_write_oom(struct inode *inode, char *s, size_t n);
int proc_show_personality(struct text *t, struct inode *inode);
int proc_show_timerslack(struct text *t, struct inode *inode);
ssize_t proc_write_timerslack(struct inode *inode, char *s, size_t n);
int proc_show_coredump_filter(struct text *t, struct inode *inode);
ssize_t proc_write_coredump_filter(struct inode *inode, char *s, size_t n);
ssize_t proc_write_clear_refs(struct inode *inode, char *s, size_t n);
int proc_show_stack(struct text *t, struct inode *inode);
int proc_show_syscall(struct text *t, struct inode *inode);
int proc_show_timens_offsets(struct text *t, struct inode *inode);
ssize_t proc_write_timens_offsets(struct inode *inode, char *s, size_t n);
/* -EPERM. */
ssize_t proc_write_refused(struct inode *inode, char *s, size_t n);
int proc_show_children(struct text *t, struct inode *inode);
int proc_show_locks(struct text *t, struct inode *inode);
/* The locks that the description or the fd table holds on file's inode; inode is one of /proc. */
void proc_show_file_locks(struct text *t, struct inode *inode, struct file *file,
			  struct files *files);
int proc_show_cpuinfo(struct text *t, struct inode *inode);
int proc_link_cwd(struct inode *inode, char **target, struct path *jump);
int proc_link_root(struct inode *inode, char **target, struct path *jump);
int proc_link_exe(struct inode *inode, char **target, struct path *jump);

#endif
