#include "boot/spec/json_bind.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"

void json_bind_init(struct json_bind *b, const char *file, char *err, size_t errlen)
{
	*b = (struct json_bind){.file = file, .err = err, .errlen = errlen};
}

void json_bind_fail(struct json_bind *b, const char *fmt, ...)
{
	char text[192];
	va_list ap;

	if (b->failed)
		return;
	b->failed = true;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(b->err, b->errlen, "%s: %s%s%s", b->file, b->path, b->path[0] ? ": " : "", text);
}

static void enter(struct json_bind *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void enter(struct json_bind *b, const char *fmt, ...)
{
	size_t len = strlen(b->path);
	va_list ap;

	if (b->depth < ARRAY_SIZE(b->depth_len))
		b->depth_len[b->depth] = len;
	b->depth++;
	va_start(ap, fmt);
	vsnprintf(b->path + len, sizeof(b->path) - len, fmt, ap);
	va_end(ap);
}

void json_bind_enter(struct json_bind *b, const char *key)
{
	enter(b, "%s%s", b->path[0] ? "." : "", key);
}

void json_bind_enter_index(struct json_bind *b, size_t index)
{
	enter(b, "[%zu]", index);
}

void json_bind_leave(struct json_bind *b)
{
	b->depth--;
	if (b->depth < ARRAY_SIZE(b->depth_len))
		b->path[b->depth_len[b->depth]] = 0;
}

/* The member if it is there and of the type; else NULL, with an error if that is one. */
static json_t *get(struct json_bind *b, json_t *obj, const char *key, bool required,
		   bool (*is_type)(const json_t *), const char *type)
{
	json_t *v = b->failed ? NULL : json_object_get(obj, key);

	if (b->failed || (!required && (!v || json_is_null(v))))
		return NULL;
	json_bind_enter(b, key);
	if (!v || json_is_null(v))
		json_bind_fail(b, "missing");
	else if (!is_type(v))
		json_bind_fail(b, "expected %s", type);
	json_bind_leave(b);
	return b->failed ? NULL : v;
}

static bool is_object(const json_t *v)
{
	return json_is_object(v);
}
static bool is_array(const json_t *v)
{
	return json_is_array(v);
}
static bool is_string(const json_t *v)
{
	return json_is_string(v);
}
static bool is_bool(const json_t *v)
{
	return json_is_boolean(v);
}
static bool is_integer(const json_t *v)
{
	return json_is_integer(v);
}
static bool is_number(const json_t *v)
{
	return json_is_number(v);
}

json_t *json_bind_object(struct json_bind *b, json_t *obj, const char *key, bool required)
{
	return get(b, obj, key, required, is_object, "an object");
}

json_t *json_bind_array(struct json_bind *b, json_t *obj, const char *key, bool required)
{
	return get(b, obj, key, required, is_array, "an array");
}

const char *json_bind_string(struct json_bind *b, json_t *obj, const char *key, bool required)
{
	json_t *v = get(b, obj, key, required, is_string, "a string");

	return v ? json_string_value(v) : NULL;
}

bool json_bind_bool(struct json_bind *b, json_t *obj, const char *key, bool fallback)
{
	json_t *v = get(b, obj, key, false, is_bool, "true or false");

	return v ? json_is_true(v) : fallback;
}

int64_t json_bind_int(struct json_bind *b, json_t *obj, const char *key, int64_t min, int64_t max,
		      int64_t fallback)
{
	json_t *v = get(b, obj, key, false, is_integer, "an integer");

	if (!v)
		return fallback;
	if (json_integer_value(v) >= min && json_integer_value(v) <= max)
		return json_integer_value(v);
	json_bind_enter(b, key);
	json_bind_fail(b, "expected an integer from %lld to %lld", (long long)min, (long long)max);
	json_bind_leave(b);
	return fallback;
}

uint64_t json_bind_uint64(struct json_bind *b, json_t *obj, const char *key, bool required)
{
	json_t *v = get(b, obj, key, required, is_number, "a number");
	double d;

	if (!v)
		return 0;
	if (json_is_integer(v) && json_integer_value(v) >= 0)
		return json_integer_value(v);
	d = json_number_value(v);
	if (d >= 0x1p63 && d <= 0x1p64)
		return d == 0x1p64 ? UINT64_MAX : (uint64_t)d;
	json_bind_enter(b, key);
	json_bind_fail(b, "expected an integer from 0 to 18446744073709551615");
	json_bind_leave(b);
	return 0;
}

static void check_string(struct json_bind *b, json_t *v, bool absolute)
{
	if (!json_is_string(v))
		json_bind_fail(b, "expected a string");
	else if (absolute && json_string_value(v)[0] != '/')
		json_bind_fail(b, "expected an absolute path");
}

char **json_bind_strings(struct json_bind *b, json_t *obj, const char *key, bool required,
			 bool absolute)
{
	json_t *array = json_bind_array(b, obj, key, required), *v;
	char **strings;
	size_t i;

	if (!array)
		return NULL;
	strings = calloc(json_array_size(array) + 1, sizeof(char *));
	json_bind_enter(b, key);
	if (!strings)
		json_bind_fail(b, "out of memory");
	json_array_foreach(array, i, v)
	{
		if (b->failed)
			break;
		json_bind_enter_index(b, i);
		check_string(b, v, absolute);
		if (!b->failed && !(strings[i] = strdup(json_string_value(v))))
			json_bind_fail(b, "out of memory");
		json_bind_leave(b);
	}
	json_bind_leave(b);
	if (!b->failed)
		return strings;
	for (char **s = strings; s && *s; s++)
		free(*s);
	free(strings);
	return NULL;
}
