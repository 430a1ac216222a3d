/* The small files of /proc/PID that set something, or that say that there is nothing to set. */
#include <errno.h>
#include <sys/syscall.h>

#include "sentry/arch/regs.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/mm/mm.h"

/* --- attr: what security modules keep of a process; there are none -----------------------------
 */

static int show_attr(struct text *out, struct inode *inode)
{
	return -EINVAL;
}

static ssize_t write_attr(struct inode *inode, char *s, size_t n)
{
	return -EINVAL;
}

#define ATTR(NAME)                                                                                 \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0666, .show = show_attr, .write = write_attr     \
	}
const struct pseudo_node proc_attr_nodes[] = {
	ATTR("current"),
	{.name = "prev", .mode = S_IFREG | 0444, .show = show_attr},
	ATTR("exec"),
	ATTR("fscreate"),
	ATTR("keycreate"),
	ATTR("sockcreate"),
	{0},
};

/* --- memory ------------------------------------------------------------------------------------
 */

int proc_show_coredump_filter(struct text *out, struct inode *inode)
{
	int err;
	struct mm *__put_mm mm = proc_mm_get(inode, &err);

	if (mm)
		text_printf(out, "%08x\n", atomic_load(&mm->coredump_filter));
	return err;
}

ssize_t proc_write_coredump_filter(struct inode *inode, char *s, size_t n)
{
	int64_t value;
	int err = pseudo_parse_int(s, 0, UINT32_MAX, &value);
	int gone;
	struct mm *__put_mm mm = proc_mm_get(inode, &gone);

	if (err)
		return err;
	if (!mm)
		return gone ? gone : (ssize_t)n;
	atomic_store(&mm->coredump_filter, (unsigned)value & COREDUMP_FILTER_BITS);
	return (ssize_t)n;
}

/* man 5 proc: which accessed bits are to be cleared. Those are the host's and not shown, so what is
 * cleared shows nowhere; 5 is about the peak of resident memory, which starts anew. */
ssize_t proc_write_clear_refs(struct inode *inode, char *s, size_t n)
{
	int64_t what;
	int err;
	struct mm *__put_mm mm = proc_mm_get(inode, &err);

	if (pseudo_parse_int(s, 1, 5, &what))
		return -EINVAL;
	if (err)
		return err;
	if (mm && what == 5)
		mm->hiwater_rss = 0;
	return (ssize_t)n;
}

/* --- what it is doing --------------------------------------------------------------------------
 */

/* Where in the kernel it is: ours has no addresses to show. */
int proc_show_stack(struct text *out, struct inode *inode)
{
	struct task *__put_task t = proc_task_get(inode);

	return t ? 0 : -ESRCH;
}

/* The call that a process is in. Only its own is known for sure while it is looked at. */
int proc_show_syscall(struct text *out, struct inode *inode)
{
	struct task *__put_task t = proc_task_get(inode);
	const struct guest_regs *r;

	if (!t)
		return -ESRCH;
	if (t != current || !t->ctx) {
		text_puts(out, "running\n");
		return 0;
	}
	r = platform_regs(t->ctx);
	text_printf(out, "%ld 0x%lx 0x%lx 0x%lx 0x%lx 0x%lx 0x%lx 0x%lx 0x%lx\n", (long)r->orig_rax,
		    r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9, r->rsp, r->rip);
	return 0;
}

/* --- namespaces that there is one of -----------------------------------------------------------
 */

ssize_t proc_write_refused(struct inode *inode, char *s, size_t n)
{
	return -EPERM;
}

int proc_show_timens_offsets(struct text *out, struct inode *inode)
{
	text_puts(out, "monotonic           0         0\nboottime            0         0\n");
	return 0;
}

/* The initial namespace's clocks are what they are. */
ssize_t proc_write_timens_offsets(struct inode *inode, char *s, size_t n)
{
	int64_t sec, nsec;
	char clock[10];

	if (sscanf(s, "%9s %ld %ld", clock, &sec, &nsec) != 3)
		return -EINVAL;
	return -EACCES;
}
