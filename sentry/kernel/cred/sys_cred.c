/* User and group ids, supplementary groups (man 7 credentials). */
#include "sentry/kernel/core/syscall.h"

#include <linux/securebits.h>
#include <string.h>

#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/task.h"
#include "sentry/mm/mm.h"
#include "sentry/uaccess/uaccess.h"

#define NGROUPS_LIMIT 65536
#define FS_CAPS                                                                                    \
	(CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_MKNOD) | CAP_BIT(CAP_DAC_OVERRIDE) |                     \
	 CAP_BIT(CAP_DAC_READ_SEARCH) | CAP_BIT(CAP_FOWNER) | CAP_BIT(CAP_FSETID) |                \
	 CAP_BIT(CAP_LINUX_IMMUTABLE) | CAP_BIT(CAP_MAC_OVERRIDE))

SYSCALL_DEFINE0(getuid)
{
	return uid_shown(t->cred->user_ns, t->cred->uid);
}

SYSCALL_DEFINE0(geteuid)
{
	return uid_shown(t->cred->user_ns, t->cred->euid);
}

SYSCALL_DEFINE0(getgid)
{
	return gid_shown(t->cred->user_ns, t->cred->gid);
}

SYSCALL_DEFINE0(getegid)
{
	return gid_shown(t->cred->user_ns, t->cred->egid);
}

/* man 7 capabilities, "Effect of user ID changes on capabilities". */
static void fix_caps(struct cred *c, const struct cred *old)
{
	uid_t root = id_to_kernel(c->user_ns, ID_USER, 0);
	bool had_root = old->uid == root || old->euid == root || old->suid == root;
	bool has_root = c->uid == root || c->euid == root || c->suid == root;

	if ((c->securebits & SECBIT_NO_SETUID_FIXUP) || root == INVALID_ID)
		return;
	if (had_root && !has_root) {
		if (!(c->securebits & SECBIT_KEEP_CAPS))
			c->cap_permitted = c->cap_effective = 0;
		c->cap_ambient = 0;
	}
	if (old->euid == root && c->euid != root)
		c->cap_effective = 0;
	if (old->euid != root && c->euid == root)
		c->cap_effective = c->cap_permitted;
}

/*
 * The rules for user and group ids are the same but for the capability, and for what the change
 * does to capabilities: the calls below work on either kind of a task's ids.
 */
enum own_ids { UIDS, GIDS };

struct ids {
	uint32_t real, effective, saved, fs;
};

#define NO_ID ((uint32_t)-1)

static struct ids get_ids(const struct cred *c, enum own_ids kind)
{
	if (kind == UIDS)
		return (struct ids){c->uid, c->euid, c->suid, c->fsuid};
	return (struct ids){c->gid, c->egid, c->sgid, c->fsgid};
}

static void set_ids(struct cred *c, enum own_ids kind, const struct ids *ids)
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

static bool may_set_any(enum own_ids kind)
{
	return own_ns_capable(kind == UIDS ? CAP_SETUID : CAP_SETGID);
}

static enum id_kind map_of(enum own_ids kind)
{
	return kind == UIDS ? ID_USER : ID_GROUP;
}

/* Replaces what the caller calls an id by the kernel's; "leave it" stays. False: no such name. */
static bool to_kernel(const struct task *t, enum own_ids kind, uint32_t *id)
{
	if (*id == NO_ID)
		return true;
	*id = id_to_kernel(t->cred->user_ns, map_of(kind), *id);
	return *id != INVALID_ID;
}

/* One that the caller has, or "leave it". */
static bool is_own(const struct ids *ids, uint32_t id)
{
	return id == NO_ID || id == ids->real || id == ids->effective || id == ids->saved;
}

/* The file system id follows the effective one. */
static long commit_ids(struct task *t, enum own_ids kind, struct ids *ids)
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

static long set_id(struct task *t, enum own_ids kind, uint32_t id)
{
	struct ids ids = get_ids(t->cred, kind);

	if (id == NO_ID || !to_kernel(t, kind, &id))
		return -EINVAL;
	if (may_set_any(kind))
		ids.real = ids.saved = id;
	else if (id != ids.real && id != ids.saved)
		return -EPERM;
	ids.effective = id;
	return commit_ids(t, kind, &ids);
}

static long set_re_ids(struct task *t, enum own_ids kind, uint32_t real, uint32_t effective)
{
	struct ids old = get_ids(t->cred, kind), ids = old;

	if (!to_kernel(t, kind, &real) || !to_kernel(t, kind, &effective))
		return -EINVAL;
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

static long set_res_ids(struct task *t, enum own_ids kind, uint32_t real, uint32_t effective,
			uint32_t saved)
{
	struct ids ids = get_ids(t->cred, kind);

	if (!to_kernel(t, kind, &real) || !to_kernel(t, kind, &effective) ||
	    !to_kernel(t, kind, &saved))
		return -EINVAL;
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

static uint32_t shown(const struct task *t, enum own_ids kind, uint32_t id)
{
	return kind == UIDS ? uid_shown(t->cred->user_ns, id) : gid_shown(t->cred->user_ns, id);
}

static long put_res_ids(struct task *t, enum own_ids kind, uaddr_t real, uaddr_t effective,
			uaddr_t saved)
{
	struct ids ids = get_ids(t->cred, kind);

	if (put_user(real, shown(t, kind, ids.real)) ||
	    put_user(effective, shown(t, kind, ids.effective)) ||
	    put_user(saved, shown(t, kind, ids.saved)))
		return -EFAULT;
	return 0;
}

static void fix_fs_caps(struct cred *c, uid_t was)
{
	uid_t root = id_to_kernel(c->user_ns, ID_USER, 0);

	if ((c->securebits & SECBIT_NO_SETUID_FIXUP) || root == INVALID_ID)
		return;
	if (was == root && c->fsuid != root)
		c->cap_effective &= ~FS_CAPS;
	if (was != root && c->fsuid == root)
		c->cap_effective |= c->cap_permitted & FS_CAPS;
}

/* The result is always the old one: errors cannot be told (man 2 setfsuid). */
static long set_fs_id(struct task *t, enum own_ids kind, uint32_t id)
{
	struct ids ids = get_ids(t->cred, kind);
	uint32_t was = ids.fs, answer = shown(t, kind, was);
	struct cred *c;

	if (id == NO_ID || !to_kernel(t, kind, &id) || id == was ||
	    (!is_own(&ids, id) && !may_set_any(kind)))
		return answer;
	c = cred_dup(t->cred);
	if (!c)
		return answer;
	ids.fs = id;
	set_ids(c, kind, &ids);
	if (kind == UIDS)
		fix_fs_caps(c, was);
	task_set_cred(t, c);
	return answer;
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
		for (uint32_t i = 0; i < c->ngroups; i++)
			if (put_user(list + i * sizeof(gid_t), gid_shown(c->user_ns, c->groups[i])))
				return -EFAULT;
	}
	return c->ngroups;
}

SYSCALL_DEFINE2(setgroups, int, size, uaddr_t, list)
{
	gid_t *groups = NULL;
	struct cred *c;

	if (!own_ns_capable(CAP_SETGID) || !user_ns_may_setgroups(t->cred->user_ns))
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
		for (int i = 0; i < size; i++) {
			groups[i] = id_to_kernel(t->cred->user_ns, ID_GROUP, groups[i]);
			if (groups[i] == INVALID_ID) {
				free(groups);
				return -EINVAL;
			}
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
