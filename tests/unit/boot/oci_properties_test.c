/* Every example of boot/oci/oci_properties.def is read as the table says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/log.h"
#include "boot/oci/oci_host.h"

enum support { DONE, PART, IGNORED, REFUSED };

static const struct property {
	const char *path, *example;
	enum support support;
	const char *note;
} properties[] = {
#define PROPERTY(path, example, support, note) {path, example, support, note},
#include "boot/oci/oci_properties.def"
#undef PROPERTY
};

#define N (sizeof(properties) / sizeof(properties[0]))

static const char minimal[] = "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"rootfs\"},"
			      "\"process\":{\"cwd\":\"/\",\"args\":[\"sh\"]}}";

/* What else an example needs in order to be a valid document. */
static void complete(json_t *config, const char *path)
{
	json_t *caps = json_object_get(json_object_get(config, "process"), "capabilities");
	json_t *mount = json_array_get(json_object_get(config, "mounts"), 0);

	if (caps)
		for (unsigned i = 0; i < 4; i++) {
			static const char *const sets[] = {"bounding", "permitted", "inheritable",
							   "effective"};

			if (!json_object_get(caps, sets[i]))
				json_object_set_new(caps, sets[i], json_pack("[s]", "CAP_KILL"));
		}
	if (mount) {
		if (!json_object_get(mount, "destination"))
			json_object_set_new(mount, "destination", json_string("/m"));
		if (!json_object_get(mount, "type") && !json_object_get(mount, "source"))
			json_object_set_new(mount, "type", json_string("tmpfs"));
		else if (!json_object_get(mount, "type"))
			json_object_set_new(mount, "type", json_string("bind"));
	}
	(void)path;
}

/* The minimal document with the example at its place. */
static char *document(const struct property *p)
{
	json_t *config = json_loads(minimal, 0, NULL), *at = config;
	json_t *value = json_loads(p->example, JSON_DECODE_ANY, NULL);
	char *copy = strdup(p->path), *rest = copy, *name, *text;

	assert_non_null(value);
	while ((name = strsep(&rest, "."))) {
		size_t n = strlen(name);
		bool array = n > 2 && !strcmp(name + n - 2, "[]");
		json_t *next;

		if (!rest) {
			json_object_set(at, name, value);
			break;
		}
		if (array)
			name[n - 2] = 0;
		next = json_object_get(at, name);
		if (!next) {
			next = array ? json_pack("[{}]") : json_object();
			json_object_set_new(at, name, next);
		}
		at = array ? json_array_get(next, 0) : next;
	}
	complete(config, p->path);
	text = json_dumps(config, 0);
	json_decref(value);
	json_decref(config);
	free(copy);
	return text;
}

static void examples_are_read_as_the_table_says(void **state)
{
	unsigned wrong = 0;

	log_set_level(LOG_LEVEL_ERROR);
	for (unsigned i = 0; i < N; i++) {
		const struct property *p = &properties[i];
		char *text = document(p), err[512] = "";
		struct oci_host host = {0};
		struct sandbox_spec spec;
		int ret;

		spec_init(&spec);
		ret = oci_parse_with_host(text, strlen(text), &spec, &host, err, sizeof(err));
		if (!!ret != (p->support == REFUSED)) {
			print_error("%s: %s: %s\n", p->path, text, ret ? err : "accepted");
			wrong++;
		}
		oci_host_free(&host);
		spec_free(&spec);
		free(text);
	}
	assert_int_equal(wrong, 0);
}

/* What is done reads its value: one of another kind is refused. */
static void what_is_done_refuses_another_type(void **state)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < N; i++) {
		struct property p = properties[i];
		char *text, err[512] = "";
		struct oci_host host = {0};
		struct sandbox_spec spec;

		/* Limits are the control groups' to judge. */
		if (p.support != DONE || strstr(p.path, "resources"))
			continue;
		p.example =
			*p.example == '"' || *p.example == '[' || *p.example == '{' ? "7" : "\"x\"";
		text = document(&p);
		spec_init(&spec);
		if (!oci_parse_with_host(text, strlen(text), &spec, &host, err, sizeof(err))) {
			print_error("%s: %s is accepted\n", p.path, text);
			wrong++;
		}
		oci_host_free(&host);
		spec_free(&spec);
		free(text);
	}
	assert_int_equal(wrong, 0);
}

static void notes_say_what_is_missing(void **state)
{
	for (unsigned i = 0; i < N; i++)
		if (properties[i].support == PART || properties[i].support == REFUSED)
			assert_true(*properties[i].note);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(examples_are_read_as_the_table_says),
		cmocka_unit_test(what_is_done_refuses_another_type),
		cmocka_unit_test(notes_say_what_is_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
