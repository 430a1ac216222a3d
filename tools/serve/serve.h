/* Between the files of moat-serve. All functions may be called by several threads at once. */
#ifndef MOAT_TOOLS_SERVE_H
#define MOAT_TOOLS_SERVE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libmoat.h>

struct settings {
	struct moat_config sandbox;
	unsigned parallel;   /* sandboxes */
	unsigned sessions;   /* sandboxes more that clients may hold */
	const char *token;   /* NULL: none is asked for */
	uint64_t store_max;  /* bytes */
	uint64_t output_max; /* bytes of a stream or file, where the request does not say */
	uint64_t memory_default, time_default; /* bytes, ns */
};
extern struct settings settings;

/* sandboxes.c */
int sandboxes_init(unsigned n);
/* n of them, at most settings.parallel, for the caller alone, as new; waits until there are. 0, or
 * -errno with *err: they cannot be started. */
int sandboxes_take(struct moat **out, unsigned n, struct moat_error *err);
/* broken: it is not used again. */
void sandbox_give_back(struct moat *m, bool broken);
void sandboxes_end(void);
void sandboxes_usage(unsigned *busy, unsigned *waiting);

/* store.c */
struct stored {
	char *name, *data; /* owned by who has the copy */
	size_t size;
};
/* Takes a copy; the id is put into id[33]. -ENOSPC: there is no room. */
int store_put(const char *name, const void *data, size_t size, char *id);
/* A copy, for stored_free(); -ENOENT. */
int store_get(const char *id, struct stored *out);
int store_delete(const char *id);
void stored_free(struct stored *s);
/* {id: name}, a new reference. */
json_t *store_list(void);
void store_usage(uint64_t *bytes, unsigned *files);

/* judge.c: parts of a request */
/* A member that is a number above 0, or `otherwise`. */
uint64_t number(const json_t *object, const char *name, uint64_t otherwise);
/* Text without zeros, or NULL. */
const char *plain_text(const json_t *j);
/* A vector of the texts (the request's) of an array, NULL at the end, for free(); NULL: it is none.
 */
const char **take_strings(const json_t *array);

/* judge.c */
/* The answer to POST /run, a new reference; NULL with *error (static) when the request is not
 * valid. */
json_t *judge_run(const json_t *request, const char **error);
struct judge_counts {
	uint64_t runs, accepted, failed;
};
struct judge_counts judge_counts(void);

/* base64.c */
/* A new reference; NULL: no memory. */
json_t *base64_json(const void *data, size_t size);
/* malloc'd. NULL: it is none, or no memory. */
void *base64_decode(const char *text, size_t *size);

/* sessions.c: sandboxes that stay a client's until it gives them back. */
/* A request below /sandbox, `rest` being what follows that, `path` the query's (may be NULL). The
 * HTTP status of the answer: *answer is JSON, a new reference, or *bytes (malloc'd) a file. */
struct session_answer {
	json_t *json;
	char *bytes;
	size_t size;
};
unsigned session_request(const char *method, const char *rest, const char *path, const char *body,
			 size_t size, struct session_answer *answer);
/* A command as sessions take it, apart. */
struct session_command {
	struct moat_command command;
	const char **argv, **envp; /* owned; the strings are the request's */
	void *input;		   /* owned */
};
/* NULL, or what is wrong (static); *out is for session_command_free() either way. */
const char *session_take_command(const json_t *j, struct session_command *out);
void session_command_free(struct session_command *c);
/* A new reference. */
json_t *session_result(const struct moat_result *r);
/* The sandbox of a session, which stays until session_give_back(). NULL: there is none. */
struct session;
struct moat *session_take(const char *id, size_t length, struct session **session);
void session_give_back(struct session *session);
unsigned sessions_count(void);
void sessions_end(void);

/* page.c: HTML. */
const char *page(size_t *size);

/* http.c */
struct MHD_Daemon;
/* Serves connections of a listening socket, which it owns, until http_stop(). NULL: it cannot. */
struct MHD_Daemon *http_start(int listener);
void http_stop(struct MHD_Daemon *daemon);

#endif
