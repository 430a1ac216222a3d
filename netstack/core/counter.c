/* The counters by name. */
#include "netstack/core/core.h"

static const char *const counter_names[] = {
#define X(group, name) #group "." #name,
	NET_COUNTER_LIST(X)
#undef X
};

bool netstack_counter(struct netstack *s, int i, const char **name, uint64_t *value)
{
	if (i < 0 || i >= NET_COUNTERS)
		return false;
	*name = counter_names[i];
	*value = atomic_load_explicit(&s->counters[i], memory_order_relaxed);
	return true;
}
