/* Start-up of the VFS. */
#include "sentry/vfs/vfs_init.h"

#include "sentry/kernel/core/machine.h"
#include "sentry/vfs/file/file_internal.h"
#include "sentry/vfs/lock/leases.h"
#include "sentry/vfs/walk/dcache.h"

/* One cached name costs well under a KiB with its inode: at most 1/64 of the memory. */
#define BYTES_PER_DENTRY 65536
#define MIN_DENTRIES 8192
#define MAX_DENTRIES 262144

void vfs_init(void)
{
	static bool done;
	uint64_t n = machine.total_memory / BYTES_PER_DENTRY;

	if (done)
		return;
	done = true;
	dcache_set_limit(MIN(MAX(n, (uint64_t)MIN_DENTRIES), (uint64_t)MAX_DENTRIES));
	leases_init();
	anon_init();
}
