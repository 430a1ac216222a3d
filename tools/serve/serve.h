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
	const char *token;   /* NULL: none is asked for */
	uint64_t store_max;  /* bytes */
	uint64_t output_max; /* bytes of a stream or file, where the request does not say */
	uint64_t memory_default, time_default; /* bytes, ns */
};
extern struct settings settings;

/* sandboxes.c */
int sandboxes_init(unsigned n);
/* One for the caller alone, as new; waits until there is one. NULL: none can be started, *err. */
struct moat *sandbox_take(struct moat_error *err);
/* broken: it is not used again. */
void sandbox_give_back(struct moat *m, bool broken);
void sandboxes_end(void);

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

/* judge.c */
/* The answer to POST /run, a new reference; NULL with *error (static) when the request is not
 * valid. */
json_t *judge_run(const json_t *request, const char **error);
struct judge_counts {
	uint64_t runs, accepted, failed;
};
struct judge_counts judge_counts(void);

/* http.c */
struct MHD_Daemon;
/* Serves connections of a listening socket, which it owns, until http_stop(). NULL: it cannot. */
struct MHD_Daemon *http_start(int listener);
void http_stop(struct MHD_Daemon *daemon);

#endif
