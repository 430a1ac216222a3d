/* Threads for calls that may take long: made when none is idle, up to a limit, and kept. */
#include "base/clock.h"
#include "base/thread.h"
#include "control/internal.h"

#define WORKERS_MAX 16
/* How long the end waits for those that are busy. */
#define END_NS 100000000

void workers_init(struct workers *w)
{
	mutex_init(&w->lock);
	pthread_cond_init(&w->more, NULL);
	pthread_cond_init(&w->fewer, NULL);
	STAILQ_INIT(&w->queue);
}

static void *worker_main(void *arg)
{
	struct workers *w = arg;
	struct control_call *call;

	mutex_lock(&w->lock);
	for (;;) {
		while (!(call = STAILQ_FIRST(&w->queue)) && !w->ending) {
			w->idle++;
			mutex_wait(&w->lock, &w->more);
			w->idle--;
		}
		if (!call)
			break;
		STAILQ_REMOVE_HEAD(&w->queue, link);
		mutex_unlock(&w->lock);
		call_run(call);
		mutex_lock(&w->lock);
	}
	w->threads--;
	pthread_cond_signal(&w->fewer);
	mutex_unlock(&w->lock);
	return NULL;
}

void workers_add(struct workers *w, struct control_call *call)
{
	bool none = false;

	mutex_lock(&w->lock);
	STAILQ_INSERT_TAIL(&w->queue, call, link);
	if (w->idle) {
		pthread_cond_signal(&w->more);
	} else if (w->threads < WORKERS_MAX) {
		w->threads++;
		if (thread_start_quiet(worker_main, w, 0)) {
			none = --w->threads == 0;
			if (none)
				STAILQ_REMOVE(&w->queue, call, control_call, link);
		}
	}
	mutex_unlock(&w->lock);
	if (none)
		call_run(call);
}

bool workers_end(struct workers *w)
{
	struct timespec until;
	MUTEX_GUARD(&w->lock);

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += END_NS;
	if (until.tv_nsec >= NSEC_PER_SEC) {
		until.tv_nsec -= NSEC_PER_SEC;
		until.tv_sec++;
	}
	w->ending = true;
	pthread_cond_broadcast(&w->more);
	while (w->threads && !mutex_wait_until(&w->lock, &w->fewer, &until))
		;
	return !w->threads;
}
