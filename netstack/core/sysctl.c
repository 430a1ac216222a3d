/* Reading and writing tunables by name, for /proc/sys/net. */
#include "netstack/core/sysctl.h"

#include "netstack/core/core.h"

struct tunable {
	const char *name;
	size_t offset;
	int n;
	long min, max;
};

static const struct tunable tunables[] = {
#define X(file, name, def, min, max) {file, offsetof(struct net_sysctl, name), 1, min, max},
	NET_SYSCTL_LIST(X)
#undef X
		{"ipv4.ip_local_port_range", offsetof(struct net_sysctl, ip_local_port_range), 2, 1,
		 65535},
	{"ipv4.tcp_rmem", offsetof(struct net_sysctl, tcp_rmem), 3, 1, 1 << 30},
	{"ipv4.tcp_wmem", offsetof(struct net_sysctl, tcp_wmem), 3, 1, 1 << 30},
};

void net_sysctl_init(struct net_sysctl *s)
{
#define X(file, name, def, min, max) s->name = def;
	NET_SYSCTL_LIST(X)
#undef X
	s->ip_local_port_range[0] = 32768;
	s->ip_local_port_range[1] = 60999;
	s->tcp_rmem[0] = 4096;
	s->tcp_rmem[1] = 131072;
	s->tcp_rmem[2] = 6291456;
	s->tcp_wmem[0] = 4096;
	s->tcp_wmem[1] = 16384;
	s->tcp_wmem[2] = 4194304;
}

static const struct tunable *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(tunables); i++)
		if (!strcmp(tunables[i].name, name))
			return &tunables[i];
	return NULL;
}

const char *netstack_sysctl_name(int i)
{
	return i >= 0 && (size_t)i < ARRAY_SIZE(tunables) ? tunables[i].name : NULL;
}

int netstack_sysctl_get(struct netstack *s, const char *name, long *values, int n)
{
	const struct tunable *t = find(name);
	const long *v;

	if (!t)
		return -ENOENT;
	v = (const long *)(const void *)((const char *)&s->sysctl + t->offset);
	for (int i = 0; i < t->n && i < n; i++)
		values[i] = __atomic_load_n(&v[i], __ATOMIC_RELAXED);
	return t->n;
}

int netstack_sysctl_set(struct netstack *s, const char *name, const long *values, int n)
{
	const struct tunable *t = find(name);
	long *v;

	if (!t)
		return -ENOENT;
	if (n < 1 || n > t->n)
		return -EINVAL;
	for (int i = 0; i < n; i++)
		if (values[i] < t->min || values[i] > t->max)
			return -EINVAL;
	if (t->offset == offsetof(struct net_sysctl, ip_local_port_range) &&
	    (n != 2 || values[0] > values[1]))
		return -EINVAL;
	v = (long *)(void *)((char *)&s->sysctl + t->offset);
	for (int i = 0; i < n; i++)
		__atomic_store_n(&v[i], values[i], __ATOMIC_RELAXED);
	path_invalidate(s);
	return t->n;
}
