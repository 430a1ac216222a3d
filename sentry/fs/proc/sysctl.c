/* /proc/sys: the knobs that programs read, and the few that a guest may turn. */
#include <errno.h>
#include <sys/epoll.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "sentry/fs/aio/aio.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/fs/proc/sysctl_internal.h"
#include "sentry/kernel/coredump/coredump.h"
#include "sentry/kernel/ipc/ipc.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/kernel/run/version.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/vfs/lock/leases.h"

/* --- names
 * ---------------------------------------------------------------------------------------------------
 */

/* node->arg: 0 the host's name, 1 the domain's. */
static int show_uts(struct text *out, struct inode *inode)
{
	struct uts_ns *ns = current ? current->uts_ns : NULL;

	if (!ns)
		return -EINVAL;
	MUTEX_GUARD(&ns->lock);
	text_printf(out, "%s\n", pseudo(inode)->node->arg ? ns->domainname : ns->nodename);
	return 0;
}

static ssize_t write_uts(struct inode *inode, char *s, size_t n)
{
	struct uts_ns *ns = current ? current->uts_ns : NULL;
	char *to;

	if (!ns || !ns_capable(ns->user_ns, CAP_SYS_ADMIN))
		return -EPERM;
	s[strcspn(s, "\n")] = 0;
	MUTEX_GUARD(&ns->lock);
	to = pseudo(inode)->node->arg ? ns->domainname : ns->nodename;
	snprintf(to, UTS_NAME_LEN + 1, "%.64s", s);
	return (ssize_t)n;
}

/* --- random
 * ---------------------------------------------------------------------------------------------------
 */

static void text_uuid(struct text *out, const uint8_t b[16])
{
	text_printf(out, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x\n",
		    b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
		    b[13], b[14], b[15]);
}

static void random_uuid(uint8_t b[16])
{
	if (getrandom(b, 16, 0) != 16)
		memset(b, 0, 16);
	b[6] = (b[6] & 0x0f) | 0x40; /* version 4, variant 1: RFC 4122 */
	b[8] = (b[8] & 0x3f) | 0x80;
}

/* node->arg: 0 a fresh one at each read, 1 the sandbox's. */
static int show_uuid(struct text *out, struct inode *inode)
{
	static struct mutex lock = MUTEX_INIT;
	static uint8_t boot_id[16];
	static bool made;
	uint8_t id[16];

	random_uuid(id);
	mutex_lock(&lock);
	if (pseudo(inode)->node->arg) {
		if (!made)
			memcpy(boot_id, id, 16);
		made = true;
		memcpy(id, boot_id, 16);
	}
	mutex_unlock(&lock);
	text_uuid(out, id);
	return 0;
}

/* --- numbers
 * ----------------------------------------------------------------------------------------------------
 */

static int show_threads_max(struct text *out, struct inode *inode)
{
	text_printf(out, "%d\n", GUEST_PID_MAX * 2);
	return 0;
}

static int show_pid_max(struct text *out, struct inode *inode)
{
	text_printf(out, "%d\n", GUEST_PID_MAX);
	return 0;
}

static int show_file_max(struct text *out, struct inode *inode)
{
	text_puts(out, "9223372036854775807\n");
	return 0;
}

static int show_ns_last_pid(struct text *out, struct inode *inode)
{
	text_printf(out, "%d\n", proc_ns(inode->sb)->last);
	return 0;
}

static int show_aio_max_nr(struct text *out, struct inode *inode)
{
	text_printf(out, "%u\n", AIO_MAX_NR);
	return 0;
}

static int show_aio_nr(struct text *out, struct inode *inode)
{
	text_printf(out, "%u\n", aio_nr());
	return 0;
}

static int show_core_pattern(struct text *out, struct inode *inode)
{
	char pattern[CORE_PATTERN_MAX + 1];

	core_pattern_get(pattern);
	text_printf(out, "%s\n", pattern);
	return 0;
}

static ssize_t write_core_pattern(struct inode *inode, char *s, size_t n)
{
	int err;

	s[strcspn(s, "\n")] = 0;
	err = core_pattern_set(s);
	return err ? err : (ssize_t)n;
}

static int show_core_uses_pid(struct text *out, struct inode *inode)
{
	text_printf(out, "%d\n", core_uses_pid_get());
	return 0;
}

static ssize_t write_core_uses_pid(struct inode *inode, char *s, size_t n)
{
	int64_t on;
	int err = pseudo_parse_int(s, INT_MIN, INT_MAX, &on);

	if (err)
		return err;
	core_uses_pid_set(on != 0);
	return (ssize_t)n;
}

/* node->arg: 0 leases-enable, 1 lease-break-time. */
static int show_lease_setting(struct text *out, struct inode *inode)
{
	text_printf(out, "%d\n", pseudo(inode)->node->arg ? lease_break_time : leases_enabled);
	return 0;
}

