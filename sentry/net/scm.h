/*
 * Socket-level control messages (man 3 cmsg, man 7 unix): descriptors and credentials that travel
 * with data, and putting control messages into the receiver's buffer.
 */
#ifndef MOAT_SENTRY_NET_SCM_H
#define MOAT_SENTRY_NET_SCM_H

#include "sentry/kernel/core/cred.h"
#include "sentry/net/socket.h"

#define SCM_FD_MAX 253

struct pid;
struct user_quota;

/* Descriptors in a message: references of their own. */
struct scm_fds {
	TAILQ_ENTRY(scm_fds) link; /* while being freed */
	unsigned n;
	bool in_flight; /* counted by net/unix/gc.c */
	struct user_quota *quota;
	struct file *files[];
};

struct scm_cookie {
	struct scm_fds *fds; /* owned; NULL: none */
	struct pid *pid;     /* the sender's process, counted; NULL: it did not say */
	uid_t uid;	     /* -1: it did not say */
	gid_t gid;
};

/* Parses what a sender gave; without SCM_CREDENTIALS there are none. -EINVAL, -EBADF, -EPERM,
 * -ENOMEM, -ETOOMANYREFS. On success the caller owns the cookie's content. */
int scm_send(struct socket_msg *msg, struct scm_cookie *scm);
/* The current task's own credentials, where the cookie has none. */
void scm_set_current(struct scm_cookie *scm);
void scm_destroy(struct scm_cookie *scm);
/* Drops the files (those in a message by way of gc.c). */
void scm_fds_free(struct scm_fds *fds);
/* New references to the same files, for MSG_PEEK; NULL: no memory. */
struct scm_fds *scm_fds_dup(const struct scm_fds *fds);

/* Puts a control message; sets MSG_CTRUNC in msg->flags when it does not fit whole. */
void put_cmsg(struct socket_msg *msg, int level, int type, const void *data, size_t len);
/* What a receiver gets: credentials if it wants them, descriptors installed into its table.
 * Consumes the cookie's content. */
void scm_recv(struct socket *sock, struct socket_msg *msg, struct scm_cookie *scm, unsigned flags);

#endif
