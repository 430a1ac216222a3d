/* moat state, list: what there is. */
#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "tools/moat/bundle.h"

static int run_state(const struct cli_options *options, int argc, char **argv)
{
	struct state s = {0};
	char *__free text = NULL;
	json_t *j;
	int ret;

	if (argc != 2)
		return cli_fail("state: %s (see 'moat help state')",
				argc < 2 ? "no container id given" : "one id only");
	ret = load_container(options, argv[1], &s);
	if (ret)
		return ret;
	j = state_to_oci(&s, state_status(&s), true);
	text = j ? json_dumps(j, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
	json_decref(j);
	state_free(&s);
	if (!text)
		return cli_fail("state: %s", strerror(ENOMEM));
	fputs(text, stdout);
	return 0;
}

const struct cli_command cli_state = {
	.name = "state",
	.usage = "ID",
	.summary = "Print a container's state as JSON",
	.run = run_state,
};

/* --- list ------------------------------------------------------------------------------------- */

/* From the host's /etc/passwd: other sources of names would need libraries at run time. */
static const char *owner_name(uid_t uid)
{
	static char name[64];
	FILE *f = fopen("/etc/passwd", "re");
	const struct passwd *pw;
	bool found = false;

	while (f && !found && (pw = fgetpwent(f))) {
		found = pw->pw_uid == uid;
		if (found)
			snprintf(name, sizeof(name), "%s", pw->pw_name);
	}
	if (f)
		fclose(f);
	if (!found)
		snprintf(name, sizeof(name), "#%u", uid);
	return name;
}

enum list_format { LIST_TABLE, LIST_JSON, LIST_QUIET };

struct row {
	char id[260], pid[16], status[16], created[64], owner[64];
	char *bundle;
};

static void fill_row(const struct state *s, struct row *r)
{
	enum state_status status = state_status(s);

	snprintf(r->id, sizeof(r->id), "%s", s->id);
	snprintf(r->pid, sizeof(r->pid), "%d", status == STATUS_STOPPED ? 0 : s->pid);
	snprintf(r->status, sizeof(r->status), "%s", state_status_name(status));
	format_time(s->created_ns, r->created, sizeof(r->created));
	snprintf(r->owner, sizeof(r->owner), "%s", owner_name(s->owner));
	r->bundle = strdup(s->bundle);
}

static int wider(int width, const char *text)
{
	int n = text ? (int)strlen(text) + 3 : 0;

	return n > width ? n : width;
}

/* Columns of at least twelve, three spaces between, as Go's tabwriter makes them for runc. */
static void print_table(const struct row *rows, size_t n)
{
	int id = 12, pid = 12, status = 12, bundle = 12, created = 12;

	for (size_t i = 0; i < n; i++) {
		id = wider(id, rows[i].id);
		pid = wider(pid, rows[i].pid);
		status = wider(status, rows[i].status);
		bundle = wider(bundle, rows[i].bundle);
		created = wider(created, rows[i].created);
	}
	printf("%-*s%-*s%-*s%-*s%-*s%s\n", id, "ID", pid, "PID", status, "STATUS", bundle, "BUNDLE",
	       created, "CREATED", "OWNER");
	for (size_t i = 0; i < n; i++)
		printf("%-*s%-*s%-*s%-*s%-*s%s\n", id, rows[i].id, pid, rows[i].pid, status,
		       rows[i].status, bundle, rows[i].bundle ? rows[i].bundle : "", created,
		       rows[i].created, rows[i].owner);
}

static void add_json(json_t *list, const struct state *s)
{
	json_t *j = state_to_oci(s, state_status(s), true);

	if (!j)
		return;
	json_object_set_new(j, "owner", json_string(owner_name(s->owner)));
	json_array_append_new(list, j);
}

static int print_list(const struct cli_options *options, enum list_format format)
{
	char **names = state_list(options->root);
	json_t *list = json_array();
	struct row *rows = NULL;
	size_t n = 0;

	for (char **name = names; name && *name; name++) {
		struct state s;
		struct row *grown;

		/* One that is just being made or removed. */
		if (state_load(options->root, *name, &s))
			continue;
		if (format == LIST_JSON)
			add_json(list, &s);
		else if (format == LIST_QUIET)
			puts(s.id);
		else if ((grown = realloc(rows, (n + 1) * sizeof(*rows)))) {
			rows = grown;
			fill_row(&s, &rows[n++]);
		}
		state_free(&s);
	}
	if (format == LIST_TABLE)
		print_table(rows, n);
	if (format == LIST_JSON) {
		char *__free text =
			json_array_size(list) ? json_dumps(list, JSON_COMPACT) : strdup("null");

		fputs(text ? text : "null", stdout);
	}
	json_decref(list);
	for (size_t i = 0; i < n; i++)
		free(rows[i].bundle);
	free(rows);
	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
	return 0;
}

static int run_list(const struct cli_options *options, int argc, char **argv)
{
	static const struct option flags[] = {
		{"format", required_argument, NULL, 'f'},
		{"quiet", no_argument, NULL, 'q'},
		{0},
	};
	enum list_format format = LIST_TABLE;
	int c;

	while ((c = getopt_long(argc, argv, "+:f:q", flags, NULL)) != -1) {
		if (c == 'q') {
			format = LIST_QUIET;
		} else if (c == 'f' && !strcmp(optarg, "json")) {
			format = LIST_JSON;
		} else if (c == 'f' && !strcmp(optarg, "table")) {
			format = LIST_TABLE;
		} else if (c == 'f') {
			return cli_fail("invalid format option");
		} else {
			cli_bad_flag("list", argv, c);
			return EXIT_CLI_FAILED;
		}
	}
	if (optind != argc)
		return cli_fail("list: too many arguments (see 'moat help list')");
	return print_list(options, format);
}

const struct cli_command cli_list = {
	.name = "list",
	.usage = "[--format table|json] [--quiet]",
	.summary = "List the containers below --root",
	.flags = "  --format FORMAT, -f     table (default) or json\n"
		 "  --quiet, -q             the ids only\n",
	.run = run_list,
};
