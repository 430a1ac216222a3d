/* Namespaces as files: what the links in /proc/PID/ns lead to (man 7 namespaces). */
#ifndef MOAT_SENTRY_FS_NSFS_NSFS_H
#define MOAT_SENTRY_FS_NSFS_NSFS_H

#include "sentry/vfs/file.h"

/* The file of a namespace of t's, into *out (referenced). type is CLONE_NEW*; for_children: the one
 * that t's next child will be in (CLONE_NEWPID). -ENOENT: t has exited; -ENOMEM, -ENFILE. */
int nsfs_path(struct task *t, unsigned type, bool for_children, struct path *out);

#endif
