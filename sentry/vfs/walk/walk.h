/* The path walk's state, for namei.c, open.c and path_ops.c. */
#ifndef MOAT_SENTRY_VFS_WALK_WALK_H
#define MOAT_SENTRY_VFS_WALK_WALK_H

#include "sentry/vfs/path.h"
#include "sentry/vfs/vfs.h"

#define MAX_SYMLINKS 40

enum last_kind { LAST_NORM, LAST_DOT, LAST_DOTDOT, LAST_ROOT };

/*
 * A walk starts in *fast* mode: in the dcache's read section, where path and root carry no
 * references. What needs to block (a name that is not cached, a file system's own permission
 * check) first makes it leave the section with references taken (*ref* mode), where it stays.
 */
struct walk {
	struct path path, root;
	unsigned flags; /* LOOKUP_* */
	int slot;	/* of the read section; -1: ref mode */
	/* The last component, not walked yet. */
	const char *last;
	size_t last_len;
	uint32_t last_hash;
	enum last_kind last_kind;
	bool trailing_slash;
	/* Symbolic links: rests of names to go on with; what keeps the targets' text alive until
	 * the end (the inode that caches it, or malloc'd memory). */
	int links, depth, num_held;
	const char *link; /* the target that walk_step found */
	const char *rest[MAX_SYMLINKS];
	struct {
		struct inode *inode;
		char *text;
	} held[MAX_SYMLINKS];
};

/* Starts at dfd / the given path. `name` decides whether at the root. */
int walk_begin(struct walk *w, int dfd, const char *name, unsigned flags);
void walk_begin_at(struct walk *w, const struct path *root, const struct path *start,
		   const char *name, unsigned flags);
/* Walks all of name but the last component: w->path is the directory then. */
int walk_parent(struct walk *w, const char *name);
/* Walks the last component. follow: a symlink there is entered (and its target walked). */
int walk_last(struct walk *w, bool follow);
/* The whole of it, with the checks at the end. */
int walk_all(struct walk *w, const char *name);
/* RESOLVE_BENEATH and RESOLVE_IN_ROOT, at the end (in ref mode; a fast walk cannot err): -EXDEV if
 * a rename has meanwhile moved what is at path out of the root that the walk was to stay in. */
int walk_check_scope(const struct walk *w, const struct path *path);
/* Follows the symlink `dentry` (a child of w->path) to before its last component. */
int walk_into_link(struct walk *w, struct dentry *dentry);
/* Ref mode from here on: 0 or -ECHILD (LOOKUP_CACHED: -EAGAIN). */
int walk_unlazy(struct walk *w);
/* Ends the walk; gives w->path to the caller when out is not NULL (ref mode is entered). */
int walk_end(struct walk *w, struct path *out);

#endif
