/*
 * Memory policies (man 2 set_mempolicy, mbind, get_mempolicy) of a machine with one node: whatever
 * the policy, memory comes from node 0. A task's policy is kept and shown; of mbind() no more stays
 * than the check of its arguments.
 */
#include <errno.h>
#include <limits.h>
#include <linux/mempolicy.h>
#include <string.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/task/task.h"
#include "sentry/mm/mm.h"
#include "sentry/uaccess/uaccess.h"

#define NODES 1UL /* the mask of all nodes */
#define MODE_FLAGS (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES)
#define MODE_MAX 6 /* MPOL_WEIGHTED_INTERLEAVE */
#define MASK_BYTES_MAX PAGE_SIZE

/* A node mask of maxnode - 1 bits. Bits of nodes that do not exist make it invalid. */
static int get_nodes(uaddr_t umask, unsigned long maxnode, unsigned long *nodes)
{
	unsigned long words, word;

	*nodes = 0;
	if (!umask || maxnode <= 1)
		return 0;
	if (--maxnode > MASK_BYTES_MAX * 8)
		return -EINVAL;
	words = (maxnode + 63) / 64;
	for (unsigned long i = 0; i < words; i++) {
		if (get_user(&word, umask + i * sizeof(word)))
			return -EFAULT;
		if (i == words - 1 && maxnode % 64)
			word &= (1UL << maxnode % 64) - 1;
		if (i == 0)
			*nodes = word;
		else if (word)
			return -EINVAL;
	}
	return 0;
}

static int put_nodes(uaddr_t umask, unsigned long maxnode, unsigned long nodes)
{
	unsigned long bytes = (maxnode + 63) / 64 * sizeof(nodes);

	if (maxnode < 1 || bytes > MASK_BYTES_MAX)
		return -EINVAL;
	if (put_user(umask, nodes))
		return -EFAULT;
	return clear_user(umask + sizeof(nodes), bytes - sizeof(nodes));
}

/* Checks a policy; *nodes becomes the nodes of it that exist. */
static int check_policy(int mode, unsigned long *nodes)
{
	int flags = mode & MODE_FLAGS;

	mode &= ~MODE_FLAGS;
	if (mode < 0 || mode > MODE_MAX || flags == MODE_FLAGS)
		return -EINVAL;
	if (mode == MPOL_DEFAULT || mode == MPOL_LOCAL)
		return *nodes || flags ? -EINVAL : 0;
	if (mode == MPOL_PREFERRED && !*nodes)
		return flags ? -EINVAL : 0;
	if (!(*nodes & NODES))
		return -EINVAL;
	*nodes &= NODES;
	return 0;
}

SYSCALL_DEFINE3(set_mempolicy, int, mode, uaddr_t, umask, unsigned long, maxnode)
{
	unsigned long nodes;
	int ret = get_nodes(umask, maxnode, &nodes);

	if (!ret)
		ret = check_policy(mode, &nodes);
	if (ret)
		return ret;
	t->mempolicy = mode;
	t->mempolicy_nodes = nodes;
	return 0;
}

static bool is_mapped(struct mm *mm, uint64_t start, uint64_t end)
{
	COMMAND_GUARD(&mm->lock);
	return vma_range_mapped(mm, start, end);
}

SYSCALL_DEFINE6(mbind, uint64_t, addr, uint64_t, len, int, mode, uaddr_t, umask, unsigned long,
		maxnode, unsigned, flags)
{
	unsigned long nodes;
	uint64_t end;
	int ret;

	if (flags & ~(unsigned)MPOL_MF_VALID)
		return -EINVAL;
	if ((flags & MPOL_MF_MOVE_ALL) && !capable(CAP_SYS_NICE))
		return -EPERM;
	if (addr & ~PAGE_MASK)
		return -EINVAL;
	ret = get_nodes(umask, maxnode, &nodes);
	if (!ret)
		ret = check_policy(mode, &nodes);
	if (ret)
		return ret;
	if (__builtin_add_overflow(addr, ROUND_UP(len, PAGE_SIZE), &end))
		return -EINVAL;
	return end == addr || is_mapped(t->mm, addr, end) ? 0 : -EFAULT;
}

SYSCALL_DEFINE5(get_mempolicy, uaddr_t, umode, uaddr_t, umask, unsigned long, maxnode, uint64_t,
		addr, unsigned long, flags)
{
	unsigned long nodes = t->mempolicy_nodes;
	int mode = t->mempolicy;

	if (flags & ~(unsigned long)(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED))
		return -EINVAL;
	if (umask && maxnode < 1)
		return -EINVAL;
	if (flags & MPOL_F_MEMS_ALLOWED) {
		if (flags & (MPOL_F_NODE | MPOL_F_ADDR))
			return -EINVAL;
		mode = 0;
		nodes = NODES;
	} else if (flags & MPOL_F_ADDR) {
		if (!is_mapped(t->mm, addr & PAGE_MASK, (addr & PAGE_MASK) + PAGE_SIZE))
			return -EFAULT;
	} else if (addr) {
		return -EINVAL;
	} else if ((flags & MPOL_F_NODE) && (mode & ~MODE_FLAGS) != MPOL_INTERLEAVE) {
		return -EINVAL;
	}
	if (flags & MPOL_F_NODE)
		mode = 0; /* the number of the only node */
	if (umode && put_user(umode, mode))
		return -EFAULT;
	return umask ? put_nodes(umask, maxnode, nodes) : 0;
}

/* man 2 migrate_pages: all pages are on the one node already, so none is left where it was. */
SYSCALL_DEFINE4(migrate_pages, int, pid, unsigned long, maxnode, uaddr_t, uold, uaddr_t, unew)
{
	unsigned long from, to;
	struct task *target;
	int ret = get_nodes(uold, maxnode, &from);

	if (!ret)
		ret = get_nodes(unew, maxnode, &to);
	if (ret)
		return ret;
	target = pid ? task_find(pid) : task_get(t);
	if (!target)
		return -ESRCH;
	ret = ptrace_may_access(target, false) ? -EPERM : 0;
	task_put(target);
	if (ret)
		return ret;
	if (to & ~NODES)
		return capable(CAP_SYS_NICE) ? -EINVAL : -EPERM;
	return to ? 0 : -EINVAL;
}
