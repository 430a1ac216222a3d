/* User and group ids, supplementary groups (man 7 credentials). */
#include "sentry/syscalls/syscall.h"

#include <linux/securebits.h>
#include <string.h>

#include "sentry/kernel/cred_change.h"
#include "sentry/kernel/lifecycle.h"
#include "sentry/mm/mm.h"

#define NGROUPS_LIMIT 65536
#define FS_CAPS                                                                                    \
	(CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_MKNOD) | CAP_BIT(CAP_DAC_OVERRIDE) |                     \
	 CAP_BIT(CAP_DAC_READ_SEARCH) | CAP_BIT(CAP_FOWNER) | CAP_BIT(CAP_FSETID) |                \
	 CAP_BIT(CAP_LINUX_IMMUTABLE) | CAP_BIT(CAP_MAC_OVERRIDE))

SYSCALL_DEFINE0(getuid)
{
	return t->cred->uid;
}

SYSCALL_DEFINE0(geteuid)
{
	return t->cred->euid;
}

SYSCALL_DEFINE0(getgid)
{
	return t->cred->gid;
}

SYSCALL_DEFINE0(getegid)
{
	return t->cred->egid;
}

void task_set_cred(struct task *t, struct cred *fresh)
{
	struct cred *old = t->cred;
	struct ucount *u;

	if (fresh->uid != old->uid) {
		u = ucount_get(fresh->uid);
		if (u) {
			uint64_t limit = t->group->rlim[RLIMIT_NPROC].rlim_cur;

			/* Counted in any case; execve fails when it is too many (man 2 setuid). */
			t->nproc_exceeded = ucount_tasks(u) >= limit && fresh->uid != 0;
			ucount_charge_task(u, UINT64_MAX);
			task_account(t, u);
		}
	}
	if (fresh->euid != old->euid || fresh->egid != old->egid || fresh->fsuid != old->fsuid ||
	    fresh->fsgid != old->fsgid || (fresh->cap_permitted & ~old->cap_permitted)) {
		if (t->mm)
			t->mm->dumpable = 0;
		t->pdeath_signal = 0;
	}
	mutex_lock(&t->cred_lock);
	t->cred = fresh;
	mutex_unlock(&t->cred_lock);
	task_update_identity(t);
	cred_put(old);
}

/* man 7 capabilities, "Effect of user ID changes on capabilities". */
static void fix_caps(struct cred *c, const struct cred *old)
{
	bool had_root = old->uid == 0 || old->euid == 0 || old->suid == 0;
	bool has_root = c->uid == 0 || c->euid == 0 || c->suid == 0;

	if (c->securebits & SECBIT_NO_SETUID_FIXUP)
		return;
	if (had_root && !has_root) {
		if (!(c->securebits & SECBIT_KEEP_CAPS))
			c->cap_permitted = c->cap_effective = 0;
		c->cap_ambient = 0;
	}
	if (old->euid == 0 && c->euid != 0)
		c->cap_effective = 0;
	if (old->euid != 0 && c->euid == 0)
		c->cap_effective = c->cap_permitted;
}

static long commit_uids(struct task *t, struct cred *c)
{
	c->fsuid = c->euid;
	fix_caps(c, t->cred);
	task_set_cred(t, c);
	return 0;
}

#define NO_ID ((uid_t)-1)

SYSCALL_DEFINE1(setuid, uid_t, uid)
{
	const struct cred *old = t->cred;
	struct cred *c;

	if (uid == NO_ID)
		return -EINVAL;
	if (!capable(CAP_SETUID) && uid != old->uid && uid != old->suid)
		return -EPERM;
	c = cred_dup(old);
	if (!c)
		return -ENOMEM;
	if (capable(CAP_SETUID))
		c->uid = c->suid = uid;
	c->euid = uid;
	return commit_uids(t, c);
}

SYSCALL_DEFINE2(setreuid, uid_t, ruid, uid_t, euid)
{
	const struct cred *old = t->cred;
	bool cap = capable(CAP_SETUID);
	struct cred *c;

	if (ruid != NO_ID && !cap && ruid != old->uid && ruid != old->euid)
		return -EPERM;
	if (euid != NO_ID && !cap && euid != old->uid && euid != old->euid && euid != old->suid)
		return -EPERM;
	c = cred_dup(old);
	if (!c)
		return -ENOMEM;
	if (ruid != NO_ID)
		c->uid = ruid;
	if (euid != NO_ID)
		c->euid = euid;
	if (ruid != NO_ID || (euid != NO_ID && euid != old->uid))
		c->suid = c->euid;
	return commit_uids(t, c);
}

static bool uid_is_own(const struct cred *c, uid_t uid)
{
	return uid == NO_ID || uid == c->uid || uid == c->euid || uid == c->suid;
}

SYSCALL_DEFINE3(setresuid, uid_t, ruid, uid_t, euid, uid_t, suid)
{
	const struct cred *old = t->cred;
	struct cred *c;

	if (!capable(CAP_SETUID) &&
	    (!uid_is_own(old, ruid) || !uid_is_own(old, euid) || !uid_is_own(old, suid)))
		return -EPERM;
	c = cred_dup(old);
	if (!c)
		return -ENOMEM;
	if (ruid != NO_ID)
		c->uid = ruid;
	if (euid != NO_ID)
		c->euid = euid;
	if (suid != NO_ID)
		c->suid = suid;
	return commit_uids(t, c);
}

