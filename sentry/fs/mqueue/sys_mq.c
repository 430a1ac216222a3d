/* mq_open, mq_unlink, mq_timedsend, mq_timedreceive, mq_notify, mq_getsetattr (man 7 mq_overview).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "base/command_lock.h"
#include "sentry/fs/mqueue/mqueue_internal.h"
#include "sentry/kernel/core/cred.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/name/namei.h"

#define MQ_OPEN_FLAGS (O_ACCMODE | O_CREAT | O_EXCL | O_NONBLOCK | O_CLOEXEC)

/* The kernel's struct mq_attr. */
struct user_mq_attr {
	long mq_flags, mq_maxmsg, mq_msgsize, mq_curmsgs;
	long reserved[4];
};

static int name_from_user(char **out, uaddr_t uname)
{
	int err = path_from_user(out, uname);

	if (err)
		return err;
	if (!**out)
		return -ENOENT;
	if (strchr(*out, '/'))
		return -EACCES;
	if (!strcmp(*out, ".") || !strcmp(*out, ".."))
		return -EACCES;
	return strlen(*out) > NAME_MAX_LEN ? -ENAMETOOLONG : 0;
}

static int may_open(const struct path *path, int oflag)
{
	static const int masks[] = {MAY_READ, MAY_WRITE, MAY_READ | MAY_WRITE};

	if ((oflag & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	return inode_permission(path->dentry->inode, masks[oflag & O_ACCMODE]);
}

static long open_queue(const char *name, int oflag, mode_t mode, const struct mq_attr *attr)
{
	struct path __put_path root = {0};
	struct path __put_path path = {0};
	struct file *f;
	bool made = false;
	long fd;
	int err = mq_root(&root);

	if (err)
		return err;
	if (oflag & O_CREAT) {
		err = mq_create_at(&root, name, mode & ~(mode_t)current->fs->umask, attr);
		if (err && (err != -EEXIST || (oflag & O_EXCL)))
			return err;
		made = !err;
	}
	err = path_lookup_from(&root, &root, name, 0, &path);
	if (!err && !made)
		err = may_open(&path, oflag);
	if (!err)
		err = file_open(&path, (uint32_t)oflag & (O_ACCMODE | O_NONBLOCK), &f);
	if (err)
		return err;
	fd = fd_install(f, oflag & O_CLOEXEC);
	if (fd < 0)
		file_put(f);
	return fd;
}

SYSCALL_DEFINE4(mq_open, uaddr_t, uname, int, oflag, mode_t, mode, uaddr_t, uattr)
{
	char *__free name = NULL;
	struct user_mq_attr ua;
	struct mq_attr attr = {0};
	int err;

	if ((oflag & O_CREAT) && uattr) {
		if (get_user(&ua, uattr))
			return -EFAULT;
		attr.mq_maxmsg = ua.mq_maxmsg;
		attr.mq_msgsize = ua.mq_msgsize;
	}
	err = name_from_user(&name, uname);
	if (err)
		return err;
	return open_queue(name, oflag & MQ_OPEN_FLAGS, mode, uattr ? &attr : NULL);
}

SYSCALL_DEFINE1(mq_unlink, uaddr_t, uname)
{
	char *__free name = NULL;
	struct path __put_path root = {0};
	struct inode *dir, *victim;
	struct dentry *d;
	int err = name_from_user(&name, uname);

	if (!err)
		err = mq_root(&root);
	if (err)
		return err;
	dir = root.dentry->inode;
	COMMAND_WRITE_GUARD(&dir->lock);
	d = lookup_locked(root.dentry, name, strlen(name));
	if (IS_ERR(d))
		return PTR_ERR(d);
	victim = d->inode;
	err = victim ? 0 : -ENOENT;
	/* The directory is sticky. */
	if (!err && victim->uid != t->cred->fsuid && !inode_capable(victim, CAP_FOWNER))
		err = -EPERM;
	if (!err)
		err = dir->ops->unlink(dir, d);
	if (!err)
		d_drop(d);
	d_put(d);
	return err;
}

/* The queue behind a descriptor: its file, referenced. */
static int queue_file(int fd, struct file **out)
{
	struct file *f = fd_get(fd);

	if (!f || f->ops != &mq_fops) {
		if (f)
			file_put(f);
		return -EBADF;
	}
	*out = f;
	return 0;
}

/* An absolute CLOCK_REALTIME time as a deadline. */
static int deadline_from_user(uaddr_t uts, int64_t *deadline)
{
	struct timespec ts;
	int64_t ns;

	*deadline = NO_DEADLINE;
	if (!uts)
		return 0;
	if (get_user(&ts, uts))
		return -EFAULT;
	if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= NSEC_PER_SEC)
		return -EINVAL;
	if (__builtin_mul_overflow((int64_t)ts.tv_sec, NSEC_PER_SEC, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)ts.tv_nsec, &ns))
		return 0;
	ns += monotonic_ns() - clock_ns(CLOCK_REALTIME);
	*deadline = MAX(ns, (int64_t)1);
	return 0;
}

