/* d_path without the allocation. */
#ifndef MOAT_SENTRY_VFS_WALK_DPATH_H
#define MOAT_SENTRY_VFS_WALK_DPATH_H

#include "sentry/vfs/path.h"

/* Writes path as seen from root to the end of buf; *start points at it. *reached is false when the
 * way up did not meet root. -ENAMETOOLONG when it does not fit. */
int d_path_text(const struct path *path, const struct path *root, char *buf, size_t size,
		char **start, bool *reached);

#endif
