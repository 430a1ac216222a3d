/* Credentials of a new program: set-id bits and capabilities (man 7 capabilities, "Transformation
 * of capabilities during execve()"). */
#include <endian.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <linux/xattr.h>
#include <string.h>

#include "sentry/kernel/exec/exec_internal.h"
#include "sentry/kernel/task/task_upcalls.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"

static void apply_set_id_bits(struct exec *e, struct cred *c)
{
	struct inode *inode = e->file->inode;
	uint32_t mode = inode->mode;

	if (e->task->no_new_privs || !mnt_may_suid(e->file->path.mnt, c))
		return;
	/* Both, or the program would run as somebody without a name. */
	if (!uid_has_name(c->user_ns, inode->uid) || !gid_has_name(c->user_ns, inode->gid))
		return;
	if (mode & S_ISUID)
		c->euid = inode->uid;
	/* Set-group-ID without group execution is for mandatory locking. */
	if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
		c->egid = inode->gid;
}

/* What the file grants (man 7 capabilities, "File capabilities"). */
struct file_caps {
	uint64_t permitted, inheritable;
	bool effective;
	bool present;
};

/* `raw` is n bytes of security.capability. -EINVAL: not as Linux writes it. */
static int parse_file_caps(const struct cred *c, const struct vfs_ns_cap_data *raw, ssize_t n,
			   struct file_caps *f)
{
	uint32_t magic = le32toh(raw->magic_etc), revision = magic & VFS_CAP_REVISION_MASK;
	uid_t root = 0;
	int words;

	if (revision == VFS_CAP_REVISION_1 && n == XATTR_CAPS_SZ_1)
		words = VFS_CAP_U32_1;
	else if (revision == VFS_CAP_REVISION_2 && n == XATTR_CAPS_SZ_2)
		words = VFS_CAP_U32_2;
	else if (revision == VFS_CAP_REVISION_3 && n == XATTR_CAPS_SZ_3)
		words = VFS_CAP_U32_3;
	else
		return -EINVAL;
	if (revision == VFS_CAP_REVISION_3)
		root = le32toh(raw->rootid);
	/* Those of another user namespace's root mean nothing here. */
	if (!user_ns_has_root(c->user_ns, root))
		return 0;
	for (int i = 0; i < words; i++) {
		f->permitted |= (uint64_t)le32toh(raw->data[i].permitted) << (32 * i);
		f->inheritable |= (uint64_t)le32toh(raw->data[i].inheritable) << (32 * i);
	}
	f->permitted &= CAP_FULL_MASK;
	f->inheritable &= CAP_FULL_MASK;
	f->effective = magic & VFS_CAP_FLAGS_EFFECTIVE;
	f->present = true;
	return 0;
}

static int read_file_caps(const struct file *file, const struct cred *c, struct file_caps *f)
{
	struct inode *inode = file->inode;
	struct vfs_ns_cap_data raw = {0};
	ssize_t n;

	memset(f, 0, sizeof(*f));
	if (!mnt_may_suid(file->path.mnt, c) || !inode->ops || !inode->ops->getxattr)
		return 0;
	n = inode->ops->getxattr(inode, XATTR_NAME_CAPS, &raw, sizeof(raw));
	if (n == -ENODATA || n == -EOPNOTSUPP)
		return 0;
	if (n < 0)
		return n == -ERANGE ? -EINVAL : (int)n;
	return parse_file_caps(c, &raw, n, f);
}

/* -EPERM: a program that knows nothing of capabilities would run with less than its file says. */
static int transform_caps(struct cred *c, const struct cred *old, struct file_caps *f,
			  bool id_changed, bool no_new_privs)
{
	uid_t root = id_to_kernel(c->user_ns, ID_USER, 0);
	bool is_root = root != INVALID_ID && (c->uid == root || c->euid == root);

	c->cap_permitted = (old->cap_inheritable & f->inheritable) | (f->permitted & old->cap_bset);
	if (f->effective && (f->permitted & ~c->cap_permitted))
		return -EPERM;
	/* Set-user-ID root with capabilities of its own: the file means just those. */
	if (!(c->securebits & SECBIT_NOROOT) && is_root && !(f->present && c->uid != root)) {
		c->cap_permitted = old->cap_inheritable | old->cap_bset;
		f->effective = f->effective || c->euid == root;
	}
	if (no_new_privs)
		c->cap_permitted &= old->cap_permitted;
	if (id_changed || f->present)
		c->cap_ambient = 0;
	c->cap_permitted |= c->cap_ambient;
	c->cap_effective = f->effective ? c->cap_permitted : c->cap_ambient;
	return 0;
}

int exec_prepare_cred(struct exec *e)
{
	const struct cred *old = e->task->cred;
	struct cred *c = cred_dup(old);
	struct file_caps caps;
	bool set_id;
	int err;

	if (!c)
		return -ENOMEM;
	if (trace_bears_set_id(e->task))
		apply_set_id_bits(e, c);
	set_id = c->euid != old->uid || c->egid != old->gid;
	c->suid = c->fsuid = c->euid;
	c->sgid = c->fsgid = c->egid;
	err = read_file_caps(e->file, c, &caps);
	if (!err)
		err = transform_caps(c, old, &caps,
				     set_id && (c->euid != old->euid || c->egid != old->egid),
				     e->task->no_new_privs);
	if (err) {
		cred_put(c);
		return err;
	}
	/* Who traces it has what it has. */
	if (!trace_bears_set_id(e->task)) {
		c->cap_permitted &= old->cap_permitted;
		c->cap_effective &= c->cap_permitted;
	}
	c->securebits &= ~SECBIT_KEEP_CAPS;
	e->secure = set_id || (c->uid != id_to_kernel(c->user_ns, ID_USER, 0) &&
			       (caps.effective || (c->cap_permitted & ~c->cap_ambient)));
	e->cred = c;
	return 0;
}
