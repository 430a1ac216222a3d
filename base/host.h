/*
 * Features of the host's kernel that moat makes use of but can do without. Code that uses one asks
 * host_has() first; the first call that finds the feature missing (ENOSYS, or a filter around us
 * that forbids the call) says so with host_lacks(), and takes the other way from then on. So
 * nothing is probed at start, and --platform-without can hide a feature from a test.
 * boot/host/host_features.c has the table of all of them, docs/HOSTS.md shows it.
 */
#ifndef MOAT_BASE_HOST_H
#define MOAT_BASE_HOST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum host_feature_bit {
	HOST_OPENAT2 = 1u << 0,
	HOST_CLOSE_RANGE = 1u << 1,
	HOST_FSMOUNT = 1u << 2,	      /* fsopen, fsconfig, fsmount */
	HOST_OPEN_TREE = 1u << 3,     /* open_tree */
	HOST_MOUNT_SETATTR = 1u << 4, /* mount_setattr */
	HOST_USER_NAMESPACES = 1u << 5,
	HOST_NAMESPACES = 1u << 6, /* any of them */
	HOST_LANDLOCK = 1u << 7,
};

/* Of enum host_feature_bit: hidden, or found to be missing. Set before gofer and sandbox are forked
 * (--platform-without), then by each process for itself. */
extern _Atomic uint32_t host_missing;

static inline bool host_has(enum host_feature_bit feature)
{
	return !(atomic_load_explicit(&host_missing, memory_order_relaxed) & feature);
}

static inline void host_lacks(enum host_feature_bit feature)
{
	atomic_fetch_or_explicit(&host_missing, feature, memory_order_relaxed);
}

/* How many CPUs the calling thread may run on, at least 1. */
int host_cpus(void);

#endif
