/*
 * Process sync: how a program that has `moat runcext exec` run a process for it, and that command,
 *tell each other how far they are. Both ends of a socket pair carry JSON objects, one after the
 *other:
 *
 *	the command				the program that called it
 *	{"type":"execPid","pid":N}	->
 *					<-	{"type":"execPidDone"}
 *	{"type":"execStatus","exited":true,"exited_status":N}	->
 *					<-	{"type":"execStatusDone"}
 *
 * or {"type":"error","message":TEXT} from the command, in place of any of its messages, and then no
 * more. N is the number of the process on the host that stands for the one inside, and the status
 * that it exits with. Whoever finds the other end closed where it waits for a message gives up.
 *
 * What the other side sends is hostile: an object is at most PROCSYNC_MESSAGE_MAX bytes. Functions
 * return 0 or -errno: -EPIPE is the end of the other side, -EPROTO something that is no message.
 */
#ifndef MOAT_CONTROL_PROCSYNC_H
#define MOAT_CONTROL_PROCSYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PROCSYNC_ENV "_RUNCEXT_PROC_SYNC_PIPE" /* the number of the command's descriptor */
#define PROCSYNC_MESSAGE_MAX 65536

enum procsync_type {
	PROCSYNC_PID, /* pid */
	PROCSYNC_PID_DONE,
	PROCSYNC_STATUS, /* exited, exited_status */
	PROCSYNC_STATUS_DONE,
	PROCSYNC_ERROR, /* message */
};

struct procsync_message {
	enum procsync_type type;
	pid_t pid;
	bool exited;
	int exited_status;
	char message[1024]; /* one line of printable text; what is longer is cut off */
};

/* One end, with what was read and is not a whole object yet. */
struct procsync {
	int fd;	       /* owned; -1: none */
	char name[32]; /* for messages */
	char *buf;     /* owned */
	size_t len;
};

/* A new pair of ends, both closed on exec. Their names are NAME-p and NAME-c: for the parent, and
 * for the child that is to inherit it. */
int procsync_pair(const char *name, struct procsync *parent, struct procsync *child);
/* An end that was inherited; fd becomes its property. */
void procsync_init(struct procsync *p, const char *name, int fd);
/* That of the environment variable, which is removed; -ENOENT without one, -EBADF if it does not
 * name a socket. The descriptor will not be inherited. */
int procsync_from_env(struct procsync *p);
void procsync_close(struct procsync *p);

int procsync_write(struct procsync *p, const struct procsync_message *m);
/* Waits for the next message, whichever it is. */
int procsync_read(struct procsync *p, struct procsync_message *m);
/* The same, but it must be one of this type: -EREMOTEIO if it is an error (m->message says which),
 * -EPROTO if it is another. */
int procsync_expect(struct procsync *p, enum procsync_type type, struct procsync_message *m);
/* Calls fn for each message until it answers other than 0, which is returned, or the other side
 * closes its end, which is 0. */
int procsync_loop(struct procsync *p, int (*fn)(void *arg, const struct procsync_message *m),
		  void *arg);

/* One object at the start of text: 1, with its length in *used; 0: there is only a part of it yet;
 * -EPROTO: it is no message. */
int procsync_parse(const char *text, size_t len, struct procsync_message *m, size_t *used);

/* The number in a PID file, by whomever it is written: -EAGAIN while it is not whole, that is while
 * it is empty or somebody has it open for writing; -EINVAL if it holds something else; -ENOENT. */
int procsync_read_pid_file(const char *path, pid_t *pid);

#endif
