/* The names of pseudo-terminals (man 4 pts): every mount is an instance of its own. */
#ifndef MOAT_SENTRY_FS_DEVPTS_H
#define MOAT_SENTRY_FS_DEVPTS_H

struct file;
struct inode;
struct path;
struct tty;

/* Gives tty an index and a name in the instance that belongs to the ptmx that `file` was opened
 * on. 0, -ENOSPC (no index free), -ENODEV (no devpts next to this ptmx). */
int devpts_add(struct file *file, struct tty *tty);
/* The name goes; tty->devpts is cleared. */
void devpts_remove(struct tty *tty);
/* The tty of a name's inode: reference or NULL. */
struct tty *devpts_tty_get(struct inode *inode);
/* The path of the slave of the master `file`; referenced. 0 or -errno. */
int devpts_peer_path(struct file *file, struct tty *tty, struct path *out);

#endif
