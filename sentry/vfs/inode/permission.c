/* Who may do what to an inode (man 7 path_resolution, credentials, capabilities). */
#include "sentry/kernel/core/current.h"
#include "sentry/vfs/vfs.h"

static __thread const struct cred *cred_override;

static const struct cred kernel_cred = {
	.cap_permitted = CAP_FULL_MASK,
	.cap_effective = CAP_FULL_MASK,
	.cap_bset = CAP_FULL_MASK,
	.user_ns = &root_user_ns,
};

const struct cred *vfs_cred(void)
{
	if (cred_override)
		return cred_override;
	return current ? current_cred() : &kernel_cred;
}

const struct cred *vfs_override_cred(const struct cred *cred)
{
	const struct cred *old = cred_override;

	cred_override = cred;
	return old;
}

bool vfs_capable(int cap)
{
	return cred_ns_capable(vfs_cred(), &root_user_ns, cap);
}

bool vfs_ns_capable(const struct user_ns *ns, int cap)
{
	return cred_ns_capable(vfs_cred(), ns, cap);
}

bool inode_capable(const struct inode *inode, int cap)
{
	const struct cred *c = vfs_cred();

	return cred_capable(c, cap) && uid_has_name(c->user_ns, inode->uid) &&
	       gid_has_name(c->user_ns, inode->gid);
}

bool inode_owner_or_capable(const struct inode *inode)
{
	const struct cred *c = vfs_cred();

	return c->fsuid == inode->uid ||
	       (cred_capable(c, CAP_FOWNER) && uid_has_name(c->user_ns, inode->uid));
}

int generic_permission(struct inode *inode, int mask)
{
	const struct cred *cred = vfs_cred();
	uint32_t mode = atomic_load_explicit(&inode->mode, memory_order_relaxed);
	uint32_t bits = mode;

	mask &= MAY_READ | MAY_WRITE | MAY_EXEC;
	if (cred->fsuid == inode->uid)
		bits >>= 6;
	else if ((mode & 0070) != (mode & 0007) << 3 && cred_in_group(cred, inode->gid))
		bits >>= 3;
	if (!(mask & ~bits))
		return 0;
	if (S_ISDIR(mode)) {
		if (!(mask & MAY_WRITE) && inode_capable(inode, CAP_DAC_READ_SEARCH))
			return 0;
		return inode_capable(inode, CAP_DAC_OVERRIDE) ? 0 : -EACCES;
	}
	if (mask == MAY_READ && inode_capable(inode, CAP_DAC_READ_SEARCH))
		return 0;
	/* Even root executes only what somebody may execute. */
	if ((!(mask & MAY_EXEC) || (mode & 0111)) && inode_capable(inode, CAP_DAC_OVERRIDE))
		return 0;
	return -EACCES;
}

int inode_permission(struct inode *inode, int mask)
{
	if ((mask & MAY_WRITE) && (inode->flags & S_IMMUTABLE_FL))
		return -EPERM;
	if (inode->ops && inode->ops->permission)
		return inode->ops->permission(inode, mask);
	return generic_permission(inode, mask);
}
