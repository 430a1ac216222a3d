/* A program that runs, for run.c and terminal.c. */
#ifndef MOAT_LIB_RUN_INTERNAL_H
#define MOAT_LIB_RUN_INTERNAL_H

#include <poll.h>

#include "lib/internal.h"

/* A collected stream. */
struct stream {
	int fd; /* the pipe's end that is read; -1: none, or at its end */
	char *data;
	size_t size, room;
	int truncated;
};

struct moat_run {
	struct moat *m;
	struct control_client *client; /* for this run alone */
	int pid;
	int cancel_fd; /* an eventfd: moat_cancel() */
	int input_fd;  /* the pipe's end that is written; -1: none */
	char *input;   /* owned copy */
	size_t input_size, input_done;
	struct stream streams[2];
	uint64_t collected, output_limit;
	size_t output_max;
	moat_output_fn output;
	void *arg;
	enum moat_status killed_for; /* MOAT_EXITED: it has not been */
	int64_t give_up;	     /* monotonic; 0: never */
	bool at_end;		     /* the connection can be used again */
	struct pollfd polls[5];
	int terminal_fd;   /* the caller's side; -1: none */
	int terminal_peer; /* the program's, until that has it */
	uint64_t *calls;   /* ncalls system calls by number; owned */
	size_t ncalls;
};

/* terminal.c: makes one for the run; the program's side is run->terminal_peer. 0 or -errno. */
int terminal_open(struct moat_run *run, const struct moat_command *c);

#endif
