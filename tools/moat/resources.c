/* moat pause, resume, update, events: a container and its control groups. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/compiler.h"
#include "boot/host/cgroup.h"
#include "tools/moat/bundle.h"

#define CALL_MS 30000

/* --- pause, resume ---------------------------------------------------------------------------- */

static int call_pause(const struct cli_options *options, const struct state *s, bool pause)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__ContainerName name = MOAT__CONTAINER_NAME__INIT;
	struct control_client *client;
	struct control_error err;
	int ret = connect_container(options, s, &client);

	if (ret)
		return cli_fail("container not running");
	name.id = s->id;
	request.call_case = pause ? MOAT__REQUEST__CALL_PAUSE : MOAT__REQUEST__CALL_RESUME;
	request.pause = &name; /* resume's is of the same type */
	ret = control_client_call(client, &request, NULL, 0, CALL_MS, NULL, &err);
	control_client_free(client);
	return ret ? cli_fail("%s", err.text) : 0;
}

static int freeze_locked(const struct cli_options *options, struct state *s, bool pause)
{
	enum state_status status = state_status(s);
	int ret;

	if (pause && status != STATUS_RUNNING)
		return cli_fail("container not running");
	if (!pause && status != STATUS_PAUSED)
		return cli_fail("container not paused");
	ret = call_pause(options, s, pause);
	if (ret)
		return ret;
	s->status = pause ? STATUS_PAUSED : STATUS_RUNNING;
	ret = state_save(options->root, s);
	/* It goes on; it may have ended since, and whoever ran it has deleted it. */
	if (!pause && ret == -ENOENT)
		return 0;
	return ret ? cli_fail("cannot save the state: %s", strerror(-ret)) : 0;
}

static int freeze(const struct cli_options *options, int argc, char **argv, bool pause)
{
	int __close_fd lock = -1;
	struct state s = {0};
	int ret;

	if (argc != 2)
		return cli_fail("%s: one container id is needed (see 'moat help %s')", argv[0],
				argv[0]);
	ret = lock_container(options, argv[1], &lock, &s);
	if (!ret)
		ret = freeze_locked(options, &s, pause);
	state_free(&s);
	return ret;
}

static int run_pause(const struct cli_options *options, int argc, char **argv)
{
	return freeze(options, argc, argv, true);
}

static int run_resume(const struct cli_options *options, int argc, char **argv)
{
	return freeze(options, argc, argv, false);
}

const struct cli_command cli_pause = {
	.name = "pause",
	.usage = "ID",
	.summary = "Stop all processes of a container",
	.run = run_pause,
};

const struct cli_command cli_resume = {
	.name = "resume",
	.usage = "ID",
	.summary = "Let a paused container go on",
	.run = run_resume,
};

/* --- update ----------------------------------------------------------------------------------- */

enum { UPDATE_NUMBER = 1000 };

struct update_flag {
	const char *name, *object, *key;
	bool text;
};
static const struct update_flag update_table[] = {
	{"memory", "memory", "limit", false},
	{"memory-swap", "memory", "swap", false},
	{"memory-reservation", "memory", "reservation", false},
	{"cpu-period", "cpu", "period", false},
	{"cpu-quota", "cpu", "quota", false},
	{"cpu-share", "cpu", "shares", false},
	{"cpuset-cpus", "cpu", "cpus", true},
	{"cpuset-mems", "cpu", "mems", true},
	{"pids-limit", "pids", "limit", false},
};

static json_t *member(json_t *object, const char *key)
{
	json_t *m = json_object_get(object, key);

	if (!m) {
		m = json_object();
		json_object_set_new(object, key, m);
	}
	return m;
}

static int take_update(json_t *resources, const struct update_flag *f, const char *value)
{
	json_t *object = member(resources, f->object);
	uint64_t bytes;
	char *end;
	long long n;

	if (f->text) {
		json_object_set_new(object, f->key, json_string(value));
		return 0;
	}
	n = strtoll(value, &end, 10);
	if (*end || !*value) {
		if (strcmp(f->object, "memory") || !parse_size(value, &bytes) || bytes > LLONG_MAX)
			return cli_fail("update: --%s must be a number: %s", f->name, value);
		n = (long long)bytes;
	}
	json_object_set_new(object, f->key, json_integer(n));
	return 0;
}