static ssize_t write_lease_setting(struct inode *inode, char *s, size_t n)
{
	bool time = pseudo(inode)->node->arg;
	int64_t value;
	int err = pseudo_parse_int(s, time ? INT_MIN : 0, time ? INT_MAX : 1, &value);

	if (err)
		return err;
	atomic_store(time ? &lease_break_time : &leases_enabled, (int)value);
	return (ssize_t)n;
}

/* The mode bits count for everybody: root may not write what nobody may. */
static int sysctl_permission(struct inode *inode, int mask)
{
	uint32_t bits = inode->mode;

	if (current && current->cred->fsuid == 0)
		bits >>= 6;
	else if (current && cred_in_group(current->cred, 0))
		bits >>= 3;
	return mask & ~bits & (MAY_READ | MAY_WRITE | MAY_EXEC) ? -EACCES : 0;
}

/* All of them can be polled, most in vain: they are always ready. */
static uint32_t sysctl_poll(struct file *file, struct poll_table *pt)
{
	return EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM;
}

static int64_t sysctl_llseek(struct file *file, int64_t offset, int whence)
{
	return generic_llseek(file, offset, whence, 0, INT64_MAX);
}

static int sysctl_open(struct inode *inode, struct file *file)
{
	return pseudo_text_fops.open(inode, file);
}

static void sysctl_release(struct file *file)
{
	pseudo_text_fops.release(file);
}

static ssize_t sysctl_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	return pseudo_text_fops.read(file, to, pos, rwf);
}

static ssize_t sysctl_write(struct file *file, struct iov_iter *from, int64_t *pos, int rwf)
{
	return pseudo_text_fops.write(file, from, pos, rwf);
}

const struct file_operations sysctl_fops = {
	.open = sysctl_open,
	.release = sysctl_release,
	.read = sysctl_read,
	.write = sysctl_write,
	.llseek = sysctl_llseek,
	.poll = sysctl_poll,
};

const struct inode_operations sysctl_iops = {
	.permission = sysctl_permission,
	.setattr = pseudo_setattr,
};

static const struct pseudo_node random_nodes[] = {
	{.name = "boot_id", .mode = S_IFREG | 0444, .show = show_uuid, .arg = 1},
	{.name = "uuid", .mode = S_IFREG | 0444, .show = show_uuid},
	FIXED("entropy_avail", "256\n"),
	FIXED("poolsize", "256\n"),
	FIXED("write_wakeup_threshold", "256\n"),
	FIXED("urandom_min_reseed_secs", "60\n"),
	{0},
};

static const struct pseudo_node seccomp_nodes[] = {
	FIXED("actions_avail", "kill_process kill_thread trap errno log allow\n"),
	FIXED("actions_logged", "\n"),
	{0},
};

static const struct pseudo_node kernel_nodes[] = {
	{.name = "hostname",
	 .mode = S_IFREG | 0644,
	 .show = show_uts,
	 .write = write_uts,
	 .fops = &sysctl_fops},
	{.name = "domainname",
	 .mode = S_IFREG | 0644,
	 .show = show_uts,
	 .write = write_uts,
	 .fops = &sysctl_fops,
	 .arg = 1},
	FIXED("osrelease", KERNEL_RELEASE "\n"),
	FIXED("ostype", KERNEL_SYSNAME "\n"),
	FIXED("version", KERNEL_VERSION "\n"),
	FIXED("arch", KERNEL_MACHINE "\n"),
	TEXT("pid_max", show_pid_max),
	TEXT("ns_last_pid", show_ns_last_pid),
	TEXT("threads-max", show_threads_max),
	FIXED("ngroups_max", "65536\n"),
	FIXED("cap_last_cap", "40\n"),
	FIXED("overflowuid", "65534\n"),
	FIXED("overflowgid", "65534\n"),
	IPC_SETTING("shmmax", IPC_SHMMAX, 1),
	IPC_SETTING("shmall", IPC_SHMALL, 1),
	IPC_SETTING("shmmni", IPC_SHMMNI, 1),
	FIXED("shm_rmid_forced", "0\n"),
	IPC_SETTING("msgmax", IPC_MSGMAX, 1),
	IPC_SETTING("msgmnb", IPC_MSGMNB, 1),
	IPC_SETTING("msgmni", IPC_MSGMNI, 1),
	IPC_SETTING("sem", IPC_SEMMSL, 4),
	SETTING("core_pattern", show_core_pattern, write_core_pattern),
	SETTING("core_uses_pid", show_core_uses_pid, write_core_uses_pid),
	FIXED("core_pipe_limit", "0\n"),
	FIXED("tainted", "0\n"),
	FIXED("printk", "4\t4\t1\t7\n"),
	FIXED("dmesg_restrict", "1\n"),
	FIXED("kptr_restrict", "1\n"),
	FIXED("perf_event_paranoid", "4\n"),
	FIXED("randomize_va_space", "2\n"),
	FIXED("panic", "0\n"),
	FIXED("panic_on_oops", "0\n"),
	FIXED("sched_child_runs_first", "0\n"),
	FIXED("sched_rt_period_us", "1000000\n"),
	FIXED("sched_rt_runtime_us", "950000\n"),
	FIXED("sched_autogroup_enabled", "0\n"),
	FIXED("unprivileged_bpf_disabled", "2\n"),
	FIXED("io_uring_disabled", "2\n"),
	FIXED("bootloader_type", "0\n"),
	DIR("random", random_nodes),
	DIR("seccomp", seccomp_nodes),
	{0},
};

