/* Credentials: immutable once published, shared by reference (man 7 credentials, capabilities). */
#ifndef MOAT_SENTRY_KERNEL_CRED_H
#define MOAT_SENTRY_KERNEL_CRED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/capability.h>

#include "base/refcount.h"

#define CAP_BIT(cap) (1ULL << (cap))
#define CAP_FULL_MASK (CAP_BIT(CAP_LAST_CAP + 1) - 1)

struct cred {
	struct refcount refs;
	uid_t uid, euid, suid, fsuid;
	gid_t gid, egid, sgid, fsgid;
	uint64_t cap_inheritable, cap_permitted, cap_effective, cap_bset, cap_ambient;
	uint32_t securebits;
	uint32_t ngroups;
	gid_t *groups; /* sorted, owned */
};

struct cred *cred_alloc(void); /* all zero, one reference */
struct cred *cred_dup(const struct cred *c);
struct cred *cred_get(struct cred *c);
void cred_put(struct cred *c);
void cred_sort_groups(struct cred *c);
bool cred_in_group(const struct cred *c, gid_t gid); /* fsgid or supplementary */
static inline bool cred_capable(const struct cred *c, int cap)
{
	return c->cap_effective & CAP_BIT(cap);
}
/* The current task's effective set. */
bool capable(int cap);

#endif
