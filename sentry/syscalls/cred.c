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

/*
 * The rules for user and group ids are the same but for the capability, and for what the change
 * does to capabilities: the calls below work on either kind of a task's ids.
 */
enum id_kind { UIDS, GIDS };

struct ids {
	uint32_t real, effective, saved, fs;
};

#define NO_ID ((uint32_t)-1)

static struct ids get_ids(const struct cred *c, enum id_kind kind)
{
	if (kind == UIDS)
		return (struct ids){c->uid, c->euid, c->suid, c->fsuid};
	return (struct ids){c->gid, c->egid, c->sgid, c->fsgid};
}

static void set_ids(struct cred *c, enum id_kind kind, const struct ids *ids)
{
	if (kind == UIDS) {
		c->uid = ids->real;
		c->euid = ids->effective;
		c->suid = ids->saved;
		c->fsuid = ids->fs;
	} else {
		c->gid = ids->real;
		c->egid = ids->effective;
		c->sgid = ids->saved;
		c->fsgid = ids->fs;
	}
}

static bool may_set_any(enum id_kind kind)
{
	return capable(kind == UIDS ? CAP_SETUID : CAP_SETGID);
}

/* One that the caller has, or "leave it". */
static bool is_own(const struct ids *ids, uint32_t id)
{
	return id == NO_ID || id == ids->real || id == ids->effective || id == ids->saved;
}

/* The file system id follows the effective one. */
static long commit_ids(struct task *t, enum id_kind kind, struct ids *ids)
{
	struct cred *c = cred_dup(t->cred);

	if (!c)
		return -ENOMEM;
	ids->fs = ids->effective;
	set_ids(c, kind, ids);
	if (kind == UIDS)
		fix_caps(c, t->cred);
	task_set_cred(t, c);
	return 0;
}

static long set_id(struct task *t, enum id_kind kind, uint32_t id)
{
	struct ids ids = get_ids(t->cred, kind);

	if (id == NO_ID)
		return -EINVAL;
	if (may_set_any(kind))
		ids.real = ids.saved = id;
	else if (id != ids.real && id != ids.saved)
		return -EPERM;
	ids.effective = id;
	return commit_ids(t, kind, &ids);
}

static long set_re_ids(struct task *t, enum id_kind kind, uint32_t real, uint32_t effective)
{
	struct ids old = get_ids(t->cred, kind), ids = old;

	if (!may_set_any(kind)) {
		if (real != NO_ID && real != old.real && real != old.effective)
			return -EPERM;
		if (!is_own(&old, effective))
			return -EPERM;
	}
	if (real != NO_ID)
		ids.real = real;
	if (effective != NO_ID)
		ids.effective = effective;
	if (real != NO_ID || (effective != NO_ID && effective != old.real))
		ids.saved = ids.effective;
	return commit_ids(t, kind, &ids);
}

static long set_res_ids(struct task *t, enum id_kind kind, uint32_t real, uint32_t effective,
			uint32_t saved)
{
	struct ids ids = get_ids(t->cred, kind);

	if (!may_set_any(kind) &&
	    (!is_own(&ids, real) || !is_own(&ids, effective) || !is_own(&ids, saved)))
		return -EPERM;
	if (real != NO_ID)
		ids.real = real;
	if (effective != NO_ID)
		ids.effective = effective;
	if (saved != NO_ID)
		ids.saved = saved;
	return commit_ids(t, kind, &ids);
}

static long put_res_ids(struct task *t, enum id_kind kind, uaddr_t real, uaddr_t effective,
			uaddr_t saved)
{
	struct ids ids = get_ids(t->cred, kind);

	if (put_user(real, ids.real) || put_user(effective, ids.effective) ||
	    put_user(saved, ids.saved))
		return -EFAULT;
	return 0;
}

static void fix_fs_caps(struct cred *c, uid_t was)
{
	if (c->securebits & SECBIT_NO_SETUID_FIXUP)
		return;
	if (was == 0 && c->fsuid != 0)
		c->cap_effective &= ~FS_CAPS;
	if (was != 0 && c->fsuid == 0)
		c->cap_effective |= c->cap_permitted & FS_CAPS;
}

/* The result is always the old one: errors cannot be told (man 2 setfsuid). */
static long set_fs_id(struct task *t, enum id_kind kind, uint32_t id)
{
	struct ids ids = get_ids(t->cred, kind);
	uint32_t was = ids.fs;
	struct cred *c;

	if (id == NO_ID || id == was || (!is_own(&ids, id) && !may_set_any(kind)))
		return was;
	c = cred_dup(t->cred);
	if (!c)
		return was;
	ids.fs = id;
	set_ids(c, kind, &ids);
	if (kind == UIDS)
		fix_fs_caps(c, was);
	task_set_cred(t, c);
	return was;
}

SYSCALL_DEFINE1(setuid, uid_t, uid)
{
	return set_id(t, UIDS, uid);
}

SYSCALL_DEFINE1(setgid, gid_t, gid)
{
	return set_id(t, GIDS, gid);
}

SYSCALL_DEFINE2(setreuid, uid_t, ruid, uid_t, euid)
{
	return set_re_ids(t, UIDS, ruid, euid);
}

SYSCALL_DEFINE2(setregid, gid_t, rgid, gid_t, egid)
{
	return set_re_ids(t, GIDS, rgid, egid);
}

SYSCALL_DEFINE3(setresuid, uid_t, ruid, uid_t, euid, uid_t, suid)
{
	return set_res_ids(t, UIDS, ruid, euid, suid);
}

SYSCALL_DEFINE3(setresgid, gid_t, rgid, gid_t, egid, gid_t, sgid)
{
	return set_res_ids(t, GIDS, rgid, egid, sgid);
}

SYSCALL_DEFINE3(getresuid, uaddr_t, ruid, uaddr_t, euid, uaddr_t, suid)
{
	return put_res_ids(t, UIDS, ruid, euid, suid);
}

SYSCALL_DEFINE3(getresgid, uaddr_t, rgid, uaddr_t, egid, uaddr_t, sgid)
{
	return put_res_ids(t, GIDS, rgid, egid, sgid);
}

SYSCALL_DEFINE1(setfsuid, uid_t, uid)
{
	return set_fs_id(t, UIDS, uid);
}

SYSCALL_DEFINE1(setfsgid, gid_t, gid)
{
	return set_fs_id(t, GIDS, gid);
}

/* --- groups ------------------------------------------------------------------------------------
 */

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
