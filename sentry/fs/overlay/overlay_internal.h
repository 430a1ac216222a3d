/* What the files of fs/overlay/ share. */
#ifndef MOAT_SENTRY_FS_OVERLAY_INTERNAL_H
#define MOAT_SENTRY_FS_OVERLAY_INTERNAL_H

#include <bsd/sys/tree.h>

#include "sentry/fs/host/host.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/fs/tmpfs/tmpfs.h"

/* A name in a directory that differs from the lower layer. */
struct ovl_name {
	RB_ENTRY(ovl_name) link;
	LIST_ENTRY(ovl_name) doomed;
	struct inode *inode; /* counted; NULL: a whiteout */
	bool in_lower;	     /* the lower directory has this name: removing it leaves a whiteout */
	uint8_t len;
	char name[];
};
RB_HEAD(ovl_names, ovl_name);

struct ovl_xattr {
	LIST_ENTRY(ovl_xattr) link;
	size_t size;
	char *name; /* name and value in one allocation */
	void *value;
};
LIST_HEAD(ovl_xattrs, ovl_xattr);

/* inode->private. With lower.mount == NULL there is nothing below it. */
struct ovl_inode {
	struct host_object lower;     /* first: fs/host finds it there */
	struct mutex lock;	      /* the fields down to xattrs; a leaf but for lower's locks */
	struct ovl_names names;	      /* directories */
	uint32_t live_names;	      /* those that are no whiteouts */
	struct dirlist *merged;	      /* the listing since names last changed, or NULL */
	_Atomic uint32_t extra_links; /* hard links made here: each counts as an inode */
	struct ovl_xattrs xattrs;     /* all of them, once xattrs_up */
	size_t xattr_bytes;
	uint32_t xattr_pages; /* charged for them */
	bool xattrs_up;
	_Atomic(struct tmpfs_data *) data; /* regular files: the upper content; never goes again.
					    * inode->lock (write) to set */
	char *link;			   /* symbolic links made here */
	bool charged;			   /* counts in the quota's inodes */
	bool pinned;			   /* holds a reference on itself; super->lock */
	TAILQ_ENTRY(ovl_inode) pinned_link;
	struct inode *inode;
};

struct ovl_super {
	struct super_block *sb;
	struct super_block *lower; /* counted, or NULL */
	struct tmpfs_quota *quota;
	struct mutex lock;
	TAILQ_HEAD(, ovl_inode) pinned;
	/* At the end of the file system, trees are taken apart without recursion: each directory
	 * that goes adds its names to the list. lock */
	LIST_HEAD(, ovl_name) doomed;
	bool dropping; /* somebody empties it */
	bool dying;    /* nothing is pinned any more */
};
/* Puts the inodes of the doomed names, unless somebody is at it. */
void ovl_drop_doomed(struct ovl_super *s);

static inline struct ovl_inode *ovl_of(const struct inode *inode)
{
	return inode->private;
}
static inline struct ovl_super *ovl_super_of(const struct inode *inode)
{
	return inode->sb->private;
}
static inline bool ovl_has_lower(const struct ovl_inode *oi)
{
	return oi->lower.mount;
}

/* --- inode.c ---------------------------------------------------------------------------------- */

/* host_make_inode_t: for what the lower layer has. */
struct inode *ovl_make_lower(struct super_block *sb, const struct gofer_stat *st);
/* A new upper inode in `dir` (NULL: the root), owned as Linux has it (inode_init_owner). mode with
 * type. 0, -ENOSPC, -ENOMEM. */
int ovl_new_inode(struct super_block *sb, struct inode *dir, mode_t mode, uint64_t rdev,
		  struct inode **out);
void ovl_evict(struct inode *inode);
/* What differs from the lower layer must not be forgotten: keeps the inode until its last name
 * goes. Upper inodes are kept by their names. */
void ovl_pin(struct inode *inode);
void ovl_unpin(struct inode *inode);
int ovl_setattr(struct inode *inode, struct iattr *attr);
int ovl_getattr(struct inode *inode, struct kstat *stat, uint32_t mask, unsigned flags);
/* After changes of content or of names; the inode's lock is held (write). */
void ovl_touch(struct inode *inode, bool mtime);

/* --- names.c: the names that differ; oi->lock held ----------------------------------------------
 */

struct ovl_name *ovl_name_find(struct ovl_inode *dir, const char *name);
struct ovl_name *ovl_name_alloc(const char *name);
void ovl_names_free(struct ovl_inode *dir);
RB_PROTOTYPE(ovl_names, ovl_name, link, ovl_name_cmp)

/* --- namei.c, dir.c, file.c, copy_up.c, xattr.c -------------------------------------------------
 */

extern const struct inode_operations ovl_dir_iops, ovl_file_iops, ovl_link_iops;
extern const struct file_operations ovl_dir_fops, ovl_file_fops;
/* -ENOTEMPTY unless nothing is visible in the directory. */
int ovl_check_empty(struct inode *dir);
/* The upper content, made from the first `keep` bytes of the lower one if need be. inode->lock is
 * held (write). -errno. */
int ovl_copy_up(struct inode *inode, int64_t keep, struct tmpfs_data **out);
ssize_t ovl_getxattr(struct inode *inode, const char *name, void *buf, size_t size);
ssize_t ovl_listxattr(struct inode *inode, char *buf, size_t size);
int ovl_setxattr(struct inode *inode, const char *name, const void *value, size_t size, int flags);
void ovl_xattrs_free(struct ovl_inode *oi);

#endif
