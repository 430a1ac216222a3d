#include "base/thread.h"

#include <pthread.h>
#include <signal.h>

int thread_start(void *(*fn)(void *), void *arg, size_t stack)
{
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	pthread_attr_init(&attr);
	if (stack)
		pthread_attr_setstacksize(&attr, stack);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	err = pthread_create(&thread, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	return -err;
}

int thread_start_quiet(void *(*fn)(void *), void *arg, size_t stack)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = thread_start(fn, arg, stack);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}