static int read_resources(const char *path, json_t **out)
{
	json_error_t where;

	json_decref(*out);
	*out = strcmp(path, "-") ? json_load_file(path, JSON_REJECT_DUPLICATES, &where)
				 : json_loadf(stdin, JSON_REJECT_DUPLICATES, &where);
	if (!json_is_object(*out))
		return cli_fail("update: %s: %s", path, *out ? "expected an object" : where.text);
	return 0;
}

static bool find_limit(json_t *resources, const char *object, json_int_t *limit)
{
	json_t *v = json_object_get(json_object_get(resources, object), "limit");

	*limit = json_integer_value(v);
	return json_is_integer(v) && *limit;
}

/* The limits that are the sandbox's to keep: its host processes are not the container's threads. */
static int update_sandbox(const struct cli_options *options, const struct state *s,
			  json_t *resources)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__Update u = MOAT__UPDATE__INIT;
	struct control_client *client;
	struct control_error err;
	json_int_t pids, memory;
	int ret;

	u.set_pids_max = find_limit(resources, "pids", &pids);
	u.pids_max = pids > 0 ? (uint64_t)pids : 0;
	/* That of the sandbox: of a container in another one's only its control group has one. */
	u.set_memory_limit = find_limit(resources, "memory", &memory) && memory > 0 &&
			     !strcmp(s->id, s->sandbox);
	u.memory_limit = (uint64_t)memory;
	if (!u.set_pids_max && !u.set_memory_limit)
		return 0;
	ret = connect_container(options, s, &client);
	if (ret)
		return cli_fail("container not running");
	u.id = s->id;
	request.call_case = MOAT__REQUEST__CALL_UPDATE;
	request.update = &u;
	ret = control_client_call(client, &request, NULL, 0, CALL_MS, NULL, &err);
	/* One that began without a limit: its control group has it. */
	if (ret == -EOPNOTSUPP && u.set_memory_limit) {
		u.set_memory_limit = false;
		ret = control_client_call(client, &request, NULL, 0, CALL_MS, NULL, &err);
	}
	control_client_free(client);
	return ret ? cli_fail("update: %s", err.text) : 0;
}

static int update(const struct cli_options *options, const char *id, json_t *resources)
{
	int __close_fd lock = -1;
	struct state s = {0};
	char err[512];
	int ret = lock_container(options, id, &lock, &s);

	if (!ret && state_status(&s) == STATUS_STOPPED)
		ret = cli_fail("container not running");
	if (!ret && cgroup_set(s.cgroups, resources, err, sizeof(err)))
		ret = cli_fail("update: %s", err);
	if (!ret)
		ret = update_sandbox(options, &s, resources);
	state_free(&s);
	return ret;
}

static int run_update(const struct cli_options *options, int argc, char **argv)
{
	struct option flags[ARRAY_SIZE(update_table) + 4] = {{0}};
	json_t *resources = json_object();
	unsigned n = 0;
	int c, ret = resources ? 0 : cli_fail("update: %s", strerror(ENOMEM));

	for (; n < ARRAY_SIZE(update_table); n++)
		flags[n] = (struct option){update_table[n].name, required_argument, NULL,
					   UPDATE_NUMBER + (int)n};
	flags[n++] = (struct option){"resources", required_argument, NULL, 'r'};
	while (!ret && (c = getopt_long(argc, argv, "+:r:", flags, NULL)) != -1) {
		if (c == 'r') {
			ret = read_resources(optarg, &resources);
		} else if (c >= UPDATE_NUMBER) {
			ret = take_update(resources, &update_table[c - UPDATE_NUMBER], optarg);
		} else {
			cli_bad_flag("update", argv, c);
			ret = EXIT_CLI_FAILED;
		}
	}
	if (!ret && argc - optind != 1)
		ret = cli_fail("update: one container id is needed (see 'moat help update')");
	if (!ret)
		ret = update(options, argv[optind], resources);
	json_decref(resources);
	return ret;
}

