/*
 * The memory limit, and what stands in for Linux's OOM killer.
 *
 * The guest's pages are the host's: nobody asks the sentry before one is touched. So a thread looks
 * at what there is, the more often the closer that is to the limit, and kills the process with the
 * highest score when it is beyond. The limit can be overrun for the time between two looks; a limit
 * that must hold to the page is a cgroup's. Processes are told nothing but SIGKILL, as on Linux.
 */
#include <errno.h>
#include <time.h>

#include "base/log.h"
#include "base/thread.h"
#include "sentry/kernel/core/container_mark.h"
#include "sentry/kernel/core/machine.h"
#include "sentry/kernel/run/kernel.h"
#include "sentry/kernel/run/run_internal.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/mm/backing.h"
#include "sentry/mm/mm.h"

#define LOOK_MIN_NS 2000000LL
#define LOOK_MAX_NS 100000000LL
#define FILL_RATE 8	    /* bytes a nanosecond: as fast as two CPUs touch huge pages */
#define LOOK_SHARE 20	    /* looking takes at most 1/20 of a CPU */
#define DYING_LOOKS 100	    /* how often to look again before another process is killed */
#define SCORE_ADJ_MIN -1000 /* never kill (proc_pid_oom_score_adj(5)) */
#define SCORE_ADJ_RANGE 1000

/* The leader's memory; NULL: none any more. */
static struct mm *group_mm(struct thread_group *g)
{
	struct task *t = NULL;
	struct mm *mm = NULL;

	read_lock(&kernel.tasklist_lock);
	/* A leader may have ended before its threads. */
	for_each_thread (g, t) {
		mm = task_mm_get(t);
		if (mm)
			break;
	}
	read_unlock(&kernel.tasklist_lock);
	return mm;
}

uint64_t group_anon(struct thread_group *g, bool exact)
{
	struct mm *mm = group_mm(g);
	uint64_t bytes = 0;

	if (!mm)
		return 0;
	if (platform_as_anon(mm->as, exact, &bytes))
		bytes = 0;
	mm_put(mm);
	return bytes;
}

uint64_t kernel_memory_used(bool exact)
{
	struct thread_group *g;
	uint64_t sum = 0;
	pid_t nr = 1;

	if (platform_self_anon(&sum))
		sum = 0;
	sum += backing_bytes();
	for (; (g = group_next(kernel.root_pid_ns, &nr)); nr++) {
		sum += group_anon(g, exact);
		group_put(g);
	}
	return sum;
}

static bool is_exiting(struct thread_group *g)
{
	struct sighand *sh = lock_sighand(g);
	bool exiting = g->exiting;

	mutex_unlock(&sh->lock);
	return exiting;
}

/* Linux's oom_badness(): bytes, moved by oom_score_adj thousandths of the limit. */
static int64_t badness(struct thread_group *g)
{
	int adj = g->oom_score_adj;

	if (adj == SCORE_ADJ_MIN)
		return INT64_MIN;
	return (int64_t)group_anon(g, true) +
	       adj * (int64_t)(machine.total_memory / SCORE_ADJ_RANGE);
}

/* The process to kill, referenced; NULL: there is none, or one is dying already and `wait` is set.
 */
static struct thread_group *choose(bool wait)
{
	struct thread_group *g, *worst = NULL;
	int64_t most = INT64_MIN;
	pid_t nr = 1;

	for (; (g = group_next(kernel.root_pid_ns, &nr)); nr++) {
		bool exiting = is_exiting(g);
		int64_t score = exiting ? INT64_MIN : badness(g);

		if (exiting && wait && group_anon(g, false)) {
			group_put(g);
			if (worst)
				group_put(worst);
			return NULL;
		}
		if (score <= most) {
			group_put(g);
			continue;
		}
		if (worst)
			group_put(worst);
		worst = g;
		most = score;
	}
	return worst;
}

/* False: nothing could be killed now. */
static bool kill_worst(bool wait)
{
	struct thread_group *g = choose(wait);

	if (!g)
		return false;
	log_info("out of memory: killed process %d (oom_score_adj %d)",
		 group_nr_ns(g, kernel.root_pid_ns), g->oom_score_adj);
	atomic_fetch_add(&kernel.oom_kills, 1);
	if (g->container)
		atomic_store(&g->container->oom, true);
	group_kill(g, SIGKILL);
	group_put(g);
	return true;
}

/* Pages that forks share are counted for each until that is too much; then exactly. */
static uint64_t used_now(void)
{
	uint64_t used = kernel_memory_used(false);

	return used > machine.total_memory ? kernel_memory_used(true) : used;
}

static void *limit_main(void *arg)
{
	int dying = 0; /* looks since the last kill */

	for (;;) {
		int64_t start = monotonic_ns(), pause;
		uint64_t used = used_now(), limit = machine.total_memory;
		struct timespec ts;

		if (used > limit) {
			dying = kill_worst(dying < DYING_LOOKS) ? 0 : dying + 1;
			pause = LOOK_MIN_NS;
		} else {
			dying = 0;
			pause = (int64_t)((limit - used) / FILL_RATE);
		}
		pause = MIN(MAX(pause, LOOK_MIN_NS), LOOK_MAX_NS);
		pause = MAX(pause, (monotonic_ns() - start) * LOOK_SHARE);
		ts.tv_sec = pause / NSEC_PER_SEC;
		ts.tv_nsec = pause % NSEC_PER_SEC;
		nanosleep(&ts, NULL);
	}
	return NULL;
}

void kernel_change_memory_limit(uint64_t bytes)
{
	__atomic_store_n(&machine.total_memory, bytes, __ATOMIC_RELAXED);
}

int kernel_limit_memory(void)
{
	return thread_start(limit_main, NULL, THREAD_STACK_SMALL);
}
