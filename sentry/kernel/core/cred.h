/* Credentials: immutable once published, shared by reference (man 7 credentials, capabilities). */
#ifndef MOAT_SENTRY_KERNEL_CORE_CRED_H
#define MOAT_SENTRY_KERNEL_CORE_CRED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/capability.h>

#include "base/refcount.h"
#include "sentry/kernel/core/user_ns.h"

#define CAP_BIT(cap) (1ULL << (cap))
#define CAP_FULL_MASK (CAP_BIT(CAP_LAST_CAP + 1) - 1)

struct cred {
	struct refcount refs;
	/* Kernel ids: see user_ns.h. */
	uid_t uid, euid, suid, fsuid;
	gid_t gid, egid, sgid, fsgid;
	uint64_t cap_inheritable, cap_permitted, cap_effective, cap_bset, cap_ambient;
	uint32_t securebits;
	uint32_t ngroups;
	gid_t *groups;		  /* sorted, owned */
	struct user_ns *user_ns;  /* counted: what the capabilities are over */
	struct cred_label *label; /* counted; NULL: none */
};

/* The label of a security module, as whoever started the process gave it. Nothing is decided by it.
 */
struct cred_label {
	struct refcount refs;
	char text[];
};
/* Once, while the credentials are the caller's alone. 0 or -ENOMEM. */
int cred_set_label(struct cred *c, const char *text);

struct cred *cred_alloc(void); /* all zero, of the first user namespace; one reference */
struct cred *cred_dup(const struct cred *c);
struct cred *cred_get(struct cred *c);
void cred_put(struct cred *c);
void cred_sort_groups(struct cred *c);
bool cred_in_group(const struct cred *c, gid_t gid); /* fsgid or supplementary */
/* Moves c, which is the caller's alone, into ns (its reference is consumed) with every capability
 * there. */
void cred_enter_user_ns(struct cred *c, struct user_ns *ns);
/* In its own user namespace. */
static inline bool cred_capable(const struct cred *c, int cap)
{
	return c->cap_effective & CAP_BIT(cap);
}

#endif
