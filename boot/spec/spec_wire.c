#include "boot/spec/spec_wire.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"

#define LABEL_MAX 4096

/* protobuf-c has char * where nothing is written to. */
static char *lend(const char *s)
{
	return (char *)(uintptr_t)(s ? s : "");
}

static size_t count(char **v)
{
	size_t n = 0;

	while (v && v[n])
		n++;
	return n;
}

/* --- to the wire ------------------------------------------------------------------------------ */

int wire_from_process(const struct process_spec *spec, Moat__ProcessSpec *out)
{
	moat__process_spec__init(out);
	out->rlimits = calloc(RLIM_NLIMITS, sizeof(Moat__Rlimit *));
	if (!out->rlimits)
		return -ENOMEM;
	for (unsigned i = 0; i < RLIM_NLIMITS; i++) {
		Moat__Rlimit *r = malloc(sizeof(*r));

		if (!r) {
			wire_process_free(out);
			return -ENOMEM;
		}
		moat__rlimit__init(r);
		r->resource = i;
		r->soft = spec->rlim[i].rlim_cur;
		r->hard = spec->rlim[i].rlim_max;
		out->rlimits[out->n_rlimits++] = r;
	}
	out->args = spec->argv;
	out->n_args = count(spec->argv);
	out->env = spec->envp;
	out->n_env = count(spec->envp);
	out->cwd = lend(spec->cwd);
	out->uid = spec->uid;
	out->gid = spec->gid;
	out->groups = spec->groups;
	out->n_groups = spec->ngroups;
	out->umask = (uint32_t)spec->umask;
	out->cap_bounding = spec->caps.bounding;
	out->cap_effective = spec->caps.effective;
	out->cap_inheritable = spec->caps.inheritable;
	out->cap_permitted = spec->caps.permitted;
	out->cap_ambient = spec->caps.ambient;
	out->no_new_privileges = spec->no_new_privs;
	out->terminal = spec->terminal;
	out->oom_score_adj = spec->oom_score_adj;
	out->extra_files = spec->extra_files;
	out->label = lend(spec->label);
	out->sched_policy = (uint32_t)spec->sched_policy;
	out->sched_priority = (uint32_t)spec->sched_priority;
	out->nice = spec->nice;
	out->sched_reset_on_fork = spec->sched_reset_on_fork;
	out->ioprio = (uint32_t)spec->ioprio;
	out->seccomp.data = spec->seccomp;
	out->seccomp.len = spec->seccomp_len;
	return 0;
}

void wire_process_free(Moat__ProcessSpec *wire)
{
	for (size_t i = 0; i < wire->n_rlimits; i++)
		free(wire->rlimits[i]);
	free(wire->rlimits);
	wire->rlimits = NULL;
	wire->n_rlimits = 0;
}

static int wire_from_mounts(const struct container_spec *spec, Moat__ContainerSpec *out)
{
	out->mounts = calloc(spec->nmounts + 1, sizeof(Moat__Mount *));
	if (!out->mounts)
		return -ENOMEM;
	for (unsigned i = 0; i < spec->nmounts; i++) {
		const struct spec_mount *m = &spec->mounts[i];
		Moat__Mount *w = malloc(sizeof(*w));

		if (!w)
			return -ENOMEM;
		moat__mount__init(w);
		w->host = m->kind == MOUNT_HOST;
		w->source = lend(m->source);
		w->target = lend(m->target);
		w->type = lend(m->fstype);
		w->options = lend(m->options);
		w->has_options = m->options != NULL;
		w->flags = m->flags;
		w->overlay = m->overlay;
		w->optional = m->optional;
		w->shared = lend(m->shared);
		w->cached = m->cached;
		out->mounts[out->n_mounts++] = w;
	}
	return 0;
}

static int wire_from_namespaces(const struct container_spec *spec, Moat__ContainerSpec *out)
{
	Moat__Namespaces *w;

	if (!spec->joins)
		return 0;
	w = out->namespaces = malloc(sizeof(*w));
	if (!w)
		return -ENOMEM;
	moat__namespaces__init(w);
	w->pid = lend(spec->ns_of[SPEC_NS_PID]);
	w->ipc = lend(spec->ns_of[SPEC_NS_IPC]);
	w->uts = lend(spec->ns_of[SPEC_NS_UTS]);
	w->network = lend(spec->ns_of[SPEC_NS_NET]);
	w->sysctls = spec->sysctls;
	w->n_sysctls = count(spec->sysctls);
	return 0;
}

