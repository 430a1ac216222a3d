/* Page charges, for data.c. */
#ifndef MOAT_SENTRY_FS_TMPFS_QUOTA_H
#define MOAT_SENTRY_FS_TMPFS_QUOTA_H

#include "sentry/fs/tmpfs/tmpfs.h"

int tmpfs_quota_charge_pages(struct tmpfs_quota *q, uint64_t n); /* 0 or -ENOSPC */
void tmpfs_quota_uncharge_pages(struct tmpfs_quota *q, uint64_t n);

#endif
