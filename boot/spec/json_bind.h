/*
 * Reading a JSON document into structures with checks: every getter knows where in the document it
 * is, so that errors say "config.json: process.args[0]: expected a string". The first error sticks;
 * after it every getter answers as if the value were absent, so callers need to look only at the
 * end.
 */
#ifndef MOAT_BOOT_JSON_BIND_H
#define MOAT_BOOT_JSON_BIND_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_bind {
	const char *file; /* name for messages */
	char path[256];	  /* where we are, "" at the top; cut off when deeper */
	size_t depth_len[16];
	unsigned depth;
	bool failed;
	char *err;
	size_t errlen;
};

void json_bind_init(struct json_bind *b, const char *file, char *err, size_t errlen);
/* Fails with a message about the place where we are. */
void json_bind_fail(struct json_bind *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Goes into a member or an element of what we are at, and back out. */
void json_bind_enter(struct json_bind *b, const char *key);
void json_bind_enter_index(struct json_bind *b, size_t index);
void json_bind_leave(struct json_bind *b);

/* Members of obj (which may be NULL: absent). Absent or null values give NULL or the default,
 * `required` ones an error. What they return belongs to the document. */
json_t *json_bind_object(struct json_bind *b, json_t *obj, const char *key, bool required);
json_t *json_bind_array(struct json_bind *b, json_t *obj, const char *key, bool required);
const char *json_bind_string(struct json_bind *b, json_t *obj, const char *key, bool required);
bool json_bind_bool(struct json_bind *b, json_t *obj, const char *key, bool fallback);
/* An integer from min to max. */
int64_t json_bind_int(struct json_bind *b, json_t *obj, const char *key, int64_t min, int64_t max,
		      int64_t fallback);
/* An rlimit's kind of number: 0 to 2^64 - 1, which JSON libraries may carry as a real. */
uint64_t json_bind_uint64(struct json_bind *b, json_t *obj, const char *key, bool required);
/* A copy of an array of strings, NULL-terminated; NULL if absent or on error. `absolute`: each must
 * begin with a slash. The caller frees strings and vector. */
char **json_bind_strings(struct json_bind *b, json_t *obj, const char *key, bool required,
			 bool absolute);

#endif
