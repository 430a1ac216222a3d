/* Seals of memfds (man 2 fcntl, "File Sealing"), for tmpfs itself. */
#ifndef MOAT_SENTRY_FS_TMPFS_DATA_INTERNAL_H
#define MOAT_SENTRY_FS_TMPFS_DATA_INTERNAL_H

#include "sentry/fs/tmpfs/tmpfs.h"

#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020
#endif

void tmpfs_data_init_seals(struct tmpfs_data *d, uint32_t seals); /* before the first use */
uint32_t tmpfs_data_get_seals(struct tmpfs_data *d);
/* -EPERM: sealed against it; -EBUSY: F_SEAL_WRITE with writable mappings. */
int tmpfs_data_add_seals(struct tmpfs_data *d, uint32_t seals);

#endif