SYSCALL_DEFINE3(getresuid, uaddr_t, ruid, uaddr_t, euid, uaddr_t, suid)
{
	const struct cred *c = t->cred;

	if (put_user(ruid, c->uid) || put_user(euid, c->euid) || put_user(suid, c->suid))
		return -EFAULT;
	return 0;
}

/* The result is always the old one: errors cannot be told (man 2 setfsuid). */
SYSCALL_DEFINE1(setfsuid, uid_t, uid)
{
	const struct cred *old = t->cred;
	uid_t was = old->fsuid;
	struct cred *c;

	if (uid == NO_ID || uid == was || (!uid_is_own(old, uid) && !capable(CAP_SETUID)))
		return was;
	c = cred_dup(old);
	if (!c)
		return was;
	c->fsuid = uid;
	if (!(c->securebits & SECBIT_NO_SETUID_FIXUP)) {
		if (was == 0 && uid != 0)
			c->cap_effective &= ~FS_CAPS;
		if (was != 0 && uid == 0)
			c->cap_effective |= c->cap_permitted & FS_CAPS;
	}
	task_set_cred(t, c);
	return was;
}

/* --- groups ------------------------------------------------------------------------------------
 */

static long commit_gids(struct task *t, struct cred *c)
{
	c->fsgid = c->egid;
	task_set_cred(t, c);
	return 0;
}

SYSCALL_DEFINE1(setgid, gid_t, gid)
{
	const struct cred *old = t->cred;
	struct cred *c;

	if (gid == NO_ID)
		return -EINVAL;
	if (!capable(CAP_SETGID) && gid != old->gid && gid != old->sgid)
		return -EPERM;
	c = cred_dup(old);
	if (!c)
		return -ENOMEM;
	if (capable(CAP_SETGID))
		c->gid = c->sgid = gid;
	c->egid = gid;
	return commit_gids(t, c);
}

SYSCALL_DEFINE2(setregid, gid_t, rgid, gid_t, egid)
{
	const struct cred *old = t->cred;
	bool cap = capable(CAP_SETGID);
	struct cred *c;

	if (rgid != NO_ID && !cap && rgid != old->gid && rgid != old->egid)
		return -EPERM;
	if (egid != NO_ID && !cap && egid != old->gid && egid != old->egid && egid != old->sgid)
		return -EPERM;
	c = cred_dup(old);
	if (!c)
		return -ENOMEM;
	if (rgid != NO_ID)
		c->gid = rgid;
	if (egid != NO_ID)
		c->egid = egid;
	if (rgid != NO_ID || (egid != NO_ID && egid != old->gid))
		c->sgid = c->egid;
	return commit_gids(t, c);
}

static bool gid_is_own(const struct cred *c, gid_t gid)
{
	return gid == NO_ID || gid == c->gid || gid == c->egid || gid == c->sgid;
}

SYSCALL_DEFINE3(setresgid, gid_t, rgid, gid_t, egid, gid_t, sgid)
{
	const struct cred *old = t->cred;
	struct cred *c;

	if (!capable(CAP_SETGID) &&
	    (!gid_is_own(old, rgid) || !gid_is_own(old, egid) || !gid_is_own(old, sgid)))
		return -EPERM;
	c = cred_dup(old);
	if (!c)
		return -ENOMEM;
	if (rgid != NO_ID)
		c->gid = rgid;
	if (egid != NO_ID)
		c->egid = egid;
	if (sgid != NO_ID)
		c->sgid = sgid;
	return commit_gids(t, c);
}

SYSCALL_DEFINE3(getresgid, uaddr_t, rgid, uaddr_t, egid, uaddr_t, sgid)
{
	const struct cred *c = t->cred;

	if (put_user(rgid, c->gid) || put_user(egid, c->egid) || put_user(sgid, c->sgid))
		return -EFAULT;
	return 0;
}

SYSCALL_DEFINE1(setfsgid, gid_t, gid)
{
	const struct cred *old = t->cred;
	gid_t was = old->fsgid;
	struct cred *c;

	if (gid == NO_ID || gid == was || (!gid_is_own(old, gid) && !capable(CAP_SETGID)))
		return was;
	c = cred_dup(old);
	if (!c)
		return was;
	c->fsgid = gid;
	task_set_cred(t, c);
	return was;
}

SYSCALL_DEFINE2(getgroups, int, size, uaddr_t, list)
{
	const struct cred *c = t->cred;

	if (size < 0)
		return -EINVAL;
	if (size) {
		if ((uint32_t)size < c->ngroups)
			return -EINVAL;
		if (copy_to_user(list, c->groups, c->ngroups * sizeof(gid_t)))
			return -EFAULT;
	}
	return c->ngroups;
}

SYSCALL_DEFINE2(setgroups, int, size, uaddr_t, list)
{
	gid_t *groups = NULL;
	struct cred *c;

	if (!capable(CAP_SETGID))
		return -EPERM;
	if (size < 0 || size > NGROUPS_LIMIT)
		return -EINVAL;
	if (size) {
		groups = malloc(size * sizeof(gid_t));
		if (!groups)
			return -ENOMEM;
		if (copy_from_user(groups, list, size * sizeof(gid_t))) {
			free(groups);
			return -EFAULT;
		}
	}
	c = cred_dup(t->cred);
	if (!c) {
		free(groups);
		return -ENOMEM;
	}
	free(c->groups);
	c->groups = groups;
	c->ngroups = size;
	cred_sort_groups(c);
	task_set_cred(t, c);
	return 0;
}
