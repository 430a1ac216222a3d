/*
 * The overlay: a writable tree in memory over a read-only tree of the host. Type "overlay";
 * loader-only. See README.md.
 */
#ifndef MOAT_SENTRY_FS_OVERLAY_OVERLAY_H
#define MOAT_SENTRY_FS_OVERLAY_OVERLAY_H

#include <stdint.h>

struct super_block;

/* get_super's `arg`. */
struct overlay_arg {
	struct super_block *lower; /* of type "host", made with .cache, and this overlay's alone; it
				    * takes its own reference. NULL: an empty tree. */
	uint64_t max_bytes;	   /* of the upper tree's memory; 0: tmpfs's default */
};

#endif
