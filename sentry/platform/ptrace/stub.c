/* Stubs and tracees as objects, and how they end. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "sentry/platform/ptrace/ptrace.h"

struct stub *stub_alloc(void)
{
	struct stub *stub = calloc(1, sizeof(*stub));

	if (!stub)
		return NULL;
	refcount_init(&stub->refs);
	mutex_init(&stub->lock);
	mutex_init(&stub->scratch_lock);
	TAILQ_INIT(&stub->tracees);
	return stub;
}

void stub_free(struct stub *stub)
{
	mutex_destroy(&stub->lock);
	mutex_destroy(&stub->scratch_lock);
	free(stub);
}

void ptrace_as_get(struct platform_as *as)
{
	refcount_inc(&stub_of(as)->refs);
}

void ptrace_as_put(struct platform_as *as)
{
	struct stub *stub = stub_of(as);

	if (!refcount_dec(&stub->refs))
		return;
	if (stub->head.pid > 0)
		deaths_take(stub);
	else
		stub_free(stub);
}

void ptrace_as_kill(struct platform_as *as)
{
	struct as_head *head = as_head(as);

	if (!atomic_exchange(&head->dead, true) && head->pid > 0)
		kill(head->pid, SIGKILL);
}

struct tracee *tracee_alloc(struct stub *stub, void *owner)
{
	struct tracee *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->head.as = (struct platform_as *)stub;
	t->head.owner = owner;
	ptrace_as_get(t->head.as);
	mutex_lock(&stub->lock);
	TAILQ_INSERT_TAIL(&stub->tracees, t, stub_link);
	stub->head.nctx++;
	mutex_unlock(&stub->lock);
	return t;
}

/* True if it was the stub's last. */
static bool unlink_tracee(struct tracee *t)
{
	struct stub *stub = tracee_stub(t);
	MUTEX_GUARD(&stub->lock);

	TAILQ_REMOVE(&stub->tracees, t, stub_link);
	return --stub->head.nctx == 0;
}

static void discard(struct tracee *t)
{
	struct platform_as *as = t->head.as;

	free(t);
	ptrace_as_put(as);
}

void tracee_free(struct tracee *t)
{
	unlink_tracee(t);
	discard(t);
}

void ptrace_ctx_exit(struct platform_ctx *ctx)
{
	struct tracee *t = tracee_of(ctx);
	struct stub *stub = tracee_stub(t);

	if (unlink_tracee(t)) {
		ptrace_as_kill(t->head.as);
		tracee_reap(t);
	} else if (t->head.tid == stub->head.pid) {
		/* The process is known by its first thread, which stays, parked. */
		if (tracee_is_mine(t))
			tracee_detach(t);
	} else {
		tracee_call_exit(t);
		tracee_reap(t);
	}
	discard(t);
}
