/* Descriptors and credentials in control messages. */
#include "sentry/net/scm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/core/user_quota.h"
#include "sentry/kernel/task/task.h"
#include "sentry/net/net_upcalls.h"

struct scm_fds *scm_fds_dup(const struct scm_fds *fds)
{
	struct scm_fds *copy = calloc(1, sizeof(*copy) + fds->n * sizeof(copy->files[0]));

	if (!copy)
		return NULL;
	copy->n = fds->n;
	for (unsigned i = 0; i < fds->n; i++)
		copy->files[i] = file_get(fds->files[i]);
	return copy;
}

static int parse_rights(struct scm_cookie *scm, const int *fds, size_t n)
{
	struct scm_fds *all;
	unsigned have = scm->fds ? scm->fds->n : 0;

	if (n > SCM_FD_MAX || have + n > SCM_FD_MAX)
		return -EINVAL;
	if (!n)
		return 0;
	all = realloc(scm->fds, sizeof(*all) + (have + n) * sizeof(all->files[0]));
	if (!all)
		return -ENOMEM;
	if (!scm->fds)
		memset(all, 0, sizeof(*all));
	scm->fds = all;
	for (size_t i = 0; i < n; i++) {
		/* O_PATH descriptors may be passed, too. */
		struct file *f = fds[i] < 0 ? NULL : fd_get_raw(fds[i]);

		if (!f)
			return -EBADF;
		all->files[all->n++] = f;
	}
	return 0;
}

static int parse_credentials(struct scm_cookie *scm, const struct ucred *claim)
{
	const struct cred *cred = current->cred;
	uid_t uid = make_kuid(claim->uid);
	gid_t gid = make_kgid(claim->gid);
	struct pid *pid;

	if (uid == INVALID_ID || gid == INVALID_ID)
		return -EINVAL;
	if (claim->pid != task_tgid(current) &&
	    !ns_capable(task_pid_ns(current)->user_ns, CAP_SYS_ADMIN))
		return -EPERM;
	if (uid != cred->uid && uid != cred->euid && uid != cred->suid &&
	    !own_ns_capable(CAP_SETUID))
		return -EPERM;
	if (gid != cred->gid && gid != cred->egid && gid != cred->sgid &&
	    !own_ns_capable(CAP_SETGID))
		return -EPERM;
	pid = pid_find(task_pid_ns(current), claim->pid);
	if (!pid)
		return -ESRCH;
	if (scm->pid)
		pid_put(scm->pid);
	scm->pid = pid;
	scm->uid = uid;
	scm->gid = gid;
	return 0;
}

static int parse_control(struct scm_cookie *scm, const char *p, size_t left)
{
	while (left >= sizeof(struct cmsghdr)) {
		struct cmsghdr hdr;
		const char *data = p + CMSG_ALIGN(sizeof(hdr));
		size_t step, len;
		int ret = 0;

		memcpy(&hdr, p, sizeof(hdr));
		if (hdr.cmsg_len < sizeof(hdr) || hdr.cmsg_len > left)
			return -EINVAL;
		len = hdr.cmsg_len - CMSG_ALIGN(sizeof(hdr));
		if (hdr.cmsg_level == SOL_SOCKET && hdr.cmsg_type == SCM_RIGHTS) {
			int fds[SCM_FD_MAX];

			if (len / sizeof(int) > SCM_FD_MAX)
				return -EINVAL;
			memcpy(fds, data, len / sizeof(int) * sizeof(int));
			ret = parse_rights(scm, fds, len / sizeof(int));
		} else if (hdr.cmsg_level == SOL_SOCKET && hdr.cmsg_type == SCM_CREDENTIALS) {
			struct ucred claim;

			if (len != sizeof(claim))
				return -EINVAL;
			memcpy(&claim, data, sizeof(claim));
			ret = parse_credentials(scm, &claim);
		} else if (hdr.cmsg_level == SOL_SOCKET) {
			ret = -EINVAL;
		}
		if (ret)
			return ret;
		step = CMSG_ALIGN(hdr.cmsg_len);
		if (step >= left)
			break;
		p += step;
		left -= step;
	}
	return 0;
}

