/* A temporary tree on the host, served by a real gofer process, mounted as type "host". */
#ifndef MOAT_TESTS_HOST_TREE_H
#define MOAT_TESTS_HOST_TREE_H

#include <stdbool.h>
#include <sys/types.h>

#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"

struct host_tree {
	char dir[64]; /* on the host */
	pid_t gofer;
	struct super_block *sb; /* not referenced once mounted */
	struct mnt_ns *ns;
	struct path root;
};

/* Makes the directory and the socket to a new gofer for it; the socket is the result. */
int host_tree_start(struct host_tree *t, bool readonly);
/* Makes the super block; consumes the socket. 0 or -errno. */
int host_tree_super(struct host_tree *t, int sock, bool readonly, bool cache, bool directfs);
/* Makes t->ns with sb (consumed) as its root. */
void host_tree_mount(struct host_tree *t, struct super_block *sb);
void host_tree_stop(struct host_tree *t);

/* "without-openat2" on a test's command line: as on a kernel that lacks it. */
void host_tree_without(int argc, char **argv);

/* On the host's side. */
void host_tree_put(const struct host_tree *t, const char *name, const char *text, mode_t mode);
void host_tree_path(const struct host_tree *t, const char *name, char *out, size_t n);
/* Through the mount. -errno. */
int tree_open(struct host_tree *t, const char *name, uint32_t flags, struct file **out);
int tree_stat(struct host_tree *t, const char *name, struct kstat *st);
/* Reads a whole small file into buf (NUL-terminated): length or -errno. */
ssize_t tree_read(struct host_tree *t, const char *name, char *buf, size_t size);
/* The directory that holds name, write-locked, and the (negative or not) dentry of the last part;
 * undone by tree_parent_done. */
struct tree_parent {
	struct path path;
	struct dentry *dentry;
};
int tree_parent(struct host_tree *t, const char *name, struct tree_parent *p);
void tree_parent_done(struct tree_parent *p);
int tree_create(struct host_tree *t, const char *name, mode_t mode);
int tree_mkdir(struct host_tree *t, const char *name, mode_t mode);
int tree_remove(struct host_tree *t, const char *name);
int tree_rename(struct host_tree *t, const char *from, const char *to, unsigned flags);
int tree_link(struct host_tree *t, const char *from, const char *to);
/* Writes text at the start of an existing file. */
int tree_write(struct host_tree *t, const char *name, const char *text);
/* Forgets every dentry that is not in use, and with them what only the cache knew. */
void tree_forget(struct host_tree *t);
/* Counts, and reports through `seen` whether each of names (NULL-ended) is there. */
int tree_list(struct host_tree *t, const char *name, const char *const *names, bool *seen);

#endif