SYSCALL_DEFINE5(mq_timedsend, int, fd, uaddr_t, ubuf, size_t, len, unsigned, prio, uaddr_t, uts)
{
	struct file *__put_file f = NULL;
	struct mq_message *__free msg = NULL;
	struct mq *mq;
	int64_t deadline;
	int err;

	if (prio >= MQ_MAX_PRIO)
		return -EINVAL;
	err = deadline_from_user(uts, &deadline);
	if (!err)
		err = queue_file(fd, &f);
	if (err)
		return err;
	if (!f->can_write)
		return -EBADF;
	mq = f->private;
	if (len > (size_t)mq->max_size)
		return -EMSGSIZE;
	msg = malloc(sizeof(*msg) + len);
	if (!msg)
		return -ENOMEM;
	msg->prio = prio;
	msg->len = len;
	if (copy_from_user(msg->data, ubuf, len))
		return -EFAULT;
	while ((err = mq_send(mq, msg)) == -EAGAIN) {
		if (f->flags & O_NONBLOCK)
			return -EAGAIN;
		err = wait_event_interruptible(&mq->wait, mq_has_room(mq), deadline);
		if (err)
			return err;
	}
	if (!err)
		msg = NULL;
	return err;
}

static int wait_message(struct mq *mq, int64_t deadline)
{
	int err;

	mutex_lock(&mq->lock);
	mq->receivers++;
	mutex_unlock(&mq->lock);
	err = wait_event_interruptible(&mq->wait, mq_has_message(mq), deadline);
	mutex_lock(&mq->lock);
	mq->receivers--;
	mutex_unlock(&mq->lock);
	return err;
}

SYSCALL_DEFINE5(mq_timedreceive, int, fd, uaddr_t, ubuf, size_t, len, uaddr_t, uprio, uaddr_t, uts)
{
	struct file *__put_file f = NULL;
	struct mq_message *__free msg = NULL;
	struct mq *mq;
	int64_t deadline;
	int err = deadline_from_user(uts, &deadline);

	if (!err)
		err = queue_file(fd, &f);
	if (err)
		return err;
	if (!f->can_read)
		return -EBADF;
	mq = f->private;
	if (len < (size_t)mq->max_size)
		return -EMSGSIZE;
	while ((err = mq_receive(mq, &msg)) == -EAGAIN) {
		if (f->flags & O_NONBLOCK)
			return -EAGAIN;
		err = wait_message(mq, deadline);
		if (err)
			return err;
	}
	if ((uprio && put_user(uprio, msg->prio)) || copy_to_user(ubuf, msg->data, msg->len))
		return -EFAULT; /* the message is gone, as on Linux */
	return (long)msg->len;
}

SYSCALL_DEFINE2(mq_notify, int, fd, uaddr_t, uevent)
{
	struct file *__put_file f = NULL;
	struct sigevent ev;
	struct mq *mq;
	int err;

	if (uevent) {
		if (get_user(&ev, uevent))
			return -EFAULT;
		if (ev.sigev_notify != SIGEV_NONE && ev.sigev_notify != SIGEV_SIGNAL)
			return -EINVAL; /* SIGEV_THREAD needs a netlink socket */
		if (ev.sigev_notify == SIGEV_SIGNAL &&
		    (ev.sigev_signo <= 0 || ev.sigev_signo > GUEST_NSIG))
			return -EINVAL;
	}
	err = queue_file(fd, &f);
	if (err)
		return err;
	mq = f->private;
	if (!uevent) {
		mq_unnotify(mq, t->group);
		return 0;
	}
	MUTEX_GUARD(&mq->lock);
	if (mq->notify_group)
		return -EBUSY;
	mq->notify_group = group_get(t->group);
	mq->notify_user_ns = user_ns_get(t->cred->user_ns);
	mq->notify_kind = ev.sigev_notify;
	mq->notify_sig = ev.sigev_signo;
	mq->notify_value = ev.sigev_value;
	return 0;
}

SYSCALL_DEFINE3(mq_getsetattr, int, fd, uaddr_t, unew, uaddr_t, uold)
{
	struct file *__put_file f = NULL;
	struct user_mq_attr new, old = {0};
	struct mq *mq;
	int err;

	if (unew) {
		if (get_user(&new, unew))
			return -EFAULT;
		if (new.mq_flags & ~(long)O_NONBLOCK)
			return -EINVAL;
	}
	err = queue_file(fd, &f);
	if (err)
		return err;
	mq = f->private;
	mutex_lock(&mq->lock);
	old.mq_flags = f->flags & O_NONBLOCK;
	old.mq_maxmsg = mq->max_msgs;
	old.mq_msgsize = mq->max_size;
	old.mq_curmsgs = mq->count;
	mutex_unlock(&mq->lock);
	if (unew) {
		if (new.mq_flags & O_NONBLOCK)
			atomic_fetch_or(&f->flags, O_NONBLOCK);
		else
			atomic_fetch_and(&f->flags, ~(uint32_t)O_NONBLOCK);
	}
	return uold ? put_user(uold, old) : 0;
}
