/* Credentials of a new program: set-id bits and capabilities (man 7 capabilities, "Transformation
 * of capabilities during execve()"). */
#include <errno.h>
#include <linux/securebits.h>

#include "sentry/kernel/exec.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"

static void apply_set_id_bits(struct exec *e, struct cred *c)
{
	struct inode *inode = e->file->inode;
	uint32_t mode = inode->mode;

	if (e->task->no_new_privs || (e->file->path.mnt->flags & MS_NOSUID))
		return;
	if (mode & S_ISUID)
		c->euid = inode->uid;
	/* Set-group-ID without group execution is for mandatory locking. */
	if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
		c->egid = inode->gid;
}

static void transform_caps(struct cred *c, const struct cred *old, bool set_id)
{
	uint64_t file_permitted = 0, file_inheritable = 0;
	bool file_effective = false;

	if (!(c->securebits & SECBIT_NOROOT) && (c->uid == 0 || c->euid == 0)) {
		file_permitted = file_inheritable = ~0ULL;
		file_effective = c->euid == 0;
	}
	if (set_id)
		c->cap_ambient = 0;
	c->cap_permitted = (old->cap_inheritable & file_inheritable) |
			   (file_permitted & old->cap_bset) | c->cap_ambient;
	c->cap_effective = file_effective ? c->cap_permitted : c->cap_ambient;
}

int exec_prepare_cred(struct exec *e)
{
	const struct cred *old = e->task->cred;
	struct cred *c = cred_dup(old);
	bool set_id;

	if (!c)
		return -ENOMEM;
	apply_set_id_bits(e, c);
	set_id = c->euid != old->uid || c->egid != old->gid;
	c->suid = c->fsuid = c->euid;
	c->sgid = c->fsgid = c->egid;
	transform_caps(c, old, set_id && (c->euid != old->euid || c->egid != old->egid));
	c->securebits &= ~SECBIT_KEEP_CAPS;
	e->secure = set_id || (c->uid != 0 && (c->cap_effective & ~c->cap_ambient));
	e->cred = c;
	return 0;
}
