/* generate PROGRAM: prints the filter as C initialisers of struct sock_filter.
 */
#include <errno.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator.h"

static void fail(const char *what, int nr, int ret)
{
	fprintf(stderr, "filter generator: %s %d: %s\n", what, nr, strerror(-ret));
	exit(1);
}

static void add_allowed(scmp_filter_ctx ctx, const struct rule *rules, size_t n)
{
	int ret;

	for (size_t i = 0; i < n; i++) {
		const struct rule *r = &rules[i];
		struct scmp_arg_cmp cmp[MAX_CHECKS];

		for (unsigned c = 0; c < r->nchecks; c++)
			cmp[c] = (struct scmp_arg_cmp){r->checks[c].arg, SCMP_CMP_MASKED_EQ,
						       r->checks[c].mask, r->checks[c].value};
		ret = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, r->nr, r->nchecks, cmp);
		if (ret && ret != -EEXIST) /* there already */
			fail("rule for system call", r->nr, ret);
	}
}

static void add_rules(scmp_filter_ctx ctx, const struct rule_set *set)
{
	int ret;

	add_allowed(ctx, set->rules, set->nrules);
	add_allowed(ctx, set->more, set->nmore);
	add_allowed(ctx, set->links, set->nlinks);
	for (size_t i = 0; i < set->nrefusals; i++) {
		const struct refusal *r = &set->refusals[i];
		struct scmp_arg_cmp cmp = {r->check.arg, SCMP_CMP_MASKED_EQ, r->check.mask,
					   r->check.value};

		ret = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO((uint32_t)r->err), r->nr,
					     r->nchecks, &cmp);
		if (ret)
			fail("refusal of system call", r->nr, ret);
	}
}

static const struct rule_set *named(const char *name)
{
	static const struct {
		const char *name;
		const struct rule_set *set;
	} sets[] = {
		{"sandbox", &sandbox_rules},
		{"sandbox-links", &sandbox_links_rules},
		{"sandbox-tracer", &sandbox_tracer_rules},
		{"sandbox-tracer-links", &sandbox_tracer_links_rules},
		{"sandbox-host", &sandbox_host_rules},
		{"sandbox-tracer-host", &sandbox_tracer_host_rules},
		{"gofer", &gofer_rules},
		{"resolver", &resolver_rules},
	};

	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		if (!strcmp(name, sets[i].name))
			return sets[i].set;
	fail("no such program", 0, -EINVAL);
	return NULL;
}

int main(int argc, char **argv)
{
	const struct rule_set *set = named(argc == 2 ? argv[1] : "");
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	struct sock_filter insn;
	FILE *tmp = tmpfile();
	int ret;

	if (!ctx || !tmp)
		fail("start", 0, -ENOMEM);
	/* A binary tree over the numbers: the kernel runs the filter for every number when it is
	 * installed, and for every call later. */
	ret = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (ret)
		fail("optimisation", 0, ret);
	/* Calls by the tables of i386 and x32 end the process, too, not one thread. */
	ret = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (ret)
		fail("other tables", 0, ret);
	add_rules(ctx, set);
	ret = seccomp_export_bpf(ctx, fileno(tmp));
	if (ret)
		fail("export", 0, ret);
	seccomp_release(ctx);
	rewind(tmp);
	while (fread(&insn, sizeof(insn), 1, tmp) == 1)
		printf("{0x%04x, %u, %u, 0x%08x},\n", insn.code, insn.jt, insn.jf, insn.k);
	fclose(tmp);
	return fflush(stdout) ? 1 : 0;
}