static const struct pseudo_node vm_nodes[] = {
	FIXED("overcommit_memory", "0\n"),
	FIXED("overcommit_ratio", "50\n"),
	FIXED("overcommit_kbytes", "0\n"),
	FIXED("max_map_count", "65530\n"),
	FIXED("mmap_min_addr", "65536\n"),
	FIXED("swappiness", "60\n"),
	FIXED("dirty_ratio", "20\n"),
	FIXED("dirty_background_ratio", "10\n"),
	FIXED("min_free_kbytes", "67584\n"),
	FIXED("nr_hugepages", "0\n"),
	FIXED("nr_overcommit_hugepages", "0\n"),
	FIXED("oom_kill_allocating_task", "0\n"),
	FIXED("panic_on_oom", "0\n"),
	FIXED("page-cluster", "3\n"),
	FIXED("vfs_cache_pressure", "100\n"),
	FIXED("zone_reclaim_mode", "0\n"),
	FIXED("unprivileged_userfaultfd", "0\n"),
	{0},
};

static const struct pseudo_node inotify_nodes[] = {
	FIXED("max_user_watches", "65536\n"),
	FIXED("max_user_instances", "128\n"),
	FIXED("max_queued_events", "16384\n"),
	{0},
};
static const struct pseudo_node epoll_nodes[] = {FIXED("max_user_watches", "1000000\n"), {0}};
static const struct pseudo_node mqueue_nodes[] = {
	FIXED("msg_max", "10\n"),	    FIXED("msgsize_max", "8192\n"),
	FIXED("queues_max", "256\n"),	    FIXED("msg_default", "10\n"),
	FIXED("msgsize_default", "8192\n"), {0},
};
static const struct pseudo_node fs_nodes[] = {
	TEXT("file-max", show_file_max),
	FIXED("file-nr", "1024\t0\t9223372036854775807\n"),
	FIXED("nr_open", "1048576\n"),
	FIXED("inode-nr", "1024\t0\n"),
	FIXED("inode-state", "1024\t0\t0\t0\t0\t0\t0\n"),
	FIXED("dentry-state", "1024\t0\t45\t0\t0\t0\n"),
	FIXED("pipe-max-size", "1048576\n"),
	FIXED("pipe-user-pages-soft", "16384\n"),
	FIXED("pipe-user-pages-hard", "0\n"),
	TEXT("aio-max-nr", show_aio_max_nr),
	TEXT("aio-nr", show_aio_nr),
	{.name = "lease-break-time",
	 .mode = S_IFREG | 0644,
	 .show = show_lease_setting,
	 .write = write_lease_setting,
	 .iops = &sysctl_iops,
	 .fops = &sysctl_fops,
	 .arg = 1},
	SETTING("leases-enable", show_lease_setting, write_lease_setting),
	FIXED("mount-max", "100000\n"),
	FIXED("overflowuid", "65534\n"),
	FIXED("overflowgid", "65534\n"),
	FIXED("protected_hardlinks", "1\n"),
	FIXED("protected_symlinks", "1\n"),
	FIXED("protected_fifos", "0\n"),
	FIXED("protected_regular", "0\n"),
	FIXED("suid_dumpable", "0\n"),
	DIR("inotify", inotify_nodes),
	DIR("epoll", epoll_nodes),
	DIR("mqueue", mqueue_nodes),
	{0},
};

static const struct pseudo_node user_nodes[] = {
	FIXED("max_user_namespaces", "16384\n"),
	FIXED("max_pid_namespaces", "65536\n"),
	FIXED("max_mnt_namespaces", "65536\n"),
	FIXED("max_uts_namespaces", "65536\n"),
	FIXED("max_ipc_namespaces", "65536\n"),
	FIXED("max_net_namespaces", "65536\n"),
	{0},
};

const struct pseudo_node proc_sys_nodes[] = {
	DIR("kernel", kernel_nodes),  DIR("vm", vm_nodes),     DIR("fs", fs_nodes),
	DIR("net", sysctl_net_nodes), DIR("user", user_nodes), {0},
};
