/* A file system that is being configured: what fsopen(2) and fspick(2) give descriptors for. */
#ifndef MOAT_SENTRY_VFS_MOUNT_FS_CONTEXT_H
#define MOAT_SENTRY_VFS_MOUNT_FS_CONTEXT_H

#include "sentry/vfs/file.h"

struct fs_context;

/* A descriptor's file for a new super block of the type, or, with sb, for changes to that one. */
int fs_context_file(const struct fs_type *type, struct super_block *sb, struct file **out);
/* The context of such a file, as long as the file lives; NULL: it is another. */
struct fs_context *fs_context_of(const struct file *file);

/* -EBUSY: not now; -EINVAL: cannot be said in an option string. value NULL: a flag. */
int fs_context_set(struct fs_context *fc, const char *key, const char *value);
/* FSCONFIG_CMD_CREATE, FSCONFIG_CMD_RECONFIGURE. */
int fs_context_create(struct fs_context *fc);
int fs_context_reconfigure(struct fs_context *fc);
/* The super block that was made, referenced: only once. -EINVAL: there is none yet; -EBUSY. */
int fs_context_take(struct fs_context *fc, struct super_block **out);

#endif