const struct cli_command cli_update = {
	.name = "update",
	.usage = "[flags] ID",
	.summary = "Change the limits of a container's control groups",
	.flags = "  --resources FILE, -r    config.json's resources; - is standard input\n"
		 "  --memory BYTES, --memory-swap, --memory-reservation\n"
		 "  --cpu-period, --cpu-quota, --cpu-share, --cpuset-cpus, --cpuset-mems\n"
		 "  --pids-limit N          threads; less than 1: as many as it likes\n",
	.run = run_update,
};

/* --- events ----------------------------------------------------------------------------------- */

static json_t *value_of(json_t *dirs, const char *v1, const char *v2)
{
	unsigned long long n;

	if (!cgroup_read(dirs, v1, &n) && !(v2 && cgroup_read(dirs, v2, &n)))
		n = 0;
	return json_integer((json_int_t)(n > LLONG_MAX ? LLONG_MAX : n));
}

/* "key N" lines as an object. */
static json_t *table_of(json_t *dirs, const char *file)
{
	char text[8192], *rest = text, *line, key[64];
	json_t *out = json_object();
	unsigned long long n;

	if (cgroup_read_text(dirs, file, text, sizeof(text)))
		while ((line = strsep(&rest, "\n")))
			if (sscanf(line, "%63s %llu", key, &n) == 2)
				json_object_set_new(out, key, json_integer((json_int_t)n));
	return out;
}

static json_t *percpu(json_t *dirs)
{
	char text[8192], *rest = text, *word;
	json_t *out = json_array();

	if (cgroup_read_text(dirs, "cpuacct.usage_percpu", text, sizeof(text)))
		while ((word = strsep(&rest, " \n")))
			if (*word)
				json_array_append_new(out, json_integer(strtoll(word, NULL, 10)));
	return out;
}

static json_t *cpu_usage(json_t *dirs)
{
	json_t *stat = table_of(dirs, "cpu.stat");
	json_int_t usec = json_integer_value(json_object_get(stat, "usage_usec"));
	json_t *usage = json_object();

	if (usec) {
		json_object_set_new(usage, "total", json_integer(usec * 1000));
		json_object_set_new(
			usage, "kernel",
			json_integer(json_integer_value(json_object_get(stat, "system_usec")) *
				     1000));
		json_object_set_new(
			usage, "user",
			json_integer(json_integer_value(json_object_get(stat, "user_usec")) *
				     1000));
	} else {
		json_object_set_new(usage, "total", value_of(dirs, "cpuacct.usage", NULL));
		json_object_set_new(usage, "percpu", percpu(dirs));
		json_object_set_new(usage, "kernel", value_of(dirs, "cpuacct.usage_sys", NULL));
		json_object_set_new(usage, "user", value_of(dirs, "cpuacct.usage_user", NULL));
	}
	json_decref(stat);
	return usage;
}

static json_t *memory_usage(json_t *dirs)
{
	json_t *usage = json_object();

	json_object_set_new(usage, "limit", value_of(dirs, "memory.limit_in_bytes", "memory.max"));
	json_object_set_new(usage, "usage",
			    value_of(dirs, "memory.usage_in_bytes", "memory.current"));
	json_object_set_new(usage, "max",
			    value_of(dirs, "memory.max_usage_in_bytes", "memory.peak"));
	json_object_set_new(usage, "failcnt", value_of(dirs, "memory.failcnt", NULL));
	return usage;
}

/* What the sandbox says of the container, which its control groups may not know: they hold the
 * sandbox's own processes, and those of other containers in it. */
