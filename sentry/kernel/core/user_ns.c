/* User namespaces: life, translation of ids, capabilities over them. */
#include "sentry/kernel/core/user_ns.h"

#include <errno.h>
#include <stdlib.h>

#include "sentry/kernel/core/cred.h"
#include "sentry/kernel/core/current.h"

/* Linux's number of the first one. */
#define ROOT_USER_NS_INUM 0xeffffffdUL

/* Everybody's name for everybody. */
static struct {
	struct id_map map;
	struct id_extent extent;
} identity = {{.n = 1}, {0, 0, INVALID_ID}};

struct user_ns root_user_ns = {
	.refs = REFCOUNT_INIT,
	.inum = ROOT_USER_NS_INUM,
	.lock = MUTEX_INIT,
	.maps = {&identity.map, &identity.map, &identity.map},
	.setgroups_allowed = true,
};

static _Atomic unsigned user_ns_count, owned_count;

unsigned long ns_next_inum(void)
{
	/* Linux gives the initial namespaces numbers just below this. */
	static _Atomic unsigned long next = 0xf0000000UL;

	return atomic_fetch_add(&next, 1);
}

int user_ns_create(const struct cred *maker, struct user_ns **out)
{
	struct user_ns *parent = maker->user_ns, *ns;

	if (parent->level >= USER_NS_MAX_LEVEL)
		return -ENOSPC;
	if (!uid_has_name(parent, maker->euid) || !gid_has_name(parent, maker->egid))
		return -EPERM;
	if (atomic_fetch_add(&user_ns_count, 1) >= USER_NS_MAX) {
		atomic_fetch_sub(&user_ns_count, 1);
		return -ENOSPC;
	}
	ns = calloc(1, sizeof(*ns));
	if (!ns) {
		atomic_fetch_sub(&user_ns_count, 1);
		return -ENOMEM;
	}
	refcount_init(&ns->refs);
	mutex_init(&ns->lock);
	ns->inum = ns_next_inum();
	ns->parent = user_ns_get(parent);
	ns->level = parent->level + 1;
	ns->owner = maker->euid;
	ns->group = maker->egid;
	ns->parent_could_setfcap = cred_capable(maker, CAP_SETFCAP);
	ns->setgroups_allowed = atomic_load(&parent->setgroups_allowed);
	*out = ns;
	return 0;
}

struct user_ns *user_ns_get(struct user_ns *ns)
{
	refcount_inc(&ns->refs);
	return ns;
}

struct user_ns *user_ns_own(struct user_ns *ns)
{
	if (atomic_fetch_add(&owned_count, 1) < OWNED_NS_MAX)
		return user_ns_get(ns);
	atomic_fetch_sub(&owned_count, 1);
	return NULL;
}

void user_ns_disown(struct user_ns *ns)
{
	atomic_fetch_sub(&owned_count, 1);
	user_ns_put(ns);
}

void user_ns_put(struct user_ns *ns)
{
	while (ns && refcount_dec(&ns->refs)) {
		struct user_ns *parent = ns->parent;

		for (int i = 0; i < ID_KINDS; i++)
			free(atomic_load(&ns->maps[i]));
		mutex_destroy(&ns->lock);
		free(ns);
		atomic_fetch_sub(&user_ns_count, 1);
		ns = parent;
	}
}

bool user_ns_is_within(const struct user_ns *ns, const struct user_ns *above)
{
	while (ns->level > above->level)
		ns = ns->parent;
	return ns == above;
}

/* --- ids -------------------------------------------------------------------------------------- */

const struct id_map *user_ns_map(const struct user_ns *ns, enum id_kind kind)
{
	return atomic_load_explicit(&ns->maps[kind], memory_order_acquire);
}

uint32_t id_range_to_kernel(const struct user_ns *ns, enum id_kind kind, uint32_t first,
			    uint32_t count)
{
	const struct id_map *map = user_ns_map(ns, kind);

	for (unsigned i = 0; map && i < map->n; i++) {
		const struct id_extent *e = &map->extents[i];

		if (first >= e->first && first - e->first < e->count &&
		    count <= e->count - (first - e->first))
			return e->lower + (first - e->first);
	}
	return INVALID_ID;
}

uint32_t id_to_kernel(const struct user_ns *ns, enum id_kind kind, uint32_t id)
{
	return id_range_to_kernel(ns, kind, id, 1);
}

uint32_t id_from_kernel(const struct user_ns *ns, enum id_kind kind, uint32_t id)
{
	const struct id_map *map = user_ns_map(ns, kind);

	for (unsigned i = 0; map && i < map->n; i++) {
		const struct id_extent *e = &map->extents[i];

		if (id >= e->lower && id - e->lower < e->count)
			return e->first + (id - e->lower);
	}
	return INVALID_ID;
}

static const struct user_ns *here(void)
{
	return current ? current_cred()->user_ns : &root_user_ns;
}

uid_t make_kuid(uid_t uid)
{
	return id_to_kernel(here(), ID_USER, uid);
}

gid_t make_kgid(gid_t gid)
{
	return id_to_kernel(here(), ID_GROUP, gid);
}

static uint32_t shown(const struct user_ns *ns, enum id_kind kind, uint32_t id)
{
	uint32_t name = id_from_kernel(ns, kind, id);

	return name == INVALID_ID ? OVERFLOW_ID : name;
}

uid_t uid_shown(const struct user_ns *ns, uid_t kuid)
{
	return shown(ns, ID_USER, kuid);
}

gid_t gid_shown(const struct user_ns *ns, gid_t kgid)
{
	return shown(ns, ID_GROUP, kgid);
}

uid_t uid_shown_here(uid_t kuid)
{
	return shown(here(), ID_USER, kuid);
}

gid_t gid_shown_here(gid_t kgid)
{
	return shown(here(), ID_GROUP, kgid);
}

bool user_ns_has_root(const struct user_ns *ns, uid_t kuid)
{
	for (; ns; ns = ns->parent)
		if (id_from_kernel(ns, ID_USER, kuid) == 0)
			return true;
	return false;
}

bool user_ns_may_setgroups(const struct user_ns *ns)
{
	return user_ns_map(ns, ID_GROUP) && atomic_load(&ns->setgroups_allowed);
}

/* --- capabilities ----------------------------------------------------------------------------- */

bool cred_ns_capable(const struct cred *c, const struct user_ns *ns, int cap)
{
	for (;;) {
		if (ns == c->user_ns)
			return cred_capable(c, cap);
		/* Neither it nor any above it can be below c's. */
		if (ns->level <= c->user_ns->level)
			return false;
		if (ns->parent == c->user_ns && ns->owner == c->euid)
			return true;
		ns = ns->parent;
	}
}

bool ns_capable(const struct user_ns *ns, int cap)
{
	return current && cred_ns_capable(current_cred(), ns, cap);
}

bool own_ns_capable(int cap)
{
	return current && cred_capable(current_cred(), cap);
}

bool capable(int cap)
{
	return ns_capable(&root_user_ns, cap);
}
