/* generate sandbox|gofer: prints the filter as C initialisers of struct sock_filter. */
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

static void add_rules(scmp_filter_ctx ctx, const struct rule_set *set)
{
	int ret;

	for (size_t i = 0; i < set->nrules; i++) {
		const struct rule *r = &set->rules[i];

		if (r->check == CHECK_NONE)
			ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, r->nr, 0);
		else
			ret = seccomp_rule_add(
				ctx, SCMP_ACT_ALLOW, r->nr, 1,
				SCMP_CMP(r->arg, SCMP_CMP_MASKED_EQ, r->mask, r->value));
		if (ret && ret != -EEXIST) /* there already */
			fail("rule for system call", r->nr, ret);
	}
	for (size_t i = 0; i < set->nrefusals; i++) {
		ret = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(set->refusals[i].err),
				       set->refusals[i].nr, 0);
		if (ret)
			fail("refusal of system call", set->refusals[i].nr, ret);
	}
}

int main(int argc, char **argv)
{
	const struct rule_set *set =
		argc == 2 && !strcmp(argv[1], "gofer") ? &gofer_rules : &sandbox_rules;
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