static void correct_stats(const struct cli_options *options, const struct state *s, json_t *stats)
{
	json_t *data = json_object_get(stats, "data"), *pids = json_object_get(data, "pids");
	json_t *usage = json_object_get(json_object_get(data, "cpu"), "usage");
	json_t *memory = json_object_get(json_object_get(data, "memory"), "usage");
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__ContainerName name = MOAT__CONTAINER_NAME__INIT;
	struct control_client *client;
	struct control_error err;
	Moat__Response *response;
	const Moat__Stats *got;

	if (connect_container(options, s, &client))
		return;
	name.id = s->id;
	request.call_case = MOAT__REQUEST__CALL_EVENT;
	request.event = &name;
	if (control_client_call(client, &request, NULL, 0, CALL_MS, &response, &err)) {
		control_client_free(client);
		return;
	}
	control_client_free(client);
	got = response->result_case == MOAT__RESPONSE__RESULT_STATS ? response->stats : NULL;
	if (got && got->cpu) {
		json_object_set_new(usage, "total", json_integer((json_int_t)got->cpu->total_ns));
		json_object_set_new(usage, "user", json_integer((json_int_t)got->cpu->user_ns));
		json_object_set_new(usage, "kernel", json_integer((json_int_t)got->cpu->kernel_ns));
	}
	if (got && got->memory && strcmp(s->id, s->sandbox)) {
		json_object_set_new(memory, "usage", json_integer((json_int_t)got->memory->usage));
		json_object_set_new(memory, "max", json_integer((json_int_t)got->memory->max));
	}
	if (got) {
		json_object_set_new(pids, "current", json_integer((json_int_t)got->pids));
		json_object_set_new(pids, "limit", json_integer((json_int_t)got->pids_max));
	}
	control_response_free(response);
}

static void print_stats(const struct cli_options *options, const struct state *s)
{
	json_t *raw = table_of(s->cgroups, "memory.stat");
	json_t *cache = json_object_get(raw, "cache");
	json_t *stats = json_pack("{s:s, s:s, s:{s:{s:o}, s:{s:O, s:o, s:o}, s:{s:o, s:o}}}",
				  "type", "stats", "id", s->id, "data", "cpu", "usage",
				  cpu_usage(s->cgroups), "memory", "cache",
				  cache				 ? cache
				  : json_object_get(raw, "file") ? json_object_get(raw, "file")
								 : json_null(),
				  "usage", memory_usage(s->cgroups), "raw", raw, "pids", "current",
				  value_of(s->cgroups, "pids.current", NULL), "limit",
				  value_of(s->cgroups, "pids.max", NULL));
	char *__free text = NULL;

	if (stats)
		correct_stats(options, s, stats);
	text = stats ? json_dumps(stats, JSON_COMPACT) : NULL;
	if (text)
		puts(text);
	fflush(stdout);
	json_decref(stats);
}

static int run_events(const struct cli_options *options, int argc, char **argv)
{
	static const struct option flags[] = {
		{"stats", no_argument, NULL, 's'},
		{"interval", required_argument, NULL, 'i'},
		{0},
	};
	int64_t interval = 5000000000;
	struct state s = {0};
	bool once = false;
	int c, ret;

	while ((c = getopt_long(argc, argv, "+:", flags, NULL)) != -1) {
		if (c == 's') {
			once = true;
		} else if (c != 'i') {
			cli_bad_flag("events", argv, c);
			return EXIT_CLI_FAILED;
		} else if (!parse_duration(optarg, &interval)) {
			return cli_fail("duration interval must be greater than 0");
		}
	}
	if (argc - optind != 1)
		return cli_fail("events: one container id is needed (see 'moat help events')");
	ret = load_container(options, argv[optind], &s);
	if (!ret && state_status(&s) == STATUS_STOPPED)
		ret = cli_fail("container with id %s is not running", s.id);
	while (!ret && state_status(&s) != STATUS_STOPPED) {
		struct timespec pause = {interval / 1000000000, interval % 1000000000};

		print_stats(options, &s);
		if (once)
			break;
		nanosleep(&pause, NULL);
	}
	state_free(&s);
	return ret;
}

const struct cli_command cli_events = {
	.name = "events",
	.usage = "[--stats] [--interval DURATION] ID",
	.summary = "Print what a container uses, as its control groups count it",
	.flags = "  --stats                 once\n"
		 "  --interval DURATION     between two of them (default 5s)\n",
	.run = run_events,
};
