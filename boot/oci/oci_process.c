#include "boot/oci/oci_process.h"

#include <sched.h>
#include <string.h>

#include "base/compiler.h"

#define LABEL_MAX 4096 /* of SELinux: a page */
#define IOPRIO_CLASS_SHIFT 13

void oci_parse_label(struct json_bind *b, json_t *process, struct process_spec *spec)
{
	const char *profile = json_bind_string(b, process, "apparmorProfile", false);
	const char *label = json_bind_string(b, process, "selinuxLabel", false);

	if (b->failed)
		return;
	if (profile && *profile && label && *label)
		json_bind_fail(b, "both apparmorProfile and selinuxLabel");
	if (!profile || !*profile)
		profile = label;
	if (!profile || !*profile)
		return;
	if (strlen(profile) > LABEL_MAX || strpbrk(profile, "\n\r")) {
		json_bind_fail(b, "apparmorProfile, selinuxLabel: not a label");
		return;
	}
	spec->label = strdup(profile);
	if (!spec->label)
		json_bind_fail(b, "out of memory");
}

/* The place of a name in a list, or -1 after a message. */
static int find_name(struct json_bind *b, const char *name, const char *const *names, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (names[i] && !strcmp(names[i], name))
			return (int)i;
	json_bind_fail(b, "'%s' is unknown", name);
	return -1;
}

static void parse_scheduler(struct json_bind *b, json_t *scheduler, struct process_spec *spec)
{
	static const char *const policies[] = {
		[SCHED_OTHER] = "SCHED_OTHER", [SCHED_FIFO] = "SCHED_FIFO", [SCHED_RR] = "SCHED_RR",
		[SCHED_BATCH] = "SCHED_BATCH", [SCHED_IDLE] = "SCHED_IDLE", [6] = "SCHED_DEADLINE",
	};
	const char *policy = json_bind_string(b, scheduler, "policy", true);
	json_t *flags = json_bind_array(b, scheduler, "flags", false), *v;
	int nice = (int)json_bind_int(b, scheduler, "nice", -20, 19, 0);
	int priority = (int)json_bind_int(b, scheduler, "priority", 0, 99, 0);
	int found = policy ? find_name(b, policy, policies, ARRAY_SIZE(policies)) : -1;
	bool real_time = found == SCHED_FIFO || found == SCHED_RR;
	size_t i;

	json_array_foreach(flags, i, v)
	{
		const char *flag = json_string_value(v);

		if (flag && !strcmp(flag, "SCHED_FLAG_RESET_ON_FORK"))
			spec->sched_reset_on_fork = true;
		else
			json_bind_fail(b, "flag '%s' is not supported", flag ? flag : "?");
	}
	if (b->failed)
		return;
	if (found == 6)
		json_bind_fail(b, "SCHED_DEADLINE is not supported");
	else if (real_time != (priority > 0))
		json_bind_fail(b, "priority %d does not go with %s", priority, policy);
	spec->sched_policy = found;
	spec->sched_priority = priority;
	spec->nice = nice;
}

static void parse_io_priority(struct json_bind *b, json_t *io, struct process_spec *spec)
{
	static const char *const classes[] = {
		[1] = "IOPRIO_CLASS_RT", [2] = "IOPRIO_CLASS_BE", [3] = "IOPRIO_CLASS_IDLE"};
	const char *name = json_bind_string(b, io, "class", true);
	int priority = (int)json_bind_int(b, io, "priority", 0, 7, 0);
	int class = name ? find_name(b, name, classes, ARRAY_SIZE(classes)) : -1;

	if (!b->failed)
		spec->ioprio = class << IOPRIO_CLASS_SHIFT | priority;
}

void oci_parse_scheduling(struct json_bind *b, json_t *process, struct process_spec *spec)
{
	json_t *scheduler = json_bind_object(b, process, "scheduler", false);
	json_t *io = json_bind_object(b, process, "ioPriority", false);

	json_bind_enter(b, "scheduler");
	if (scheduler)
		parse_scheduler(b, scheduler, spec);
	json_bind_leave(b);
	json_bind_enter(b, "ioPriority");
	if (io)
		parse_io_priority(b, io, spec);
	json_bind_leave(b);
}
