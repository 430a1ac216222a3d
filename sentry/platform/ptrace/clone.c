/* New processes and threads: clones by the sentry's order. A child stands parked, untraced, until
 * its owner first wants something of it. */
#include <errno.h>
#include <sys/syscall.h>

#include "sentry/platform/ptrace/ptrace.h"
#include "sentry/platform/shared/filter.h"
#include "sentry/platform/shared/spare.h"
#include "sentry/platform/shared/stub_pid.h"

static int clone_call(struct tracee *parent, uint64_t flags, pid_t *tid)
{
	const uint64_t args[6] = {flags};
	int64_t result = 0;
	int ret = tracee_call(parent, SYS_clone, args, &result);

	if (ret)
		return ret;
	if (result <= 0)
		return result ? (int)result : -EAGAIN;
	*tid = (pid_t)result;
	return 0;
}

/* The kernel has copied the thread with its FPU state and its bases. */
static void inherit(struct tracee *child, const struct tracee *parent)
{
	child->head.regs = parent->head.regs;
	child->fs_loaded = parent->fs_loaded;
	child->gs_loaded = parent->gs_loaded;
}

int ptrace_fork(struct platform_ctx *parent, void *owner, struct platform_as **as_out,
		struct platform_ctx **child_out)
{
	struct stub *stub = stub_alloc();
	struct tracee *child;
	pid_t pid = 0;
	int ret;

	if (!stub)
		return -ENOMEM;
	child = tracee_alloc(stub, owner);
	ret = child ? clone_call(tracee_of(parent), STUB_FORK_FLAGS, &pid) : -ENOMEM;
	if (!ret)
		ret = stub_register(&stub->head, pid);
	if (ret) {
		if (child)
			tracee_free(child);
		ptrace_as_put((struct platform_as *)stub);
		return ret;
	}
	child->head.tid = pid;
	inherit(child, tracee_of(parent));
	*as_out = (struct platform_as *)stub;
	*child_out = tracee_ctx(child);
	return 0;
}

int ptrace_clone_thread(struct platform_ctx *parent, void *owner, uint64_t fs_base,
			struct platform_ctx **child_out)
{
	struct tracee *child = tracee_alloc(tracee_stub(tracee_of(parent)), owner);
	pid_t tid = 0;
	int ret;

	if (!child)
		return -ENOMEM;
	ret = clone_call(tracee_of(parent), STUB_THREAD_FLAGS, &tid);
	if (ret) {
		tracee_free(child);
		return ret;
	}
	child->head.tid = tid;
	inherit(child, tracee_of(parent));
	child->head.regs.fs_base = fs_base;
	*child_out = tracee_ctx(child);
	return 0;
}

int ptrace_as_create(void *owner, struct platform_as **as_out, struct platform_ctx **ctx_out)
{
	struct platform_as *as;
	struct tracee *t;
	int ret = -EAGAIN;

	as = spare_take(&ret);
	if (!as)
		return ret;
	t = tracee_alloc(stub_of(as), owner);
	if (!t) {
		ptrace_as_put(as);
		return -ENOMEM;
	}
	t->head.tid = as_head(as)->pid;
	*as_out = as;
	*ctx_out = tracee_ctx(t);
	return 0;
}