int scm_send(struct socket_msg *msg, struct scm_cookie *scm)
{
	int ret = 0;

	scm->fds = NULL;
	scm->pid = NULL;
	scm->uid = (uid_t)-1;
	scm->gid = (gid_t)-1;
	if (msg->control_in_len)
		ret = parse_control(scm, msg->control_in, msg->control_in_len);
	if (!ret && scm->fds)
		ret = unix_fds_charge(scm->fds);
	if (ret)
		scm_destroy(scm);
	return ret;
}

void scm_set_current(struct scm_cookie *scm)
{
	scm->pid = pid_get(current->group->tgid);
	scm->uid = current->cred->uid;
	scm->gid = current->cred->gid;
}

void scm_destroy(struct scm_cookie *scm)
{
	if (scm->fds)
		scm_fds_free(scm->fds);
	if (scm->pid)
		pid_put(scm->pid);
	scm->fds = NULL;
	scm->pid = NULL;
}

void put_cmsg(struct socket_msg *msg, int level, int type, const void *data, size_t len)
{
	struct cmsghdr hdr = {.cmsg_level = level, .cmsg_type = type};
	size_t whole = CMSG_LEN(len), padded;
	char buf[256];

	if (!msg->control || msg->control_space < sizeof(hdr)) {
		msg->flags |= MSG_CTRUNC;
		return;
	}
	if (whole > sizeof(buf))
		return;
	if (msg->control_space < whole) {
		msg->flags |= MSG_CTRUNC;
		whole = msg->control_space;
	}
	hdr.cmsg_len = whole;
	memcpy(buf, &hdr, sizeof(hdr));
	memcpy(buf + CMSG_ALIGN(sizeof(hdr)), data, whole - CMSG_ALIGN(sizeof(hdr)));
	if (copy_to_user(msg->control, buf, whole)) {
		msg->flags |= MSG_CTRUNC;
		return;
	}
	padded = MIN(CMSG_SPACE(len), msg->control_space);
	msg->control += padded;
	msg->control_space -= padded;
	msg->control_used += padded;
}

/* Installs what fits into the receiver's buffer, drops the rest. */
static void receive_fds(struct socket_msg *msg, struct scm_fds *fds, bool cloexec)
{
	struct cmsghdr hdr = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	size_t room = 0, padded;
	int numbers[SCM_FD_MAX];
	unsigned n = 0;

	if (msg->control && msg->control_space >= sizeof(hdr))
		room = (msg->control_space - sizeof(hdr)) / sizeof(int);
	for (; n < fds->n && n < room; n++) {
		int fd = fd_install(file_get(fds->files[n]), cloexec);

		if (fd < 0) {
			file_put(fds->files[n]);
			break;
		}
		numbers[n] = fd;
	}
	if (n < fds->n)
		msg->flags |= MSG_CTRUNC;
	if (n) {
		hdr.cmsg_len = CMSG_LEN(n * sizeof(int));
		if (copy_to_user(msg->control, &hdr, sizeof(hdr)) ||
		    copy_to_user(msg->control + sizeof(hdr), numbers, n * sizeof(int))) {
			for (unsigned i = 0; i < n; i++)
				fd_close(current->files, numbers[i]);
			msg->flags |= MSG_CTRUNC;
		} else {
			padded = MIN(CMSG_SPACE(n * sizeof(int)), msg->control_space);
			msg->control += padded;
			msg->control_space -= padded;
			msg->control_used += padded;
		}
	}
}

void scm_recv(struct socket *sock, struct socket_msg *msg, struct scm_cookie *scm, unsigned flags)
{
	if (sock->passcred && msg->control) {
		struct ucred cred = {.uid = uid_shown_here(scm->uid),
				     .gid = gid_shown_here(scm->gid)};

		if (scm->pid)
			cred.pid = pid_nr_ns(scm->pid, task_pid_ns(current));
		put_cmsg(msg, SOL_SOCKET, SCM_CREDENTIALS, &cred, sizeof(cred));
	} else if (sock->passcred) {
		msg->flags |= MSG_CTRUNC;
	}
	if (scm->fds)
		receive_fds(msg, scm->fds, flags & MSG_CMSG_CLOEXEC);
	scm_destroy(scm);
}
