/* /proc/locks, and the lock lines of /proc/PID/fdinfo/N (man 5 proc_locks). Who waits is not shown.
 */
#include <fcntl.h>
#include <sys/sysmacros.h>

#include "sentry/fs/proc/proc_internal.h"
#include "sentry/vfs/lock/locks.h"

struct listing {
	struct text *out;
	struct pid_ns *ns; /* of the reader's /proc */
	const char *prefix;
	unsigned number;
	const void *file, *files; /* only locks of these owners; NULL: all */
};

static void show_lock(void *arg, struct inode *inode, const struct lock_request *r)
{
	pid_t pid = r->pid ? pid_nr_ns(r->pid, ((struct listing *)arg)->ns) : -1;
	uint64_t dev = inode->sb->dev;
	struct listing *l = arg;

	if (l->file && r->owner != l->file && r->owner != l->files)
		return;
	if (!pid) /* of a process that cannot be seen from here */
		return;
	text_printf(l->out, "%s%u: %s ADVISORY  %s %d %02x:%02x:%lu %ld ", l->prefix, ++l->number,
		    r->flock ? "FLOCK "
		    : r->ofd ? "OFDLCK"
			     : "POSIX ",
		    r->type == F_WRLCK ? "WRITE" : "READ ", pid, major(dev), minor(dev), inode->ino,
		    r->start);
	if (r->end == INT64_MAX)
		text_puts(l->out, "EOF\n");
	else
		text_printf(l->out, "%ld\n", r->end);
}

int proc_show_locks(struct text *out, struct inode *inode)
{
	struct listing l = {.out = out, .ns = proc_ns(inode->sb), .prefix = ""};

	file_locks_each(NULL, show_lock, &l);
	return 0;
}

void proc_show_file_locks(struct text *out, struct inode *inode, struct file *file,
			  struct files *files)
{
	struct listing l = {.out = out,
			    .ns = proc_ns(inode->sb),
			    .prefix = "lock:\t",
			    .file = file,
			    .files = files};

	file_locks_each(file->inode, show_lock, &l);
}
