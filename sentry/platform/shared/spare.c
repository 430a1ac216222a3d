#include <errno.h>
#include <semaphore.h>

#include "base/thread.h"
#include "base/lock.h"
#include "sentry/counters/counters.h"
#include "sentry/platform/shared/object.h"
#include "sentry/platform/shared/spare.h"
#include "sentry/platform/shared/stub_host.h"

static struct {
	struct mutex lock;
	struct platform_as *ready; /* at most one */
	bool wanted;		   /* the maker has been told and has not answered yet */
	unsigned taken;		   /* address spaces given out so far */
	spare_make_fn make;
	_Atomic bool down;
	sem_t work;
} spare = {.lock = MUTEX_INIT};

static struct platform_as *make(spare_make_fn make_clean, int *err)
{
	struct platform_as *as = make_clean(err);

	if (as)
		stub_host_set_oom_score(as_head(as)->pid);
	return as;
}

static void *maker_main(void *arg)
{
	for (;;) {
		struct platform_as *as;
		int err;

		while (sem_wait(&spare.work))
			;
		if (spare.down)
			return NULL;
		as = make(spare.make, &err);
		mutex_lock(&spare.lock);
		spare.ready = as;
		spare.wanted = false;
		mutex_unlock(&spare.lock);
	}
}

int spare_init(spare_make_fn make_clean)
{
	struct platform_as *as;
	int err = 0;

	as = make(make_clean, &err);
	if (!as)
		return err;
	spare.make = make_clean;
	spare.ready = as;
	return 0;
}

int spare_start(void)
{
	sem_init(&spare.work, 0, 0);
	return thread_start(maker_main, NULL, THREAD_STACK_SMALL);
}

void spare_stop(void)
{
	spare.down = true;
	sem_post(&spare.work);
}

struct platform_as *spare_take(int *err)
{
	struct platform_as *as;
	bool tell;

	mutex_lock(&spare.lock);
	as = spare.ready;
	spare.ready = NULL;
	tell = ++spare.taken > 1 && !spare.wanted;
	if (tell)
		spare.wanted = true;
	mutex_unlock(&spare.lock);
	/* It may have died meanwhile. */
	if (as && as_head(as)->dead) {
		platform_as_put(as);
		as = NULL;
	}
	count(as ? COUNT_STUB_READY : COUNT_STUB_AWAITED);
	if (!as)
		as = make(spare.make, err);
	if (tell)
		sem_post(&spare.work);
	return as;
}
