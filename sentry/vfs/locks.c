/* File locks. */
#include "sentry/vfs/locks.h"

void file_locks_free(struct file_lock_context *ctx)
{
	free(ctx);
}

void file_locks_release_file(struct file *f)
{
	(void)f;
}

void file_locks_release_owner(struct file *f, struct files *owner)
{
	(void)f;
	(void)owner;
}