int wire_from_container(const struct container_spec *spec, Moat__ContainerSpec *out)
{
	int ret;

	moat__container_spec__init(out);
	out->process = malloc(sizeof(*out->process));
	if (!out->process)
		return -ENOMEM;
	ret = wire_from_process(&spec->process, out->process);
	if (!ret)
		ret = wire_from_mounts(spec, out);
	else
		moat__process_spec__init(out->process);
	if (!ret)
		ret = wire_from_namespaces(spec, out);
	if (ret) {
		wire_container_free(out);
		return ret;
	}
	out->root_readonly = spec->root_readonly;
	out->masked_paths = spec->masked_paths;
	out->n_masked_paths = count(spec->masked_paths);
	out->readonly_paths = spec->readonly_paths;
	out->n_readonly_paths = count(spec->readonly_paths);
	out->hostname = lend(spec->hostname);
	out->domainname = lend(spec->domainname);
	out->init_unkillable = spec->init_unkillable;
	out->share_pids = spec->share_pids;
	out->pids_max = spec->pids_max;
	return 0;
}

void wire_container_free(Moat__ContainerSpec *wire)
{
	wire_process_free(wire->process);
	free(wire->process);
	for (size_t i = 0; i < wire->n_mounts; i++)
		free(wire->mounts[i]);
	free(wire->mounts);
	free(wire->namespaces);
}

/* --- from the wire ---------------------------------------------------------------------------- */

static int copy_string(const char *s, char **out)
{
	*out = strdup(s);
	return *out ? 0 : -ENOMEM;
}

/* "" stands for none. */
static int copy_optional(const char *s, char **out)
{
	return *s ? copy_string(s, out) : 0;
}

static int copy_strings(char *const *v, size_t n, char ***out)
{
	*out = calloc(n + 1, sizeof(char *));
	if (!*out)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		int ret = copy_string(v[i], &(*out)[i]);

		if (ret)
			return ret;
	}
	return 0;
}

static int copy_rlimits(const Moat__ProcessSpec *wire, struct process_spec *out)
{
	for (size_t i = 0; i < wire->n_rlimits; i++) {
		const Moat__Rlimit *r = wire->rlimits[i];

		if (r->resource >= RLIM_NLIMITS || r->soft > r->hard)
			return -EINVAL;
		out->rlim[r->resource] = (struct rlimit){r->soft, r->hard};
	}
	return 0;
}

static int copy_caps(const Moat__ProcessSpec *wire, struct process_spec *out)
{
	const uint64_t all = (1ULL << (CAP_LAST_CAP + 1)) - 1;

	out->caps = (struct spec_caps){
		.bounding = wire->cap_bounding & all,
		.effective = wire->cap_effective & all,
		.inheritable = wire->cap_inheritable & all,
		.permitted = wire->cap_permitted & all,
		.ambient = wire->cap_ambient & all,
	};
	if (out->caps.effective & ~out->caps.permitted ||
	    out->caps.ambient & ~(out->caps.permitted & out->caps.inheritable))
		return -EINVAL;
	return 0;
}

static int copy_groups(const Moat__ProcessSpec *wire, struct process_spec *out)
{
	if (wire->n_groups > NGROUPS_MAX)
		return -EINVAL;
	if (!wire->n_groups)
		return 0;
	out->groups = calloc(wire->n_groups, sizeof(gid_t));
	if (!out->groups)
		return -ENOMEM;
	memcpy(out->groups, wire->groups, wire->n_groups * sizeof(gid_t));
	out->ngroups = (unsigned)wire->n_groups;
	return 0;
}

/* man 2 sched_setattr, ioprio_set; SCHED_OTHER, FIFO, RR, BATCH, IDLE. */
static int copy_scheduling(const Moat__ProcessSpec *wire, struct process_spec *out)
{
	bool real_time = wire->sched_policy == SCHED_FIFO || wire->sched_policy == SCHED_RR;
	uint32_t class = wire->ioprio >> 13, level = wire->ioprio & 0x1fff;

	if (wire->sched_policy > SCHED_IDLE || wire->sched_policy == 4 ||
	    wire->sched_priority > 99 || real_time != (wire->sched_priority > 0) ||
	    wire->nice < -20 || wire->nice > 19 || class > 3 || level > (class ? 7 : 0))
		return -EINVAL;
	out->sched_policy = (int)wire->sched_policy;
	out->sched_priority = (int)wire->sched_priority;
	out->nice = wire->nice;
	out->sched_reset_on_fork = wire->sched_reset_on_fork;
	out->ioprio = (int)wire->ioprio;
	return 0;
}

static int copy_seccomp(const Moat__ProcessSpec *wire, struct process_spec *out)
{
	if (!wire->seccomp.len)
		return 0;
	out->seccomp = malloc(wire->seccomp.len);
	if (!out->seccomp)
		return -ENOMEM;
	memcpy(out->seccomp, wire->seccomp.data, wire->seccomp.len);
	out->seccomp_len = wire->seccomp.len;
	return 0;
}

