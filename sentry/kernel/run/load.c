/* How busy the sandbox is: for sysinfo(2) and /proc/loadavg. Nothing of the host's load shows. */
#include "sentry/kernel/run/load.h"

#include <math.h>
#include <sys/sysinfo.h>

#include "base/clock.h"
#include "sentry/kernel/task/task.h"

static void count_tasks(struct pid_ns *ns, struct load *load)
{
	struct thread_group *g;
	struct task *t;
	READ_GUARD(&kernel.tasklist_lock);

	load->total = kernel.num_tasks;
	TAILQ_FOREACH (g, &kernel.groups, all_link)
		for_each_thread (g, t) {
			if (pid_nr_ns(t->pid, ns) && task_state_now(t) == TASK_RUNNING)
				load->running++;
		}
}

void kernel_load(struct pid_ns *ns, struct load *load)
{
	static const double period[3] = {60, 300, 900};
	static struct mutex lock = MUTEX_INIT;
	static int64_t last;
	static double average[3];
	int64_t now = monotonic_ns();

	*load = (struct load){0};
	count_tasks(ns, load);
	MUTEX_GUARD(&lock);
	/* They decay from one reading to the next: nothing samples in between. */
	for (int i = 0; i < 3; i++) {
		double keep = exp(-(double)(now - (last ? last : now)) / 1e9 / period[i]);

		/* Whoever reads is not what keeps the machine busy. */
		average[i] = average[i] * keep + fmax(load->running - 1, 0) * (1 - keep);
		load->average[i] = average[i];
	}
	last = now;
}
