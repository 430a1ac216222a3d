/*
 * Spare stubs: exec wants a clean address space, and making one takes the zygote a while. So one is
 * made in the background as soon as the last has been taken; but not before the first exec after
 * the container's own, since many sandboxes run one program only.
 */
#include <errno.h>
#include <semaphore.h>

#include "base/thread.h"
#include "sentry/platform/systrap.h"

static struct {
	struct mutex lock;
	struct platform_as *ready; /* at most one */
	bool wanted;		   /* the maker has been told and has not answered yet */
	unsigned taken;		   /* address spaces given out so far */
	sem_t work;
} spare = {.lock = MUTEX_INIT};

static struct platform_as *make(int *err)
{
	struct platform_as *as = as_alloc();

	if (!as) {
		*err = -EAGAIN;
		return NULL;
	}
	*err = zygote_fresh(as);
	if (*err) {
		platform_as_put(as);
		return NULL;
	}
	return as;
}

static void *maker_main(void *arg)
{
	for (;;) {
		struct platform_as *as;
		int err;

		while (sem_wait(&spare.work))
			;
		if (systrap.down)
			return NULL;
		as = make(&err);
		mutex_lock(&spare.lock);
		spare.ready = as;
		spare.wanted = false;
		mutex_unlock(&spare.lock);
	}
}

int spare_start(void)
{
	sem_init(&spare.work, 0, 0);
	return thread_start(maker_main, NULL, THREAD_STACK_SMALL);
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
	if (as && as->dead) {
		platform_as_put(as);
		as = NULL;
	}
	if (!as)
		as = make(err);
	if (tell)
		sem_post(&spare.work);
	return as;
}
