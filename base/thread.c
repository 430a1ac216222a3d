#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/lock.h"

/* The mask of threads that are not quiet: that of whoever has started a quiet one last. */
static struct mutex lock = MUTEX_INIT;
static sigset_t loud;

static bool is_quiet(const sigset_t *mask)
{
	return sigismember(mask, SIGSEGV) == 1;
}

static int start(void *(*fn)(void *), void *arg, size_t stack, const sigset_t *mask)
{
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	pthread_attr_init(&attr);
	if (stack)
		pthread_attr_setstacksize(&attr, stack);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	err = mask ? pthread_attr_setsigmask_np(&attr, mask) : 0;
	if (!err)
		err = pthread_create(&thread, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	return -err;
}

int thread_start(void *(*fn)(void *), void *arg, size_t stack)
{
	sigset_t mine;

	pthread_sigmask(SIG_SETMASK, NULL, &mine);
	if (!is_quiet(&mine))
		return start(fn, arg, stack, NULL);
	mutex_lock(&lock);
	mine = loud;
	mutex_unlock(&lock);
	return start(fn, arg, stack, &mine);
}

int thread_start_quiet(void *(*fn)(void *), void *arg, size_t stack)
{
	sigset_t all, mine;

	pthread_sigmask(SIG_SETMASK, NULL, &mine);
	if (!is_quiet(&mine)) {
		mutex_lock(&lock);
		loud = mine;
		mutex_unlock(&lock);
	}
	sigfillset(&all);
	return start(fn, arg, stack, &all);
}
