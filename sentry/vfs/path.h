/* Paths: (mount, dentry) pairs, and walking names to them (man 7 path_resolution). */
#ifndef MOAT_SENTRY_VFS_PATH_H
#define MOAT_SENTRY_VFS_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"
#include "base/refcount.h"

struct mount;
struct dentry;
struct task;

/* Both counted. */
struct path {
	struct mount *mnt;
	struct dentry *dentry;
};

void path_get(const struct path *p);
void path_put(struct path *p); /* clears it */
static inline void path_put_ptr(struct path *p)
{
	if (p->dentry)
		path_put(p);
}
/* struct path __put_path p = {0}; */
#define __put_path __cleanup(path_put_ptr)
bool path_equal(const struct path *a, const struct path *b);

/* A task's root, cwd and umask, shared by CLONE_FS. */
struct fs {
	struct refcount refs;
	struct mutex lock;
	_Atomic uint32_t
		seq; /* odd while root or cwd change: the walk reads them without the lock */
	struct path root, cwd;
	int umask;
};
struct fs *fs_alloc(const struct path *root, const struct path *cwd, int umask);
struct fs *fs_dup(struct fs *fs);
struct fs *fs_get(struct fs *fs);
void fs_put(struct fs *fs);
void fs_get_root(struct fs *fs, struct path *root); /* referenced copies */
void fs_get_cwd(struct fs *fs, struct path *cwd);
void fs_set_root(struct fs *fs, const struct path *root); /* take their own references */
void fs_set_cwd(struct fs *fs, const struct path *cwd);

/* Walk flags */
#define LOOKUP_FOLLOW 0x0001	  /* follow a final symlink */
#define LOOKUP_DIRECTORY 0x0002	  /* the result must be a directory */
#define LOOKUP_EMPTY 0x0004	  /* "" is the start itself (AT_EMPTY_PATH) */
#define LOOKUP_NO_SYMLINKS 0x0010 /* openat2's RESOLVE_* */
#define LOOKUP_NO_MAGICLINKS 0x0020
#define LOOKUP_NO_XDEV 0x0040
#define LOOKUP_BENEATH 0x0080
#define LOOKUP_IN_ROOT 0x0100
#define LOOKUP_CACHED 0x0200

/* Walks `name` from dfd (an fd of the current task, or AT_FDCWD) to *out (referenced). */
int path_lookupat(int dfd, const char *name, unsigned flags, struct path *out);
/* The same, with the name in guest memory: at_flags are AT_SYMLINK_NOFOLLOW/FOLLOW, AT_EMPTY_PATH.
 */
int user_path_at(int dfd, uint64_t uname, unsigned lookup_flags, struct path *out);
/* Walks from an explicit start, with `root` as "/"; for the loader and the kernel itself. */
int path_lookup_from(const struct path *root, const struct path *start, const char *name,
		     unsigned flags, struct path *out);
/* The parent directory of the last component; *last points into name (not NUL-terminated: len).
 * For create, unlink, rename: the caller then takes the directory's lock and looks `last` up. */
int path_parent(int dfd, const char *name, unsigned flags, struct path *parent, const char **last,
		size_t *len);

/* The path's text as seen from `root` (NULL: the current task's), malloc'd; unreachable ones start
 * with "(unreachable)"; deleted ones end with " (deleted)". Anonymous: "pipe:[ino]" etc. */
char *d_path(const struct path *path, const struct path *root);

#endif
