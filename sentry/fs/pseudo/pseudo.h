/* Static trees and generated files: see README.md. */
#ifndef MOAT_SENTRY_FS_PSEUDO_H
#define MOAT_SENTRY_FS_PSEUDO_H

#include "base/text.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/vfs.h"

struct pid;

struct pseudo_node {
	const char *name; /* NULL ends a list of nodes */
	uint32_t mode;	  /* with S_IFMT */
	/* Directories: what is in it. */
	const struct pseudo_node *children;
	/* Regular files: the text; 0 or -errno. Or `content`, when it never changes. */
	int (*show)(struct text *t, struct inode *inode);
	/* Takes a write of at most PSEUDO_WRITE_MAX bytes, NUL-terminated; bytes or -errno. */
	ssize_t (*write)(struct inode *inode, char *s, size_t n);
	/* Symbolic links: as inode_operations.get_link. Or `content`, the target. */
	int (*get_link)(struct inode *inode, char **target, struct path *jump);
	const char *content;
	/* Instead of the above, for kinds of their own. */
	const struct inode_operations *iops;
	const struct file_operations *fops;
	/* May the current task open it? 0 or -errno; NULL: the mode alone decides. */
	int (*may_open)(struct inode *inode);
	/* False: not there for this inode (a directory's inode is passed). */
	bool (*present)(struct inode *dir);
	int64_t arg; /* for show, write ...: which of several alike it is */
};

#define PSEUDO_WRITE_MAX 4096

/* inode->private of every inode made here. */
struct pseudo_inode {
	const struct pseudo_node *node;
	struct pid *pid; /* counted; NULL outside /proc/PID */
	int64_t number;	 /* an fd, a CPU: for the owner's use */
};
static inline struct pseudo_inode *pseudo(const struct inode *inode)
{
	return inode->private;
}

/* A new inode; `pid` is referenced. NULL: no memory. */
struct inode *pseudo_inode_new(struct super_block *sb, const struct pseudo_node *node,
			       struct pid *pid, int64_t number, uint64_t ino);
void pseudo_evict(struct inode *inode); /* super_operations.evict_inode */
/* A stable inode number for a name in a directory. */
uint64_t pseudo_ino(uint64_t parent_ino, const char *name);

/* For directories of nodes: looks name up among them; children get dir's pid and number. False if
 * there is no such node. */
int pseudo_lookup_in(const struct pseudo_node *nodes, struct inode *dir, struct dentry *dentry);
/* After a lookup that found nothing: 0 (create would be refused) or -ENOENT. */
int pseudo_absent(struct inode *dir, struct dentry *dentry);
/* Emits the nodes; position `base` is the first. Returns false when the buffer is full. */
bool pseudo_emit(const struct pseudo_node *nodes, struct inode *dir, struct dir_context *ctx,
		 int64_t base);
/* inode_operations.setattr: modes and owners cannot be changed. */
int pseudo_setattr(struct inode *inode, struct iattr *attr);
extern const struct file_operations
	pseudo_text_fops; /* of regular files: for nodes whose own add to them */
extern const struct inode_operations pseudo_dir_iops;
extern const struct file_operations pseudo_dir_fops;

/* A super block with `root` as its tree. */
int pseudo_sb_create(const struct fs_type *type, const struct super_operations *ops,
		     const struct pseudo_node *root, uint64_t magic, struct super_block **out);
int pseudo_statfs(struct super_block *sb, struct statfs *buf);

/* A number in a written text: decimal, blanks around it allowed. 0 or -EINVAL. */
int pseudo_parse_int(const char *s, int64_t min, int64_t max, int64_t *out);

#endif
