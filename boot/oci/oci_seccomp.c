#include "boot/oci/oci_seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"

#define ARGS 6

static const struct {
	const char *name;
	uint32_t action;
	bool with_errno;
} actions[] = {
	{"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW, false},
	{"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0), true},
	{"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD, false},
	{"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS, false},
	{"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD, false},
	{"SCMP_ACT_LOG", SCMP_ACT_LOG, false},
	{"SCMP_ACT_TRAP", SCMP_ACT_TRAP, false},
};

static const struct {
	const char *name;
	enum scmp_compare op;
} ops[] = {
	{"SCMP_CMP_EQ", SCMP_CMP_EQ}, {"SCMP_CMP_GE", SCMP_CMP_GE},
	{"SCMP_CMP_GT", SCMP_CMP_GT}, {"SCMP_CMP_LE", SCMP_CMP_LE},
	{"SCMP_CMP_LT", SCMP_CMP_LT}, {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
	{"SCMP_CMP_NE", SCMP_CMP_NE},
};

const char *oci_seccomp_action(unsigned i)
{
	return i < ARRAY_SIZE(actions) ? actions[i].name : NULL;
}

const char *oci_seccomp_operator(unsigned i)
{
	return i < ARRAY_SIZE(ops) ? ops[i].name : NULL;
}

/* *action for a name with an errno; false after a message. */
static bool action_from_name(struct json_bind *b, const char *name, int err, uint32_t *action)
{
	for (unsigned i = 0; name && i < ARRAY_SIZE(actions); i++)
		if (!strcmp(name, actions[i].name)) {
			*action = actions[i].action |
				  (actions[i].with_errno ? (uint32_t)err & SECCOMP_RET_DATA : 0);
			return true;
		}
	/* Nobody in a sandbox can trace another or listen for notifications. */
	if (name && (!strcmp(name, "SCMP_ACT_TRACE") || !strcmp(name, "SCMP_ACT_NOTIFY")))
		json_bind_fail(b, "action %s is not supported", name);
	else if (name)
		json_bind_fail(b, "unknown action '%s'", name);
	return false;
}

static bool op_from_name(struct json_bind *b, const char *name, enum scmp_compare *op)
{
	for (unsigned i = 0; name && i < ARRAY_SIZE(ops); i++)
		if (!strcmp(name, ops[i].name)) {
			*op = ops[i].op;
			return true;
		}
	if (name)
		json_bind_fail(b, "unknown operator '%s'", name);
	return false;
}

/* The conditions on arguments; how many. *twice: one argument has several. */
static unsigned parse_args(struct json_bind *b, json_t *rule, struct scmp_arg_cmp *cmp, bool *twice)
{
	json_t *args = json_bind_array(b, rule, "args", false), *arg;
	unsigned n = 0, seen = 0;
	size_t i;

	json_bind_enter(b, "args");
	if (json_array_size(args) > ARGS)
		json_bind_fail(b, "more than %d conditions", ARGS);
	json_array_foreach(args, i, arg)
	{
		struct scmp_arg_cmp *c = &cmp[n];

		if (b->failed)
			break;
		json_bind_enter_index(b, i);
		if (!json_is_object(arg))
			json_bind_fail(b, "expected an object");
		c->arg = (unsigned)json_bind_int(b, arg, "index", 0, ARGS - 1, 0);
		c->datum_a = json_bind_uint64(b, arg, "value", true);
		c->datum_b = json_bind_uint64(b, arg, "valueTwo", false);
		if (!b->failed && op_from_name(b, json_bind_string(b, arg, "op", true), &c->op)) {
			*twice = *twice || (seen & 1u << c->arg);
			seen |= 1u << c->arg;
			n++;
		}
		json_bind_leave(b);
	}
	json_bind_leave(b);
	return n;
}

static void add_rule(struct json_bind *b, scmp_filter_ctx ctx, uint32_t action, const char *name,
		     const struct scmp_arg_cmp *cmp, unsigned n, bool twice)
{
	int nr = seccomp_syscall_resolve_name(name), ret = 0;

	/* Names of newer kernels, or of other machines: not ours to judge. */
	if (nr == __NR_SCMP_ERROR || nr < 0)
		return;
	/* Conditions on one argument are alternatives; on several they must all hold. */
	if (!twice)
		ret = seccomp_rule_add_array(ctx, action, nr, n, cmp);
	for (unsigned i = 0; twice && i < n && !ret; i++)
		ret = seccomp_rule_add_array(ctx, action, nr, 1, &cmp[i]);
	if (ret && ret != -EEXIST)
		json_bind_fail(b, "rule for %s: %s", name, strerror(-ret));
}

static void parse_rule(struct json_bind *b, json_t *rule, scmp_filter_ctx ctx, uint32_t fallback)
{
	struct scmp_arg_cmp cmp[ARGS] = {0};
	bool twice = false;
	json_t *names, *name;
	uint32_t action;
	unsigned n;
	size_t i;
	int err;

	if (!json_is_object(rule)) {
		json_bind_fail(b, "expected an object");
		return;
	}
	err = (int)json_bind_int(b, rule, "errnoRet", 0, 4095, EPERM);
	if (!action_from_name(b, json_bind_string(b, rule, "action", true), err, &action))
		return;
	n = parse_args(b, rule, cmp, &twice);
	/* What is the rule anyhow; libseccomp refuses it. */
	if (action == fallback)
		return;
	names = json_bind_array(b, rule, "names", true);
	json_array_foreach(names, i, name)
	{
		if (b->failed)
			break;
		if (!json_is_string(name))
			json_bind_fail(b, "names: expected strings");
		else
			add_rule(b, ctx, action, json_string_value(name), cmp, n, twice);
	}
}

static void export(struct json_bind *b, scmp_filter_ctx ctx, struct process_spec *spec)
{
	int __close_fd fd = (int)syscall(SYS_memfd_create, "seccomp", 1 /* MFD_CLOEXEC */);
	struct stat st;

	if (fd < 0 || seccomp_export_bpf(ctx, fd) || fstat(fd, &st) || st.st_size <= 0) {
		json_bind_fail(b, "cannot be compiled");
		return;
	}
	spec->seccomp = malloc((size_t)st.st_size);
	if (!spec->seccomp || pread(fd, spec->seccomp, (size_t)st.st_size, 0) != st.st_size)
		json_bind_fail(b, "out of memory");
	else
		spec->seccomp_len = (size_t)st.st_size;
}

static void compile(struct json_bind *b, json_t *profile, struct process_spec *spec)
{
	int err = (int)json_bind_int(b, profile, "defaultErrnoRet", 0, 4095, EPERM);
	json_t *rules, *rule;
	scmp_filter_ctx ctx;
	uint32_t fallback;
	size_t i;

	if (!action_from_name(b, json_bind_string(b, profile, "defaultAction", true), err,
			      &fallback))
		return;
	ctx = seccomp_init(fallback);
	if (!ctx) {
		json_bind_fail(b, "out of memory");
		return;
	}
	/* A tree over the numbers: the sentry evaluates it for every call. */
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	rules = json_bind_array(b, profile, "syscalls", false);
	json_bind_enter(b, "syscalls");
	json_array_foreach(rules, i, rule)
	{
		if (b->failed)
			break;
		json_bind_enter_index(b, i);
		parse_rule(b, rule, ctx, fallback);
		json_bind_leave(b);
	}
	json_bind_leave(b);
	if (!b->failed)
		export(b, ctx, spec);
	seccomp_release(ctx);
}

void oci_parse_seccomp(struct json_bind *b, json_t *lin, struct process_spec *spec)
{
	json_t *profile = json_bind_object(b, lin, "seccomp", false);

	json_bind_enter(b, "seccomp");
	if (profile && !b->failed)
		compile(b, profile, spec);
	json_bind_leave(b);
}