int wire_to_process(const Moat__ProcessSpec *wire, struct process_spec *out)
{
	int ret;

	process_spec_init(out);
	if (!wire->n_args || wire->umask > 0777 || wire->oom_score_adj < -1000 ||
	    wire->oom_score_adj > 1000 || (*wire->cwd && *wire->cwd != '/') ||
	    wire->uid == UINT32_MAX || wire->gid == UINT32_MAX)
		return -EINVAL;
	out->uid = wire->uid;
	out->gid = wire->gid;
	out->umask = (int)wire->umask;
	out->no_new_privs = wire->no_new_privileges;
	out->terminal = wire->terminal;
	out->oom_score_adj = wire->oom_score_adj;
	out->extra_files = wire->extra_files;
	ret = copy_strings(wire->args, wire->n_args, &out->argv);
	if (!ret)
		ret = copy_strings(wire->env, wire->n_env, &out->envp);
	if (!ret)
		ret = copy_optional(wire->cwd, &out->cwd);
	if (!ret && strlen(wire->label) > LABEL_MAX)
		ret = -EINVAL;
	if (!ret)
		ret = copy_optional(wire->label, &out->label);
	if (!ret)
		ret = copy_scheduling(wire, out);
	if (!ret)
		ret = copy_rlimits(wire, out);
	if (!ret)
		ret = copy_caps(wire, out);
	if (!ret)
		ret = copy_groups(wire, out);
	return ret ? ret : copy_seccomp(wire, out);
}

static int copy_mount(const Moat__Mount *wire, struct container_spec *out)
{
	struct spec_mount *m;
	int ret;

	if (*wire->target != '/' || (wire->host ? *wire->source != '/' : !*wire->type))
		return -EINVAL;
	ret = spec_add_mount(out, wire->host ? MOUNT_HOST : MOUNT_INTERNAL, wire->source,
			     wire->target, wire->host ? NULL : wire->type, wire->flags,
			     wire->has_options ? wire->options : NULL, &m);
	if (ret)
		return ret;
	if (!m->source || !m->target || (!wire->host && !m->fstype))
		return -ENOMEM;
	m->overlay = wire->overlay;
	m->optional = wire->optional;
	m->cached = wire->cached;
	if (wire->host ? *wire->shared : strlen(wire->shared) > NAME_MAX)
		return -EINVAL;
	return copy_optional(wire->shared, &m->shared);
}

static int copy_namespaces(const Moat__Namespaces *wire, struct container_spec *out)
{
	int ret = 0;

	if (!wire)
		return 0;
	out->joins = true;
	for (size_t i = 0; i < wire->n_sysctls; i++)
		if (strncmp(wire->sysctls[i], "net.", 4) || !strchr(wire->sysctls[i], '='))
			return -EINVAL;
	if (wire->n_sysctls)
		ret = copy_strings(wire->sysctls, wire->n_sysctls, &out->sysctls);
	if (!ret)
		ret = copy_optional(wire->pid, &out->ns_of[SPEC_NS_PID]);
	if (!ret)
		ret = copy_optional(wire->ipc, &out->ns_of[SPEC_NS_IPC]);
	if (!ret)
		ret = copy_optional(wire->uts, &out->ns_of[SPEC_NS_UTS]);
	return ret ? ret : copy_optional(wire->network, &out->ns_of[SPEC_NS_NET]);
}

int wire_to_container(const Moat__ContainerSpec *wire, struct container_spec *out)
{
	int ret;

	container_spec_init(out);
	if (!wire->process || !wire->n_mounts || !wire->mounts[0]->host)
		return -EINVAL;
	process_spec_free(&out->process);
	ret = wire_to_process(wire->process, &out->process);
	for (size_t i = 0; i < wire->n_mounts && !ret; i++)
		ret = copy_mount(wire->mounts[i], out);
	if (!ret)
		ret = copy_strings(wire->masked_paths, wire->n_masked_paths, &out->masked_paths);
	if (!ret)
		ret = copy_strings(wire->readonly_paths, wire->n_readonly_paths,
				   &out->readonly_paths);
	if (!ret)
		ret = copy_optional(wire->hostname, &out->hostname);
	if (!ret)
		ret = copy_optional(wire->domainname, &out->domainname);
	if (!ret)
		ret = copy_namespaces(wire->namespaces, out);
	out->root_readonly = wire->root_readonly;
	out->init_unkillable = wire->init_unkillable;
	out->share_pids = wire->share_pids;
	out->pids_max = wire->pids_max;
	return ret;
}
