/*
 * The ends of stubs. One thread of the sentry's learns of every dead child and every dead tracee by
 * SIGCHLD, which all others block. It
 *
 *  - reaps the processes whose last reference is gone: until then the process id stays the stub's;
 *  - kills the stub of a process that is to die and does not come out of the host's kernel;
 *  - ends the sandbox when the zygote is dead.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/thread.h"
#include "sentry/platform/ptrace/ptrace.h"
#include "sentry/platform/shared/stub_pid.h"

#define LOOK_NS 20000000
/* So many looks a thread has to come when its process has been killed; if another process that
 * stays has part in the stub it gets longer. */
#define LOOKS_ALONE 5
#define LOOKS_SHARED 40

static struct {
	struct mutex lock;
	TAILQ_HEAD(, stub) orphans; /* without references */
	_Atomic bool down;
	bool look_again; /* the thread's own */
} deaths = {.lock = MUTEX_INIT, .orphans = TAILQ_HEAD_INITIALIZER(deaths.orphans)};

static void wake(void)
{
	kill(getpid(), SIGCHLD);
}

void deaths_take(struct stub *stub)
{
	bool dead = stub->head.dead;

	mutex_lock(&deaths.lock);
	TAILQ_INSERT_TAIL(&deaths.orphans, stub, orphan_link);
	mutex_unlock(&deaths.lock);
	/* From here on it may be freed; if it was dead its signal may have come before. */
	if (dead)
		wake();
	else
		ptrace_as_kill((struct platform_as *)stub);
}

static void reap_orphans(void)
{
	struct stub *stub, *next;
	MUTEX_GUARD(&deaths.lock);

	for (stub = TAILQ_FIRST(&deaths.orphans); stub; stub = next) {
		next = TAILQ_NEXT(stub, orphan_link);
		if (!stub_unregister_if_dead(&stub->head))
			continue;
		TAILQ_REMOVE(&deaths.orphans, stub, orphan_link);
		stub_free(stub);
	}
}

/* stub->lock held. One that has never been in the guest is being made by another. */
static bool all_die(struct stub *stub)
{
	struct tracee *t;

	TAILQ_FOREACH (t, &stub->tracees, stub_link)
		if (!t->hurry && t->has_run)
			return false;
	return true;
}

/* stub->lock held. */
static void look_at_late(struct tracee *t)
{
	bool alone = t->hurry == HURRY_ALONE || all_die(tracee_stub(t));
	unsigned patience = alone ? LOOKS_ALONE : LOOKS_SHARED;

	if (!t->hurry || tracee_stub(t)->head.dead || (t->state != TRACEE_GUEST && !t->in_call)) {
		t->looks = 0;
		return;
	}
	deaths.look_again = true;
	if (++t->looks <= patience)
		return;
	log_warn("stub %d does not come to its end: killed", tracee_stub(t)->head.pid);
	ptrace_as_kill(t->head.as);
}

static void look_at_stub(struct as_head *head)
{
	struct stub *stub = (struct stub *)head;
	struct tracee *t;
	MUTEX_GUARD(&stub->lock);

	TAILQ_FOREACH (t, &stub->tracees, stub_link)
		look_at_late(t);
}

static void *deaths_main(void *arg)
{
	const struct timespec look = {0, LOOK_NS};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (;;) {
		if (deaths.look_again)
			sigtimedwait(&set, NULL, &look);
		else
			sigwaitinfo(&set, NULL);
		if (deaths.down)
			return NULL;
		if (tracer_zygote_has_died()) {
			log_error("the zygote died");
			_exit(1);
		}
		reap_orphans();
		deaths.look_again = false;
		stub_for_each(look_at_stub);
	}
}

int deaths_init(void)
{
	/* Ends only: not every stop of every tracee. */
	const struct sigaction ends = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	if (sigaction(SIGCHLD, &ends, NULL) || sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	return 0;
}

int deaths_start(void)
{
	return thread_start(deaths_main, NULL, THREAD_STACK_SMALL);
}

void deaths_stop(void)
{
	deaths.down = true;
	wake();
}

void ptrace_hurry(struct platform_ctx *ctx, int nthreads)
{
	struct tracee *t = tracee_of(ctx);

	t->hurry = tracee_stub(t)->head.nctx <= nthreads ? HURRY_ALONE : HURRY_SHARED;
	if (t->in_call || t->state == TRACEE_GUEST)
		wake();
}
