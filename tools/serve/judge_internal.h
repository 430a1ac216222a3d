/* A command of POST /run or GET /stream, for command.c, judge.c, pipes.c and stream.c. */
#ifndef MOAT_TOOLS_SERVE_JUDGE_INTERNAL_H
#define MOAT_TOOLS_SERVE_JUDGE_INTERNAL_H

#include <pthread.h>

#include "serve.h"

#define COMMANDS_MAX 16
#define FILES_MAX 16 /* descriptors that a command may have */

/* What a descriptor of the program is. */
enum file_kind {
	FILE_NULL,    /* /dev/null, or what a pipe mapping says */
	FILE_INPUT,   /* `data` */
	FILE_COLLECT, /* output, kept under `name` */
	FILE_STREAM,  /* a client's, over /stream */
	FILE_PIPE,    /* `fd`, an end of a mapped pipe */
};

struct cmd_file {
	enum file_kind kind;
	struct stored data; /* owned */
	const char *name;   /* the request's */
	uint64_t max;
	int fd;		     /* owned; what the program gets, if it is not libmoat's to make; -1 */
	struct mover *mover; /* owned: collects what comes through fd; or NULL */
};

/* A command, taken apart; strings are the request's. */
struct work {
	const json_t *cmd;
	const char **argv, **envp; /* owned vectors */
	struct moat_command command;
	struct cmd_file files[FILES_MAX];
	size_t nfiles;
	bool tty;
	int extra[FILES_MAX];
	uint64_t copy_out_max;
};

/* command.c: NULL, or what is wrong (static); *w is for work_free() either way. stream: files may
 * be a client's. */
const char *take_command(const json_t *cmd, bool stream, struct work *w);
void work_free(struct work *w);
/* {"content": text} or {"fileId": id}; a copy. -EINVAL: neither (src is a path of the host's). */
int take_file(const json_t *j, struct stored *out);
/* Makes the descriptors that libmoat is to pass. 0 or -errno. */
int work_open(struct work *w);
/* They have been passed, or will not be. */
void work_close(struct work *w);

/* pipes.c: a thread that reads until nobody writes any more, keeps the first `max` bytes and writes
 * all to `out`, if that is not -1, as long as somebody reads. Owns both. NULL: it cannot. */
struct mover *mover_start(int in, int out, uint64_t max);
/* Who wrote has ended: takes what is there still, and joins the thread. *data is malloc'd; *over:
 * there was more. */
void mover_end(struct mover *m, char **data, size_t *size, bool *over);
/* A pipe whose ends are above 2. 0 or -errno. */
int make_pipe(int *reader, int *writer);
/* pipeMapping: connects the commands. NULL, or what is wrong (static). *proxies is NULL or
 * malloc'd, one for each mapping, some without a mover. */
struct proxy {
	struct mover *mover;
	const char *name; /* the request's; NULL: nothing is kept */
	unsigned index;	  /* whose answer has it */
};
const char *map_pipes(const json_t *mapping, struct work *works, size_t n, struct proxy **proxies);

/* judge.c */
/* Files in; NULL: it is ready, or the answer: an internal error. */
json_t *judge_prepare(struct moat *m, const struct work *w);
/* The answer for a command that has ended: 0 and *r, or what moat_wait() has said. Consumes *r. */
json_t *judge_finish(struct moat *m, struct work *w, int ret, struct moat_result *r,
		     const struct moat_error *err);
json_t *internal_error(const char *text);

#endif
