/*
 * Debug registers (Intel SDM volume 3, chapter 18.2), for hardware watchpoints and breakpoints. The
 * platform has none to give: while one is set the tracee goes step by step, and after each step
 * what is watched is compared. So a write of the value that was there already is not seen, and
 * reads are not: who asks for those hears that no register is free.
 */
#include <errno.h>
#include <string.h>

#include "sentry/kernel/ptrace/ptrace_internal.h"
#include "sentry/mm/mm.h"

#define STATUS 6
#define CONTROL 7
#define STATUS_STEP 0x4000ULL /* BS */
#define STATUS_FIXED 0xffff0ff0ULL
#define CONTROL_MASK                                                                               \
	0xffff03ffULL /* what there is apart from bits that do nothing or cannot be                \
		       */
#define ENABLED(control, i) ((control) >> (i)*2 & 3)
#define KIND(control, i) ((control) >> (16 + (i)*4) & 3)
#define LENGTH(control, i) ((control) >> (18 + (i)*4) & 3)

enum { ON_EXECUTE, ON_WRITE, ON_PORT, ON_ACCESS };

static unsigned length(uint64_t control, unsigned i)
{
	static const uint8_t bytes[] = {1, 2, 8, 4};

	return bytes[LENGTH(control, i)];
}

bool trace_watches(const struct trace *tr)
{
	return tr->debug[CONTROL] & 0xff;
}

uint64_t trace_get_debug(const struct trace *tr, unsigned i)
{
	return tr->debug[i] | (i == STATUS ? STATUS_FIXED : 0);
}

static int check_slot(const struct trace *tr, uint64_t control, unsigned i)
{
	unsigned n = length(control, i);

	if (!ENABLED(control, i))
		return 0;
	switch (KIND(control, i)) {
	case ON_EXECUTE:
		return n == 1 ? 0 : -EINVAL;
	case ON_WRITE:
		return tr->debug[i] % n ? -EINVAL : 0;
	case ON_ACCESS:
		return -ENOSPC;
	default:
		return -EINVAL;
	}
}

int trace_set_debug(struct trace *tr, unsigned i, uint64_t value)
{
	int ret = 0;

	if (i < TRACE_WATCHES) {
		if (value >= GUEST_TASK_SIZE)
			return -EINVAL;
		tr->debug[i] = value;
		tr->seen[i] = false;
		return 0;
	}
	if (i == STATUS) {
		tr->debug[i] = value & ~STATUS_FIXED;
		return 0;
	}
	if (i != CONTROL)
		return -EIO;
	value &= CONTROL_MASK;
	for (i = 0; i < TRACE_WATCHES && !ret; i++)
		ret = check_slot(tr, value, i);
	if (!ret)
		tr->debug[CONTROL] = value;
	memset(tr->seen, 0, sizeof(tr->seen));
	return ret;
}

/* True if it is another than before. What cannot be read does not change. */
static bool has_changed(struct task *t, struct trace *tr, unsigned i)
{
	unsigned n = length(tr->debug[CONTROL], i);
	uint64_t now = 0;
	bool changed;

	if (!t->mm || mm_access(t->mm, tr->debug[i], &now, n, false, false) != (ssize_t)n)
		return false;
	changed = tr->seen[i] && now != tr->value[i];
	tr->seen[i] = true;
	tr->value[i] = now;
	return changed;
}

bool trace_look(struct task *t, bool report)
{
	struct trace *tr = trace_of(t);
	uint64_t control = tr->debug[CONTROL], ip = platform_regs(t->ctx)->rip, hits = 0;

	for (unsigned i = 0; i < TRACE_WATCHES; i++) {
		if (!ENABLED(control, i))
			continue;
		if (KIND(control, i) == ON_WRITE ? has_changed(t, tr, i) : tr->debug[i] == ip)
			hits |= 1U << i;
	}
	if (report)
		tr->debug[STATUS] |= hits;
	return hits;
}

void trace_note_step(struct trace *tr)
{
	tr->debug[STATUS] |= STATUS_STEP;
}
