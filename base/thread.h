/* Threads that nobody joins. */
#ifndef MOAT_BASE_THREAD_H
#define MOAT_BASE_THREAD_H

#include <stddef.h>

#define THREAD_STACK_SMALL ((size_t)64 * 1024)

/* Runs fn(arg) on a detached thread with a stack of that many bytes; 0: the usual size. 0 or
 * -errno. The signal mask is the caller's, or, if the caller is a quiet one, that of whoever
 * started such a one: faults and nudges reach it. */
int thread_start(void *(*fn)(void *), void *arg, size_t stack);
/* Likewise, with all signals blocked. */
int thread_start_quiet(void *(*fn)(void *), void *arg, size_t stack);

#endif
