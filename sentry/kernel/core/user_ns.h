/*
 * User namespaces: which ids mean whom, and over what a capability counts (man 7 user_namespaces).
 *
 * Everywhere in the sentry a uid_t, gid_t or project id is one of the first namespace: "kernel id"
 * below. What a guest says or sees is translated at the border, by the functions here; INVALID_ID
 * is nobody's.
 *
 * Lock: user_ns->lock, a leaf. Maps are set once and then stay, so they are read without it.
 */
#ifndef MOAT_SENTRY_KERNEL_CORE_USER_NS_H
#define MOAT_SENTRY_KERNEL_CORE_USER_NS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/lock.h"
#include "base/refcount.h"

#define INVALID_ID ((uint32_t)-1)
#define OVERFLOW_ID 65534U
#define ID_MAP_MAX_EXTENTS 340
#define USER_NS_MAX_LEVEL 33 /* of the innermost; the first is 0 */
/* In the whole sandbox, as anybody can make them; Linux: user.max_user_namespaces and its like. */
#define USER_NS_MAX 16384
#define OWNED_NS_MAX 65536

struct cred;

enum id_kind { ID_USER, ID_GROUP, ID_PROJECT, ID_KINDS };

struct id_extent {
	uint32_t first, lower, count; /* lower: a kernel id */
};
struct id_map {
	unsigned n;
	struct id_extent extents[];
};

struct user_ns {
	struct refcount refs;
	unsigned long inum;
	struct user_ns *parent; /* counted; NULL: the first */
	int level;
	uid_t owner; /* the effective ids of its maker, as kernel ids */
	gid_t group;
	bool parent_could_setfcap; /* its maker might have given files capabilities */
	struct mutex lock;
	struct id_map *_Atomic maps[ID_KINDS]; /* owned; NULL: not set yet. lock to set */
	_Atomic bool setgroups_allowed;	       /* lock to set */
};
extern struct user_ns root_user_ns;

/* A namespace below that of `maker`, with no maps. -ENOSPC: too deep or too many; -EPERM: the
 * maker's ids have no name in its own; -ENOMEM. */
int user_ns_create(const struct cred *maker, struct user_ns **out);
struct user_ns *user_ns_get(struct user_ns *ns);
/* The reference of a namespace of another kind that ns is to own, and the count of those: NULL when
 * there are too many in the sandbox. */
struct user_ns *user_ns_own(struct user_ns *ns);
void user_ns_disown(struct user_ns *ns);
void user_ns_put(struct user_ns *ns);
/* ns is `above`, or somewhere below it. */
bool user_ns_is_within(const struct user_ns *ns, const struct user_ns *above);

/* --- ids -------------------------------------------------------------------------------------- */

/* The kernel id that `id` means in ns; INVALID_ID if nothing. */
uint32_t id_to_kernel(const struct user_ns *ns, enum id_kind kind, uint32_t id);
/* What a kernel id is called in ns; INVALID_ID if it has no name there. */
uint32_t id_from_kernel(const struct user_ns *ns, enum id_kind kind, uint32_t id);
/* The same for the current task's namespace (without a task: the first). */
uid_t make_kuid(uid_t uid);
gid_t make_kgid(gid_t gid);
/* For guests to see: OVERFLOW_ID stands for what has no name. */
uid_t uid_shown(const struct user_ns *ns, uid_t kuid);
gid_t gid_shown(const struct user_ns *ns, gid_t kgid);
uid_t uid_shown_here(uid_t kuid);
gid_t gid_shown_here(gid_t kgid);
static inline bool uid_has_name(const struct user_ns *ns, uid_t kuid)
{
	return id_from_kernel(ns, ID_USER, kuid) != INVALID_ID;
}
static inline bool gid_has_name(const struct user_ns *ns, gid_t kgid)
{
	return id_from_kernel(ns, ID_GROUP, kgid) != INVALID_ID;
}
/* The kernel ids that count ids from `first` on mean in ns, if they are as many in a row;
 * INVALID_ID if not. */
uint32_t id_range_to_kernel(const struct user_ns *ns, enum id_kind kind, uint32_t first,
			    uint32_t count);
/* The map that stands in ns, NULL if none yet. Stays as long as ns. */
const struct id_map *user_ns_map(const struct user_ns *ns, enum id_kind kind);
/* A kernel id is user 0 in ns or in one above it. */
bool user_ns_has_root(const struct user_ns *ns, uid_t kuid);
/* setgroups(2) may be called: allowed, and groups have names. */
bool user_ns_may_setgroups(const struct user_ns *ns);

/* --- capabilities ----------------------------------------------------------------------------- */

/* Whoever has `c` has the capability over what ns owns: it is effective in ns itself, or in one
 * above, or c is of the owner of one of those on the way, in that one's parent. */
bool cred_ns_capable(const struct cred *c, const struct user_ns *ns, int cap);
/* The current task's; false without a task. */
bool ns_capable(const struct user_ns *ns, int cap);
/* The current task's, over its own user namespace. */
bool own_ns_capable(int cap);
/* The current task's, over the first: what no namespace owns. */
bool capable(int cap);

/* Inode numbers for /proc/PID/ns, of all kinds of namespaces. */
unsigned long ns_next_inum(void);

#endif
